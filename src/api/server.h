/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server: one port and perhaps one Unix socket, one thread, HTTP/1.1 and HTTP/2 with prior knowledge on both,
 * remote procedures (rpc.h) and plain routes (http.h). Nothing is global: a process may run several on loops of their
 * own.
 */
#ifndef API_SERVER_H
#define API_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "api/http.h"
#include "api/rpc.h"
#include "base/err.h"
#include "base/loop.h"

/* Zero in any member means the default in parentheses. */
struct server_limits {
	uint32_t max_connections;   /* (1024) more wait in the listen queue */
	uint32_t max_streams;       /* (100) open streams per HTTP/2 connection */
	uint32_t max_header_bytes;  /* (32768) request line and headers; HTTP/2: sum of name + value + 32 */
	uint32_t max_headers;       /* (100) */
	uint32_t max_body_bytes;    /* (4 MiB) of a request; equal is fine; also of the message in it, decompressed */
	uint32_t header_timeout_ms; /* (10000) from the first byte of a request, or the connection, to the end of
	                               headers */
	uint32_t body_timeout_ms;   /* (60000) from the end of the headers to the end of the body */
	uint32_t idle_timeout_ms;   /* (120000) connection without a request */
	uint32_t stall_timeout_ms;  /* (30000) output waits and the client takes none of it */
};

/* Who may do what; ACCESS is the method's or route's (enum rpc_access). Both answer RPC_OK, or the code to refuse with
 * and the sentence in E; they may add headers to the answer. */
struct server_guard {
	/* When a request's headers are whole: who must not call learns nothing about its request, not even that it is
	 * malformed. What it learns of the client may be left in x->caller (malloc). */
	enum rpc_code (*identify)(void *arg, struct http_exchange *x, unsigned access, struct err *e);
	/* When the request is whole. MSG is a method's request, NULL for routes. */
	enum rpc_code (*authorize)(
	        void *arg, struct http_exchange *x, unsigned access, const ProtobufCMessage *msg, struct err *e);
};

struct server_options {
	const char *address; /* IPv4 or IPv6 literal, without brackets */
	uint16_t port;       /* 0: any free one */
	const char *origins; /* "https://a.example,...", "*": web pages that may call; NULL: none. Borrowed */
	/* "address,...": whose connections are taken besides those from loopback; NULL, "": everybody's. Borrowed */
	const char *only_peers;
	/* A call of METHOD (its name) is over; MICROSECONDS from its headers. May be NULL. ARG is server_new's. */
	void (*observe)(void *arg, const char *method, enum rpc_code code, int64_t microseconds);
	const struct server_guard *guard; /* NULL: methods for RPC_ACCESS_ANYONE only, and all routes. Its ARG is
	                                     server_new's */
	struct server_limits limits;
};

struct server;
struct tls;

/* Listen and serve on L. The tables are borrowed for the server's life; ARG goes to every method and route. Where a
 * method and a route have the same path, GET goes to the route unless the query is a Connect GET. NULL: E says why. */
struct server *server_new(struct loop *l, const struct server_options *o, const struct rpc_method *methods,
        size_t n_methods, const struct http_route *routes, size_t n_routes, void *arg, struct err *e);

/* Serve the listening Unix socket FD, too (taken over, also on failure). uid 0 is PEER_ADMIN there, METALD_UID (0:
 * nobody) is PEER_METALD; others get 403 and are let go before a byte of theirs is read. 0 or -errno. */
int server_listen_local(struct server *s, int fd, unsigned metald_uid);
/* New connections speak TLS, which is taken over; those that are open keep what they have. IS_CLEAR_TEXT_ALLOWED: a
 * connection that does not begin as TLS is served as it is, else refused. A client whose certificate has METALD_URI
 * (borrowed; "": nobody) is PEER_METALD. */
void server_tls_set(struct server *s, struct tls *t, bool is_clear_text_allowed, const char *metald_uri);

/* The port that is listened on. */
uint16_t server_port(const struct server *s);
/* Open connections. */
size_t server_connections(const struct server *s);

/* Stop: no new connections, HTTP/2 peers get GOAWAY, server streams end with `unavailable`, what is under way is
 * finished for at most DEADLINE_MS, then cut. DONE runs once, from the loop, when no connection is left. Call once. */
void server_drain(struct server *s, uint32_t deadline_ms, void (*done)(void *arg), void *arg);

/* Cuts what is still open (cancel callbacks run); takes NULL. */
void server_free(struct server *s);

#endif
