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

void rpc_envelope_request(struct rpc_call *c)
{
	struct buf inflated AUTO_BUF = {0};
	const struct buf *body = &c->x->body;
	struct envelope v;

	ssize_t n = envelope_read(&v, body->data, body->len, c->x->conn->server->limits.max_body_bytes);
	if (n == -EMSGSIZE) {
		rpc_fail(c, RPC_RESOURCE_EXHAUSTED, "the message is over the limit of %u bytes",
		        c->x->conn->server->limits.max_body_bytes);
	} else if (body->len == 0) {
		rpc_fail(c, RPC_UNIMPLEMENTED, "%s takes exactly one request message, the request has none",
		        c->method->name);
	} else if (n == 0) {
		rpc_fail(c, RPC_INVALID_ARGUMENT, "the request ends inside an envelope");
	} else if ((size_t)n < body->len) {
		rpc_fail(c, RPC_UNIMPLEMENTED, "%s takes exactly one request message, the request has more",
		        c->method->name);
	} else if (v.flags & ~ENVELOPE_COMPRESSED) {
		rpc_fail(c, RPC_INVALID_ARGUMENT, "the envelope has unknown flags 0x%02x", v.flags);
	} else if ((v.flags & ENVELOPE_COMPRESSED) && !c->is_gzip) {
		rpc_fail(c, RPC_INTERNAL,
		        "the envelope is marked compressed but no header names a compression of messages");
	} else {
		size_t len = v.len;
		if (rpc_decompress(c, v.flags & ENVELOPE_COMPRESSED, &v.data, &len, &inflated))
			rpc_start(c, v.data, len);
	}
}
