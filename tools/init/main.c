/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metald-init: PID 1 of a rootfs. Sets up the machine, runs the image's command, powers off when it ends.
 *
 * Static, so that it starts in any image. It must not die: the kernel panics when PID 1 does. So every failure is a
 * message on the console and either a default to go on with or, where no command can be run, the exit code a shell
 * would give (127, 126), reported like the command's own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tools/init/cmdline.h"
#include "tools/init/layers.h"
#include "tools/init/say.h"
#include "tools/init/spec.h"
#include "tools/init/supervise.h"
#include "tools/init/system.h"
#include "tools/init/user.h"

#define CMDLINE_MAX_BYTES (64 << 10) /* COMMAND_LINE_SIZE is 2048 to 4096 */

static void read_cmdline(struct cmdline *c)
{
	struct err e = ERR_INIT;
	size_t len;
	AUTO_FREE char *text = system_read("/proc/cmdline", CMDLINE_MAX_BYTES, &len, &e);

	if (text)
		cmdline_parse(c, text);
	else
		say("%s; no kernel parameters", e.msg);
}

static void read_file(struct spec *s, const char *path, int (*parse)(struct spec *, const char *, size_t, struct err *))
{
	struct err e = ERR_INIT;
	size_t len;
	AUTO_FREE char *text = system_read(path, SPEC_MAX_BYTES, &len, &e);

	if (!text)
		say("%s", e.msg);
	else if (parse(s, text, len, &e) < 0)
		say("%s: %s", path, e.msg);
}

static void read_spec(struct spec *s, const struct cmdline *c)
{
	read_file(s, "/container.cmd", spec_parse_command);
	read_file(s, "/container.env", spec_parse_environment);
	if (c->metadata)
		read_file(s, c->metadata, spec_parse_metadata);
	spec_finish(s, c);
}

static char *read_accounts(const char *path)
{
	struct err e = ERR_INIT;
	size_t len;
	char *text = system_read(path, SPEC_MAX_BYTES, &len, &e);

	if (!text && e.code != -ENOENT)
		say("%s", e.msg);
	return text;
}

static int find_user(struct user *u, const char *name)
{
	AUTO_FREE char *passwd = read_accounts("/etc/passwd");
	AUTO_FREE char *group = read_accounts("/etc/group");
	struct err e = ERR_INIT;
	int r = user_lookup(u, name, passwd ? passwd : "", group ? group : "", &e);

	if (r < 0)
		say("%s", e.msg);
	return r;
}

/* The working directory is made when it is missing, as container runtimes do. */
static void prepare(struct spec *s, const struct user *u)
{
	int r = system_mkdirs(s->working_dir);
	const char *term = getenv("TERM"); /* the kernel's word for the console */

	if (r < 0)
		say("cannot create working directory %s: %s", s->working_dir, strerror(-r));
	env_default(&s->env, "HOME", u->home, NULL);
	if (term)
		env_default(&s->env, "TERM", term, NULL);
}

static void run(struct spec *s)
{
	struct user u;
	int code = 126;

	if (!s->argv) {
		say("no command to run");
		code = 127;
	} else if (find_user(&u, s->user) == 0) {
		prepare(s, &u);
		if (!s->is_direct) {
			supervise_command(s, &u);
			return;
		}
		code = command_exec(s, &u);
	}
	say("command exited with code %d", code);
}

int main(int argc, char **argv)
{
	struct cmdline c = {0};
	struct spec s = {0};

	if (argc == 2 && !strcmp(argv[1], "--version")) {
		puts("metald-init " PACKAGE_VERSION);
		return 0;
	}
	if (getpid() != 1) {
		fputs("metald-init is PID 1 of a virtual machine: boot it with init=/usr/bin/metald-init\n", stderr);
		return 1;
	}
	system_stdio();
	layers_mount();
	supervise_begin();
	system_mount();
	read_cmdline(&c);
	system_setup(&c);
	read_spec(&s, &c);
	run(&s);
	supervise_end();
	system_end(c.is_reset);
	for (;;)
		pause();
}
