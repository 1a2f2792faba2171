/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backing tree and what is known about it: the functions through which both the ingest stream and the POSIX
 * operations change it, so that quota, whiteouts and name rules are one piece of code.
 *
 * Nobody else writes to this file system while the process runs, and the process has one thread: between two system
 * calls nothing moves. What comes from outside are names, and symlinks in the tree; the latter are never followed by a
 * call here except in path.c, which keeps them inside the root.
 */
#ifndef FUSE_TREE_H
#define FUSE_TREE_H

#include <sys/stat.h>

#include "fuse/itab.h"
#include "fuse/ledger.h"
#include "fuse/mark.h"
#include "ipc/message.h"

#define TREE_WHITEOUT ".wh."
#define TREE_OPAQUE ".wh..wh..opq"

struct nodes;
struct overlay;

struct fs {
	int root_fd; /* owns; O_RDONLY, so that it serves open_by_handle_at too */
	uint64_t root_ino;
	uint64_t block;            /* bytes of a block of the backing file system */
	unsigned own_uid, own_gid; /* of what this process creates */
	struct ledger ledger;
	struct itab itab;
	struct marks marks;
	struct nodes *nodes; /* owns; the inodes that the kernel knows */
	struct overlay *ov;  /* owns; NULL: flat, root_fd is the whole tree */
	struct image_limits limits;
	uint64_t serial; /* grows when a directory or symlink goes away or moves: resolved paths are stale */
};

/* ROOT is borrowed (a new descriptor is opened). used_inodes 0: a new volume, what mkfs left in it is measured and
 * charged. 0 or -errno with the reason. */
int fs_init(struct fs *fs, int root, const struct msg_fs_start *start, const struct ledger_ops *ops, struct err *e);
void fs_free(struct fs *fs);

/* Look again at the inodes whose figure changed by itself, when blocks of their extent trees were written back: the
 * ledger is that of the disk at this moment. */
int fs_recount(struct fs *fs, struct err *e);

/* Write everything out, look again at the inodes whose figure could still change, and forget all that was remembered.
 */
int fs_settle(struct fs *fs, struct err *e);

/* Allocated bytes. */
static inline uint64_t stat_bytes(const struct stat *st)
{
	return (uint64_t)st->st_blocks * 512;
}

/* Worst case of one more name in a directory: a full leaf splits, and its index above it. */
static inline uint64_t fs_dir_growth(const struct fs *fs)
{
	return 3 * fs->block;
}

/* Worst case of content that touches N blocks: the blocks and, above four extents, their extent tree. */
uint64_t fs_content_worst(const struct fs *fs, uint64_t n_blocks);

/* What the ledger was told about this inode. */
uint64_t fs_charge_of(const struct fs *fs, const struct stat *st);

/* FD changed from WAS (fs_charge_of before) under RESERVED bytes: charge what it is now. ST is filled. 0 or -errno. */
int fs_charge_fd(struct fs *fs, int fd, uint64_t reserved, uint64_t was, struct stat *st);

/* The mtime that directory FD (ST is its state) shall have in the end, unless an entry states one. */
void fs_time_keep(struct fs *fs, int fd, const struct stat *st);
/* ... and the one that an entry states. */
void fs_time_state(struct fs *fs, int fd, const struct stat *st, const struct timespec *mtime);
/* All of them, now. */
void fs_times_apply(struct fs *fs);

/* Remove one name that is no directory, or an empty directory; ST is its state (lstat). Credits what ends. 0 or -errno.
 */
int tree_unlink(struct fs *fs, int dirfd, const char *name, const struct stat *st);

/* Remove NAME with all below it; absent is fine. 0 or -errno. */
int tree_remove(struct fs *fs, int dirfd, const char *name);

/* Whiteout of NAME in DIRFD (inode DIR_INO): remove what lower layers had, keep what this layer wrote. 0 or -errno. */
int whiteout_apply(struct fs *fs, int dirfd, uint64_t dir_ino, const char *name);
/* The same for all children of the directory. */
int whiteout_opaque(struct fs *fs, int dirfd);

#endif
