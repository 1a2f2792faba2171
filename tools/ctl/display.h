/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The live line on a terminal: step, bar, bytes, rate, time. */
#ifndef CTL_DISPLAY_H
#define CTL_DISPLAY_H

#include <stdbool.h>
#include <stdint.h>

#define DISPLAY_SAMPLES 16

struct display {
	bool is_terminal; /* else nothing is ever drawn */
	bool is_drawn;
	int64_t begin_ms, drawn_ms; /* monotonic */
	/* for the rate: the last two seconds of one step */
	char step[96];
	struct {
		int64_t ms, bytes;
	} samples[DISPLAY_SAMPLES];
	unsigned n_samples;
};

struct display_state {
	const char *step;                /* borrowed, anybody's text */
	int percent;                     /* 0 to 100; < 0: not known, no bar */
	int64_t bytes_done, bytes_total; /* of the step; total 0: not known */
};

/* On stderr, when that is a terminal that can go back to the beginning of a line. */
void display_begin(struct display *d);
/* Draw, unless it was drawn less than a tenth of a second ago. */
void display_update(struct display *d, const struct display_state *s);
/* Take the line away, so that something else can be printed. */
void display_clear(struct display *d);

#endif
