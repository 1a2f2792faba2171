/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What service methods are written against: one call, whatever protocol and codec brought it.
 *
 * A method's function gets the decoded request and answers now or later, from the loop thread:
 *   unary:          rpc_reply or rpc_fail, once;
 *   server stream:  rpc_stream_send any number of times, then rpc_stream_end, once.
 * After rpc_reply, rpc_fail or rpc_stream_end the call is gone: the pointer is dead, no callback follows.
 * If the call ends from the other side (client gone, deadline passed, server draining) the cancel callback runs,
 * exactly once; the call is dead when it returns. A call without a cancel callback must be answered before its function
 * returns. Nothing here calls back into the method from inside rpc_*(): callbacks come from the loop.
 */
#ifndef API_RPC_H
#define API_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <protobuf-c/protobuf-c.h>

/* The numbers are gRPC's, the names Connect's. */
enum rpc_code {
	RPC_OK = 0,
	RPC_CANCELED = 1,
	RPC_UNKNOWN = 2,
	RPC_INVALID_ARGUMENT = 3,
	RPC_DEADLINE_EXCEEDED = 4,
	RPC_NOT_FOUND = 5,
	RPC_ALREADY_EXISTS = 6,
	RPC_PERMISSION_DENIED = 7,
	RPC_RESOURCE_EXHAUSTED = 8,
	RPC_FAILED_PRECONDITION = 9,
	RPC_ABORTED = 10,
	RPC_OUT_OF_RANGE = 11,
	RPC_UNIMPLEMENTED = 12,
	RPC_INTERNAL = 13,
	RPC_UNAVAILABLE = 14,
	RPC_DATA_LOSS = 15,
	RPC_UNAUTHENTICATED = 16,
};

/* Who is at the other end, as far as the socket knows: NONE is anybody who reaches the port. */
enum peer_identity { PEER_NONE, PEER_METALD, PEER_ADMIN };

/* Who may call a method or a route; the server's guard decides what makes a client one of them. */
enum rpc_access {
	RPC_ACCESS_CLOSED,       /* nobody: what a table forgot */
	RPC_ACCESS_ANYONE,       /* without a credential */
	RPC_ACCESS_METRICS,      /* the host's numbers, no tenant's */
	RPC_ACCESS_READ,         /* a tenant: look */
	RPC_ACCESS_BUILD,        /* a tenant: build, cancel */
	RPC_ACCESS_TENANT_ADMIN, /* a tenant: delete */
	RPC_ACCESS_METALD,       /* the VM manager, and the administrator */
	RPC_ACCESS_ADMIN,        /* the administrator of this host */
};

struct rpc_call;

struct rpc_method {
	const char *name; /* "builder.v1.BuilderService/GetBuild", without the leading slash */
	const ProtobufCMessageDescriptor *input, *output;
	bool is_server_stream;
	bool is_idempotent; /* has no side effects: may come as GET */
	/* REQUEST lives as long as the call. ARG is server_new's. */
	void (*call)(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
	enum rpc_access access;
	/* CALL runs for each message of the request, which lives until it returns, and may rpc_stream_send; the stream
	 * ends by itself when the client's does, or a minute after its begin. is_server_stream is set, too. */
	bool is_client_stream;
};

/* "invalid_argument"; "unknown" for numbers that are none. */
const char *rpc_code_name(enum rpc_code code);
/* 400; 200 for RPC_OK. */
unsigned rpc_code_http_status(enum rpc_code code);

/* A request header's value, NAME in lower case; NULL if absent. Repeated headers: the first. Lives as long as the call.
 */
const char *rpc_header(const struct rpc_call *c, const char *name);
/* "192.0.2.1:4711", "[2001:db8::1]:4711" or "uid=1000,pid=4711". */
const char *rpc_peer(const struct rpc_call *c);
const struct rpc_method *rpc_method(const struct rpc_call *c);
/* True if the answer goes out as JSON. */
bool rpc_is_json(const struct rpc_call *c);

/* What the server's guard said of the client; NULL without one. */
const void *rpc_caller(const struct rpc_call *c);

/* Add a header to the answer, before it begins: before rpc_reply and rpc_fail, before the first rpc_stream_send. */
void rpc_header_add(struct rpc_call *c, const char *name, const char *value);

/* Answer with MSG (of the method's output type, borrowed). */
void rpc_reply(struct rpc_call *c, const ProtobufCMessage *msg);
/* The same; on a JSON answer to a client that does not say it is Connect's (curl, say) MEMBERS, object members without
 * the braces such as "\"status\":\"QUEUED\"", go behind the message's own. NULL or "": none. The caller vouches for its
 * syntax. */
void rpc_reply_with(struct rpc_call *c, const ProtobufCMessage *msg, const char *members);

/* End with an error. CODE must not be RPC_OK. */
void rpc_fail(struct rpc_call *c, enum rpc_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same with a detail that programs can read (borrowed; NULL: none). */
void rpc_fail_detail(struct rpc_call *c, enum rpc_code code, const ProtobufCMessage *detail, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

/* Queue one message of a server stream. 0, or -EAGAIN: nothing was queued, the client reads too slowly; the writable
 * callback says when to go on. */
int rpc_stream_send(struct rpc_call *c, const ProtobufCMessage *msg);
/* End the stream; RPC_OK with a NULL text is the good end. */
void rpc_stream_end(struct rpc_call *c, enum rpc_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* For calls that are answered later. WRITABLE may be NULL. Both get ARG. */
void rpc_on(struct rpc_call *c, void (*writable)(struct rpc_call *c, void *arg),
        void (*cancel)(struct rpc_call *c, void *arg), void *arg);

#endif
