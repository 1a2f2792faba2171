/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/auth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "fetch/exchange.h"
#include "json/json.h"

#define CHALLENGES_READ 8
#define ROUNDS_MAX 16
#define TOKEN_ANSWER_MAX (128 * 1024)

static int body_append(void *arg, const void *data, size_t len, struct err *e)
{
	struct buf *b = arg;

	if (b->len + len > TOKEN_ANSWER_MAX)
		return err_kind_set(e, -EFBIG, ERR_KIND_UNAUTHORIZED,
		        "the token server's answer is longer than %d bytes", TOKEN_ANSWER_MAX);
	buf_append(b, data, len);
	return 0;
}

/* It goes into a header: visible ASCII only. */
static bool is_token(const char *s)
{
	size_t n = strlen(s);

	for (; *s; s++)
		if (*s <= ' ' || *s > '~')
			return false;
	return n > 0;
}

static int take_authorization(struct auth *a, const char *scheme, const char *value, struct err *e)
{
	if (strlen(scheme) + 1 + strlen(value) >= sizeof(a->authorization))
		return err_kind_set(e, -EFBIG, ERR_KIND_UNAUTHORIZED, "registry %s: the token is longer than %zu bytes",
		        a->registry, sizeof(a->authorization) - 8);
	snprintf(a->authorization, sizeof(a->authorization), "%s %s", scheme, value);
	a->generation++;
	return 1;
}

static int take_token(struct auth *a, const struct buf *body, const char *host, struct err *e)
{
	const char *token = NULL;

	AUTO(json_cleanup) struct json *j = json_load_strict(body->data ? body->data : "", body->len, 16, e);
	if (!j || json_get_string(j, "token", JSON_OPTIONAL, &token, e) < 0 ||
	        (!token && json_get_string(j, "access_token", JSON_REQUIRED, &token, e) < 0) || !is_token(token)) {
		if (token)
			err_set(e, -EINVAL, "the token holds characters that no token has");
		e->kind = ERR_KIND_UNAUTHORIZED;
		return err_wrap(e, "registry %s: token server %s", a->registry, host), -EINVAL;
	}
	return take_authorization(a, "Bearer", token, e);
}

static void put_parameter(struct buf *b, const char *name, const char *value)
{
	if (!*value)
		return;
	buf_printf(b, "%s%s=", b->len ? "&" : "", name);
	http_url_escape(b, value);
}

static void put_scope(struct auth *a, const struct challenge *c, struct buf *b)
{
	char scope[512];

	put_parameter(b, "service", c->service);
	snprintf(scope, sizeof(scope), "repository:%s:pull", a->repository);
	put_parameter(b, "scope", scope);
}

static int run_token(struct auth *a, struct exchange *x, const char *host, struct err *e)
{
	AUTO_BUF struct buf body = {0};
	char what[512];

	snprintf(what, sizeof(what), "registry %.200s: token server %.200s", a->registry, host);
	x->http = a->http;
	x->policy = a->policy;
	x->what = what;
	x->may_be_plain = a->may_be_plain && strcmp(a->origin.scheme, "https");
	x->arg = &body;
	x->on_data = body_append;
	x->accept = "application/json";
	x->missing = ERR_KIND_UNAUTHORIZED;
	int rc = exchange_run(x, e);
	if (rc >= 0)
		rc = take_token(a, &body, host, e);
	exchange_close(x);
	if (body.len)
		explicit_bzero(body.data, body.len);
	return rc;
}

/* OAuth2: an identity token is traded for an access token. */
static int post_token(struct auth *a, const struct challenge *c, const char *host, struct err *e)
{
	AUTO_FREE struct exchange *x = xcalloc(1, sizeof(*x));
	AUTO_BUF struct buf form = {0};

	put_parameter(&form, "grant_type", "refresh_token");
	put_parameter(&form, "client_id", PACKAGE_NAME);
	put_parameter(&form, "refresh_token", a->credentials->token);
	put_scope(a, c, &form);
	snprintf(x->url, sizeof(x->url), "%s", c->realm);
	x->post = buf_cstr(&form);
	int rc = run_token(a, x, host, e);
	explicit_bzero(form.data, form.len);
	return rc;
}

static int get_token(struct auth *a, const struct challenge *c, const char *host, bool is_trusted, struct err *e)
{
	AUTO_FREE struct exchange *x = xcalloc(1, sizeof(*x));
	AUTO_BUF struct buf query = {0};
	char basic[6144] = "Basic ";

	if (a->credentials->username[0] && is_trusted) {
		if (!credentials_basic(a->credentials, basic + 6, sizeof(basic) - 6))
			return err_kind_set(e, -EFBIG, ERR_KIND_UNAUTHORIZED,
			        "registry %s: the credentials are too long", a->registry);
		x->authorization = basic;
	}
	put_scope(a, c, &query);
	int n = snprintf(
	        x->url, sizeof(x->url), "%s%s%s", c->realm, strchr(c->realm, '?') ? "&" : "?", buf_cstr(&query));
	int rc = n >= (int)sizeof(x->url) ? err_kind_set(e, -EFBIG, ERR_KIND_UNAUTHORIZED,
	                                            "registry %s: the realm is too long", a->registry)
	                                  : run_token(a, x, host, e);
	explicit_bzero(basic, sizeof(basic));
	return rc;
}

static int answer_bearer(struct auth *a, const struct challenge *c, struct err *e)
{
	struct http_url realm;

	if (a->credentials->token[0] && !a->is_token_tried) {
		a->is_token_tried = true;
		if (!is_token(a->credentials->token))
			return err_kind_set(e, -EINVAL, ERR_KIND_UNAUTHORIZED,
			        "registry %s: the token given is malformed", a->registry);
		return take_authorization(a, "Bearer", a->credentials->token, e);
	}
	if (!http_url_parse(c->realm, &realm))
		return err_kind_set(e, -EINVAL, ERR_KIND_UNAUTHORIZED,
		        "registry %s: its token server \"%.200s\" is no usable URL", a->registry, c->realm);
	if (++a->rounds > ROUNDS_MAX)
		return 0;
	bool is_trusted = policy_realm_is_trusted(a->origin.host, realm.host);
	a->was_withheld |= !is_trusted && credentials_given(a->credentials);
	if (a->credentials->token[0] && is_trusted) {
		int rc = post_token(a, c, realm.host, e);
		/* A server without OAuth2 answers 404 or 405. */
		if (rc >= 0 || !a->credentials->username[0])
			return rc;
	}
	return get_token(a, c, realm.host, is_trusted, e);
}

static int answer_basic(struct auth *a, struct err *e)
{
	char basic[6144];

	if (!a->credentials->username[0] || !strncmp(a->authorization, "Basic ", 6))
		return 0;
	if (strcmp(a->origin.scheme, "https") && !a->may_be_plain)
		return err_kind_set(e, -EPROTONOSUPPORT, ERR_KIND_DENIED,
		        "registry %s: no password is sent over plain HTTP", a->registry);
	if (!credentials_basic(a->credentials, basic, sizeof(basic)))
		return err_kind_set(
		        e, -EFBIG, ERR_KIND_UNAUTHORIZED, "registry %s: the credentials are too long", a->registry);
	int rc = take_authorization(a, "Basic", basic, e);
	explicit_bzero(basic, sizeof(basic));
	return rc;
}

int auth_answer(struct auth *a, const char *field, struct err *e)
{
	struct challenge list[CHALLENGES_READ];
	int n = challenge_parse(field, list, ARRAY_LEN(list), e);

	if (n < 0)
		return err_wrap(e, "registry %s", a->registry), n;
	for (int i = 0; i < n; i++)
		if (!strcmp(list[i].scheme, "bearer") && list[i].realm[0])
			return answer_bearer(a, &list[i], e);
	for (int i = 0; i < n; i++)
		if (!strcmp(list[i].scheme, "basic"))
			return answer_basic(a, e);
	return 0;
}

void auth_wipe(struct auth *a)
{
	explicit_bzero(a->authorization, sizeof(a->authorization));
}
