/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/http_exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/rpc_call.h"
#include "api/server_internal.h"

static char *copy(const char *s, size_t len)
{
	char *out = xcalloc(1, len + 1);

	memcpy(out, s, len);
	return out;
}

void http_headers_add(struct http_headers *h, const char *name, size_t name_len, const char *value, size_t value_len)
{
	if (h->n == h->cap) {
		h->cap = h->cap ? h->cap * 2 : 16;
		h->v = xrealloc(h->v, h->cap * sizeof(*h->v));
	}
	struct http_pair *p = &h->v[h->n++];
	*p = (struct http_pair){copy(name, name_len), copy(value, value_len)};
	for (char *c = p->name; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c | 0x20);
}

const char *http_headers_get(const struct http_headers *h, const char *name)
{
	for (size_t i = 0; i < h->n; i++)
		if (!strcmp(h->v[i].name, name))
			return h->v[i].value;
	return NULL;
}

void http_headers_free(struct http_headers *h)
{
	for (size_t i = 0; i < h->n; i++) {
		free(h->v[i].name);
		free(h->v[i].value);
	}
	free(h->v);
	*h = (struct http_headers){0};
}

struct http_exchange *exchange_new(struct conn *c)
{
	struct http_exchange *x = xcalloc(1, sizeof(*x));

	*x = (struct http_exchange){
	        .conn = c, .next = c->exchanges, .prev = &c->exchanges, .file_fd = -1, .length = -1};
	if (x->next)
		x->next->prev = &x->next;
	c->exchanges = x;
	x->since_ms = x->progress_ms = time_mono_ms();
	return x;
}

void exchange_free(struct http_exchange *x)
{
	if (!x)
		return;
	if (!x->is_ended && x->handler) {
		const struct exchange_handler *h = x->handler;
		x->is_ended = true;
		h->lost(x);
	}
	*x->prev = x->next;
	if (x->next)
		x->next->prev = x->prev;
	x->conn->active_ms = time_mono_ms();
	x->conn->server->body_bytes -= x->body.len;
	if (x->file_fd >= 0)
		close(x->file_fd);
	http_headers_free(&x->headers);
	http_headers_free(&x->params);
	http_headers_free(&x->answer);
	http_headers_free(&x->trailers);
	buf_free(&x->body);
	buf_free(&x->out);
	free(x->caller);
	free(x->method);
	free(x->path);
	free(x->query);
	free(x);
}

/* RFC 9112 3.2: a server accepts the absolute form as well; which authority it names makes no difference here. */
bool exchange_set_target(struct http_exchange *x, const char *target, size_t len)
{
	if (len >= 7 && !strncasecmp(target, "http://", 7)) {
		const char *slash = memchr(target + 7, '/', len - 7);
		if (!slash || slash == target + 7)
			return false;
		len -= (size_t)(slash - target);
		target = slash;
	}
	if (!len || target[0] != '/' || memchr(target, '#', len))
		return false;
	const char *mark = memchr(target, '?', len);
	size_t path_len = mark ? (size_t)(mark - target) : len;
	x->path = copy(target, path_len);
	x->query = mark ? copy(mark + 1, len - path_len - 1) : NULL;
	return true;
}

void exchange_headers_done(struct http_exchange *x)
{
	struct server *s = x->conn->server;
	const struct rpc_method *m = server_find_method(s, x->path);
	bool is_get = !strcmp(x->method, "GET") || !strcmp(x->method, "HEAD");
	const char *allow = NULL;

	x->is_head_done = true;
	x->since_ms = time_mono_ms();
	if (cors_preflight(x))
		return;
	if (!strcmp(x->method, "POST") && grpc_begin(x, m))
		return;
	if (m && (!strcmp(x->method, "POST") || (is_get && m->is_idempotent && connect_is_get(x)))) {
		connect_begin(x, m);
		return;
	}
	x->route = server_find_route(s, is_get ? "GET" : x->method, x->path, &allow);
	if (x->route) {
		http_route_begin(x);
		return;
	}
	if (!allow && !m) {
		bool is_post = !strcmp(x->method, "POST");
		http_respond_error(
		        x, 404, is_post ? "unimplemented" : "not_found", "there is no %s %s", x->method, x->path);
		return;
	}
	const char *get = allow ? ", GET" : m && m->is_idempotent ? ", GET" : "";
	http_header_add(x, "Allow", m ? *get ? "POST, GET" : "POST" : allow);
	http_respond_error(x, 405, "unimplemented", "%s cannot be used on %s", x->method, x->path);
}

int exchange_body(struct http_exchange *x, const void *data, size_t len)
{
	struct server *s = x->conn->server;
	/* An envelope and a few bytes of compression may surround a message of exactly the limit. */
	size_t max = (size_t)s->limits.max_body_bytes + 64;

	if (x->is_ended || (x->status && !x->is_duplex)) {
		x->dropped_bytes += len;
		return 0;
	}
	if (x->call && x->call->refusal != RPC_OK && x->dropped_bytes + len <= max) {
		x->dropped_bytes += len; /* of no use any more, so it must not take memory from others */
		return 0;
	}
	if (len > max - x->body.len || len > SERVER_BODY_BYTES_MAX - s->body_bytes) {
		x->handler->too_large(x);
		return -EFBIG;
	}
	buf_append(&x->body, data, len);
	s->body_bytes += len;
	if (x->is_duplex && x->stream_id) /* HTTP/1.1 goes one way at a time */
		x->handler->more(x);
	return 0;
}

void exchange_body_used(struct http_exchange *x, size_t n)
{
	x->conn->server->body_bytes -= n;
	buf_consume(&x->body, n);
}

void exchange_body_done(struct http_exchange *x)
{
	x->is_request_done = true;
	x->progress_ms = time_mono_ms();
	if (!x->status || (x->is_duplex && !x->is_ended))
		x->handler->complete(x);
}

void exchange_drain(struct http_exchange *x)
{
	if (!x->is_ended && (x->is_request_done || x->is_duplex) && x->handler->drain)
		x->handler->drain(x);
}

/* RFC 9110 6.6.1. */
static const char *date_now(void)
{
	static char text[40];
	static time_t last;
	time_t now = time(NULL);
	struct tm tm;

	if (now != last && gmtime_r(&now, &tm)) {
		strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		last = now;
	}
	return text;
}

void exchange_begin(struct http_exchange *x, unsigned status, int64_t length)
{
	x->status = status;
	x->length = length;
	http_header_add(x, "date", date_now());
	cors_answer(x);
	x->progress_ms = time_mono_ms();
	conn_wake(x->conn);
}

void exchange_out(struct http_exchange *x, const void *data, size_t len)
{
	if (!exchange_has_output(x))
		x->progress_ms = time_mono_ms();
	buf_append(&x->out, data, len);
	conn_wake(x->conn);
}

void exchange_end(struct http_exchange *x)
{
	x->is_ended = true;
	conn_wake(x->conn);
}

bool exchange_is_full(const struct http_exchange *x)
{
	return x->out.len - x->out_at >= EXCHANGE_HIGH_WATER;
}

bool exchange_has_output(const struct http_exchange *x)
{
	return x->out.len > x->out_at || x->file_left;
}

ssize_t exchange_pull(struct http_exchange *x, void *to, size_t len)
{
	size_t have = x->out.len - x->out_at;

	if (have) {
		len = len < have ? len : have;
		memcpy(to, x->out.data + x->out_at, len);
		x->out_at += len;
		if (x->out_at == x->out.len)
			x->out.len = x->out_at = 0;
	} else {
		len = len < x->file_left ? len : (size_t)x->file_left;
		if (!len)
			return 0;
		ssize_t n = pread(x->file_fd, to, len, (off_t)x->file_at);
		if (n <= 0)
			return -EIO;
		len = (size_t)n;
		x->file_at += len;
		x->file_left -= len;
	}
	x->progress_ms = time_mono_ms();
	return (ssize_t)len;
}

bool exchange_is_sent(const struct http_exchange *x)
{
	return x->is_ended && !exchange_has_output(x);
}

bool exchange_run_writable(struct http_exchange *x)
{
	if (!x->is_blocked || x->is_ended || x->out.len - x->out_at > EXCHANGE_HIGH_WATER / 2)
		return false;
	x->is_blocked = false;
	x->handler->writable(x);
	return true;
}

bool exchange_is_bodyless(const struct http_exchange *x)
{
	return !strcmp(x->method, "HEAD") || x->status == 204 || x->status == 304;
}
