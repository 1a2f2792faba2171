/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/ctl/display.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/loop.h"
#include "tools/ctl/text.h"

#define REDRAW_MS 100
#define RATE_WINDOW_MS 2000
#define STEP_COLUMNS 28 /* the bar does not jump when the step's text changes */
#define BAR_MIN 10
#define BAR_MAX 32

void display_begin(struct display *d)
{
	const char *term = getenv("TERM");

	*d = (struct display){.begin_ms = time_mono_ms(), .drawn_ms = -REDRAW_MS};
	d->is_terminal = isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

static size_t terminal_columns(void)
{
	struct winsize w;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
}

/* Bytes a second over the last samples of this step, 0 while there is nothing to go by. */
static int64_t rate(struct display *d, const struct display_state *s, int64_t now)
{
	if (strncmp(d->step, s->step, sizeof(d->step) - 1) != 0 ||
	        (d->n_samples && d->samples[d->n_samples - 1].bytes > s->bytes_done)) {
		snprintf(d->step, sizeof(d->step), "%s", s->step);
		d->n_samples = 0;
	}
	while (d->n_samples == DISPLAY_SAMPLES || (d->n_samples > 1 && now - d->samples[0].ms > RATE_WINDOW_MS))
		memmove(d->samples, d->samples + 1, --d->n_samples * sizeof(d->samples[0]));
	d->samples[d->n_samples].ms = now;
	d->samples[d->n_samples++].bytes = s->bytes_done;
	int64_t ms = now - d->samples[0].ms;
	return ms < 200 ? 0 : (s->bytes_done - d->samples[0].bytes) * 1000 / ms;
}

static void put_bar(struct buf *b, int percent, size_t columns)
{
	static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
	bool is_utf8 = text_is_utf8();
	size_t eight = columns * 8 * (size_t)percent / 100, full = eight / 8, used = full;

	for (size_t i = 0; i < full; i++)
		buf_puts(b, is_utf8 ? "█" : "#");
	if (is_utf8 && eight % 8) {
		buf_puts(b, eighths[eight % 8]);
		used++;
	}
	for (; used < columns; used++)
		buf_puts(b, is_utf8 ? "·" : "-");
}

/* "12.3 / 28.1 MB" where the units agree, else "900.0 kB / 28.1 MB". */
static void put_amount(char *out, size_t size, const struct display_state *s)
{
	char done[TEXT_NUMBER_MAX], total[TEXT_NUMBER_MAX];

	*out = 0;
	if (!s->bytes_done && !s->bytes_total)
		return;
	text_bytes(s->bytes_done, done);
	if (!s->bytes_total) {
		snprintf(out, size, "  %s", done);
		return;
	}
	text_bytes(s->bytes_total, total);
	char *unit = strchr(done, ' '), *unit_total = strchr(total, ' ');
	if (!strcmp(unit, unit_total))
		*unit = 0;
	snprintf(out, size, "  %s / %s", done, total);
}

/* What there is room for, in order: step, time, percent, bar, bytes, rate. */
static void compose(struct display *d, const struct display_state *s, size_t columns, struct buf *b)
{
	char amount[2 * TEXT_NUMBER_MAX + 8], speed[TEXT_NUMBER_MAX + 8] = "", percent[16] = "", elapsed[24];
	int64_t now = time_mono_ms(), bytes_s = rate(d, s, now), seconds = (now - d->begin_ms) / 1000;
	size_t step = columns < STEP_COLUMNS + 12 ? (columns > 12 ? columns - 12 : 1) : STEP_COLUMNS, bar = 0;

	put_amount(amount, sizeof(amount), s);
	if (bytes_s) {
		char number[TEXT_NUMBER_MAX];
		snprintf(speed, sizeof(speed), "  %s/s", text_bytes(bytes_s, number));
	}
	snprintf(elapsed, sizeof(elapsed), "  %d:%02d", (int)(seconds / 60), (int)(seconds % 60));
	if (s->percent >= 0)
		snprintf(percent, sizeof(percent), " %3d%%", s->percent);
	size_t left = columns - step - strlen(elapsed) - strlen(percent);
	if (columns < step + strlen(elapsed) + strlen(percent))
		left = 0;
	if (s->percent >= 0 && left >= BAR_MIN + 2)
		bar = left - 2 < BAR_MAX ? left - 2 : BAR_MAX;
	/* The bar gives way to the numbers, down to its smallest. */
	size_t room = bar ? left - 2 - BAR_MIN : left;
	if (strlen(amount) > room)
		*amount = 0;
	room -= strlen(amount);
	if (!*amount || strlen(speed) > room)
		*speed = 0;
	room -= strlen(speed);
	if (bar)
		bar = room + BAR_MIN < BAR_MAX ? room + BAR_MIN : BAR_MAX;
	size_t used = text_put_fit(b, s->step, step);
	for (; used < step && (bar || *amount); used++)
		buf_puts(b, " ");
	if (bar) {
		buf_puts(b, "  ");
		put_bar(b, s->percent > 100 ? 100 : s->percent, bar);
	}
	buf_printf(b, "%s%s%s%s", percent, amount, speed, elapsed);
}

void display_update(struct display *d, const struct display_state *s)
{
	AUTO_BUF struct buf line = {0};
	int64_t now = time_mono_ms();

	if (!d->is_terminal || now - d->drawn_ms < REDRAW_MS)
		return;
	d->drawn_ms = now;
	d->is_drawn = true;
	buf_puts(&line, "\r");
	/* Never the last column: many terminals would wrap. */
	compose(d, s, terminal_columns() - 1, &line);
	buf_puts(&line, "\033[K");
	fd_write_all(STDERR_FILENO, line.data, line.len);
}

void display_clear(struct display *d)
{
	static const char clear[] = "\r\033[K";

	if (d->is_drawn)
		fd_write_all(STDERR_FILENO, clear, sizeof(clear) - 1);
	d->is_drawn = false;
	d->drawn_ms = -REDRAW_MS;
}
