/* SPDX-License-Identifier: GPL-2.0-or-later */
/* builder-volume: the administrators' tool for builderd's storage. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "build/config.h"
#include "dm/admin.h"
#include "json/json.h"
#include "tools/ctl/text.h"
#include "tools/volume/files.h"
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

static int fill_export(const struct options *o, struct msg_admin_request *r, struct err *e)
{
	int rc = fill_id(o, r, e);

	return rc < 0 ? rc : copy(r->parent, sizeof(r->parent), o->delta, "the parent", e);
}

static int fill_remove(const struct options *o, struct msg_admin_request *r, struct err *e)
{
	r->flags = o->is_remove ? ADMIN_REMOVE : 0;
	return 0;
}

static int fill_fsck(const struct options *o, struct msg_admin_request *r, struct err *e)
{
	r->flags = o->is_repair ? ADMIN_REPAIR : 0;
	return fill_tenant(o, r, e);
}

/* 64G: with a suffix of 1024s, as sizes are written everywhere here. */
static int fill_grow(const struct options *o, struct msg_admin_request *r, struct err *e)
{
	static const char suffixes[] = "KMGT";
	char *end;

	errno = 0;
	unsigned long long n = strtoull(o->args[1], &end, 10);
	const char *at = *end ? strchr(suffixes, *end) : NULL;
	unsigned shift = at ? 10 * (unsigned)(at - suffixes + 1) : 0;
	if (errno || end == o->args[1] || o->args[1][0] == '-' || (*end && (!at || end[1])) ||
	        n > UINT64_MAX >> (shift + 1))
		return err_set(e, -EINVAL, "grow: \"%.40s\" is not a size such as 128G", o->args[1]);
	r->bytes = (uint64_t)n << shift;
	return fill_tenant(o, r, e);
}

static int fill_rekey(const struct options *o, struct msg_admin_request *r, struct err *e)
{
	if (o->n_args + o->is_all + o->is_master != 1)
		return err_set(e, -EINVAL, "rekey: expected one of TENANT, --all, --master");
	r->flags = o->is_all ? ADMIN_ALL : o->is_master ? ADMIN_MASTER : 0;
	return fill_tenant(o, r, e);
}

/* header backup|restore TENANT FILE */
static int fill_header(const struct options *o, struct msg_admin_request *r, struct err *e)
{
	r->command = !strcmp(o->args[0], "restore") ? ADMIN_HEADER_RESTORE : ADMIN_HEADER_BACKUP;
	if (r->command == ADMIN_HEADER_BACKUP && strcmp(o->args[0], "backup") != 0)
		return err_set(e, -EINVAL, "header %.40s: expected backup or restore", o->args[0]);
	return copy(r->tenant, sizeof(r->tenant), o->args[1], "the tenant", e);
}

const struct command commands[] = {
        {"ls", "[TENANT]", "tenants and their volumes", 0, 1, ADMIN_LS, false, NULL, show_ls, NULL, NULL},
        {"df", "[TENANT]", "how full the pools are", 0, 1, ADMIN_DF, false, NULL, show_df, NULL, NULL},
        {"inspect", "ID", "all that is known of a volume", 1, 1, ADMIN_INSPECT, false, fill_id, show_facts, NULL, NULL},
        {"why-full", "TENANT", "what owns the blocks of a tenant's pool", 1, 1, ADMIN_WHY_FULL, false, NULL,
                show_why_full, NULL, NULL},
        {"export", "ID FILE [--delta ID]", "a volume into a new sparse file", 2, 2, ADMIN_EXPORT, false, fill_export,
                show_export, export_begin, export_end},
        {"mount", "ID DIR", "a volume, read-only", 2, 2, ADMIN_MOUNT, false, fill_id, show_nothing, mount_begin,
                mount_end},
        {"umount", "DIR", "what mount has mounted", 1, 1, ADMIN_UMOUNT, false, umount_fill, show_nothing, NULL, NULL},
        {"trim", "", "caches below their limit, free space back to the host", 0, 0, ADMIN_TRIM, false, NULL, show_facts,
                NULL, NULL},
        {"orphans", "[--remove]", "what belongs to nobody any more", 0, 0, ADMIN_ORPHANS, false, fill_remove,
                show_orphans, NULL, NULL},
        {"fsck", "[--repair] [TENANT]", "check pools, and every sealed volume in them", 0, 1, ADMIN_FSCK, false,
                fill_fsck, show_fsck, NULL, NULL},
        {"rekey", "TENANT | --all | --master", "another key for a tenant's volume", 0, 1, ADMIN_REKEY, false,
                fill_rekey, show_rekey, NULL, NULL},
        {"header", "backup|restore TENANT FILE", "a tenant's LUKS header into a file, or back", 3, 3,
                ADMIN_HEADER_BACKUP, false, fill_header, show_facts, header_begin, header_end},
        {"grow", "TENANT SIZE", "more room for a tenant: SIZE in all, such as 128G", 2, 2, ADMIN_GROW, false, fill_grow,
                show_facts, NULL, NULL},
        {"enlarge", "", "the host's pool takes what its device or file has become", 0, 0, ADMIN_ENLARGE, false, NULL,
                show_facts, NULL, NULL},
        {"destroy", "TENANT", "a tenant with all it has, for ever", 1, 1, ADMIN_DESTROY, true, NULL, show_facts, NULL,
                NULL},
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
	return json_as_int64(json_member(answer, "problems")) > 0 ? EXIT_PROBLEMS : EXIT_DONE;
}

static int confirm(const struct options *o, const struct command *c, struct err *e)
{
	char line[TENANT_ID_MAX + 2] = "";

	if (!c->is_confirmed || o->is_yes)
		return 0;
	fprintf(stderr, "%s: %s. Type the tenant's name to go on: ", c->name, c->help);
	if (!fgets(line, sizeof(line), stdin) || strcspn(line, "\n") != strlen(o->args[0]) ||
	        strncmp(line, o->args[0], strlen(o->args[0])) != 0)
		return err_set(e, -ECANCELED, "%s was not confirmed: nothing was done", c->name);
	return 0;
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
		return fail(e.code == -EINVAL ? EXIT_USAGE : e.code == -EBUSY ? EXIT_BUSY : EXIT_FAILED, &e);
	AUTO_CLOSE int fd = -1;
	if (confirm(o, c, &e) < 0)
		return fail(EXIT_FAILED, &e);
	if (c->begin && c->begin(o, &fd, &e) < 0)
		return fail(EXIT_FAILED, &e);
	rc = link_run(&l, &r, &fd, admin_table[r.command].n_fds, &json, &e);
	if (c->end)
		rc = c->end(o, rc, l.result_fd, buf_cstr(&json), &e);
	cleanup_close(&l.result_fd);
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
