/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP/1.1 on a connection: one exchange at a time; pipelined requests wait in the connection's buffer. When an answer
 * is given before the request's body has come, the body is not read: the connection ends behind the answer.
 */
#include "api/http1.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/server_internal.h"

struct http1 {
	struct http1_parser parser;
	struct http_exchange *x; /* the connection's only one, NULL between requests */
	bool is_head_sent, is_chunked;
	bool is_last;    /* close behind this answer */
	int64_t head_ms; /* since when the head of a request is awaited; 0: idle between requests */
};

static const struct {
	unsigned status;
	const char *reason;
} reasons[] = {
        {100, "Continue"},
        {200, "OK"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
};

static const char *reason_of(unsigned status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "";
}

static void refuse(struct conn *c, struct http1 *s)
{
	static const char *const codes[] = {"invalid_argument", "unimplemented"};

	s->is_last = true;
	if (!s->x) {
		s->x = exchange_new(c);
		s->x->method = xstrdup("?");
	}
	s->x->is_request_done = true;
	if (s->x->status)
		return;
	if (s->x->call) /* the method has not been called: the body was not whole */
		rpc_fail(s->x->call, RPC_INVALID_ARGUMENT, "the request has %s", s->parser.why);
	else
		http_respond_error(
		        s->x, s->parser.status, codes[s->parser.status >= 500], "the request has %s", s->parser.why);
}

static void begin(struct conn *c, struct http1 *s)
{
	struct http_exchange *x = s->x = exchange_new(c);
	struct http1_parser *p = &s->parser;

	s->head_ms = 0;
	s->is_last = !p->is_keep_alive;
	x->method = p->method;
	p->method = NULL;
	x->headers = p->headers;
	p->headers = (struct http_headers){0};
	x->header_bytes = p->header_bytes;
	if (!exchange_set_target(x, p->target, strlen(p->target))) {
		p->status = 400;
		p->why = "a target that is no path";
		refuse(c, s);
		return;
	}
	exchange_headers_done(x);
	if (!x->status && p->content_length > (uint64_t)c->server->limits.max_body_bytes + 64)
		x->handler->too_large(x);
	if (x->status)
		s->is_last = s->is_last || p->content_length || p->is_chunked;
	else if (p->wants_continue)
		buf_puts(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
}

static ssize_t http1_input(struct conn *c, const char *data, size_t len)
{
	struct http1 *s = c->session;
	size_t used = 0, n;

	while (used < len) {
		if (s->x && s->x->status && s->is_last)
			return (ssize_t)len; /* whatever it is, it will not be answered */
		if (s->x && s->x->is_request_done)
			break;
		if (!s->x && !s->head_ms)
			s->head_ms = time_mono_ms();
		enum http1_event ev = http1_parse(&s->parser, data + used, len - used, &n);
		used += n;
		if (ev == HTTP1_HEAD)
			begin(c, s);
		else if (ev == HTTP1_BODY && exchange_body(s->x, s->parser.data, s->parser.len) < 0)
			s->is_last = true;
		else if (ev == HTTP1_ERROR)
			refuse(c, s);
		/* A request without a body is whole at once. */
		if ((ev == HTTP1_HEAD || ev == HTTP1_BODY || ev == HTTP1_DONE) && !s->x->is_request_done &&
		        http1_parse(&s->parser, data + used, 0, &n) == HTTP1_DONE)
			exchange_body_done(s->x);
	}
	return (ssize_t)used;
}

static void put_head(struct conn *c, struct http1 *s)
{
	const struct http_exchange *x = s->x;
	struct buf *b = &c->out;

	buf_printf(b, "HTTP/1.1 %u %s\r\n", x->status, reason_of(x->status));
	for (size_t i = 0; i < x->answer.n; i++)
		buf_printf(b, "%s: %s\r\n", x->answer.v[i].name, x->answer.v[i].value);
	s->is_chunked = x->length < 0 && !s->parser.is_http10 && x->status != 204 && x->status != 304;
	if (x->length < 0 && !s->is_chunked)
		s->is_last = true; /* the end of the connection is the end of the body */
	if (s->is_chunked)
		buf_puts(b, "transfer-encoding: chunked\r\n");
	else if (x->length >= 0 && x->status != 204 && x->status != 304)
		buf_printf(b, "content-length: %lld\r\n", (long long)x->length);
	if (s->is_last || c->is_draining)
		buf_puts(b, "connection: close\r\n");
	else if (s->parser.is_http10)
		buf_puts(b, "connection: keep-alive\r\n");
	buf_puts(b, "\r\n");
	s->is_chunked = s->is_chunked && !exchange_is_bodyless(x);
	s->is_head_sent = true;
}

static int put_body(struct conn *c, struct http1 *s)
{
	struct http_exchange *x = s->x;

	while (exchange_has_output(x) && c->out.len - c->out_at < CONN_OUT_MAX) {
		size_t have = x->out.len - x->out_at;
		if (!have) {
			ssize_t n = conn_sendfile(c, x->file_fd, x->file_at, x->file_left);
			if (n < 0)
				return n == -EAGAIN ? 0 : (int)n;
			x->file_at += (uint64_t)n;
			x->file_left -= (uint64_t)n;
			x->progress_ms = time_mono_ms();
			continue;
		}
		if (s->is_chunked)
			buf_printf(&c->out, "%zx\r\n", have);
		ssize_t n = exchange_pull(x, buf_reserve(&c->out, have), have);
		c->out.len += (size_t)n;
		if (s->is_chunked)
			buf_puts(&c->out, "\r\n");
	}
	return 0;
}

static int http1_fill(struct conn *c)
{
	struct http1 *s = c->session;
	struct http_exchange *x = s->x;

	if (!x || !x->status)
		return 0;
	if (!s->is_head_sent)
		put_head(c, s);
	int rc = put_body(c, s);
	if (rc < 0 || !exchange_is_sent(x))
		return rc;
	if (s->is_chunked && !x->is_aborted)
		buf_puts(&c->out, "0\r\n\r\n");
	bool is_unread = !x->is_request_done || s->parser.status;
	bool is_last = s->is_last || c->is_draining || is_unread || x->is_aborted;
	s->x = NULL;
	exchange_free(x);
	s->is_head_sent = false;
	if (is_last) {
		c->is_closing = true;
		c->is_lingering = true;
	} else {
		http1_parser_next(&s->parser);
	}
	return 0;
}

static int http1_sweep(struct conn *c, int64_t now_ms)
{
	const struct server_limits *l = &c->server->limits;
	struct http1 *s = c->session;
	struct http_exchange *x = s->x;

	if (!x && s->head_ms && now_ms - s->head_ms > l->header_timeout_ms) {
		s->parser.status = 408;
		s->parser.why = "taken too long to send its headers";
		if (http1_parser_is_fresh(&s->parser))
			return -ETIMEDOUT;
		refuse(c, s);
	} else if (x && !x->status && !x->is_request_done && now_ms - x->since_ms > l->body_timeout_ms) {
		s->parser.status = 408;
		s->parser.why = "taken too long to send its body";
		refuse(c, s);
	} else if (x && x->status && exchange_has_output(x) && now_ms - x->progress_ms > l->stall_timeout_ms) {
		return -ETIMEDOUT;
	}
	return 0;
}

static void http1_drain(struct conn *c, bool is_final)
{
	struct http1 *s = c->session;

	if (!s->x && http1_parser_is_fresh(&s->parser))
		c->is_closing = true;
}

static void http1_free(struct conn *c)
{
	struct http1 *s = c->session;

	http1_parser_free(&s->parser);
	free(s);
}

static const struct session_ops http1_ops = {http1_input, http1_fill, http1_sweep, http1_drain, http1_free};

void http1_start(struct conn *c)
{
	struct http1 *s = xcalloc(1, sizeof(*s));

	s->parser.max_header_bytes = c->server->limits.max_header_bytes;
	s->parser.max_headers = c->server->limits.max_headers;
	s->head_ms = c->active_ms;
	c->session = s;
	c->ops = &http1_ops;
}
