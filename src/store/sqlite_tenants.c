/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tenants, tokens and the end of the audit log in the SQLite store. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/sqlite.h"

/* For the end of every change below. */
static int records_end(struct store *s, int code, struct err *e)
{
	sql_records_changed(s);
	return sql_change_end(s, code < 0 ? code : 0, e);
}

/* --- tenants --------------------------------------------------------------------------------------------------- */

void tenant_clear(struct tenant *t)
{
	free(STEAL(&t->customer_id));
	free(STEAL(&t->organization_id));
	free(STEAL(&t->limits));
}

static void read_tenant(struct sqlite3_stmt *st, struct tenant *t)
{
	*t = (struct tenant){.customer_id = xstrdup(sql_text(st, 1)),
	        .organization_id = xstrdup(sql_text(st, 2)),
	        .tier = sql_int(st, 3),
	        .limits = xstrdup(sql_text(st, 4)),
	        .needs_encryption = sql_int(st, 5),
	        .is_disabled = sql_int(st, 6),
	        .created_ms = sql_int(st, 7),
	        .updated_ms = sql_int(st, 8)};
	snprintf(t->tenant_id, sizeof(t->tenant_id), "%s", sql_text(st, 0));
}

int store_tenant_put(struct store *s, const struct tenant *t, struct err *e)
{
	int code = sql_change_begin(s, e);

	if (code < 0)
		return code;
	struct sqlite3_stmt *st = sql_use(s, SQL_TENANT_PUT);
	sql_bind_text(st, 1, t->tenant_id);
	sql_bind_text(st, 2, t->customer_id);
	sql_bind_text(st, 3, t->organization_id);
	sql_bind_int(st, 4, t->tier);
	sql_bind_text(st, 5, t->limits);
	sql_bind_int(st, 6, t->needs_encryption);
	sql_bind_int(st, 7, t->is_disabled);
	sql_bind_int(st, 8, t->created_ms);
	sql_bind_int(st, 9, t->updated_ms);
	code = sql_run(s, st, "write a tenant", e);
	return records_end(s, code, e);
}

int store_tenant_get(struct store *s, const char *tenant_id, struct tenant *out, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_TENANT_GET);

	*out = (struct tenant){0};
	sql_bind_text(st, 1, tenant_id);
	int rc = sql_step(s, st, "read a tenant", e);
	if (rc > 0)
		read_tenant(st, out);
	sql_reset(st);
	return rc > 0 ? 0 : rc < 0 ? rc : err_set(e, -ENOENT, "there is no tenant \"%s\"", tenant_id);
}

int store_tenant_each(struct store *s, store_tenant_fn *fn, void *arg, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_TENANT_EACH);
	int rc = 0, result = 0;

	while (!result && (rc = sql_step(s, st, "list tenants", e)) > 0) {
		AUTO_TENANT struct tenant t;
		read_tenant(st, &t);
		result = fn(arg, &t);
	}
	sql_reset(st);
	return result ? result : rc;
}

static int64_t count_jobs(struct store *s, const char *tenant_id, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_TENANT_JOBS);

	sql_bind_text(st, 1, tenant_id);
	int rc = sql_step(s, st, "count builds", e);
	int64_t n = rc > 0 ? sql_int(st, 0) : rc;
	sql_reset(st);
	return n;
}

static int remove_by_tenant(struct store *s, enum statement which, const char *tenant_id, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, which);

	sql_bind_text(st, 1, tenant_id);
	return sql_run(s, st, "remove a tenant", e);
}

int store_tenant_remove(struct store *s, const char *tenant_id, struct err *e)
{
	int code = sql_change_begin(s, e);

	if (code < 0)
		return code;
	int64_t jobs = count_jobs(s, tenant_id, e);
	if (jobs)
		code = jobs < 0 ? (int)jobs
		                : err_set(e, -EBUSY, "tenant \"%s\" has %lld builds: delete them first, or disable it",
		                          tenant_id, (long long)jobs);
	if (code >= 0)
		code = remove_by_tenant(s, SQL_TENANT_TOKENS_REMOVE, tenant_id, e);
	if (code >= 0)
		code = remove_by_tenant(s, SQL_TENANT_REMOVE, tenant_id, e);
	if (!code)
		code = err_set(e, -ENOENT, "there is no tenant \"%s\"", tenant_id);
	return records_end(s, code, e);
}

/* --- tokens ---------------------------------------------------------------------------------------------------- */

void token_clear(struct token *t)
{
	free(STEAL(&t->description));
}

static void read_token(struct sqlite3_stmt *st, struct token *t)
{
	size_t len;
	const void *hash = sql_blob(st, 0, &len);

	*t = (struct token){.scope = sql_int(st, 3),
	        .description = xstrdup(sql_text(st, 4)),
	        .created_ms = sql_int(st, 5),
	        .expires_ms = sql_int(st, 6),
	        .revoked_ms = sql_int(st, 7)};
	memcpy(t->hash, hash, len < sizeof(t->hash) ? len : sizeof(t->hash));
	snprintf(t->token_id, sizeof(t->token_id), "%s", sql_text(st, 1));
	snprintf(t->tenant_id, sizeof(t->tenant_id), "%s", sql_text(st, 2));
}

int store_token_add(struct store *s, const struct token *t, struct err *e)
{
	int code = sql_change_begin(s, e);

	if (code < 0)
		return code;
	struct sqlite3_stmt *st = sql_use(s, SQL_TOKEN_ADD);
	sql_bind_blob(st, 1, t->hash, sizeof(t->hash));
	sql_bind_text(st, 2, t->token_id);
	sql_bind_text(st, 3, t->tenant_id);
	sql_bind_int(st, 4, t->scope);
	sql_bind_text(st, 5, t->description);
	sql_bind_int(st, 6, t->created_ms);
	sql_bind_int(st, 7, t->expires_ms);
	sql_bind_int(st, 8, t->revoked_ms);
	code = sql_run(s, st, "write a token", e);
	return records_end(s, code, e);
}

int store_token_get(struct store *s, const uint8_t hash[32], struct token *out, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_TOKEN_GET);

	*out = (struct token){0};
	sql_bind_blob(st, 1, hash, sizeof(out->hash));
	int rc = sql_step(s, st, "read a token", e);
	if (rc > 0)
		read_token(st, out);
	sql_reset(st);
	return rc > 0 ? 0 : rc < 0 ? rc : err_set(e, -ENOENT, "no such token");
}

int store_token_each(struct store *s, const char *tenant_id, store_token_fn *fn, void *arg, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_TOKEN_EACH);
	int rc = 0, result = 0;

	sql_bind_text(st, 1, tenant_id);
	while (!result && (rc = sql_step(s, st, "list tokens", e)) > 0) {
		AUTO_TOKEN struct token t;
		read_token(st, &t);
		result = fn(arg, &t);
	}
	sql_reset(st);
	return result ? result : rc;
}

int store_token_revoke(struct store *s, const char *token_id, int64_t at_ms, struct err *e)
{
	int code = sql_change_begin(s, e);

	if (code < 0)
		return code;
	struct sqlite3_stmt *st = sql_use(s, SQL_TOKEN_REVOKE);
	sql_bind_text(st, 1, token_id);
	sql_bind_int(st, 2, at_ms);
	code = sql_run(s, st, "revoke a token", e);
	if (!code)
		code = err_set(e, -ENOENT, "there is no token \"%s\" that is not revoked", token_id);
	return records_end(s, code, e);
}

/* --- audit ----------------------------------------------------------------------------------------------------- */

int store_audit_end_get(struct store *s, struct audit_end *out, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_AUDIT_GET);
	size_t len;

	*out = (struct audit_end){0};
	int rc = sql_step(s, st, "read the end of the audit log", e);
	if (rc > 0) {
		const void *hash = sql_blob(st, 1, &len);
		out->seq = sql_int(st, 0);
		memcpy(out->hash, hash, len < sizeof(out->hash) ? len : sizeof(out->hash));
	}
	sql_reset(st);
	return rc < 0 ? rc : 0;
}

int store_audit_end_set(struct store *s, const struct audit_end *end, struct err *e)
{
	int rc = sql_collect(s, e);

	if (rc < 0)
		return rc;
	struct sqlite3_stmt *st = sql_use(s, SQL_AUDIT_SET);
	sql_bind_int(st, 1, end->seq);
	sql_bind_blob(st, 2, end->hash, sizeof(end->hash));
	rc = sql_run(s, st, "write the end of the audit log", e);
	if (rc < 0)
		sql_collect_failed(s);
	return rc < 0 ? rc : 0;
}
