/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The POSIX side: what programs do to the mount by ordinary system calls. Permissions were checked by the kernel
 * (default_permissions); here are quota, whiteouts, ownership, names. Functions return 0 (or a count) or -errno.
 * Names are checked here: FUSE passes names above 255 bytes.
 *
 * Names with the prefix ".wh." are never stored and never found. Making a file of such a name is the whiteout: it acts
 * at once, and what the maker gets is an inode that exists in memory only, so that it can set owner, mode and times of
 * it.
 */
#ifndef FUSE_OPS_H
#define FUSE_OPS_H

#include <sys/statvfs.h>
#include <sys/types.h>

#include "fuse/node.h"
#include "fuse/tree.h"

struct caller {
	unsigned uid, gid;
};

struct found {
	struct node *node; /* with one more reference */
	struct stat st;
};

/* What to make: S_IFDIR, S_IFREG, ... in mode; target for symlinks. */
struct make {
	mode_t mode;
	dev_t rdev;
	const char *target;
	struct caller who;
};

int op_lookup(struct fs *fs, struct node *dir, const char *name, struct found *out);
int op_make(struct fs *fs, struct node *dir, const char *name, const struct make *m, struct found *out);
/* A regular file, opened with FLAGS into *FD (-1 for a whiteout marker). */
int op_create(
        struct fs *fs, struct node *dir, const char *name, const struct make *m, int flags, struct found *out, int *fd);
int op_unlink(struct fs *fs, struct node *dir, const char *name, bool is_dir);
int op_rename(
        struct fs *fs, struct node *dir, const char *name, struct node *to_dir, const char *to_name, unsigned flags);
int op_link(struct fs *fs, struct node *n, struct node *dir, const char *name, struct found *out);
/* SIZE bytes at most, NUL-terminated. */
int op_readlink(struct fs *fs, struct node *n, char *target, size_t size);

/* Bits of what op_setattr sets; the numbers are FUSE's, others are ignored. */
#define SET_MODE 1u
#define SET_UID 2u
#define SET_GID 4u
#define SET_SIZE 8u
#define SET_ATIME 16u
#define SET_MTIME 32u
#define SET_ATIME_NOW 128u
#define SET_MTIME_NOW 256u
#define SET_ALL (SET_MODE | SET_UID | SET_GID | SET_SIZE | SET_ATIME | SET_MTIME | SET_ATIME_NOW | SET_MTIME_NOW)
#define SET_KILL 2048u /* set-id bits go with what else is set */
struct change {
	unsigned set;
	mode_t mode;
	unsigned uid, gid;
	uint64_t size;
	struct timespec atime, mtime;
};

/* FD: the caller's open file or -1. */
int op_getattr(struct fs *fs, struct node *n, int fd, struct stat *st);
int op_setattr(struct fs *fs, struct node *n, int fd, const struct change *c, struct stat *st);
int op_statfs(struct fs *fs, struct statvfs *sv);

/* As getxattr(2), listxattr(2): SIZE 0 asks for the size. */
ssize_t op_getxattr(struct fs *fs, struct node *n, const char *name, void *value, size_t size);
ssize_t op_listxattr(struct fs *fs, struct node *n, char *list, size_t size);
int op_setxattr(struct fs *fs, struct node *n, const char *name, const void *value, size_t size, int flags);
int op_removexattr(struct fs *fs, struct node *n, const char *name);

/* Of the flags of open(2), those that the descriptor here has too. */
int op_open_flags(int flags);
/* A new descriptor; the node counts it until op_release. */
int op_open(struct fs *fs, struct node *n, int flags);
void op_release(struct fs *fs, struct node *n, int fd);
/* Take set-user-ID away, and set-group-ID where the group may execute: a writer without CAP_FSETID did it. */
int op_kill_set_id(int fd);
/* Bytes written: fewer than SIZE up to the quota, then -EDQUOT. KILLS_SET_ID: op_kill_set_id comes first. */
ssize_t op_write(struct fs *fs, struct node *n, int fd, bool kills_set_id, const void *data, size_t size, off_t off);
int op_fallocate(struct fs *fs, struct node *n, int fd, int mode, off_t off, off_t len);

#endif
