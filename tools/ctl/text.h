/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers and foreign words, made fit to be shown. */
#ifndef CTL_TEXT_H
#define CTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define TEXT_NUMBER_MAX 32

/* The terminal shows UTF-8; from the locale, call setlocale(LC_CTYPE, "") first. */
bool text_is_utf8(void);

/* "0 B", "512 B", "12.3 MB": powers of 1000, as disks and networks count. Return OUT. */
const char *text_bytes(int64_t bytes, char out[TEXT_NUMBER_MAX]);
/* "41 ms", "1.23 s", "2:05 min", "1:02:05 h". */
const char *text_duration(int64_t ms, char out[TEXT_NUMBER_MAX]);

/* Append S, which somebody else wrote, as what may go to a terminal: no control characters (C0, C1, DEL: they would
 * steer it), no bytes that are no characters. */
void text_put(struct buf *b, const char *s);
/* The same in at most COLUMNS columns; what is cut off is marked. Returns the columns used. */
size_t text_put_fit(struct buf *b, const char *s, size_t columns);
/* Columns of S as text_put shows it. */
size_t text_columns(const char *s);

#endif
