/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A strict parser of HTTP/1.1 requests (RFC 9112). What two servers could read differently is refused, because one of
 * them may stand in front of us: bare CR or LF, obs-fold, space before a colon, Content-Length together with
 * Transfer-Encoding, either of them twice, anything but "chunked", chunk sizes with sign, space or "0x".
 *
 * It takes bytes and gives events, and knows nothing of sockets:
 *   HEAD, BODY..., DONE, then http1_parser_next for the next request on the connection.
 */
#ifndef API_HTTP1_H
#define API_HTTP1_H

#include <stdbool.h>
#include <stdint.h>

#include "api/http_exchange.h"

enum http1_event {
	HTTP1_MORE,  /* all bytes are used, more are needed */
	HTTP1_HEAD,  /* method, target and headers can be read */
	HTTP1_BODY,  /* data, len: some of the body */
	HTTP1_DONE,  /* the request is whole; nothing is used until http1_parser_next */
	HTTP1_ERROR, /* status, why; the connection must be closed */
};

struct http1_parser {
	size_t max_header_bytes, max_headers; /* set by the caller */

	/* HTTP1_HEAD; valid until http1_parser_next, may be stolen */
	char *method, *target; /* owns */
	struct http_headers headers;
	size_t header_bytes;
	bool is_http10, is_keep_alive, is_chunked, wants_continue;
	uint64_t content_length; /* 0 if there is none */
	/* HTTP1_BODY */
	const char *data;
	size_t len;
	/* HTTP1_ERROR */
	unsigned status;
	const char *why;

	/* private */
	int state;
	bool had_empty_line;
	struct buf line;    /* the head, a chunk's size line, or the trailer section */
	uint64_t body_left; /* of the body, or of this chunk */
};

/* Look at LEN bytes; *USED of them are taken. */
enum http1_event http1_parse(struct http1_parser *p, const char *data, size_t len, size_t *used);
/* True between requests, when not a byte of the next has come. */
bool http1_parser_is_fresh(const struct http1_parser *p);
void http1_parser_next(struct http1_parser *p);
void http1_parser_free(struct http1_parser *p);

#endif
