/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A call between the protocols (connect.c, grpc.c) and the methods. */
#ifndef API_RPC_CALL_H
#define API_RPC_CALL_H

#include "api/http_exchange.h"
#include "base/loop.h"

/* How a protocol puts answers on the exchange. Payloads are encoded messages. */
struct rpc_protocol {
	/* The request is whole: decode it and rpc_start, or fail. */
	void (*request)(struct rpc_call *c);
	void (*reply)(struct rpc_call *c, const struct buf *payload);
	void (*fail)(struct rpc_call *c, enum rpc_code code, const char *message, const ProtobufCMessage *detail);
	void (*send)(struct rpc_call *c, const struct buf *payload);
	void (*end)(struct rpc_call *c, enum rpc_code code, const char *message);
};

struct rpc_call {
	struct http_exchange *x;
	const struct rpc_method *method;
	const struct rpc_protocol *protocol;
	const struct grpc_type *grpc; /* grpc.c's */
	bool is_json;
	bool is_gzip;        /* the request is, or its messages may be */
	bool is_get;         /* the request came in the query */
	bool is_admitted;    /* the caller may, and the clock runs */
	uint64_t timeout_ms; /* 0: none */
	int64_t started_us;
	enum rpc_code refusal;       /* != RPC_OK: the answer when the request is whole */
	char *refusal_text;          /* owns */
	ProtobufCMessage *request;   /* owns */
	struct loop_timer *deadline; /* owns */
	void (*on_writable)(struct rpc_call *c, void *arg);
	void (*on_cancel)(struct rpc_call *c, void *arg);
	void *on_arg;
};

/* Make a call on X: from here on rpc.c is the exchange's handler. */
struct rpc_call *rpc_call_new(struct http_exchange *x, const struct rpc_method *m, const struct rpc_protocol *p);
/* The headers show that the call must fail. It does when the request is whole: not every client can read an answer
 * while it sends. The first refusal counts. */
void rpc_refuse(struct rpc_call *c, enum rpc_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Decode the request in the call's codec and run the method; fails the call itself. */
void rpc_start(struct rpc_call *c, const void *data, size_t len);
/* The same for one message of a client stream. */
void rpc_next(struct rpc_call *c, const void *data, size_t len);

/* rpc_message.c: what the protocols have in common about request messages. */
/* "" and NULL are identity; one that we do not have refuses the call. */
void rpc_set_encoding(struct rpc_call *c, const char *encoding);
/* A whole message in clear, not over the limit: *DATA is what it was, or INFLATED's. False: the call has failed. */
bool rpc_decompress(struct rpc_call *c, bool is_gzip, const char **data, size_t *len, struct buf *inflated);
/* The body is one envelope: rpc_start with its message. */
void rpc_envelope_request(struct rpc_call *c);
/* The body is a row of envelopes, perhaps not all here yet: rpc_next with those that are, as long as answers can be
 * taken. */
void rpc_envelopes_take(struct rpc_call *c);

/* Connect: look at the headers of a request for M; makes the call, or answers the exchange. */
void connect_begin(struct http_exchange *x, const struct rpc_method *m);
/* True if the query of a GET is a Connect request. */
bool connect_is_get(struct http_exchange *x);
/* {"code","message","details"} */
void connect_error_json(struct buf *b, enum rpc_code code, const char *message, const ProtobufCMessage *detail);

/* The types that grpc_begin takes. */
#define GRPC_TYPES                                                                                                     \
	"application/grpc, application/grpc+proto, application/grpc+json, application/grpc-web, "                      \
	"application/grpc-web+proto, application/grpc-web+json"
/* A POST of a gRPC or gRPC-Web type: makes the call, or answers the exchange. M NULL: there is no such method. False:
 * it is of no such type, nothing has happened. */
bool grpc_begin(struct http_exchange *x, const struct rpc_method *m);

#endif
