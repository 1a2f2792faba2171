/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `dm` backend for administrators: keys, headers, the end of a tenant. */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

static int tenant_missing(const char *tenant, struct err *e)
{
	return err_kind_set(e, -ENOENT, ERR_KIND_NOT_FOUND, "there is no tenant %s", tenant);
}

/* --- rekey ---------------------------------------------------------------------------------------------------------
 */

/* Of all tenants, one that fails does not stop the others. */
static int rekey_one(struct store *s, struct admin_call *c, const char *tenant, unsigned *failed, struct err *e)
{
	struct err why = ERR_INIT;
	uint32_t generation = 0;
	int rc = tenant_rekey(s, tenant, &generation, &why);

	jsonw_begin(c->json, NULL, '{');
	jsonw_text(c->json, "tenant", tenant);
	jsonw_bool(c->json, "is_rekeyed", rc == 0);
	jsonw_number(c->json, "key_generation", generation);
	jsonw_text(c->json, "reason", rc < 0 ? why.msg : NULL);
	jsonw_end(c->json, '}');
	*failed += rc < 0;
	if (rc < 0 && c->request->tenant[0])
		*e = why;
	return c->request->tenant[0] ? rc : 0;
}

int thin_admin_rekey(struct store *s, struct admin_call *c, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	unsigned failed = 0;
	size_t n = 0;

	if (c->request->flags & ADMIN_MASTER) {
		int rc = store_master_rotate(s, NULL, e);
		jsonw_bool(c->json, "is_master_replaced", rc == 0);
		return rc;
	}
	if (!c->request->tenant[0] && !(c->request->flags & ADMIN_ALL))
		return err_set(e, -EINVAL, "rekey: name a tenant, or ask for all");
	int rc = thin_tenants_asked(s, c, &rows, &n, e);
	jsonw_begin(c->json, "tenants", '[');
	for (size_t i = 0; i < n && rc == 0; i++) {
		admin_say(c, i, n, "tenant %s", rows[i].name);
		rc = rekey_one(s, c, rows[i].name, &failed, e);
	}
	jsonw_end(c->json, ']');
	jsonw_number(c->json, "problems", failed);
	return rc;
}

/* --- headers -------------------------------------------------------------------------------------------------------
 */

int thin_admin_header_backup(struct store *s, struct admin_call *c, struct err *e)
{
	struct stat st;

	if (fstat(c->fds[0], &st) < 0 || !S_ISREG(st.st_mode) || st.st_size)
		return err_set(e, -EINVAL, "a header goes into an empty file that can be written to");
	int rc = tenant_header_backup(s, c->request->tenant, c->fds[0], e);
	if (rc == -ENOENT && !(e && e->code))
		rc = tenant_missing(c->request->tenant, e);
	if (rc == 0 && fstat(c->fds[0], &st) == 0)
		jsonw_number(c->json, "size_bytes", (uint64_t)st.st_size);
	jsonw_text(c->json, "tenant", c->request->tenant);
	return rc;
}

int thin_admin_header_restore(struct store *s, struct admin_call *c, struct err *e)
{
	struct stat st;

	if (fstat(c->fds[0], &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "a header comes from a file");
	int rc = tenant_header_restore(s, c->request->tenant, c->fds[0], e);
	if (rc == -ENOENT && !(e && e->code))
		rc = tenant_missing(c->request->tenant, e);
	jsonw_text(c->json, "tenant", c->request->tenant);
	jsonw_bool(c->json, "is_restored", rc == 0);
	return rc;
}

/* --- destroy -------------------------------------------------------------------------------------------------------
 */

int thin_admin_destroy(struct store *s, struct admin_call *c, struct err *e)
{
	struct tenant_destroyed d = {0};
	int rc = tenant_destroy(s, c->request->tenant, &d, e);

	if (rc == -ENOENT && !(e && e->code))
		return tenant_missing(c->request->tenant, e);
	if (rc < 0)
		return rc;
	const struct {
		const char *name;
		bool is_true;
	} proofs[] = {
	        {"files_are_gone", d.files_are_gone},
	        {"header_is_zero", d.header_is_zero},
	        {"key_opens_nothing", d.key_opens_nothing},
	        {"device_is_gone", d.device_is_gone},
	        {"rows_are_gone", d.rows_are_gone},
	};
	unsigned missing = 0;
	jsonw_text(c->json, "tenant", c->request->tenant);
	jsonw_number(c->json, "key_files", d.key_files);
	jsonw_number(c->json, "header_files", d.header_files);
	jsonw_number(c->json, "freed_bytes", d.freed_bytes);
	for (size_t i = 0; i < ARRAY_LEN(proofs); i++) {
		jsonw_bool(c->json, proofs[i].name, proofs[i].is_true);
		missing += !proofs[i].is_true;
	}
	jsonw_bool(c->json, "is_erased", !missing);
	jsonw_number(c->json, "problems", missing);
	return 0;
}
