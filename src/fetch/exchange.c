/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/exchange.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "json/json.h"

#define REDIRECTS_MAX 10
#define TRIES_MAX 3
#define BACKOFF_MS 250
#define RETRY_AFTER_MAX_S 60

static bool same_origin(const struct http_url *a, const struct http_url *b)
{
	return !strcmp(a->scheme, b->scheme) && !strcmp(a->host, b->host) && a->port == b->port;
}

static int send_request(struct exchange *x, int64_t delay_ms, struct err *e)
{
	size_t n = 0;
	bool has_auth = x->authorization && x->authorization[0] && !x->has_left;

	memset(x->r.headers, 0, sizeof(x->r.headers));
	if (x->accept) {
		snprintf(x->accept_header, sizeof(x->accept_header), "Accept: %s", x->accept);
		x->r.headers[n++] = x->accept_header;
	}
	if (has_auth) {
		snprintf(x->authorization_header, sizeof(x->authorization_header), "Authorization: %s",
		        x->authorization);
		x->r.headers[n++] = x->authorization_header;
	}
	x->sent_generation = x->generation ? *x->generation : 0;
	x->r.url = x->url;
	x->r.post = x->post;
	x->r.offset = x->offset;
	x->r.delay_ms = delay_ms;
	x->r.policy = x->policy;
	x->r.on_start = x->on_start;
	x->r.on_data = x->on_data;
	x->r.arg = x->arg;
	int rc = http_start(x->http, &x->r, e);
	explicit_bzero(x->authorization_header, sizeof(x->authorization_header));
	return rc;
}

int exchange_start(struct exchange *x, struct err *e)
{
	if (!http_url_parse(x->url, &x->origin))
		return err_kind_set(e, -EINVAL, ERR_KIND_NETWORK, "%s: \"%.200s\" is no usable URL", x->what, x->url);
	if (!strcmp(x->origin.scheme, "http") && !x->may_be_plain)
		return err_kind_set(e, -EPROTONOSUPPORT, ERR_KIND_DENIED,
		        "%s: %s:%u offers plain HTTP, https is required", x->what, x->origin.host, x->origin.port);
	return send_request(x, 0, e);
}

/* ±50 %: clients that were turned away together do not come back together. */
static int64_t with_jitter(int64_t ms)
{
	uint32_t random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		return ms;
	return ms / 2 + (int64_t)((uint64_t)ms * random >> 32);
}

/* 1: it is on its way again; 0: enough tries. */
static int retry(struct exchange *x, struct err *e)
{
	int64_t delay = with_jitter((int64_t)BACKOFF_MS << (2 * x->tries));
	int64_t after = x->r.response.retry_after_s;

	if (++x->tries >= TRIES_MAX)
		return 0;
	if (after > RETRY_AFTER_MAX_S)
		return 0; /* longer than anybody waits: say so now */
	if (after > 0)
		delay = after * 1000 + with_jitter(BACKOFF_MS);
	x->offset = 0;
	if (x->on_retry) {
		int64_t have = x->on_retry(x->arg, e);
		if (have < 0)
			return (int)have;
		x->offset = (uint64_t)have;
	}
	int rc = send_request(x, delay, e);
	return rc < 0 ? rc : 1;
}

static int redirect(struct exchange *x, struct err *e)
{
	struct http_url from, to;
	char next[HTTP_URL_MAX];

	http_url_parse(x->url, &from);
	if (++x->redirects > REDIRECTS_MAX)
		return err_kind_set(e, -ELOOP, ERR_KIND_NETWORK, "%s: more than %d redirects", x->what, REDIRECTS_MAX);
	if (!x->r.response.location[0] || !http_url_join(x->url, x->r.response.location, next) ||
	        !http_url_parse(next, &to))
		return err_kind_set(e, -EINVAL, ERR_KIND_NETWORK, "%s: %s redirects to no usable http or https URL",
		        x->what, from.host);
	if (!strcmp(to.scheme, "http") && (!x->may_be_plain || !strcmp(from.scheme, "https")))
		return err_kind_set(e, -EPROTONOSUPPORT, ERR_KIND_DENIED,
		        "%s: %s redirects to plain HTTP at %s, https is required", x->what, from.host, to.host);
	x->has_left |= !same_origin(&to, &x->origin);
	strcpy(x->url, next);
	return send_request(x, 0, e);
}

/* What the registry says about it: {"errors": [{"code": ..., "message": ...}]}, distribution-spec "Error Codes". */
static void registry_message(const struct buf *body, char out[160])
{
	struct err ignored;

	out[0] = 0;
	if (!body->len)
		return;
	AUTO(json_cleanup) struct json *j = json_load_strict(body->data, body->len, 16, &ignored);
	const struct json *first = json_element(json_member(j, "errors"), 0);
	const char *text = json_as_string(json_member(first, "message"));
	if (!text || !*text)
		text = json_as_string(json_member(first, "code"));
	if (text)
		snprintf(out, 160, " (%.150s)", text);
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

static const struct {
	long status;
	enum err_kind kind;
	int code;
	const char *text;
} statuses[] = {
        {401, ERR_KIND_UNAUTHORIZED, -EACCES, "the registry asks for credentials"},
        {403, ERR_KIND_DENIED, -EACCES, "access is denied"},
        {404, ERR_KIND_NOT_FOUND, -ENOENT, "not found"},
        {410, ERR_KIND_NOT_FOUND, -ENOENT, "not found"},
        {429, ERR_KIND_NETWORK, -EAGAIN, "too many requests, the registry limits us"},
        {503, ERR_KIND_NETWORK, -EAGAIN, "the registry is not available"},
};

static int status_error(struct exchange *x, struct err *e)
{
	long status = x->r.response.status;
	char message[160];

	registry_message(&x->r.response.error_body, message);
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		if (statuses[i].status != status)
			continue;
		bool is_missing = statuses[i].kind == ERR_KIND_NOT_FOUND && x->missing;
		return err_kind_set(e, statuses[i].code, is_missing ? x->missing : statuses[i].kind,
		        "%s: %s: HTTP status %ld%s", x->what, statuses[i].text, status, message);
	}
	return err_kind_set(e, -EIO, ERR_KIND_NETWORK, "%s: %s answered with HTTP status %ld%s", x->what,
	        status >= 500 ? "the server failed and" : "the server", status, message);
}

static int challenged(struct exchange *x, struct err *e)
{
	int rc = 0;

	if (x->has_left || !x->on_challenge)
		return status_error(x, e);
	bool is_stale = x->generation && x->sent_generation != *x->generation;
	if (!is_stale)
		rc = x->on_challenge(x->arg, x->r.response.challenge, ++x->challenges, e);
	return rc < 0 ? rc : send_request(x, 0, e);
}

static bool is_temporary(long status)
{
	return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

int exchange_step(struct exchange *x, struct err *e)
{
	long status = x->r.response.status;
	int rc = 0;

	if (x->r.failure) {
		if (x->r.how == HTTP_FAILURE_RETRY)
			rc = retry(x, e);
		if (rc)
			return rc < 0 ? rc : 0;
		*e = x->r.err;
		return err_wrap(e, "%s", x->what), x->r.failure;
	}
	if (status == 200 || status == 206)
		return 1;
	if (status == 301 || status == 302 || status == 303 || status == 307 || status == 308)
		return redirect(x, e);
	if (status == 401)
		return challenged(x, e);
	if (is_temporary(status))
		rc = retry(x, e);
	if (rc)
		return rc < 0 ? rc : 0;
	return status_error(x, e);
}

int exchange_run(struct exchange *x, struct err *e)
{
	int rc = exchange_start(x, e);

	while (!rc) {
		rc = http_wait(x->http, &x->r, e);
		if (rc < 0)
			return err_wrap(e, "%s", x->what), rc;
		rc = exchange_step(x, e);
	}
	return rc < 0 ? rc : 0;
}

void exchange_close(struct exchange *x)
{
	if (x->r.http)
		http_cancel(x->http, &x->r);
}
