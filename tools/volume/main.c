/* SPDX-License-Identifier: GPL-2.0-or-later */
/* builder-volume: the administrators' tool for builderd's storage. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "build/config.h"
#include "dm/admin.h"
#include "json/json.h"
#include "tools/ctl/text.h"
#include "tools/volume/link.h"
#include "tools/volume/options.h"
#include "tools/volume/show.h"

#define JSON_DEPTH 16

extern char **environ;

/* --- what the arguments mean ---------------------------------------------------------------------------------------
 */

static int copy(char *to, size_t size, const char *from, const char *what, struct err *e)
{
	if (!from)
		return 0;
	if (strlen(from) >= size)
		return err_set(e, -EINVAL, "%s \"%.40s...\" is too long", what, from);
	memcpy(to, from, strlen(from));
	return 0;
}

static int fill_tenant(const struct options *o, struct msg_admin_request *r, struct err *e)
{
	return copy(r->tenant, sizeof(r->tenant), o->n_args ? o->args[0] : NULL, "the tenant", e);
}

static int fill_id(const struct options *o, struct msg_admin_request *r, struct err *e)
{
	return copy(r->id, sizeof(r->id), o->args[0], "the volume", e);
}

const struct command commands[] = {
        {"ls", "[TENANT]", "tenants and their volumes", 0, 1, ADMIN_LS, NULL, show_ls},
        {"df", "[TENANT]", "how full the pools are", 0, 1, ADMIN_DF, NULL, show_df},
        {"inspect", "ID", "all that is known of a volume", 1, 1, ADMIN_INSPECT, fill_id, show_facts},
        {0},
};

/* --- run -----------------------------------------------------------------------------------------------------------
 */

static int fail(enum exit_code code, const struct err *e)
{
	AUTO_BUF struct buf text = {0};

	text_put(&text, e->msg);
	fprintf(stderr, "builder-volume: %s\n", buf_cstr(&text));
	return code;
}

static enum exit_code code_of(const struct link *l, const struct err *e)
{
	if (e->kind == ERR_KIND_NOT_FOUND)
		return EXIT_NOT_FOUND;
	if (e->code == -EBUSY)
		return EXIT_BUSY;
	return l->is_reached ? EXIT_FAILED : EXIT_NO_STORAGE;
}

static int answer_show(const struct options *o, const struct command *c, struct buf *json)
{
	struct err e = ERR_INIT;
	AUTO(json_cleanup)
	struct json *answer = json_load_strict(json->data ? json->data : "", json->len, JSON_DEPTH, &e);

	if (!answer)
		return fail(EXIT_FAILED, &e);
	if (o->is_json)
		printf("%s\n", buf_cstr(json));
	else
		c->show(answer);
	return EXIT_DONE;
}

static int command_run(const struct options *o, const struct command *c, const struct config *config)
{
	struct msg_admin_request r = {.command = c->request};
	struct link l = {.config = config};
	AUTO_BUF struct buf json = {0};
	struct err e = ERR_INIT;
	int rc = copy(r.tenant, sizeof(r.tenant), o->tenant, "the tenant", &e);

	if (rc == 0)
		rc = c->fill ? c->fill(o, &r, &e) : fill_tenant(o, &r, &e);
	if (rc == 0)
		rc = admin_request_check(&r, admin_table[r.command].n_fds, &e);
	if (rc < 0)
		return fail(EXIT_USAGE, &e);
	rc = link_run(&l, &r, NULL, 0, &json, &e);
	return rc < 0 ? fail(code_of(&l, &e), &e) : answer_show(o, c, &json);
}

int main(int argc, char **argv)
{
	const struct command *c;
	struct config config;
	struct err e = ERR_INIT;
	struct options o;

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN);
	log_setup("builder-volume", LOG_LEVEL_WARN, false);
	if (options_parse(&o, &c, argc, argv, &e) < 0)
		return fail(EXIT_USAGE, &e);
	if (o.is_version) {
		puts("builder-volume " PACKAGE_VERSION);
		return EXIT_DONE;
	}
	if (o.is_help || !c) {
		options_help(c);
		return o.is_help ? EXIT_DONE : EXIT_USAGE;
	}
	int code = EXIT_USAGE;
	if (config_load(&config, o.config_file, environ, &e) < 0)
		fail(code, &e);
	else
		code = command_run(&o, c, &config);
	config_free(&config);
	if (fflush(stdout) == EOF && code == EXIT_DONE)
		code = EXIT_FAILED;
	return code;
}
