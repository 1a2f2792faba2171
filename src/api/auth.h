/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may call what: the one place where it is decided, for every method and every route.
 *
 * The server asks twice (struct server_guard): when a request's headers are whole, who it is; when the request is, for
 * which tenant, whether that one may, and whether it has asked too often. A method's function runs behind that, and
 * finds the answer in its struct caller. What a method or route takes is its row's `access` (enum
 * rpc_access); a row without one is closed to everybody.
 */
#ifndef API_AUTH_H
#define API_AUTH_H

#include "api/rate.h"
#include "api/server.h"
#include "api/tenants.h"

/* Of a tenant's token; each may what those before it may. METRICS is the operator's and may only that. */
enum token_scope { SCOPE_NONE, SCOPE_READ, SCOPE_BUILD, SCOPE_ADMIN, SCOPE_METRICS, SCOPE_COUNT };
const char *scope_name(int64_t scope);
enum token_scope scope_parse(const char *name); /* SCOPE_NONE: there is none of that name */

/* "bld_" and 64 hexadecimal digits. */
#define TOKEN_TEXT_MAX 72
/* 256 random bits as text, and their hash and an id in T. -EIO. */
int token_make(struct token *t, char text[TOKEN_TEXT_MAX]);
void token_hash(const char *text, uint8_t out[32]);

enum caller_kind {
	CALLER_ANYONE, /* no authentication */
	CALLER_TOKEN,
	CALLER_METALD,
	CALLER_ROOT
};

struct caller {
	enum caller_kind kind;
	int64_t scope; /* of the token */
	char token_id[TOKEN_ID_MAX];
	uint8_t token_hash[32];
	char token_tenant[TENANT_ID_MAX];
	/* once authorized, where the access is a tenant's */
	struct tenant_policy policy; /* policy.tenant_id is the tenant */
	char customer_id[CUSTOMER_ID_MAX];
};

/* Records as they were read last; good as long as the store's version is the same. */
struct auth_cache;

struct auth {
	struct store *store;         /* borrowed */
	const struct config *config; /* borrowed */
	struct rate *rate;           /* owns */
	struct auth_cache *cache;    /* owns */
	bool is_on;                  /* AUTH=token */
};

/* 0, or -EIO: no random numbers. */
int auth_init(struct auth *a, const struct config *c, struct err *e);
void auth_clear(struct auth *a);

/* For answers that take long: is what let WHO in still so? -EPERM: the token is worth nothing any more; -EACCES: its
 * tenant is disabled. */
int auth_check_again(const struct auth *a, const struct caller *who, struct err *e);

/* The server's guard; its ARG is a struct service. */
extern const struct server_guard auth_guard;

/* NULL and "" are the same. -EACCES: header and body differ; -EINVAL: not an id. Names the tenant, "" if nothing does.
 */
struct tenant_names {
	const char *tenant_id, *customer_id;
};
int tenant_names_resolve(
        struct tenant_names *out, const struct tenant_names *body, const struct tenant_names *header, struct err *e);

/* "token tok_...", "root", "metald", "anyone". Returns OUT. */
const char *caller_name(const struct caller *who, char out[64]);

/* Who called. Never NULL behind the guard. */
const struct caller *caller_of_rpc(const struct rpc_call *c);
const struct caller *caller_of_http(const struct http_exchange *x);

#endif
