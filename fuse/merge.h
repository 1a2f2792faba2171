/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The names of a merged directory, sorted, each once; whiteouts and what they hide left out. */
#ifndef FUSE_MERGE_H
#define FUSE_MERGE_H

#include "fuse/overlay.h"

struct merge_entry {
	char *name; /* owns */
	uint64_t ino;
	unsigned layer;     /* 0: upper */
	unsigned char type; /* DT_* */
	bool is_whiteout;
};

struct merge {
	struct merge_entry *entries; /* owns */
	size_t n, cap;
};

/* UPPER: descriptor or -1. 0 or -errno; to be freed in every case. */
int merge_read(struct fs *fs, int upper, const struct stack *below, struct merge *m);
void merge_free(struct merge *m);

#endif
