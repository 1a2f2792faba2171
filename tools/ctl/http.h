/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HTTP as this client needs it. The only user of <curl/curl.h> here. */
#ifndef CTL_HTTP_H
#define CTL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct http;

struct http_request {
	const char *url;
	const char *socket;         /* path of a Unix socket to connect to, NULL: the URL's host */
	const char *const *headers; /* NULL-terminated "Name: value"; NULL: none */
	const char *body;           /* NULL: GET, else POST */
	size_t body_len;
	int timeout_s; /* for all of it; 0: only as long as nothing comes for a minute, or for ever with is_patient */
	bool is_patient;
	/* The answer's body as it comes, only of 2xx answers; NULL: it goes to http_answer.body. Return < 0 to stop:
	 * http_send returns that. */
	int (*data)(void *arg, const void *data, size_t len, struct err *e);
	void *arg;
	/* About ten times a second while nothing happens, too. Return true to stop: http_send returns -ECANCELED. NULL:
	 * none. */
	bool (*tick)(void *arg);
};

struct http_answer {
	unsigned status;
	char etag[160];  /* "" without one */
	struct buf body; /* owns; at most HTTP_MAX_BODY */
};

#define HTTP_MAX_BODY (64 << 20)

/* NULL when out of memory. Keeps its connection from one request to the next. */
struct http *http_new(void);
void http_free(struct http *h);

/* 0: there is an answer, whatever its status; it is set from its headers on, so DATA may look at it. Free A->body.
 * -ENOTCONN: the server was not reached; -ECANCELED, what DATA returned; else the answer broke off. */
int http_send(struct http *h, const struct http_request *r, struct http_answer *a, struct err *e);

#endif
