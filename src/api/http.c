/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plain routes: http.h over an exchange. */
#include "api/http.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/server_internal.h"
#include "json/json.h"

const char *http_path(const struct http_exchange *x)
{
	return x->path;
}

const char *http_suffix(const struct http_exchange *x)
{
	return x->path + strlen(x->route->prefix);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* application/x-www-form-urlencoded; a broken escape and %00 stay as they are. */
static void decode(struct buf *to, const char *s, size_t len)
{
	to->len = 0;
	for (size_t i = 0; i < len; i++) {
		char c = s[i] == '+' ? ' ' : s[i];
		if (c == '%' && len - i > 2 && hex_digit(s[i + 1]) >= 0 && hex_digit(s[i + 2]) >= 0) {
			char byte = (char)(hex_digit(s[i + 1]) << 4 | hex_digit(s[i + 2]));
			if (byte) {
				c = byte;
				i += 2;
			}
		}
		buf_append(to, &c, 1);
	}
}

static void parse_query(struct http_exchange *x)
{
	struct buf name AUTO_BUF = {0}, value AUTO_BUF = {0};

	x->is_query_parsed = true;
	for (const char *p = x->query, *end; p && *p; p = *end ? end + 1 : end) {
		end = p + strcspn(p, "&");
		const char *eq = memchr(p, '=', (size_t)(end - p));
		const char *name_end = eq ? eq : end, *from = eq ? eq + 1 : end;
		decode(&name, p, (size_t)(name_end - p));
		decode(&value, from, (size_t)(end - from));
		http_headers_add(&x->params, buf_cstr(&name), name.len, buf_cstr(&value), value.len);
	}
}

const char *http_query(struct http_exchange *x, const char *name)
{
	if (!x->is_query_parsed)
		parse_query(x);
	return http_headers_get(&x->params, name);
}

const char *http_header(const struct http_exchange *x, const char *name)
{
	return http_headers_get(&x->headers, name);
}

const char *http_body(const struct http_exchange *x, size_t *len)
{
	*len = x->body.len;
	return x->body.len ? x->body.data : "";
}

const char *http_peer(const struct http_exchange *x)
{
	return x->conn->peer;
}

enum peer_identity http_peer_identity(const struct http_exchange *x)
{
	return x->conn->identity;
}

bool http_is_head(const struct http_exchange *x)
{
	return !strcmp(x->method, "HEAD");
}

void http_header_add(struct http_exchange *x, const char *name, const char *value)
{
	http_headers_add(&x->answer, name, strlen(name), value, strlen(value));
	for (char *c = x->answer.v[x->answer.n - 1].value; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
}

void http_respond(struct http_exchange *x, unsigned status, const char *content_type, const void *body, size_t len)
{
	if (x->status)
		return;
	if (content_type)
		http_header_add(x, "content-type", content_type);
	exchange_begin(x, status, (int64_t)len);
	if (!exchange_is_bodyless(x))
		exchange_out(x, body, len);
	exchange_end(x);
}

void http_error_json(struct buf *b, const char *code, const char *message)
{
	buf_puts(b, "{\"code\":");
	json_put_string(b, code, strlen(code));
	if (*message) {
		buf_puts(b, ",\"message\":");
		json_put_string(b, message, strlen(message));
	}
	buf_puts(b, "}");
}

void http_respond_error(struct http_exchange *x, unsigned status, const char *code, const char *fmt, ...)
{
	struct buf b AUTO_BUF = {0};
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	http_error_json(&b, code, text);
	http_respond(x, status, "application/json", b.data, b.len);
}

void http_respond_file(
        struct http_exchange *x, unsigned status, const char *content_type, int fd, uint64_t offset, uint64_t len)
{
	if (content_type)
		http_header_add(x, "content-type", content_type);
	exchange_begin(x, status, (int64_t)len);
	if (exchange_is_bodyless(x)) {
		close(fd);
	} else {
		x->file_fd = fd;
		x->file_at = offset;
		x->file_left = len;
	}
	exchange_end(x);
}

void http_stream_begin(struct http_exchange *x, unsigned status, const char *content_type)
{
	if (content_type)
		http_header_add(x, "content-type", content_type);
	exchange_begin(x, status, -1);
}

int http_stream_write(struct http_exchange *x, const void *data, size_t len)
{
	if (exchange_is_full(x)) {
		x->is_blocked = true;
		return -EAGAIN;
	}
	if (!exchange_is_bodyless(x))
		exchange_out(x, data, len);
	return 0;
}

void http_stream_end(struct http_exchange *x)
{
	exchange_end(x);
}

void http_on(struct http_exchange *x, void (*writable)(struct http_exchange *x, void *arg),
        void (*cancel)(struct http_exchange *x, void *arg), void *arg)
{
	x->on_writable = writable;
	x->on_cancel = cancel;
	x->on_arg = arg;
}

/* True: the guard lets it pass; else it is answered. */
static bool is_let_in(struct http_exchange *x)
{
	const struct server *s = x->conn->server;
	struct err e = ERR_INIT;
	enum rpc_code code = s->guard ? s->guard->identify(s->arg, x, x->route->access, &e) : RPC_OK;

	if (s->guard && code == RPC_OK)
		code = s->guard->authorize(s->arg, x, x->route->access, NULL, &e);
	if (code != RPC_OK)
		http_respond_error(x, rpc_code_http_status(code), rpc_code_name(code), "%s", e.msg);
	return code == RPC_OK;
}

static void route_complete(struct http_exchange *x)
{
	if (!is_let_in(x))
		return;
	x->route->handle(x, x->conn->server->arg);
	if (!x->is_ended && !x->on_cancel) {
		/* A bug of the route; without this the client would wait for ever. */
		if (!x->status)
			http_respond_error(x, 500, "internal", "%s gave no answer", x->route->prefix);
		exchange_end(x);
	}
}

static void route_too_large(struct http_exchange *x)
{
	http_respond_error(x, 413, "resource_exhausted", "the request body is over the limit of %u bytes",
	        x->conn->server->limits.max_body_bytes);
}

static void route_writable(struct http_exchange *x)
{
	if (x->on_writable)
		x->on_writable(x, x->on_arg);
}

static void route_lost(struct http_exchange *x)
{
	if (x->on_cancel)
		x->on_cancel(x, x->on_arg);
}

/* Unbounded answers (followed logs) end with the server. The stream is cut, not ended: it was not all there is. */
static void route_drain(struct http_exchange *x)
{
	if (!x->status || x->length >= 0)
		return;
	x->is_ended = x->is_aborted = true;
	route_lost(x);
	conn_wake(x->conn);
}

static const struct exchange_handler route_handler = {
        .complete = route_complete,
        .too_large = route_too_large,
        .writable = route_writable,
        .lost = route_lost,
        .drain = route_drain,
};

void http_route_begin(struct http_exchange *x)
{
	x->handler = &route_handler;
}
