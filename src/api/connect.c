/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Connect protocol, unary and server streaming. Source: connectrpc.com/docs/protocol.
 *
 * Unary: the body is the message, errors are JSON with the HTTP status of their code. Streaming: both bodies are
 * envelopes, the answer is always 200, and the last envelope is a JSON object with the error, if there is one.
 */
#include <string.h>
#include <strings.h>

#include "api/envelope.h"
#include "api/protojson.h"
#include "api/rpc_call.h"
#include "api/server_internal.h"
#include "api/wire.h"
#include "json/json.h"

static const struct codec {
	const char *type;
	bool is_json, is_stream;
} codecs[] = {
        {"application/json", true, false},
        {"application/proto", false, false},
        {"application/connect+json", true, true},
        {"application/connect+proto", false, true},
};

#define UNARY_TYPES "application/json, application/proto, " GRPC_TYPES
#define STREAM_TYPES "application/connect+json, application/connect+proto, " GRPC_TYPES

void connect_error_json(struct buf *b, enum rpc_code code, const char *message, const ProtobufCMessage *detail)
{
	http_error_json(b, rpc_code_name(code), message);
	if (!detail)
		return;
	struct buf raw AUTO_BUF = {0};
	wire_encode(&raw, detail);
	b->len--; /* the closing brace */
	buf_printf(b, ",\"details\":[{\"type\":\"%s\",\"value\":\"", detail->descriptor->name);
	base64_put(b, raw.data, raw.len, false);
	buf_puts(b, "\",\"debug\":");
	protojson_encode(b, detail);
	buf_puts(b, "}]}");
}

static void unary_request(struct rpc_call *c)
{
	struct buf inflated AUTO_BUF = {0}, raw AUTO_BUF = {0};
	const char *data = c->x->body.len ? c->x->body.data : "";
	size_t len = c->x->body.len;

	if (c->is_get) {
		const char *base64 = http_query(c->x, "base64");
		data = http_query(c->x, "message");
		len = strlen(data);
		if (base64 && !strcmp(base64, "1")) {
			if (!base64_get(&raw, data, len)) {
				rpc_fail(c, RPC_INVALID_ARGUMENT, "query parameter message is not base64");
				return;
			}
			data = raw.data;
			len = raw.len;
		}
	}
	if (rpc_decompress(c, c->is_gzip, &data, &len, &inflated))
		rpc_start(c, data, len);
}

static void unary_reply(struct rpc_call *c, const struct buf *payload)
{
	http_respond(c->x, 200, codecs[c->is_json ? 0 : 1].type, payload->data, payload->len);
}

static void unary_fail(struct rpc_call *c, enum rpc_code code, const char *message, const ProtobufCMessage *detail)
{
	struct buf b AUTO_BUF = {0};

	connect_error_json(&b, code, message, detail);
	http_respond(c->x, rpc_code_http_status(code), "application/json", b.data, b.len);
}

static void unary_send(struct rpc_call *c, const struct buf *payload)
{
}

static void unary_end(struct rpc_call *c, enum rpc_code code, const char *message)
{
	unary_fail(c, code == RPC_OK ? RPC_INTERNAL : code, message, NULL);
}

static const struct rpc_protocol unary = {unary_request, unary_reply, unary_fail, unary_send, unary_end};

static void stream_begin(struct rpc_call *c)
{
	if (!c->x->status)
		http_stream_begin(c->x, 200, codecs[c->is_json ? 2 : 3].type);
}

static void stream_send(struct rpc_call *c, const struct buf *payload)
{
	struct buf b AUTO_BUF = {0};

	stream_begin(c);
	envelope_put(&b, 0, payload->data, payload->len);
	exchange_out(c->x, b.data, b.len);
}

static void stream_fail(struct rpc_call *c, enum rpc_code code, const char *message, const ProtobufCMessage *detail)
{
	struct buf json AUTO_BUF = {0}, b AUTO_BUF = {0};

	stream_begin(c);
	buf_puts(&json, "{");
	if (code != RPC_OK) {
		buf_puts(&json, "\"error\":");
		connect_error_json(&json, code, message, detail);
	}
	buf_puts(&json, "}");
	envelope_put(&b, ENVELOPE_END_STREAM, json.data, json.len);
	exchange_out(c->x, b.data, b.len);
	http_stream_end(c->x);
}

static void stream_reply(struct rpc_call *c, const struct buf *payload)
{
	stream_send(c, payload);
	stream_fail(c, RPC_OK, "", NULL);
}

static void stream_end(struct rpc_call *c, enum rpc_code code, const char *message)
{
	stream_fail(c, code, message, NULL);
}

static const struct rpc_protocol stream = {rpc_envelope_request, stream_reply, stream_fail, stream_send, stream_end};

bool connect_is_get(struct http_exchange *x)
{
	return http_query(x, "encoding") && http_query(x, "message");
}

static const struct codec *find_codec(struct http_exchange *x, const struct rpc_method *m, bool is_get)
{
	const char *type = is_get ? http_query(x, "encoding") : http_header(x, "content-type");
	size_t len = type ? strcspn(type, "; \t") : 0;

	for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
		const char *want = codecs[i].type + (is_get ? strlen("application/") : 0);
		if (strlen(want) == len && !strncasecmp(want, type, len) && codecs[i].is_stream == m->is_server_stream)
			return &codecs[i];
	}
	return NULL;
}

static bool parse_timeout(const char *text, uint64_t *ms)
{
	size_t len = text ? strspn(text, "0123456789") : 0;

	*ms = 0;
	if (!text)
		return true;
	if (!len || len > 10 || text[len])
		return false;
	for (; *text; text++)
		*ms = *ms * 10 + (uint64_t)(*text - '0');
	if (!*ms)
		*ms = 1; /* already over; 0 means none here */
	return true;
}

void connect_begin(struct http_exchange *x, const struct rpc_method *m)
{
	bool is_get = strcmp(x->method, "POST") != 0;
	const struct codec *codec = find_codec(x, m, is_get);
	const char *version = is_get ? http_query(x, "connect") : http_header(x, "connect-protocol-version");

	if (!codec) {
		const char *types = m->is_server_stream ? STREAM_TYPES : UNARY_TYPES;
		const char *type = http_header(x, "content-type");
		http_header_add(x, "Accept-Post", types);
		http_respond_error(x, 415, "unknown", "content type \"%s\" is not one of %s", type ? type : "", types);
		return;
	}
	struct rpc_call *c = rpc_call_new(x, m, codec->is_stream ? &stream : &unary);
	c->is_json = codec->is_json;
	c->is_get = is_get;
	const char *encoding = is_get             ? http_query(x, "compression")
	                       : codec->is_stream ? http_header(x, "connect-content-encoding")
	                                          : http_header(x, "content-encoding");
	const char *whole = codec->is_stream ? http_header(x, "content-encoding") : NULL;
	http_header_add(x, codec->is_stream ? "connect-accept-encoding" : "accept-encoding", "gzip");
	if (version && strcmp(version, is_get ? "v1" : "1"))
		rpc_refuse(c, RPC_INVALID_ARGUMENT, "Connect protocol version \"%s\" is not %s", version,
		        is_get ? "v1" : "1");
	if (!parse_timeout(http_header(x, "connect-timeout-ms"), &c->timeout_ms))
		rpc_refuse(c, RPC_INVALID_ARGUMENT, "Connect-Timeout-Ms \"%s\" is not a number of at most 10 digits",
		        http_header(x, "connect-timeout-ms"));
	rpc_set_encoding(c, encoding);
	if (whole && strcasecmp(whole, "identity"))
		rpc_refuse(c, RPC_UNIMPLEMENTED,
		        "a stream's envelopes are compressed, not its body: use Connect-Content-Encoding");
}
