/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File handles: inode number with generation, as the file system itself writes them. They name an inode without holding
 * a descriptor, and tell a new inode from an old one of the same number (ext4 reuses numbers within one layer). Source:
 * open_by_handle_at(2); needs CAP_DAC_READ_SEARCH. */
#ifndef FUSE_HANDLE_H
#define FUSE_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

#define HANDLE_MAX 22 /* ext4 8, btrfs 20, xfs 16 */

struct handle {
	uint8_t len, type;
	uint8_t bytes[HANDLE_MAX]; /* zero behind len: memcmp compares */
};

/* Of NAME in DIRFD, a symlink at the end not followed; NAME "" means DIRFD itself. 0 or -errno. */
int handle_get(struct handle *h, int dirfd, const char *name);
/* A new descriptor, or -errno (-ESTALE: the inode is gone). MOUNT_FD is any descriptor of that file system. */
int handle_open(int mount_fd, const struct handle *h, int flags);
bool handle_equal(const struct handle *a, const struct handle *b);

/* The lower directories of one path, topmost first (fuse/overlay.h). */
struct stack {
	struct handle *dirs; /* owns */
	unsigned n;
};

void stack_push(struct stack *s, const struct handle *h);
struct stack stack_copy(const struct stack *s);
void stack_free(struct stack *s);

#endif
