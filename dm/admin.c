/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dm/admin.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "volumes_db.h"

const struct admin_row admin_table[ADMIN_COMMAND_COUNT] = {
        [ADMIN_LS] = {"ls", STORE_LOOK, 0, 0, 0, true},
        [ADMIN_DF] = {"df", STORE_LOOK, 0, 0, 0, true},
        [ADMIN_INSPECT] = {"inspect", STORE_LOOK, ADMIN_WANT_ID, 0, 0, true},
        [ADMIN_WHY_FULL] = {"why-full", STORE_LOOK, ADMIN_WANT_TENANT, 0, 0, true},
        [ADMIN_EXPORT] = {"export", STORE_LOOK, ADMIN_WANT_ID, 0, 1, true},
        [ADMIN_MOUNT] = {"mount", STORE_CHANGE, ADMIN_WANT_ID, 0, 0, true},
        [ADMIN_UMOUNT] = {"umount", STORE_CHANGE, ADMIN_WANT_ID, 0, 0, false},
        [ADMIN_TRIM] = {"trim", STORE_CHANGE, 0, 0, 0, false},
        [ADMIN_ORPHANS] = {"orphans", STORE_LOOK, 0, ADMIN_REMOVE, 0, false},
        [ADMIN_REKEY] = {"rekey", STORE_CHANGE, 0, ADMIN_ALL | ADMIN_MASTER, 0, false},
        [ADMIN_HEADER_BACKUP] = {"header backup", STORE_LOOK, ADMIN_WANT_TENANT, 0, 1, false},
        [ADMIN_HEADER_RESTORE] = {"header restore", STORE_CHANGE, ADMIN_WANT_TENANT, 0, 1, false},
        [ADMIN_FSCK] = {"fsck", STORE_LOOK, 0, ADMIN_REPAIR, 0, true},
        [ADMIN_GROW] = {"grow", STORE_CHANGE, ADMIN_WANT_TENANT, 0, 0, false},
        [ADMIN_ENLARGE] = {"enlarge", STORE_CHANGE, 0, 0, 0, false},
        [ADMIN_DESTROY] = {"destroy", STORE_CHANGE, ADMIN_WANT_TENANT, 0, 0, false},
};

enum store_access admin_access(const struct msg_admin_request *r)
{
	return r->flags ? STORE_CHANGE : admin_table[r->command].access;
}

static bool is_id(const char *id)
{
	char text[TENANT_ID_MAX] = {0};
	size_t n = strnlen(id, ADMIN_ID_MAX);

	if (!n || n == ADMIN_ID_MAX)
		return false;
	/* A chain's digits are longer than an id of ours, and made of fewer characters. */
	if (n >= sizeof(text))
		return strspn(id, "0123456789abcdef") == n;
	memcpy(text, id, n);
	return msg_tenant_id_is_valid(text);
}

int admin_request_check(const struct msg_admin_request *r, uint32_t n_fds, struct err *e)
{
	if (r->command >= ADMIN_COMMAND_COUNT)
		return err_set(e, -EINVAL, "there is no admin command %u", r->command);
	const struct admin_row *row = &admin_table[r->command];
	if (r->tenant[0] ? !msg_tenant_id_is_valid(r->tenant) : (row->wants & ADMIN_WANT_TENANT) != 0)
		return err_set(e, -EINVAL, "%s: that is not the id of a tenant", row->name);
	if (r->id[0] ? !is_id(r->id) : (row->wants & ADMIN_WANT_ID) != 0)
		return err_set(e, -EINVAL, "%s: that is not the id of a volume", row->name);
	if (r->parent[0] && !is_id(r->parent))
		return err_set(e, -EINVAL, "%s: the parent is not the id of a volume", row->name);
	if (r->flags & ~row->flags || n_fds != row->n_fds)
		return err_set(e, -EINVAL, "%s: flags %x and %u descriptors: expected at most %x and %u", row->name,
		        r->flags, n_fds, row->flags, row->n_fds);
	return 0;
}

int admin_run(const struct volume_ops *ops, struct store *s, struct admin_call *c, uint32_t n_fds, struct buf *json,
        struct err *e)
{
	struct jsonw w = {.out = json};
	int rc = admin_request_check(c->request, n_fds, e);

	c->result_fd = -1;
	if (rc < 0)
		return rc;
	c->json = &w;
	jsonw_begin(&w, NULL, '{');
	jsonw_text(&w, "backend", ops->name);
	rc = ops->admin(s, c, e);
	jsonw_end(&w, '}');
	c->json = NULL;
	if (rc < 0)
		buf_free(json);
	return rc;
}

int admin_dispatch(struct store *s, struct admin_call *c, admin_fn *const table[ADMIN_COMMAND_COUNT], const char *why,
        struct err *e)
{
	admin_fn *fn = table[c->request->command];

	return fn ? fn(s, c, e) : err_set(e, -EOPNOTSUPP, "%s: %s", admin_table[c->request->command].name, why);
}

void admin_say(const struct admin_call *c, uint64_t done, uint64_t total, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	if (!c->say)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->say(c->say_arg, text, done, total);
}

#define PREFIX_MIN 4

int admin_match(const char *name, const char *id)
{
	size_t n = strlen(id);

	if (!strcmp(name, id))
		return 2;
	return n >= PREFIX_MIN && !strncmp(name, id, n);
}

int admin_match_check(const char *id, unsigned n, int match, struct err *e)
{
	if (!n)
		return err_kind_set(e, -ENOENT, ERR_KIND_NOT_FOUND, "there is no volume %s", id);
	if (n > 1)
		return err_set(e, -EINVAL, "%u volumes are called %s%s: name the tenant, or say more of the id", n, id,
		        match > 1 ? "" : "...");
	return 0;
}

void admin_put_orphan(struct jsonw *w, const char *what, const char *name, bool is_removed, const char *stays)
{
	jsonw_begin(w, NULL, '{');
	jsonw_text(w, "what", what);
	jsonw_text(w, "name", name);
	jsonw_bool(w, "is_removed", is_removed);
	jsonw_text(w, "reason", stays);
	jsonw_end(w, '}');
}

int admin_put_leases(struct jsonw *w, struct volumes_db *db, const char *tenant, const char *build, struct err *e)
{
	AUTO_FREE struct lease_row *rows = NULL;
	size_t n = 0;
	int rc = volumes_db_lease_list(db, tenant, build, &rows, &n, e);

	jsonw_begin(w, "leases", '[');
	for (size_t i = 0; i < n && rc == 0; i++) {
		jsonw_begin(w, NULL, '{');
		jsonw_text(w, "lease", rows[i].id);
		jsonw_text(w, "mode", rows[i].mode == LEASE_COW ? "cow" : "read-only");
		jsonw_text(w, "holder", rows[i].holder);
		jsonw_text(w, "jail", rows[i].jail);
		jsonw_number(w, "created_ms", (uint64_t)rows[i].created_ms);
		jsonw_end(w, '}');
	}
	jsonw_end(w, ']');
	return rc;
}
