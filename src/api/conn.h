/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection: its socket, buffers and timers. What speaks on it is a session: first the one that tells HTTP/2's
 * preface from HTTP/1.1, then http1 or http2. Connections are freed only at the top of an event (conn_event, the sweep,
 * the kick), never below a handler; handlers mark a connection (conn_wake) and the kick sends what they left.
 */
#ifndef API_CONN_H
#define API_CONN_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "api/http_exchange.h"
#include "base/loop.h"

struct listener;
struct server;
struct tls_conn;

struct session_ops {
	/* Take bytes; returns how many were used, what is left comes again. -errno: the connection is broken. */
	ssize_t (*input)(struct conn *c, const char *data, size_t len);
	/* Move answers into c->out, up to CONN_OUT_MAX. -errno: broken. */
	int (*fill)(struct conn *c);
	/* Look at timers: -ETIMEDOUT ends the connection. */
	int (*sweep)(struct conn *c, int64_t now_ms);
	/* The server stops; comes again with IS_FINAL a moment later. */
	void (*drain)(struct conn *c, bool is_final);
	void (*free)(struct conn *c);
};

#define CONN_OUT_MAX 65536u
#define CONN_IN_MAX 65536u /* pipelined input that waits for an answer */

struct conn {
	struct server *server;
	struct conn *next, **prev;
	int fd;                     /* owns */
	struct loop_source *source; /* owns */
	uint32_t events;            /* what the source watches */
	struct tls_conn *tls;       /* owns; NULL: clear text */
	bool is_secure;             /* the handshake is done */
	bool is_detected;           /* TLS or not */
	char peer[INET6_ADDRSTRLEN + 10];
	enum peer_identity identity;
	const struct session_ops *ops;
	void *session; /* owns; freed by ops->free */
	struct http_exchange *exchanges;
	struct buf in, out;
	size_t out_at;
	int64_t active_ms; /* last byte in, or last exchange's end */
	int64_t taken_ms;  /* last byte that the socket took while output waits; 0: none waits */
	uint64_t n_taken;  /* bytes that the socket took */
	int64_t linger_ms; /* != 0: everything is said; read and drop until then */
	bool is_full;      /* the socket took no more of a file: wait for EPOLLOUT */
	bool is_closing;   /* close when out is sent */
	bool is_lingering; /* ... but let the client read it first: input may be unread */
	bool is_broken;    /* free at the next top */
	bool is_eof;       /* the client has said its last word */
	bool is_draining;
	bool is_dirty; /* on the server's list of the kick */
	struct conn *next_dirty;
};

/* FD came from L and is taken over. */
void conn_new(const struct listener *l, int fd, const struct sockaddr_storage *peer);
/* Cancels its exchanges. Only from the top. */
void conn_free(struct conn *c);
/* There is something to send: do it from the loop. */
void conn_wake(struct conn *c);
/* Send what is ready; frees the connection if it is over. Only from the top. */
void conn_service(struct conn *c);
/* Timers. Only from the top. */
void conn_sweep(struct conn *c, int64_t now_ms);
void conn_drain(struct conn *c, bool is_final);
/* Write bytes of FD straight to the socket, behind out. > 0, -EAGAIN (out first, or the socket is full), -errno. */
ssize_t conn_sendfile(struct conn *c, int fd, uint64_t offset, uint64_t len);

/* Sessions. */
void http1_start(struct conn *c);
int http2_start(struct conn *c);

#endif
