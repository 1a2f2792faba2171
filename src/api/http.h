/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plain HTTP for what is not a remote procedure: health, metrics, artifacts, log lines. HTTP/1.1 and HTTP/2 look alike.
 *
 * A route's function answers now or later, from the loop thread, with exactly one of http_respond, http_respond_file,
 * or http_stream_begin ... http_stream_end; then the exchange is gone and the pointer is dead. If the client goes away
 * first, the cancel callback of http_on runs, exactly once, and the exchange is dead when it returns. An exchange
 * without a cancel callback must be answered before its route function returns. HEAD reaches GET routes; its body is
 * dropped here.
 */
#ifndef API_HTTP_H
#define API_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/rpc.h"

struct http_exchange;

struct http_route {
	const char *method; /* "GET" */
	const char *prefix; /* "/metrics"; one that ends in '/' matches every longer path too */
	/* ARG is server_new's. */
	void (*handle)(struct http_exchange *x, void *arg);
	enum rpc_access access;
};

/* The path of the request target, percent-encoding as it came. */
const char *http_path(const struct http_exchange *x);
/* What lies behind the route's prefix: "" or an id. Percent-encoding as it came. */
const char *http_suffix(const struct http_exchange *x);
/* Value of a query parameter, NAME in lower case (the request's may be in any), decoded; the first if repeated; NULL if
 * absent. Lives as long as the exchange. */
const char *http_query(struct http_exchange *x, const char *name);
/* Value of a request header, NAME in lower case; the first if repeated; NULL if absent. */
const char *http_header(const struct http_exchange *x, const char *name);
/* The request's body; *LEN its length. */
const char *http_body(const struct http_exchange *x, size_t *len);
/* Of the connection, not of what the request claims. */
enum peer_identity http_peer_identity(const struct http_exchange *x);
/* "192.0.2.1:4711" */
const char *http_peer(const struct http_exchange *x);
bool http_is_head(const struct http_exchange *x);

/* Add a header to the answer, before it begins. Control characters in VALUE become spaces. */
void http_header_add(struct http_exchange *x, const char *name, const char *value);

/* Answer with BODY (borrowed, copied). CONTENT_TYPE NULL: none. */
void http_respond(struct http_exchange *x, unsigned status, const char *content_type, const void *body, size_t len);
/* {"code":..., "message":...} with STATUS, the form of every error of this server. */
void http_respond_error(struct http_exchange *x, unsigned status, const char *code, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
/* Answer with LEN bytes of FD from OFFSET. FD is taken over and closed. The file must not shrink meanwhile: then the
 * connection is cut, never padded. Reads block the loop: local files only. */
void http_respond_file(
        struct http_exchange *x, unsigned status, const char *content_type, int fd, uint64_t offset, uint64_t len);

/* An answer whose length is not known. */
void http_stream_begin(struct http_exchange *x, unsigned status, const char *content_type);
/* 0, or -EAGAIN: nothing was queued, wait for the writable callback. */
int http_stream_write(struct http_exchange *x, const void *data, size_t len);
void http_stream_end(struct http_exchange *x);

/* For answers that come later. WRITABLE may be NULL. */
void http_on(struct http_exchange *x, void (*writable)(struct http_exchange *x, void *arg),
        void (*cancel)(struct http_exchange *x, void *arg), void *arg);

#endif
