/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/admin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "api/present.h"
#include "api/quotas.h"
#include "api/service.h"
#include "base/cleanup.h"
#include "base/log.h"

#define TEXT_MAX 256
#define LIFETIME_MAX_S (100LL * 366 * 24 * 3600)

/* --- messages -------------------------------------------------------------------------------------------------- */

static char *text_of(const char *s)
{
	return s && *s ? xstrdup(s) : (char *)(uintptr_t)protobuf_c_empty_string;
}

static Builder__V1__TenantRecord *tenant_message(const struct tenant *t)
{
	Builder__V1__TenantRecord *m = xcalloc(1, sizeof(*m));

	builder__v1__tenant_record__init(m);
	m->tenant_id = text_of(t->tenant_id);
	m->customer_id = text_of(t->customer_id);
	m->organization_id = text_of(t->organization_id);
	m->tier = (Builder__V1__TenantTier)t->tier;
	m->limits = text_of(t->limits);
	m->requires_encryption = t->needs_encryption;
	m->is_disabled = t->is_disabled;
	m->created_at = present_time(t->created_ms);
	m->updated_at = present_time(t->updated_ms);
	return m;
}

static Builder__V1__TokenRecord *token_message(const struct token *t)
{
	Builder__V1__TokenRecord *m = xcalloc(1, sizeof(*m));

	builder__v1__token_record__init(m);
	m->token_id = text_of(t->token_id);
	m->tenant_id = text_of(t->tenant_id);
	m->scope = text_of(scope_name(t->scope));
	m->description = text_of(t->description);
	m->created_at = present_time(t->created_ms);
	m->expires_at = present_time(t->expires_ms);
	m->revoked_at = present_time(t->revoked_ms);
	return m;
}

static void reply_and_free(struct rpc_call *c, ProtobufCMessage *m)
{
	rpc_reply(c, m);
	protobuf_c_message_free_unpacked(m, NULL);
}

/* --- tenants --------------------------------------------------------------------------------------------------- */

static int check_id(const char *tenant_id, struct err *e)
{
	const struct tenant_names body = {tenant_id, NULL}, none = {NULL, NULL};
	struct tenant_names unused;

	return *tenant_id ? tenant_names_resolve(&unused, &body, &none, e)
	                  : err_set(e, -EINVAL, "tenant_id is missing");
}

static int set_text(char **to, const char *name, const char *value, struct err *e)
{
	if (strlen(value) > TEXT_MAX)
		return err_set(e, -EINVAL, "%s: %zu bytes, the limit is %d", name, strlen(value), TEXT_MAX);
	for (const char *p = value; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return err_set(e, -EINVAL, "%s has control characters", name);
	if (*value) {
		free(*to);
		*to = xstrdup(value);
	}
	return 0;
}

static void set_switch(int64_t *to, Builder__V1__Switch s)
{
	if (s)
		*to = s == BUILDER__V1__SWITCH__SWITCH_ON;
}

/* The record as it shall be: the stored one, or a new one. */
static int tenant_begin(struct service *s, const Builder__V1__SetTenantRequest *q, struct tenant *t, struct err *e)
{
	struct err none = ERR_INIT;
	int rc = check_id(q->tenant_id, e);

	if (rc < 0)
		return rc;
	rc = store_tenant_get(s->auth.store, q->tenant_id, t, &none);
	if (rc >= 0)
		return q->is_new ? err_set(e, -EEXIST, "tenant \"%s\" exists", q->tenant_id) : 0;
	if (rc != -ENOENT || !q->is_new) {
		*e = none;
		return rc;
	}
	snprintf(t->tenant_id, sizeof(t->tenant_id), "%s", q->tenant_id);
	t->tier = tier_parse(s->config->default_tier);
	t->created_ms = time_wall_ms();
	return 0;
}

static int tenant_change(
        const struct config *c, const Builder__V1__SetTenantRequest *q, struct tenant *t, struct err *e)
{
	AUTO_BUF struct buf limits = {0};
	struct tenant_policy check;
	int rc = set_text(&t->customer_id, "customer_id", q->customer_id, e);

	if (rc >= 0)
		rc = set_text(&t->organization_id, "organization_id", q->organization_id, e);
	if (rc >= 0 && (unsigned)q->tier >= TIER_COUNT)
		rc = err_set(e, -EINVAL, "tier: %d is none", (int)q->tier);
	if (rc >= 0)
		rc = tier_settings_merge(&limits, t->limits ? t->limits : "", q->limits, e);
	if (rc < 0)
		return rc;
	if (q->tier)
		t->tier = q->tier;
	free(t->limits);
	t->limits = xstrdup(buf_cstr(&limits));
	set_switch(&t->needs_encryption, q->encryption);
	set_switch(&t->is_disabled, q->disabled);
	t->updated_ms = time_wall_ms();
	return tenant_policy_of(c, t, &check, e);
}

void admin_set_tenant(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__SetTenantRequest *q = (const void *)request;
	struct service *s = arg;
	AUTO_TENANT struct tenant t = {0};
	struct err e = ERR_INIT;

	if (tenant_begin(s, q, &t, &e) < 0 || tenant_change(s->config, q, &t, &e) < 0 ||
	        store_tenant_put(s->auth.store, &t, &e) < 0) {
		service_fail(c, &e);
		return;
	}
	jobs_tenant_tell(s->jobs, t.tenant_id);
	log_info(q->is_new ? "tenant added" : "tenant changed", KV("tenant", t.tenant_id),
	        KV("tier", tier_limits_of((unsigned)t.tier)->name), KV("limits", t.limits),
	        KV("disabled", t.is_disabled ? "true" : "false"));
	Builder__V1__SetTenantResponse *r = xcalloc(1, sizeof(*r));
	builder__v1__set_tenant_response__init(r);
	r->tenant = tenant_message(&t);
	reply_and_free(c, &r->base);
}

void admin_get_tenant(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__GetTenantRequest *q = (const void *)request;
	struct service *s = arg;
	AUTO_TENANT struct tenant t = {0};
	struct tenant_policy p;
	struct store_usage u;
	AUTO_BUF struct buf limits = {0};
	struct err e = ERR_INIT;

	if (check_id(q->tenant_id, &e) < 0 || store_tenant_get(s->auth.store, q->tenant_id, &t, &e) < 0 ||
	        tenant_policy_of(s->config, &t, &p, &e) < 0 ||
	        store_usage_get(s->auth.store, t.tenant_id, STORE_DAY(time_wall_ms()), &u, &e) < 0) {
		service_fail(c, &e);
		return;
	}
	Builder__V1__GetTenantResponse *r = xcalloc(1, sizeof(*r));
	builder__v1__get_tenant_response__init(r);
	tier_limits_write(&limits, &p.limits);
	r->tenant = tenant_message(&t);
	r->effective_limits = text_of(buf_cstr(&limits));
	r->usage = xcalloc(1, sizeof(*r->usage));
	quota_usage_message(r->usage, &u, s->jobs, t.tenant_id);
	reply_and_free(c, &r->base);
}

static int add_tenant(void *arg, const struct tenant *t)
{
	Builder__V1__ListTenantsResponse *r = arg;

	r->tenants = xrealloc(r->tenants, (r->n_tenants + 1) * sizeof(*r->tenants));
	r->tenants[r->n_tenants++] = tenant_message(t);
	return 0;
}

void admin_list_tenants(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const struct service *s = arg;
	Builder__V1__ListTenantsResponse *r = xcalloc(1, sizeof(*r));
	struct err e = ERR_INIT;

	builder__v1__list_tenants_response__init(r);
	if (store_tenant_each(s->auth.store, add_tenant, r, &e) >= 0) {
		reply_and_free(c, &r->base);
		return;
	}
	service_fail(c, &e);
	protobuf_c_message_free_unpacked(&r->base, NULL);
}

void admin_remove_tenant(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__RemoveTenantRequest *q = (const void *)request;
	Builder__V1__RemoveTenantResponse r = BUILDER__V1__REMOVE_TENANT_RESPONSE__INIT;
	const struct service *s = arg;
	struct err e = ERR_INIT;

	if (check_id(q->tenant_id, &e) < 0 || store_tenant_remove(s->auth.store, q->tenant_id, &e) < 0) {
		service_fail(c, &e);
		return;
	}
	log_info("tenant removed", KV("tenant", q->tenant_id));
	rpc_reply(c, &r.base);
}

/* --- tokens ---------------------------------------------------------------------------------------------------- */

static int token_check(struct service *s, const Builder__V1__CreateTokenRequest *q, struct token *t, struct err *e)
{
	AUTO_TENANT struct tenant tenant = {0};
	bool is_operators = !*q->tenant_id;

	t->scope = scope_parse(q->scope);
	if (!t->scope)
		return err_set(e, -EINVAL, "scope: \"%.40s\" is none of read, build, admin, metrics", q->scope);
	if (is_operators != (t->scope == SCOPE_METRICS))
		return err_set(e, -EINVAL, "scope \"%s\" goes %s", q->scope,
		        is_operators ? "with a tenant" : "without a tenant: it shows the whole host");
	if (q->lifetime_seconds < 0 || q->lifetime_seconds > LIFETIME_MAX_S)
		return err_set(e, -EINVAL, "lifetime_seconds: %" PRId64 " is not between 0 and %lld",
		        q->lifetime_seconds, LIFETIME_MAX_S);
	if (set_text(&t->description, "description", q->description, e) < 0)
		return -EINVAL;
	if (is_operators)
		return 0;
	snprintf(t->tenant_id, sizeof(t->tenant_id), "%s", q->tenant_id);
	int rc = check_id(q->tenant_id, e);
	return rc < 0 ? rc : store_tenant_get(s->auth.store, q->tenant_id, &tenant, e);
}

void admin_create_token(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__CreateTokenRequest *q = (const void *)request;
	struct service *s = arg;
	AUTO_TOKEN struct token t = {0};
	char text[TOKEN_TEXT_MAX];
	struct err e = ERR_INIT;
	int rc = token_check(s, q, &t, &e);

	if (rc >= 0 && token_make(&t, text) < 0)
		rc = err_set(&e, -EIO, "no random numbers for a token");
	t.created_ms = time_wall_ms();
	t.expires_ms = q->lifetime_seconds ? t.created_ms + q->lifetime_seconds * 1000 : 0;
	if (rc >= 0)
		rc = store_token_add(s->auth.store, &t, &e);
	if (rc < 0) {
		service_fail(c, &e);
		return;
	}
	log_info("token made", KV("token", t.token_id), KV("tenant", t.tenant_id), KV("scope", q->scope));
	Builder__V1__CreateTokenResponse *r = xcalloc(1, sizeof(*r));
	builder__v1__create_token_response__init(r);
	r->token = text_of(text);
	r->record = token_message(&t);
	rpc_reply(c, &r->base);
	explicit_bzero(text, sizeof(text));
	explicit_bzero(r->token, strlen(r->token));
	protobuf_c_message_free_unpacked(&r->base, NULL);
}

static int add_token(void *arg, const struct token *t)
{
	Builder__V1__ListTokensResponse *r = arg;

	r->tokens = xrealloc(r->tokens, (r->n_tokens + 1) * sizeof(*r->tokens));
	r->tokens[r->n_tokens++] = token_message(t);
	return 0;
}

void admin_list_tokens(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__ListTokensRequest *q = (const void *)request;
	const struct service *s = arg;
	Builder__V1__ListTokensResponse *r = xcalloc(1, sizeof(*r));
	struct err e = ERR_INIT;

	builder__v1__list_tokens_response__init(r);
	if (store_token_each(s->auth.store, q->tenant_id, add_token, r, &e) >= 0) {
		reply_and_free(c, &r->base);
		return;
	}
	service_fail(c, &e);
	protobuf_c_message_free_unpacked(&r->base, NULL);
}

void admin_revoke_token(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__RevokeTokenRequest *q = (const void *)request;
	Builder__V1__RevokeTokenResponse r = BUILDER__V1__REVOKE_TOKEN_RESPONSE__INIT;
	const struct service *s = arg;
	struct err e = ERR_INIT;

	if (store_token_revoke(s->auth.store, q->token_id, time_wall_ms(), &e) < 0) {
		service_fail(c, &e);
		return;
	}
	log_info("token revoked", KV("token", q->token_id));
	rpc_reply(c, &r.base);
}

/* --- audit ----------------------------------------------------------------------------------------------------- */

void admin_get_audit_end(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const struct service *s = arg;
	Builder__V1__GetAuditEndResponse r = BUILDER__V1__GET_AUDIT_END_RESPONSE__INIT;
	struct audit_end end;
	char hex[65];

	audit_end_get(s->audit, &end);
	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", end.hash[i]);
	r.seq = end.seq;
	r.hash = hex;
	rpc_reply(c, &r.base);
}
