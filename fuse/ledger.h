/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The quota of one build: allocated bytes and inodes.
 *
 * What counts: st_blocks × 512 over the distinct inodes of the tree, its root and whatever mkfs put there included, and
 * the number of these inodes. Every change reserves its worst case first, acts, looks at the inode again and settles
 * the difference, so the figure never runs behind the disk. `used` contains the reservations.
 *
 * Beside the quota of the build stands the storage of its tenant, which its builds share: builderd has those figures,
 * and grants parts of it (src/monitor/pool.h).
 *
 * Behind the quota stands the volume, which may be smaller than it and is grown on demand. Its free space is
 * known by an estimate that only falls, and that is refreshed when it no longer proves that a reservation fits.
 */
#ifndef FUSE_LEDGER_H
#define FUSE_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct ledger_space {
	uint64_t bytes, inodes; /* free on the volume */
};

struct ledger_ops {
	/* What is free now; 0 or -errno. */
	int (*space)(void *arg, struct ledger_space *free_now);
	/* Make the volume larger, so that WANT bytes are free; 0 or -errno: it stays as it is. */
	int (*grow)(void *arg, const struct ledger_space *free_now, uint64_t want);
	/* The tenant's storage: NEED bytes in all are wanted. 0: grant_bytes is the answer. -errno: nobody answered.
	 * NULL: the quota alone counts. */
	int (*need)(void *arg, uint64_t need);
	void *arg;
};

struct ledger {
	uint64_t max_bytes, max_inodes;
	uint64_t used_bytes, used_inodes;
	uint64_t grant_bytes;     /* of the tenant's storage: used_bytes stays within */
	struct ledger_space free; /* never more than there is */
	struct ledger_ops ops;
	bool is_grow_refused; /* asked once in vain */
};

/* Kept free on the volume beside what is reserved: blocks of extent trees that ext4 allocates at writeback. */
#define LEDGER_MARGIN_BYTES (4ull << 20)
#define LEDGER_MARGIN_INODES 16u

void ledger_init(struct ledger *l, uint64_t max_bytes, uint64_t max_inodes, const struct ledger_ops *ops);

/* -EDQUOT (QUOTA_BYTES, QUOTA_INODES) or -ENOSPC (DISK_FULL), and nothing is reserved. E may be NULL. */
int ledger_reserve(struct ledger *l, uint64_t bytes, uint64_t inodes, struct err *e);

/* RESERVED bytes turned out to be IS - WAS bytes: what the inodes concerned are charged now and were before. */
void ledger_settle(struct ledger *l, uint64_t reserved, uint64_t was, uint64_t is);

/* Inodes that went away, or a reservation that was not used. */
void ledger_credit(struct ledger *l, uint64_t bytes, uint64_t inodes);

/* Bytes that the quota still allows. */
uint64_t ledger_room(const struct ledger *l);

/* ... and the tenant's storage, as far as it was granted: after -EDQUOT, all that can be had. */
uint64_t ledger_left(const struct ledger *l);

#endif
