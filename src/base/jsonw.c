/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/jsonw.h"

#include <inttypes.h>
#include <string.h>

/* Bytes of the UTF-8 character at S, 0 if there is none (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_length(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n = *s < 0x80                 ? 1
	           : *s >= 0xc2 && *s < 0xe0 ? 2
	           : *s >= 0xe0 && *s < 0xf0 ? 3
	           : *s >= 0xf0 && *s < 0xf5 ? 4
	                                     : 0;

	if (*s == 0xe0)
		low = 0xa0;
	if (*s == 0xed)
		high = 0x9f;
	if (*s == 0xf0)
		low = 0x90;
	if (*s == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < n; i++) {
		if (s[i] < low || s[i] > high)
			return 0;
		low = 0x80, high = 0xbf;
	}
	return n;
}

static void put_string(struct buf *b, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	buf_puts(b, "\"");
	for (size_t n; *p; p += n ? n : 1) {
		n = utf8_length(p);
		if (*p == '"' || *p == '\\')
			buf_printf(b, "\\%c", *p);
		else if (*p < 0x20 || *p == 0x7f)
			buf_printf(b, "\\u%04x", *p);
		else if (n)
			buf_append(b, p, n);
		else
			buf_puts(b, "\\ufffd");
	}
	buf_puts(b, "\"");
}

static void put_key(struct jsonw *w, const char *key)
{
	if (w->needs_comma)
		buf_puts(w->out, ",");
	w->needs_comma = true;
	if (key) {
		put_string(w->out, key);
		buf_puts(w->out, ":");
	}
}

void jsonw_begin(struct jsonw *w, const char *key, char bracket)
{
	put_key(w, key);
	buf_append(w->out, &bracket, 1);
	w->needs_comma = false;
}

void jsonw_end(struct jsonw *w, char bracket)
{
	buf_append(w->out, &bracket, 1);
	w->needs_comma = true;
}

void jsonw_text(struct jsonw *w, const char *key, const char *text)
{
	if (!text) {
		jsonw_null(w, key);
		return;
	}
	put_key(w, key);
	put_string(w->out, text);
}

void jsonw_number(struct jsonw *w, const char *key, uint64_t n)
{
	put_key(w, key);
	buf_printf(w->out, "%" PRIu64, n);
}

void jsonw_bool(struct jsonw *w, const char *key, bool is_true)
{
	put_key(w, key);
	buf_puts(w->out, is_true ? "true" : "false");
}

void jsonw_null(struct jsonw *w, const char *key)
{
	put_key(w, key);
	buf_puts(w->out, "null");
}
