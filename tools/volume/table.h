/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A table for people: columns as wide as what is in them, numbers to the right. On a terminal that is too narrow the
 * columns that may be cut are cut. */
#ifndef VOLUME_TABLE_H
#define VOLUME_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_COLUMNS 10

enum table_how { TABLE_LEFT = 0, TABLE_RIGHT = 1, TABLE_CUT = 2 };

struct table_column {
	const char *title; /* NULL: no more columns */
	unsigned how;      /* enum table_how */
};

struct table {
	const struct table_column *columns; /* borrowed */
	size_t n_columns;
	char **cells; /* own; row by row */
	size_t n_cells;
};

void table_begin(struct table *t, const struct table_column *columns);
/* The next cell; TEXT NULL: "-". Anybody's text: what would steer a terminal is made harmless. */
void table_text(struct table *t, const char *text);
/* "12.3 MB"; < 0: "-". */
void table_bytes(struct table *t, int64_t bytes);
void table_number(struct table *t, int64_t n);
/* To stdout; frees what is in it. */
void table_end(struct table *t);

#endif
