/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What has to be remembered about some inodes until the layer is finished, by inode number; an entry is dropped when
 * its inode is removed, so the numbers are those of live inodes.
 *  - charge: files whose st_blocks may still change when they are written back (extent blocks: only files with more
 * blocks than the four extents an inode holds): what the ledger was told.
 *  - time: directories whose mtime is set when the layer ends: what their entry says, or, for one that only its
 *    children were named of, what it was before.
 */
#ifndef FUSE_ITAB_H
#define FUSE_ITAB_H

#include <stddef.h>
#include <time.h>

#include "fuse/handle.h"

#define ITAB_CHARGE 1u
#define ITAB_TIME 2u
#define ITAB_TIME_STATED 4u /* by an entry of the layer */

struct itab_row {
	uint64_t ino; /* 0: empty */
	uint64_t charge;
	struct timespec mtime;
	struct handle handle;
	uint32_t flags;
};

struct itab {
	struct itab_row *rows; /* owns */
	size_t count, cap;
};

/* The row of INO or NULL. Valid until the next itab_add or itab_drop. */
struct itab_row *itab_find(const struct itab *t, uint64_t ino);
/* The row of INO, made if it is missing (flags 0, handle zero). */
struct itab_row *itab_add(struct itab *t, uint64_t ino);
void itab_drop(struct itab *t, uint64_t ino);
void itab_free(struct itab *t);

#endif
