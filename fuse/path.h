/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a path of the ingest stream to the directory it is in, inside the root.
 *
 * Symlinks in parents are followed as if the root were "/" (merged /usr needs it): an absolute target starts there, and
 * ".." in a target stops there. ".." in the path itself is refused, so is any name with the whiteout prefix.
 * Directories resolved lately stay open: archives go depth first, so nearly every entry finds its parent there.
 */
#ifndef FUSE_PATH_H
#define FUSE_PATH_H

#include "fuse/tree.h"

#define PATH_SYMLINKS_MAX 40 /* as the kernel: path_resolution(7) */
#define PATH_CACHE 8

struct path_dir {
	int fd; /* owned by the cache; O_PATH */
	uint64_t ino;
	struct stack below; /* owns; overlay mode: lower directories of this path. FD is the upper one */
	bool is_written;    /* marked as a directory that this layer wrote into */
	char *path;         /* owns; as it was asked for, no final slash */
	size_t len;
	uint64_t used; /* for the choice of a victim */
};

struct path_cache {
	struct path_dir dirs[PATH_CACHE];
	uint64_t serial; /* fs->serial the contents belong to */
	uint64_t clock;
};

void path_cache_init(struct path_cache *c);
void path_cache_free(struct path_cache *c);

/* Check a path's form against the limits: BAD_NAME, BAD_WHITEOUT, PATH_ESCAPE, LIMIT_PATH. "" is the root. */
int path_check(const struct fs *fs, const char *path, size_t len, struct err *e);

/* The directory that the first LEN bytes of PATH name ("" is the root). Missing ones are made (0755 0:0, charged,
 * marked as written) if MAKE. Borrowed until the next call. NULL: E tells: NOT_A_DIRECTORY, PATH_LOOP; -ENOENT without
 * a kind if MAKE is false. */
struct path_dir *path_dir_get(
        struct fs *fs, struct path_cache *c, const char *path, size_t len, bool make, struct err *e);

/* Bytes of PATH in front of its last component (without the slash); *NAME is the last component. */
size_t path_split(const char *path, size_t len, const char **name);

#endif
