/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP requests, many at a time on one thread: libcurl's multi interface, and nothing that knows about registries. The
 * only user of <curl/curl.h>. No redirects, no cookies, no proxies, no decoding: what the caller asks for is what is
 * sent.
 *
 * A request is started, driven by http_wait or http_next until it is finished, and then looked at: either failure is 0
 * and there is a response (of any status), or failure is -errno and err tells why.
 */
#ifndef FETCH_HTTP_H
#define FETCH_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "fetch/policy.h"

#define HTTP_URL_MAX 8192
#define HTTP_HEADERS_MAX 6

struct http;

struct http_options {
	int64_t deadline_ms; /* CLOCK_MONOTONIC: no request outlives it */
	int watch_fd; /* when it hangs up or becomes readable, http_wait and http_next give up with -ECANCELED; -1: none
	               */
};

struct http_response {
	long status;
	char content_type[256];
	char location[HTTP_URL_MAX];
	char challenge[4096]; /* every WWW-Authenticate line, joined with ", " */
	char content_range[128];
	int64_t content_length; /* -1: not said */
	int64_t retry_after_s;  /* 0: not said */
	struct buf error_body;  /* the beginning of the body of a response that is neither 200 nor 206 */
};

enum http_failure {
	HTTP_FAILURE_FINAL,
	HTTP_FAILURE_RETRY,
	HTTP_FAILURE_PROTOCOL /* plain HTTP met TLS or the reverse */
};

struct http_request {
	/* set by the caller */
	const char *url;                       /* borrowed until it is finished */
	const char *post;                      /* form body; NULL: GET */
	const char *headers[HTTP_HEADERS_MAX]; /* "Name: value", NULL-terminated unless full; borrowed until http_start
	                                          returns */
	uint64_t offset;                       /* > 0: Range: bytes=OFFSET- */
	int64_t delay_ms;                      /* start it that much later */
	const struct address_policy *policy;   /* borrowed */
	void *arg;
	/* Before the first byte of a 200 or 206, also when the body is empty. < 0 ends the request with E. May be NULL.
	 */
	int (*on_start)(void *arg, const struct http_response *r, struct err *e);
	int (*on_data)(void *arg, const void *data, size_t len, struct err *e); /* 200 and 206 only */
	/* set when it is finished */
	struct http_response response;
	int failure; /* -errno, 0: there is a response */
	enum http_failure how;
	struct err err;
	/* http.c only */
	void *easy, *list;
	struct http *http;
	struct http_request *next;
	int64_t start_ms;
	size_t header_bytes;
	bool is_started, has_body, is_cut, is_address_tried, is_done;
	char error_text[256];
	char refused[160];
};

struct http_url {
	char scheme[8]; /* "http", "https" */
	char host[256]; /* lower case, no brackets */
	unsigned port;  /* always set */
};

/* NULL: libcurl could not be set up. */
struct http *http_new(const struct http_options *o, struct err *e);
void http_free(struct http *h); /* requests must be finished or cancelled before */

/* Results are reset; R stays where it is until it is finished. */
int http_start(struct http *h, struct http_request *r, struct err *e);
/* Drive everything until R is finished. -ECANCELED (watch_fd) or -ETIMEDOUT (deadline); R's own failure is in R. */
int http_wait(struct http *h, struct http_request *r, struct err *e);
/* Drive until any request is finished that nobody waited for, and return it in *OUT. */
int http_next(struct http *h, struct http_request **out, struct err *e);
/* Forget a request, finished or not, and free what its result holds. */
void http_cancel(struct http *h, struct http_request *r);

/* False for what is no http(s) URL, or one with user information. */
bool http_url_parse(const char *url, struct http_url *out);
/* LOCATION (RFC 9110 section 10.2.2) relative to BASE. False when it is no URL or too long. */
bool http_url_join(const char *base, const char *location, char out[HTTP_URL_MAX]);
/* Percent-encode S behind B. */
void http_url_escape(struct buf *b, const char *s);

#endif
