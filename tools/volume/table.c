/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/volume/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "tools/ctl/text.h"

#define CUT_MIN 8 /* columns that are left of one that is cut */

void table_begin(struct table *t, const struct table_column *columns)
{
	*t = (struct table){.columns = columns};
	while (columns[t->n_columns].title)
		t->n_columns++;
}

void table_text(struct table *t, const char *text)
{
	AUTO_BUF struct buf b = {0};

	text_put(&b, text && *text ? text : "-");
	t->cells = xrealloc(t->cells, (t->n_cells + 1) * sizeof(*t->cells));
	t->cells[t->n_cells++] = xstrdup(buf_cstr(&b));
}

void table_bytes(struct table *t, int64_t bytes)
{
	char text[TEXT_NUMBER_MAX];

	table_text(t, bytes < 0 ? NULL : text_bytes(bytes, text));
}

void table_number(struct table *t, int64_t n)
{
	char text[TEXT_NUMBER_MAX];

	snprintf(text, sizeof(text), "%" PRId64, n);
	table_text(t, n < 0 ? NULL : text);
}

static const char *cell(const struct table *t, size_t row, size_t column)
{
	return row ? t->cells[(row - 1) * t->n_columns + column] : t->columns[column].title;
}

static size_t terminal_columns(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return SIZE_MAX;
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

/* The widest that may be cut gives way, a column at a time. */
static void widths_fit(const struct table *t, size_t *widths, size_t most)
{
	for (;;) {
		size_t sum = 2 * (t->n_columns - 1), widest = TABLE_COLUMNS;
		for (size_t i = 0; i < t->n_columns; i++) {
			sum += widths[i];
			if (t->columns[i].how & TABLE_CUT && widths[i] > CUT_MIN &&
			        (widest == TABLE_COLUMNS || widths[i] > widths[widest]))
				widest = i;
		}
		if (sum <= most || widest == TABLE_COLUMNS)
			return;
		widths[widest]--;
	}
}

static void row_print(const struct table *t, size_t row, const size_t *widths)
{
	AUTO_BUF struct buf line = {0};

	for (size_t i = 0; i < t->n_columns; i++) {
		AUTO_BUF struct buf text = {0};
		size_t used = text_put_fit(&text, cell(t, row, i), widths[i]), pad = widths[i] - used;
		if (i)
			buf_puts(&line, "  ");
		if (t->columns[i].how & TABLE_RIGHT)
			buf_printf(&line, "%*s", (int)pad, "");
		buf_puts(&line, buf_cstr(&text));
		if (!(t->columns[i].how & TABLE_RIGHT) && i + 1 < t->n_columns)
			buf_printf(&line, "%*s", (int)pad, "");
	}
	puts(buf_cstr(&line));
}

void table_end(struct table *t)
{
	size_t widths[TABLE_COLUMNS] = {0}, n_rows = t->n_cells / t->n_columns + 1;

	for (size_t row = 0; row < n_rows; row++)
		for (size_t i = 0; i < t->n_columns; i++) {
			size_t n = text_columns(cell(t, row, i));
			widths[i] = n > widths[i] ? n : widths[i];
		}
	widths_fit(t, widths, terminal_columns());
	for (size_t row = 0; row < n_rows; row++)
		row_print(t, row, widths);
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
}
