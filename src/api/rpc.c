/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/rpc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/protojson.h"
#include "api/rpc_call.h"
#include "api/server_internal.h"
#include "api/wire.h"

#define CLIENT_STREAM_MS 60000 /* longest life of a stream of requests */

static const struct {
	const char *name;
	unsigned status;
} codes[] = {
        [RPC_OK] = {"ok", 200},
        [RPC_CANCELED] = {"canceled", 499},
        [RPC_UNKNOWN] = {"unknown", 500},
        [RPC_INVALID_ARGUMENT] = {"invalid_argument", 400},
        [RPC_DEADLINE_EXCEEDED] = {"deadline_exceeded", 504},
        [RPC_NOT_FOUND] = {"not_found", 404},
        [RPC_ALREADY_EXISTS] = {"already_exists", 409},
        [RPC_PERMISSION_DENIED] = {"permission_denied", 403},
        [RPC_RESOURCE_EXHAUSTED] = {"resource_exhausted", 429},
        [RPC_FAILED_PRECONDITION] = {"failed_precondition", 400},
        [RPC_ABORTED] = {"aborted", 409},
        [RPC_OUT_OF_RANGE] = {"out_of_range", 400},
        [RPC_UNIMPLEMENTED] = {"unimplemented", 501},
        [RPC_INTERNAL] = {"internal", 500},
        [RPC_UNAVAILABLE] = {"unavailable", 503},
        [RPC_DATA_LOSS] = {"data_loss", 500},
        [RPC_UNAUTHENTICATED] = {"unauthenticated", 401},
};

const char *rpc_code_name(enum rpc_code code)
{
	return codes[(unsigned)code <= RPC_UNAUTHENTICATED ? code : RPC_UNKNOWN].name;
}

unsigned rpc_code_http_status(enum rpc_code code)
{
	return codes[(unsigned)code <= RPC_UNAUTHENTICATED ? code : RPC_UNKNOWN].status;
}

const char *rpc_header(const struct rpc_call *c, const char *name)
{
	return http_headers_get(&c->x->headers, name);
}

const char *rpc_peer(const struct rpc_call *c)
{
	return c->x->conn->peer;
}

const void *rpc_caller(const struct rpc_call *c)
{
	return c->x->caller;
}

const struct rpc_method *rpc_method(const struct rpc_call *c)
{
	return c->method;
}

bool rpc_is_json(const struct rpc_call *c)
{
	return c->is_json;
}

void rpc_header_add(struct rpc_call *c, const char *name, const char *value)
{
	if (!c->x->status)
		http_header_add(c->x, name, value);
}

void rpc_on(struct rpc_call *c, void (*writable)(struct rpc_call *c, void *arg),
        void (*cancel)(struct rpc_call *c, void *arg), void *arg)
{
	c->on_writable = writable;
	c->on_cancel = cancel;
	c->on_arg = arg;
}

static int64_t mono_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void call_free(struct rpc_call *c, enum rpc_code code)
{
	const struct server *s = c->x->conn->server;

	if (s->observe)
		s->observe(s->arg, c->method->name, code, mono_us() - c->started_us);
	c->x->call = NULL;
	loop_timer_del(c->deadline);
	if (c->request)
		protobuf_c_message_free_unpacked(c->request, NULL);
	free(c->refusal_text);
	free(c);
}

static void encode(const struct rpc_call *c, struct buf *b, const ProtobufCMessage *msg)
{
	if (c->is_json)
		protojson_encode(b, msg);
	else
		wire_encode(b, msg);
}

/* Generated clients say which protocol they speak, and a strict one of them takes "build_id" beside "buildId" for the
 * same field twice. */
static bool is_plain_json(const struct rpc_call *c)
{
	return c->is_json && !c->grpc &&
	       !(c->is_get ? http_query(c->x, "connect") : rpc_header(c, "connect-protocol-version"));
}

void rpc_reply_with(struct rpc_call *c, const ProtobufCMessage *msg, const char *members)
{
	struct buf payload AUTO_BUF = {0};

	encode(c, &payload, msg);
	if (members && *members && is_plain_json(c)) {
		bool is_empty = payload.len == 2;
		payload.len--; /* the closing brace */
		buf_printf(&payload, "%s%s}", is_empty ? "" : ",", members);
	}
	c->protocol->reply(c, &payload);
	call_free(c, RPC_OK);
}

void rpc_reply(struct rpc_call *c, const ProtobufCMessage *msg)
{
	rpc_reply_with(c, msg, NULL);
}

static void fail(struct rpc_call *c, enum rpc_code code, const ProtobufCMessage *detail, const char *fmt, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	c->protocol->fail(c, code, text, detail);
	call_free(c, code);
}

void rpc_fail(struct rpc_call *c, enum rpc_code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail(c, code, NULL, fmt, ap);
	va_end(ap);
}

void rpc_fail_detail(struct rpc_call *c, enum rpc_code code, const ProtobufCMessage *detail, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail(c, code, detail, fmt, ap);
	va_end(ap);
}

int rpc_stream_send(struct rpc_call *c, const ProtobufCMessage *msg)
{
	struct buf payload AUTO_BUF = {0};

	if (exchange_is_full(c->x)) {
		c->x->is_blocked = true;
		return -EAGAIN;
	}
	encode(c, &payload, msg);
	c->protocol->send(c, &payload);
	return 0;
}

void rpc_stream_end(struct rpc_call *c, enum rpc_code code, const char *fmt, ...)
{
	char text[1024] = "";
	va_list ap;

	if (fmt) {
		va_start(ap, fmt);
		vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
	}
	c->protocol->end(c, code, text);
	call_free(c, code);
}

/* End a call whose method has started, from our side: the method hears of it, the client gets the error. */
static void call_revoke(struct rpc_call *c, enum rpc_code code, const char *why)
{
	struct http_exchange *x = c->x;

	if (c->on_cancel)
		c->on_cancel(c, c->on_arg);
	if (x->call == c)
		rpc_fail(c, code, "%s", why);
}

static void call_expired(void *arg)
{
	struct rpc_call *c = arg;

	c->deadline = NULL;
	call_revoke(c, RPC_DEADLINE_EXCEEDED, "the deadline that the request set has passed");
}

/* Without a guard a server has only what is for everybody. */
static enum rpc_code authorize(const struct rpc_call *c, struct err *e)
{
	const struct server *s = c->x->conn->server;

	if (s->guard)
		return s->guard->authorize(s->arg, c->x, c->method->access, c->request, e);
	if (c->method->access == RPC_ACCESS_ANYONE)
		return RPC_OK;
	err_set(e, -EACCES, "%s is not for everybody", c->method->name);
	return RPC_PERMISSION_DENIED;
}

/* False: the call has failed. */
static bool admit(struct rpc_call *c)
{
	struct err e = ERR_INIT;

	if (c->is_admitted)
		return true;
	enum rpc_code refusal = authorize(c, &e);
	if (refusal != RPC_OK) {
		rpc_fail(c, refusal, "%s", e.msg);
		return false;
	}
	c->is_admitted = true;
	if (c->method->is_client_stream && (!c->timeout_ms || c->timeout_ms > CLIENT_STREAM_MS))
		c->timeout_ms = CLIENT_STREAM_MS;
	if (c->timeout_ms)
		c->deadline = loop_timer_add(c->x->conn->server->loop, (int64_t)c->timeout_ms, call_expired, c);
	return true;
}

/* False: the call has failed. */
static bool decode(struct rpc_call *c, const void *data, size_t len)
{
	struct err e = ERR_INIT;

	c->request = c->is_json ? protojson_decode(c->method->input, data, len, &e)
	                        : wire_decode(c->method->input, data, len, &e);
	if (!c->request)
		rpc_fail(c, RPC_INVALID_ARGUMENT, "%s: %s", c->method->input->name, e.msg);
	return c->request != NULL;
}

void rpc_start(struct rpc_call *c, const void *data, size_t len)
{
	struct http_exchange *x = c->x;

	if (!decode(c, data, len) || !admit(c))
		return;
	c->method->call(c, c->request, x->conn->server->arg);
	if (x->call && !x->call->on_cancel) /* a bug of the method; without this the client would wait for ever */
		rpc_fail(x->call, RPC_INTERNAL, "%s gave no answer", x->call->method->name);
}

void rpc_next(struct rpc_call *c, const void *data, size_t len)
{
	struct http_exchange *x = c->x;

	if (!decode(c, data, len) || !admit(c))
		return;
	c->method->call(c, c->request, x->conn->server->arg);
	if (x->call != c)
		return;
	protobuf_c_message_free_unpacked(c->request, NULL);
	c->request = NULL;
}

void rpc_refuse(struct rpc_call *c, enum rpc_code code, const char *fmt, ...)
{
	va_list ap;

	if (c->refusal != RPC_OK)
		return;
	va_start(ap, fmt);
	c->refusal = code;
	if (vasprintf(&c->refusal_text, fmt, ap) < 0)
		c->refusal_text = NULL;
	va_end(ap);
}

/* What has come of a client stream; its end ends ours. */
static void on_more(struct http_exchange *x)
{
	struct rpc_call *c = x->call;

	if (!c || c->refusal != RPC_OK)
		return;
	rpc_envelopes_take(c);
	if (x->call != c || !x->is_request_done || x->is_blocked)
		return;
	if (x->body.len)
		rpc_fail(c, RPC_INVALID_ARGUMENT, "the request ends inside an envelope");
	else
		rpc_stream_end(c, RPC_OK, NULL);
}

static void on_complete(struct http_exchange *x)
{
	struct rpc_call *c = x->call;

	if (c->refusal != RPC_OK)
		rpc_fail(c, c->refusal, "%s", c->refusal_text ? c->refusal_text : "");
	else if (c->method->is_client_stream)
		on_more(x);
	else
		c->protocol->request(c);
}

static void on_too_large(struct http_exchange *x)
{
	rpc_fail(x->call, RPC_RESOURCE_EXHAUSTED, "the message is over the limit of %u bytes",
	        x->conn->server->limits.max_body_bytes);
}

static void on_writable(struct http_exchange *x)
{
	struct rpc_call *c = x->call;

	if (c && c->method->is_client_stream)
		on_more(x);
	else if (c && c->on_writable)
		c->on_writable(c, c->on_arg);
}

static void on_lost(struct http_exchange *x)
{
	struct rpc_call *c = x->call;

	if (!c)
		return;
	if (c->on_cancel)
		c->on_cancel(c, c->on_arg);
	call_free(c, RPC_CANCELED);
}

static void on_drain(struct http_exchange *x)
{
	if (x->call && x->call->method->is_server_stream)
		call_revoke(x->call, RPC_UNAVAILABLE, "the server is shutting down");
}

static const struct exchange_handler rpc_handler = {
        .complete = on_complete,
        .too_large = on_too_large,
        .writable = on_writable,
        .lost = on_lost,
        .drain = on_drain,
        .more = on_more,
};

struct rpc_call *rpc_call_new(struct http_exchange *x, const struct rpc_method *m, const struct rpc_protocol *p)
{
	struct rpc_call *c = xcalloc(1, sizeof(*c));

	*c = (struct rpc_call){.x = x, .method = m, .protocol = p, .started_us = mono_us()};
	x->call = c;
	x->is_duplex = m->is_client_stream;
	x->handler = &rpc_handler;
	const struct server *s = x->conn->server;
	struct err e = ERR_INIT;
	enum rpc_code code = s->guard ? s->guard->identify(s->arg, x, m->access, &e) : RPC_OK;
	if (code != RPC_OK)
		rpc_refuse(c, code, "%s", e.msg);
	return c;
}
