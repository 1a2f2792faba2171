/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HTTP/1.1 requests, one behind the other: cut into pieces of any size they are the same requests. */
#include <stdlib.h>
#include <string.h>

#include "api/http1.h"
#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void head_put(struct buf *said, const struct http1_parser *p)
{
	if (strpbrk(p->target, " \r\n\t") || strpbrk(p->method, " \r\n\t"))
		abort();
	buf_printf(said, "%s %s %d%d%d%d %llu\n", p->method, p->target, p->is_http10, p->is_keep_alive, p->is_chunked,
	        p->wants_continue, (unsigned long long)p->content_length);
	for (size_t i = 0; i < p->headers.n; i++) {
		if (strpbrk(p->headers.v[i].value, "\r\n"))
			abort();
		buf_printf(said, "%s=%s\n", p->headers.v[i].name, p->headers.v[i].value);
	}
}

/* What a piece gives is appended to SAID; false after an error. */
static bool piece_parse(struct http1_parser *p, const char *data, size_t len, struct buf *said)
{
	size_t at = 0, used;

	for (;;) {
		enum http1_event ev = http1_parse(p, data + at, len - at, &used);
		if (used > len - at)
			abort();
		at += used;
		switch (ev) {
		case HTTP1_MORE:
			if (at != len)
				abort();
			return true;
		case HTTP1_HEAD:
			head_put(said, p);
			break;
		case HTTP1_BODY:
			if (!p->len)
				abort();
			buf_append(said, p->data, p->len);
			break;
		case HTTP1_DONE:
			buf_puts(said, "\n.\n");
			http1_parser_next(p);
			break;
		case HTTP1_ERROR:
			if (p->status < 400 || !p->why)
				abort();
			buf_printf(said, "\n%u %s\n", p->status, p->why);
			return false;
		}
	}
}

static void parse(const uint8_t *data, size_t size, size_t step, struct buf *said)
{
	struct http1_parser p = {.max_header_bytes = 512, .max_headers = 8};

	for (size_t at = 0; at < size; at += step)
		if (!piece_parse(&p, (const char *)data + at, size - at < step ? size - at : step, said))
			break;
	http1_parser_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t steps[] = {1, 3, 61};
	AUTO_BUF struct buf whole = {0};

	if (!size)
		return 0;
	parse(data, size, size, &whole);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		AUTO_BUF struct buf cut = {0};
		parse(data, size, steps[i], &cut);
		if (cut.len != whole.len || (cut.len && memcmp(cut.data, whole.data, cut.len)))
			abort();
	}
	return 0;
}
