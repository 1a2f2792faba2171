/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Request messages: compression, envelopes, limits; the same for Connect, gRPC and gRPC-Web. */
#include <errno.h>
#include <strings.h>

#include "api/connect_gzip.h"
#include "api/envelope.h"
#include "api/rpc_call.h"
#include "api/server_internal.h"

#define SUPPORTED_ENCODINGS "identity, gzip"

void rpc_set_encoding(struct rpc_call *c, const char *encoding)
{
	if (!encoding || !*encoding || !strcasecmp(encoding, "identity"))
		return;
	c->is_gzip = !strcasecmp(encoding, "gzip");
	if (!c->is_gzip)
		rpc_refuse(c, RPC_UNIMPLEMENTED,
		        "unknown compression \"%s\": supported encodings are " SUPPORTED_ENCODINGS, encoding);
}

bool rpc_decompress(struct rpc_call *c, bool is_gzip, const char **data, size_t *len, struct buf *inflated)
{
	size_t max = c->x->conn->server->limits.max_body_bytes;
	int rc = *len > max ? -EMSGSIZE : 0;

	if (is_gzip && *len) {
		rc = connect_gunzip(inflated, *data, *len, max);
		*data = inflated->data;
		*len = inflated->len;
	}
	if (rc == -EMSGSIZE)
		rpc_fail(c, RPC_RESOURCE_EXHAUSTED, "the message is over the limit of %zu bytes", max);
	else if (rc < 0)
		rpc_fail(c, RPC_INVALID_ARGUMENT, "the message is not valid gzip data");
	return rc == 0;
}

/* One that is whole. False: the call has failed. */
static bool envelope_open(
        struct rpc_call *c, const struct envelope *v, const char **data, size_t *len, struct buf *inflated)
{
	*data = v->data;
	*len = v->len;
	if (v->flags & ~ENVELOPE_COMPRESSED) {
		rpc_fail(c, RPC_INVALID_ARGUMENT, "the envelope has unknown flags 0x%02x", v->flags);
		return false;
	}
	if ((v->flags & ENVELOPE_COMPRESSED) && !c->is_gzip) {
		rpc_fail(c, RPC_INTERNAL,
		        "the envelope is marked compressed but no header names a compression of messages");
		return false;
	}
	return rpc_decompress(c, v->flags & ENVELOPE_COMPRESSED, data, len, inflated);
}

static void too_large(struct rpc_call *c)
{
	rpc_fail(c, RPC_RESOURCE_EXHAUSTED, "the message is over the limit of %u bytes",
	        c->x->conn->server->limits.max_body_bytes);
}

void rpc_envelope_request(struct rpc_call *c)
{
	struct buf inflated AUTO_BUF = {0};
	const struct buf *body = &c->x->body;
	struct envelope v;

	ssize_t n = envelope_read(&v, body->data, body->len, c->x->conn->server->limits.max_body_bytes);
	if (n == -EMSGSIZE) {
		too_large(c);
	} else if (body->len == 0) {
		rpc_fail(c, RPC_UNIMPLEMENTED, "%s takes exactly one request message, the request has none",
		        c->method->name);
	} else if (n == 0) {
		rpc_fail(c, RPC_INVALID_ARGUMENT, "the request ends inside an envelope");
	} else if ((size_t)n < body->len) {
		rpc_fail(c, RPC_UNIMPLEMENTED, "%s takes exactly one request message, the request has more",
		        c->method->name);
	} else {
		const char *data;
		size_t len;
		if (envelope_open(c, &v, &data, &len, &inflated))
			rpc_start(c, data, len);
	}
}

void rpc_envelopes_take(struct rpc_call *c)
{
	struct http_exchange *x = c->x;
	struct envelope v;
	const char *data;
	ssize_t n = 0;
	size_t len;

	while (x->call == c && !(x->is_blocked = exchange_is_full(x))) {
		struct buf inflated AUTO_BUF = {0};
		n = envelope_read(&v, x->body.data, x->body.len, x->conn->server->limits.max_body_bytes);
		if (n <= 0)
			break;
		if (envelope_open(c, &v, &data, &len, &inflated))
			rpc_next(c, data, len);
		if (x->call == c)
			exchange_body_used(x, (size_t)n);
	}
	if (x->call == c && n == -EMSGSIZE)
		too_large(c);
}
