/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/ctl/text.h"

#include <langinfo.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "base/cleanup.h"

bool text_is_utf8(void)
{
	return !strcmp(nl_langinfo(CODESET), "UTF-8");
}

const char *text_bytes(int64_t bytes, char out[TEXT_NUMBER_MAX])
{
	static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
	double v = (double)bytes / 1000;
	size_t i = 0;

	if (bytes < 1000) {
		snprintf(out, TEXT_NUMBER_MAX, "%d B", (int)(bytes < 0 ? 0 : bytes));
		return out;
	}
	/* 999.95 would be shown as 1000.0 */
	for (; v >= 999.95 && i + 1 < ARRAY_LEN(units); i++)
		v /= 1000;
	snprintf(out, TEXT_NUMBER_MAX, "%.1f %s", v, units[i]);
	return out;
}

const char *text_duration(int64_t ms, char out[TEXT_NUMBER_MAX])
{
	int64_t s = ms / 1000;

	if (ms < 1000)
		snprintf(out, TEXT_NUMBER_MAX, "%d ms", (int)(ms < 0 ? 0 : ms));
	else if (s < 60)
		snprintf(out, TEXT_NUMBER_MAX, "%d.%02d s", (int)s, (int)(ms % 1000 / 10));
	else if (s < 3600)
		snprintf(out, TEXT_NUMBER_MAX, "%d:%02d min", (int)(s / 60), (int)(s % 60));
	else
		snprintf(out, TEXT_NUMBER_MAX, "%lld:%02d:%02d h", (long long)(s / 3600), (int)(s / 60 % 60),
		        (int)(s % 60));
	return out;
}

/* One character of S: its bytes, and columns; *SHOWN is what stands for it. Returns its length, 0 at the end. */
static size_t next(const char *s, const char **shown, size_t *shown_len, size_t *columns)
{
	mbstate_t state = {0};
	wchar_t wc;
	size_t n = mbrtowc(&wc, s, MB_LEN_MAX, &state);

	if (n == 0)
		return 0;
	*shown = s;
	*shown_len = n;
	int width = n == (size_t)-1 || n == (size_t)-2 ? -1 : wcwidth(wc);
	*columns = (size_t)width;
	if (width < 0) {
		*shown = n == 1 && *s == '\t' ? " " : "?";
		*shown_len = *columns = 1;
		return n > MB_LEN_MAX ? 1 : n;
	}
	return n;
}

void text_put(struct buf *b, const char *s)
{
	text_put_fit(b, s, SIZE_MAX);
}

size_t text_columns(const char *s)
{
	const char *shown;
	size_t len, columns, used = 0, n;

	for (; (n = next(s, &shown, &len, &columns)); s += n)
		used += columns;
	return used;
}

size_t text_put_fit(struct buf *b, const char *s, size_t columns)
{
	const char *shown, *mark = text_is_utf8() ? "…" : ".";
	size_t len, width, used = 0, n;
	bool is_cut = text_columns(s) > columns;

	if (is_cut && !columns)
		return 0;
	for (; (n = next(s, &shown, &len, &width)); s += n) {
		if (is_cut && used + width > columns - 1)
			break;
		buf_append(b, shown, len);
		used += width;
	}
	if (is_cut) {
		buf_puts(b, mark);
		used++;
	}
	return used;
}
