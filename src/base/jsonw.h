/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON that we write (RFC 8259), for programs that link no JSON library: members in the order of the calls, appended to
 * a buffer. Whoever calls keeps brackets in pairs and gives a KEY inside an object, NULL inside an array and at the
 * top.
 */
#ifndef BASE_JSONW_H
#define BASE_JSONW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct jsonw {
	struct buf *out;  /* borrowed */
	bool needs_comma; /* zero in the beginning */
};

/* BRACKET is '{' or '[', and '}' or ']'. */
void jsonw_begin(struct jsonw *w, const char *key, char bracket);
void jsonw_end(struct jsonw *w, char bracket);

/* TEXT NULL: null. Bytes that are no UTF-8 become U+FFFD. */
void jsonw_text(struct jsonw *w, const char *key, const char *text);
void jsonw_number(struct jsonw *w, const char *key, uint64_t n);
void jsonw_bool(struct jsonw *w, const char *key, bool is_true);
void jsonw_null(struct jsonw *w, const char *key);

#endif
