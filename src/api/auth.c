/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/auth.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "api/http_exchange.h"
#include "api/service.h"
#include "base/cleanup.h"
#include "digest/hash.h"

#define TOKEN_PREFIX "bld_"

/* --- the cache ------------------------------------------------------------------------------------------------- */

#define CACHE_SLOTS 64

struct auth_cache {
	uint64_t version;                           /* of the store's records */
	struct token tokens[CACHE_SLOTS];           /* own; token_id "": free */
	struct tenant_policy policies[CACHE_SLOTS]; /* tenant_id "": free */
};

static void cache_clear(struct auth_cache *c)
{
	for (size_t i = 0; i < CACHE_SLOTS; i++) {
		token_clear(&c->tokens[i]);
		*c->tokens[i].token_id = *c->policies[i].tenant_id = 0;
	}
}

/* What was read before the last change is forgotten. */
static void cache_check(const struct auth *a)
{
	uint64_t now = store_records_version(a->store);

	if (a->cache->version != now)
		cache_clear(a->cache);
	a->cache->version = now;
}

static int policy_get(const struct auth *a, const char *tenant_id, struct tenant_policy *out, struct err *e)
{
	unsigned h = 0;

	for (const char *c = tenant_id; *c; c++)
		h = h * 31 + (uint8_t)*c;
	cache_check(a);
	struct tenant_policy *p = &a->cache->policies[h % CACHE_SLOTS];
	if (strcmp(p->tenant_id, tenant_id) != 0) {
		int rc = tenant_policy_get(a->store, a->config, tenant_id, p, e);
		if (rc < 0) {
			*p->tenant_id = 0;
			return rc;
		}
	}
	*out = *p;
	return 0;
}

/* --- tokens ---------------------------------------------------------------------------------------------------- */

static const char *const scopes[SCOPE_COUNT] = {[SCOPE_NONE] = "",
        [SCOPE_READ] = "read",
        [SCOPE_BUILD] = "build",
        [SCOPE_ADMIN] = "admin",
        [SCOPE_METRICS] = "metrics"};

const char *scope_name(int64_t scope)
{
	return scope > SCOPE_NONE && scope < SCOPE_COUNT ? scopes[scope] : "";
}

enum token_scope scope_parse(const char *name)
{
	for (unsigned s = SCOPE_READ; s < SCOPE_COUNT; s++)
		if (!strcmp(scopes[s], name))
			return (enum token_scope)s;
	return SCOPE_NONE;
}

static void put_hex(char *to, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		snprintf(to + 2 * i, 3, "%02x", bytes[i]);
}

void token_hash(const char *text, uint8_t out[32])
{
	struct digest d;

	hash_buffer(DIGEST_SHA256, text, strlen(text), &d);
	memcpy(out, d.bytes, 32);
}

int token_make(struct token *t, char text[TOKEN_TEXT_MAX])
{
	uint8_t secret[32], id[8];

	if (getrandom(secret, sizeof(secret), 0) != sizeof(secret) || getrandom(id, sizeof(id), 0) != sizeof(id))
		return -EIO;
	memcpy(text, TOKEN_PREFIX, strlen(TOKEN_PREFIX));
	put_hex(text + strlen(TOKEN_PREFIX), secret, sizeof(secret));
	explicit_bzero(secret, sizeof(secret));
	token_hash(text, t->hash);
	memcpy(t->token_id, "tok_", 4);
	put_hex(t->token_id + 4, id, sizeof(id));
	return 0;
}

/* --- who it is ------------------------------------------------------------------------------------------------- */

/* The token behind "Bearer"; NULL with NULL in *WHY: none was sent. */
static const char *bearer_of(const struct http_exchange *x, const char **why)
{
	const char *value = http_header(x, "authorization");

	*why = NULL;
	if (!value)
		return NULL;
	if (strncasecmp(value, "Bearer ", 7) != 0) {
		*why = "the Authorization header is not \"Bearer TOKEN\"";
		return NULL;
	}
	value += 7 + strspn(value + 7, " ");
	if (strlen(value) >= TOKEN_TEXT_MAX || strncmp(value, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) != 0) {
		*why = "the token is unknown";
		return NULL;
	}
	return value;
}

/* The look-up is by hash: how long it takes says nothing about any token. */
static const struct token *token_find(const struct auth *a, const uint8_t hash[32])
{
	struct err e = ERR_INIT;

	cache_check(a);
	struct token *t = &a->cache->tokens[hash[0] % CACHE_SLOTS];
	if (*t->token_id && !memcmp(t->hash, hash, sizeof(t->hash)))
		return t;
	token_clear(t);
	return store_token_get(a->store, hash, t, &e) < 0 ? NULL : t;
}

/* NULL: WHO is its holder; else what is wrong with it. */
static const char *token_check(const struct auth *a, const uint8_t hash[32], struct caller *who)
{
	const struct token *t = token_find(a, hash);

	if (!t)
		return "the token is unknown";
	if (t->revoked_ms)
		return "the token was revoked";
	if (t->expires_ms && t->expires_ms <= time_wall_ms())
		return "the token has expired";
	who->kind = CALLER_TOKEN;
	who->scope = t->scope;
	memmove(who->token_hash, hash, sizeof(who->token_hash));
	memcpy(who->token_id, t->token_id, sizeof(who->token_id));
	memcpy(who->token_tenant, t->tenant_id, sizeof(who->token_tenant));
	return NULL;
}

static void audit(const struct service *s, const struct http_exchange *x, struct audit_event *ev)
{
	ev->resource = http_path(x);
	service_audit(s, x->caller, http_peer(x), ev);
}

static enum rpc_code unauthenticated(struct http_exchange *x, const char *why, struct err *e)
{
	http_header_add(x, "WWW-Authenticate", "Bearer realm=\"builderd\"");
	err_set(e, -EPERM, "%s", why);
	return RPC_UNAUTHENTICATED;
}

/* The VM manager's own token, for the port. In constant time: the hash is no secret, but what it is compared to is the
 * client's choice. */
static bool is_metald_token(const struct auth *a, const struct http_exchange *x)
{
	const char *value = http_header(x, "authorization"), *want = a->config->metald_token_sha256;
	char hex[2 * 32 + 1];
	uint8_t hash[32];
	unsigned differ = 0;

	if (!*want || !value || strncasecmp(value, "Bearer ", 7) != 0)
		return false;
	token_hash(value + 7 + strspn(value + 7, " "), hash);
	put_hex(hex, hash, sizeof(hash));
	for (size_t i = 0; i < sizeof(hex) - 1; i++)
		differ |= (unsigned)(hex[i] ^ want[i]);
	return differ == 0;
}

static enum rpc_code identify(void *arg, struct http_exchange *x, unsigned access, struct err *e)
{
	const struct service *s = arg;
	struct caller *who = xcalloc(1, sizeof(*who));
	const char *why, *token;
	uint8_t hash[32];

	free(x->caller);
	x->caller = who;
	if (http_peer_identity(x) == PEER_ADMIN)
		who->kind = CALLER_ROOT;
	else if (http_peer_identity(x) == PEER_METALD && access == RPC_ACCESS_METALD)
		who->kind = CALLER_METALD;
	else if (access == RPC_ACCESS_METALD && is_metald_token(&s->auth, x))
		who->kind = CALLER_METALD;
	if (access == RPC_ACCESS_ANYONE || who->kind != CALLER_ANYONE || !s->auth.is_on)
		return RPC_OK;
	token = bearer_of(x, &why);
	if (token) {
		token_hash(token, hash);
		why = token_check(&s->auth, hash, who);
	} else if (!why) {
		why = "a token is needed: Authorization: Bearer TOKEN";
	}
	if (!why)
		return RPC_OK;
	audit(s, x, &(struct audit_event){.kind = AUDIT_RESOURCE_ACCESS, .outcome = AUDIT_DENIED, .reason = why});
	return unauthenticated(x, why, e);
}

/* --- for which tenant ------------------------------------------------------------------------------------------ */

static const char *either(const char *a, const char *b)
{
	return a && *a ? a : b && *b ? b : "";
}

static bool differ(const char *a, const char *b)
{
	return a && *a && b && *b && strcmp(a, b) != 0;
}

int tenant_names_resolve(
        struct tenant_names *out, const struct tenant_names *body, const struct tenant_names *header, struct err *e)
{
	char id[TENANT_ID_MAX] = "";

	if (differ(body->tenant_id, header->tenant_id))
		return err_set(e, -EACCES, "the X-Tenant-ID header and the request's tenant_id differ");
	if (differ(body->customer_id, header->customer_id))
		return err_set(e, -EACCES, "the X-Customer-ID header and the request's customer_id differ");
	out->tenant_id = either(body->tenant_id, header->tenant_id);
	out->customer_id = either(body->customer_id, header->customer_id);
	snprintf(id, sizeof(id), "%s", out->tenant_id);
	if (*id && (strlen(out->tenant_id) > 64 || !msg_tenant_id_is_valid(id)))
		return err_set(e, -EINVAL,
		        "tenant_id: \"%.80s\" is not 1 to 64 letters, digits, '.', '_', '-', the first a letter or "
		        "digit",
		        out->tenant_id);
	if (strlen(out->customer_id) >= CUSTOMER_ID_MAX)
		return err_set(e, -EINVAL, "customer_id: %zu bytes, the limit is %d", strlen(out->customer_id),
		        CUSTOMER_ID_MAX - 1);
	return 0;
}

/* The member of that name: NULL if MSG is NULL, has none of it, or it is not set. */
static const void *member_of(const ProtobufCMessage *msg, const char *name, ProtobufCType type)
{
	const ProtobufCFieldDescriptor *f =
	        msg ? protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, name) : NULL;

	if (!f || f->type != type || f->label == PROTOBUF_C_LABEL_REPEATED)
		return NULL;
	return *(void *const *)(const void *)((const char *)msg + f->offset);
}

/* A request's own tenant_id, or that of the BuildConfig in it. */
static struct tenant_names names_in(const ProtobufCMessage *msg)
{
	const ProtobufCMessage *config = member_of(msg, "config", PROTOBUF_C_TYPE_MESSAGE);
	const ProtobufCMessage *tenant = member_of(config, "tenant", PROTOBUF_C_TYPE_MESSAGE);
	const ProtobufCMessage *from = tenant ? tenant : msg;

	return (struct tenant_names){member_of(from, "tenant_id", PROTOBUF_C_TYPE_STRING),
	        member_of(from, "customer_id", PROTOBUF_C_TYPE_STRING)};
}

static int check_policy(const struct auth *a, const struct caller *who, struct err *e)
{
	const struct tenant_policy *p = &who->policy;

	/* Said of an id that the caller's own token has, or that root has named: no hint to anybody else. */
	if (!p->has_record && a->is_on)
		return err_set(e, -EACCES, "there is no tenant \"%s\"", p->tenant_id);
	if (p->is_disabled)
		return err_set(e, -EACCES, "tenant \"%s\" is disabled", p->tenant_id);
	if (*p->customer_id && differ(p->customer_id, who->customer_id))
		return err_set(e, -EACCES, "customer_id: \"%.80s\" is not the tenant's customer", who->customer_id);
	return 0;
}

static int resolve(
        const struct auth *a, struct http_exchange *x, const ProtobufCMessage *msg, struct caller *who, struct err *e)
{
	struct tenant_names body = names_in(msg), names;
	const struct tenant_names header = {http_header(x, "x-tenant-id"), http_header(x, "x-customer-id")};

	if (!msg)
		body.tenant_id = http_query(x, "tenant_id");
	int rc = tenant_names_resolve(&names, &body, &header, e);
	if (rc < 0)
		return rc;
	/* The same whether there is such a tenant or not. */
	if (who->kind == CALLER_TOKEN && differ(names.tenant_id, who->token_tenant))
		return err_set(e, -EACCES, "the token is not of tenant \"%s\"", names.tenant_id);
	snprintf(who->customer_id, sizeof(who->customer_id), "%s", names.customer_id);
	rc = policy_get(a, either(who->token_tenant, either(names.tenant_id, "default")), &who->policy, e);
	if (rc >= 0)
		rc = check_policy(a, who, e);
	if (rc >= 0 && !*who->customer_id)
		memcpy(who->customer_id, who->policy.customer_id, sizeof(who->customer_id));
	return rc;
}

/* --- whether it may -------------------------------------------------------------------------------------------- */

static bool is_tenants(unsigned access)
{
	return access == RPC_ACCESS_READ || access == RPC_ACCESS_BUILD || access == RPC_ACCESS_TENANT_ADMIN;
}

static int check_scope(const struct caller *who, unsigned access, struct err *e)
{
	static const enum token_scope needed[] = {[RPC_ACCESS_METRICS] = SCOPE_METRICS,
	        [RPC_ACCESS_READ] = SCOPE_READ,
	        [RPC_ACCESS_BUILD] = SCOPE_BUILD,
	        [RPC_ACCESS_TENANT_ADMIN] = SCOPE_ADMIN};

	if (access == RPC_ACCESS_ANYONE || who->kind == CALLER_ROOT ||
	        (who->kind == CALLER_METALD && access == RPC_ACCESS_METALD))
		return 0;
	if (access >= ARRAY_LEN(needed) || !needed[access])
		return err_set(e, -EACCES, "this is served on the host's own socket only");
	if (who->kind == CALLER_ANYONE)
		return 0;
	bool is_enough = who->kind == CALLER_TOKEN && (needed[access] == SCOPE_METRICS || who->scope == SCOPE_METRICS
	                                                              ? who->scope == (int64_t)needed[access]
	                                                              : who->scope >= (int64_t)needed[access]);
	return is_enough ? 0
	                 : err_set(e, -EACCES, "the token's scope is \"%s\": this needs \"%s\"", scope_name(who->scope),
	                           scope_name(needed[access]));
}

int auth_check_again(const struct auth *a, const struct caller *who, struct err *e)
{
	struct caller now = *who;
	const char *why = who->kind == CALLER_TOKEN ? token_check(a, who->token_hash, &now) : NULL;

	if (why)
		return err_set(e, -EPERM, "%s", why);
	int rc = policy_get(a, who->policy.tenant_id, &now.policy, e);
	return rc < 0 ? rc : check_policy(a, &now, e);
}

static void put_number(struct http_exchange *x, const char *name, int64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, n);
	http_header_add(x, name, text);
}

static int check_rate(struct auth *a, struct http_exchange *x, const struct tenant_policy *p, struct err *e)
{
	struct rate_state state;
	bool is_served = rate_take(
	        a->rate, p->tenant_id, p->limits.requests_per_minute, p->limits.request_burst, time_mono_ms(), &state);

	put_number(x, "X-RateLimit-Limit", state.limit);
	put_number(x, "X-RateLimit-Remaining", state.remaining);
	put_number(x, "X-RateLimit-Reset", state.reset_s);
	if (is_served)
		return 0;
	put_number(x, "Retry-After", state.retry_after_s);
	return err_set(e, -EDQUOT,
	        "tenant \"%s\" has asked more than %" PRId64 " times a minute (burst %" PRId64
	        "): try again in %" PRId64 " s",
	        p->tenant_id, state.limit, p->limits.request_burst, state.retry_after_s);
}

static void audit_decision(
        const struct service *s, const struct http_exchange *x, unsigned access, int rc, const struct err *e)
{
	struct audit_event ev = {.kind = AUDIT_RESOURCE_ACCESS, .reason = e->msg};
	bool is_read = access == RPC_ACCESS_READ || access == RPC_ACCESS_METRICS;

	if (access == RPC_ACCESS_ANYONE || rc == -EINVAL || (rc >= 0 && is_read && !s->config->audit_reads))
		return;
	if (rc == -EDQUOT) {
		metrics_quota_exceeded(s->jobs->metrics, "requests_per_minute");
		ev.kind = AUDIT_QUOTA_CHECK;
	} else if (rc == -EACCES)
		ev.kind = AUDIT_POLICY_VIOLATION;
	if (rc < 0)
		ev.outcome = ev.kind == AUDIT_RESOURCE_ACCESS ? AUDIT_ERROR : AUDIT_DENIED;
	audit(s, x, &ev);
}

static enum rpc_code authorize(
        void *arg, struct http_exchange *x, unsigned access, const ProtobufCMessage *msg, struct err *e)
{
	struct service *s = arg;
	struct caller *who = x->caller;
	int rc = check_scope(who, access, e);

	if (rc >= 0 && is_tenants(access)) {
		rc = resolve(&s->auth, x, msg, who, e);
		if (rc >= 0 && who->kind != CALLER_ROOT)
			rc = check_rate(&s->auth, x, &who->policy, e);
	}
	audit_decision(s, x, access, rc, e);
	return rc < 0 ? service_code(rc) : RPC_OK;
}

const struct server_guard auth_guard = {.identify = identify, .authorize = authorize};

const char *caller_name(const struct caller *who, char out[64])
{
	static const char *const names[] = {[CALLER_ANYONE] = "anyone",
	        [CALLER_TOKEN] = "token ",
	        [CALLER_METALD] = "metald",
	        [CALLER_ROOT] = "root"};

	snprintf(out, 64, "%s%s", names[who->kind], who->token_id);
	return out;
}

const struct caller *caller_of_rpc(const struct rpc_call *c)
{
	return rpc_caller(c);
}

const struct caller *caller_of_http(const struct http_exchange *x)
{
	return x->caller;
}

int auth_init(struct auth *a, const struct config *c, struct err *e)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return err_set(e, -EIO, "no random numbers");
	*a = (struct auth){.config = c, .rate = rate_new(seed), .is_on = !strcmp(c->auth, "token")};
	a->cache = xcalloc(1, sizeof(*a->cache));
	return 0;
}

void auth_clear(struct auth *a)
{
	rate_free(a->rate);
	if (a->cache)
		cache_clear(a->cache);
	free(a->cache);
	*a = (struct auth){0};
}
