/* SPDX-License-Identifier: GPL-2.0-or-later */
/* builderctl store backup: a copy of the job store, taken while builderd runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/text.h"

static int on_data(void *arg, const void *data, size_t len, struct err *e)
{
	int rc = fd_write_all(*(const int *)arg, data, len);

	return rc < 0 ? err_sys(e, rc, "write the copy") : 0;
}

static bool on_tick(void *arg)
{
	return client_is_interrupted();
}

/* The file gets its name when all of it is on disk; one that has the name stays. */
static int backup(struct client *c, const char *path, struct err *e)
{
	AUTO_FREE char *part = xasprintf("%s.part", path);
	AUTO_CLOSE int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct http_answer a = {0};

	if (fd < 0)
		return err_sys(e, -errno, "%s", part);
	int rc = client_download(c, "store-backup", NULL, on_data, &fd, on_tick, &a, e);
	buf_free(&a.body);
	if (rc >= 0 && fsync(fd) < 0)
		rc = err_sys(e, -errno, "%s", part);
	if (rc >= 0 && link(part, path) < 0)
		rc = err_sys(e, -errno, "%s", path);
	unlink(part);
	return rc;
}

int command_store(const struct options *o)
{
	struct err e = ERR_INIT;
	struct client c;
	struct stat st = {0};

	if (strcmp(o->args.v[0], "backup") != 0) {
		fputs("builderctl: store: backup FILE\n", stderr);
		return EXIT_USAGE;
	}
	client_catch_interrupts();
	int rc = client_init_admin(&c, o, &e);
	c.service = "admin";
	if (rc >= 0)
		rc = backup(&c, o->args.v[1], &e);
	int code = rc < 0 ? client_fail(&c, rc, &e) : EXIT_DONE;
	client_close(&c);
	if (code == EXIT_DONE && stat(o->args.v[1], &st) == 0) {
		char size[TEXT_NUMBER_MAX];
		if (o->is_json)
			printf("{\"bytes\":%lld}\n", (long long)st.st_size);
		else
			printf("%s %s\n", o->args.v[1], text_bytes(st.st_size, size));
	}
	return code;
}
