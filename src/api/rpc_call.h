/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A call between the protocols (connect.c, later gRPC) and the methods. */
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
	bool is_json;
	bool is_gzip;                /* the request is, or its messages may be */
	bool is_get;                 /* the request came in the query */
	uint64_t timeout_ms;         /* 0: none */
	ProtobufCMessage *request;   /* owns */
	struct loop_timer *deadline; /* owns */
	void (*on_writable)(struct rpc_call *c, void *arg);
	void (*on_cancel)(struct rpc_call *c, void *arg);
	void *on_arg;
};

/* Make a call on X: from here on rpc.c is the exchange's handler. */
struct rpc_call *rpc_call_new(struct http_exchange *x, const struct rpc_method *m, const struct rpc_protocol *p);
/* Decode the request in the call's codec and run the method; fails the call itself. */
void rpc_start(struct rpc_call *c, const void *data, size_t len);

/* Connect: look at the headers of a request for M; makes the call, or answers the exchange. */
void connect_begin(struct http_exchange *x, const struct rpc_method *m);
/* True if the query of a GET is a Connect request. */
bool connect_is_get(struct http_exchange *x);
/* {"code","message","details"} */
void connect_error_json(struct buf *b, enum rpc_code code, const char *message, const ProtobufCMessage *detail);

#endif
