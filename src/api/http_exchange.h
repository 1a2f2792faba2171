/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One request and its answer, as the transports (http1, http2) and the handlers (routes in http.c, procedures in rpc.c)
 * see it. A transport creates it, feeds the request in, pulls the answer out, and frees it: handlers never free one.
 *
 *   transport: exchange_new, fields of the request, exchange_headers_done, exchange_body..., exchange_body_done
 *   handler:   exchange_begin, exchange_out..., exchange_end      (each wakes the transport, none re-enters it)
 *   transport: exchange_pull... until exchange_is_sent, then exchange_free; or exchange_free early: the handler's
 * lost()
 */
#ifndef API_HTTP_EXCHANGE_H
#define API_HTTP_EXCHANGE_H

#include <sys/types.h>

#include "api/http.h"
#include "api/rpc.h"
#include "base/buf.h"

struct conn;
struct rpc_call;

/* Above this many bytes waiting, writers get -EAGAIN; below the half they are called again. */
#define EXCHANGE_HIGH_WATER 65536u

struct http_pair {
	char *name, *value; /* owns; the name in lower case */
};

struct http_headers {
	struct http_pair *v; /* owns */
	size_t n, cap;
};

void http_headers_add(struct http_headers *h, const char *name, size_t name_len, const char *value, size_t value_len);
/* The first value of NAME (lower case), NULL. */
const char *http_headers_get(const struct http_headers *h, const char *name);
void http_headers_free(struct http_headers *h);

/* What a handler does; every one runs from the transport's side. */
struct exchange_handler {
	void (*complete)(struct http_exchange *x);  /* the request is whole */
	void (*too_large)(struct http_exchange *x); /* its body is not going to fit */
	void (*writable)(struct http_exchange *x);  /* room again after -EAGAIN */
	void (*lost)(struct http_exchange *x);      /* the client is gone; nothing can be answered */
	void (*drain)(struct http_exchange *x);     /* the server stops: end what has no end of its own; may be NULL */
	void (*more)(struct http_exchange *x);      /* duplex only: there is more of the body */
};

struct http_exchange {
	struct conn *conn;
	struct http_exchange *next, **prev; /* the connection's list */
	int32_t stream_id;                  /* HTTP/2 */

	/* request */
	char *method, *path; /* owns */
	char *query;         /* owns; behind '?', NULL if there is none */
	struct http_headers headers;
	struct http_headers params; /* the query's, decoded at first use */
	bool is_query_parsed;
	size_t header_bytes; /* sum of name + value + 32 */
	struct buf body;
	bool is_head_done, is_request_done;
	bool is_duplex;   /* the handler takes the body as it comes, and may answer meanwhile */
	int64_t since_ms; /* of the headers' first byte; then of their end */

	/* who answers */
	const struct exchange_handler *handler;
	const struct http_route *route;
	struct rpc_call *call; /* owned by rpc.c, NULL once answered */
	void *caller;          /* owns; the guard's */
	void (*on_writable)(struct http_exchange *x, void *arg);
	void (*on_cancel)(struct http_exchange *x, void *arg);
	void *on_arg;

	/* answer */
	unsigned status; /* 0: not begun */
	struct http_headers answer;
	struct http_headers trailers; /* HTTP/2: behind the body */
	int64_t length;               /* of the body, -1: not known */
	struct buf out;
	size_t out_at; /* bytes of out that are sent */
	int file_fd;   /* owns, -1 */
	uint64_t file_at, file_left;
	bool is_ended;     /* the handler has said its last word */
	bool is_aborted;   /* what has been said is sent, but not as a whole answer */
	bool is_blocked;   /* a write was refused: call writable when there is room */
	bool is_oversized; /* HTTP/2: headers over the limit were dropped */
	bool is_deferred;  /* HTTP/2: the data provider waits for resume */
	bool is_early;     /* HTTP/2: the headers alone were answered; the rest of the request is dropped */
	bool is_submitted; /* HTTP/2: the answer's headers are on their way */
	uint64_t dropped_bytes;
	int64_t progress_ms; /* when the client last took something, or had nothing to take */
};

struct http_exchange *exchange_new(struct conn *c);
/* Unlinks; tells the handler first if the answer has not ended. */
void exchange_free(struct http_exchange *x);

/* TARGET as in the request line: "/path?query". False: neither origin nor absolute form. */
bool exchange_set_target(struct http_exchange *x, const char *target, size_t len);
/* The headers are whole: finds the handler. May answer at once (status != 0): the body is of no use then. */
void exchange_headers_done(struct http_exchange *x);
/* More body. -EFBIG: over a limit, the handler has answered. */
int exchange_body(struct http_exchange *x, const void *data, size_t len);
void exchange_body_done(struct http_exchange *x);
/* Duplex: the first N bytes of the body are used up. */
void exchange_body_used(struct http_exchange *x, size_t n);
void exchange_drain(struct http_exchange *x);
/* The exchange goes to x->route (http.c). */
void http_route_begin(struct http_exchange *x);

void exchange_begin(struct http_exchange *x, unsigned status, int64_t length);
void exchange_out(struct http_exchange *x, const void *data, size_t len);
void exchange_end(struct http_exchange *x);
bool exchange_is_full(const struct http_exchange *x);

/* Bytes ready to send: memory first, then the file. */
bool exchange_has_output(const struct http_exchange *x);
/* Copy up to LEN bytes of the answer's body. 0: none now; -EIO: the file is shorter than promised. */
ssize_t exchange_pull(struct http_exchange *x, void *to, size_t len);
bool exchange_is_sent(const struct http_exchange *x);
/* Call the handler again if there is room; true if it was called. */
bool exchange_run_writable(struct http_exchange *x);
/* HEAD, 204, 304: headers only. */
bool exchange_is_bodyless(const struct http_exchange *x);

/* {"code":"...","message":"..."} */
void http_error_json(struct buf *b, const char *code, const char *message);

#endif
