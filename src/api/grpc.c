/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gRPC over HTTP/2 and gRPC-Web over both HTTP versions. Sources: grpc/grpc doc/PROTOCOL-HTTP2.md and PROTOCOL-WEB.md.
 *
 * Messages go in envelopes both ways, unary or not; the HTTP status is 200 whatever happens. How the call ended stands
 * in grpc-status and grpc-message: HTTP trailers for gRPC (in the only header block, if nothing has been sent), a last
 * envelope with flag 0x80 for gRPC-Web.
 */
#include <string.h>
#include <strings.h>

#include "api/envelope.h"
#include "api/protojson.h"
#include "api/rpc_call.h"
#include "api/server_internal.h"
#include "api/wire.h"

struct grpc_type {
	const char *name;
	bool is_web, is_json;
};

static const struct grpc_type types[] = {
        {"application/grpc", false, false},
        {"application/grpc+proto", false, false},
        {"application/grpc+json", false, true},
        {"application/grpc-web", true, false},
        {"application/grpc-web+proto", true, false},
        {"application/grpc-web+json", true, true},
};

/* A header's value is ASCII; the text of an error may not be. */
static void percent_put(struct buf *b, const char *text)
{
	for (const char *c = text; *c; c++)
		if (*c >= 0x20 && *c <= 0x7e && *c != '%')
			buf_append(b, c, 1);
		else
			buf_printf(b, "%%%02X", (unsigned char)*c);
}

static void varint_put(struct buf *b, uint64_t n)
{
	for (; n > 0x7f; n >>= 7)
		buf_append(b, &(uint8_t){(uint8_t)(n | 0x80)}, 1);
	buf_append(b, &(uint8_t){(uint8_t)n}, 1);
}

static void field_put(struct buf *b, unsigned number, const void *data, size_t len)
{
	varint_put(b, number << 3 | 2);
	varint_put(b, len);
	buf_append(b, data, len);
}

/* google.rpc.Status {int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3} */
static void status_put(struct buf *b, enum rpc_code code, const char *message, const ProtobufCMessage *detail)
{
	struct buf any AUTO_BUF = {0}, url AUTO_BUF = {0}, raw AUTO_BUF = {0};

	buf_printf(&url, "type.googleapis.com/%s", detail->descriptor->name);
	wire_encode(&raw, detail);
	field_put(&any, 1, url.data, url.len);
	field_put(&any, 2, raw.data, raw.len);
	varint_put(b, 1 << 3);
	varint_put(b, code);
	field_put(b, 2, message, strlen(message));
	field_put(b, 3, any.data, any.len);
}

static void pair_add(struct http_headers *h, const char *name, const char *value)
{
	http_headers_add(h, name, strlen(name), value, strlen(value));
}

static void status_headers(
        struct http_headers *h, enum rpc_code code, const char *message, const ProtobufCMessage *detail)
{
	struct buf text AUTO_BUF = {0}, number AUTO_BUF = {0};

	buf_printf(&number, "%u", (unsigned)code);
	pair_add(h, "grpc-status", buf_cstr(&number));
	percent_put(&text, message);
	if (text.len)
		pair_add(h, "grpc-message", buf_cstr(&text));
	if (detail) {
		struct buf raw AUTO_BUF = {0}, base64 AUTO_BUF = {0};
		status_put(&raw, code, message, detail);
		base64_put(&base64, raw.data, raw.len, false);
		pair_add(h, "grpc-status-details-bin", buf_cstr(&base64));
	}
}

static void begin(struct http_exchange *x, const struct grpc_type *t)
{
	if (!x->status)
		http_stream_begin(x, 200, t->name);
}

/* Lower case, CRLF behind every line, no empty line. */
static void web_trailers(struct http_exchange *x, const struct http_headers *h)
{
	struct buf text AUTO_BUF = {0}, b AUTO_BUF = {0};

	for (size_t i = 0; i < h->n; i++)
		buf_printf(&text, "%s: %s\r\n", h->v[i].name, h->v[i].value);
	envelope_put(&b, ENVELOPE_TRAILERS, text.data, text.len);
	exchange_out(x, b.data, b.len);
}

static void finish(struct rpc_call *c, enum rpc_code code, const char *message, const ProtobufCMessage *detail)
{
	const struct grpc_type *t = c->grpc;
	struct http_exchange *x = c->x;
	struct http_headers h = {0};

	status_headers(&h, code, message, detail);
	if (t->is_web || code == RPC_OK)
		begin(x, t);
	if (t->is_web) {
		web_trailers(x, &h);
	} else if (x->status) {
		x->trailers = h;
		h = (struct http_headers){0};
	} else {
		for (size_t i = 0; i < h.n; i++)
			pair_add(&x->answer, h.v[i].name, h.v[i].value);
		begin(x, t);
	}
	http_headers_free(&h);
	http_stream_end(x);
}

static void grpc_send(struct rpc_call *c, const struct buf *payload)
{
	struct buf b AUTO_BUF = {0};

	begin(c->x, c->grpc);
	envelope_put(&b, 0, payload->data, payload->len);
	exchange_out(c->x, b.data, b.len);
}

static void grpc_reply(struct rpc_call *c, const struct buf *payload)
{
	grpc_send(c, payload);
	finish(c, RPC_OK, "", NULL);
}

static void grpc_end(struct rpc_call *c, enum rpc_code code, const char *message)
{
	finish(c, code, message, NULL);
}

static const struct rpc_protocol grpc = {rpc_envelope_request, grpc_reply, finish, grpc_send, grpc_end};

/* For calls of what there is not. */
static const struct rpc_method nothing = {.name = "unknown"};

static const struct grpc_type *find_type(const struct http_exchange *x)
{
	const char *type = http_header(x, "content-type");
	size_t len = type ? strcspn(type, "; \t") : 0;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strlen(types[i].name) == len && !strncasecmp(types[i].name, type, len))
			return &types[i];
	return NULL;
}

/* At most 8 digits and a unit. */
static bool parse_timeout(const char *text, uint64_t *ms)
{
	static const struct {
		char unit;
		uint64_t mul, div;
	} units[] = {
	        {'H', 3600000, 1}, {'M', 60000, 1}, {'S', 1000, 1}, {'m', 1, 1}, {'u', 1, 1000}, {'n', 1, 1000000}};
	size_t len = text ? strspn(text, "0123456789") : 0;
	uint64_t n = 0;

	*ms = 0;
	if (!text)
		return true;
	if (!len || len > 8 || !text[len] || text[len + 1])
		return false;
	for (size_t i = 0; i < len; i++)
		n = n * 10 + (uint64_t)(text[i] - '0');
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (units[i].unit == text[len]) {
			*ms = (n * units[i].mul + units[i].div - 1) / units[i].div;
			*ms = *ms ? *ms : 1; /* already over; 0 means none here */
			return true;
		}
	return false;
}

bool grpc_begin(struct http_exchange *x, const struct rpc_method *m)
{
	const struct grpc_type *t = find_type(x);

	if (!t)
		return false;
	if (!t->is_web && !x->stream_id) {
		http_respond_error(x, 505, "unimplemented",
		        "gRPC needs HTTP/2; HTTP/1.1 carries gRPC-Web (application/grpc-web) and Connect");
		return true;
	}
	struct rpc_call *c = rpc_call_new(x, m ? m : &nothing, &grpc);
	c->grpc = t;
	c->is_json = t->is_json;
	http_header_add(x, "grpc-accept-encoding", "identity,gzip");
	if (!m)
		rpc_refuse(c, RPC_UNIMPLEMENTED, "there is no method %s", x->path);
	if (!parse_timeout(http_header(x, "grpc-timeout"), &c->timeout_ms))
		rpc_refuse(c, RPC_INVALID_ARGUMENT,
		        "grpc-timeout \"%s\" is not a number of at most 8 digits with a unit of H, M, S, m, u, n",
		        http_header(x, "grpc-timeout"));
	rpc_set_encoding(c, http_header(x, "grpc-encoding"));
	return true;
}
