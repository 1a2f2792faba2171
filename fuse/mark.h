/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names that this layer wrote, so that its whiteouts spare them wherever they stand in the layer.
 *
 * A mark is a name within a directory, by the directory's inode number, kept as one 64-bit keyed hash. Numbers of
 * removed directories may come back without harm: a directory made in this layer holds marked names only. Marks are of
 * names, not of inodes: a hard link that this layer adds to a lower file is written, the lower name is not. A directory
 * into which the layer wrote is marked by itself as well (name ""), since its own name may never have been an entry.
 */
#ifndef FUSE_MARK_H
#define FUSE_MARK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct marks {
	uint64_t *slots; /* owns; 0: empty */
	size_t count, cap;
};

void mark_add(struct marks *m, uint64_t dir_ino, const char *name);
bool mark_has(const struct marks *m, uint64_t dir_ino, const char *name);
void marks_free(struct marks *m);

#endif
