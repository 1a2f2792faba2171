/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A growing byte buffer. Running out of memory aborts: buffers are bounded by their callers, who check before they
 * append. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdarg.h>
#include <stdlib.h>

struct buf {
	char *data; /* owns; NULL while empty */
	size_t len, cap;
};

void buf_append(struct buf *b, const void *data, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for LEN more bytes; returns where to write them. Add to b->len afterwards. */
char *buf_reserve(struct buf *b, size_t len);
/* Drop LEN bytes from the front. */
void buf_consume(struct buf *b, size_t len);
/* NUL-terminates (not counted in len) and returns data, "" never NULL. */
const char *buf_cstr(struct buf *b);
void buf_free(struct buf *b);

/* malloc family that aborts when memory is out. */
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define AUTO_BUF __attribute__((cleanup(buf_free)))

#endif
