/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is placed into a VM's directory: `rootfs.ext4`, the device's node or the file, and `metadata.json`.
 *
 * The directory lies below the configured base and may belong to the user that the VM runs as, who is not trusted: it
 * is opened beneath the base without following a link, everything happens relative to that descriptor, new inodes get
 * their owner and mode by descriptor before they get their name, and nothing is replaced or removed that is not ours.
 * Ours is what only root could have put there: a block node; the file that the lease has; a regular file of root's with
 * mode 0444.
 */
#ifndef DM_JAIL_H
#define DM_JAIL_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* What becomes rootfs.ext4: DEV's node; or the file FD: linked if it IS_PRIVATE (the lease's own), else as a reflink
 * copy, which needs a file system that has them. */
struct jail_root {
	dev_t dev; /* 0: a file */
	int fd;
	bool is_private;
	bool is_read_only; /* mode 0400, else 0600 */
};

/* The base directory, or -1 if DIR is NULL or "". The caller closes it. -errno. */
int jail_base_open(const char *dir, int *out, struct err *e);

/* Place ROOT, and METADATA unless it is NULL, in JAIL below BASE. -ENOTEMPTY: a name is taken, and nothing was placed;
 * with MAY_REPLACE one that is ours is replaced. -EOPNOTSUPP: BASE is -1, or the file cannot be placed there. */
int jail_place(int base, const char *jail, const struct jail_root *root, const char *metadata, size_t len,
        bool may_replace, struct err *e);

/* Remove what is ours; a name, or a directory, that is gone is fine. */
int jail_clear(int base, const char *jail, const struct jail_root *root, struct err *e);

#endif
