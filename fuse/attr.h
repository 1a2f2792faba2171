/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owner, mode, xattrs of what the ingest stream makes: in the order that keeps them (chown clears set-id bits and
 * capabilities). */
#ifndef FUSE_ATTR_H
#define FUSE_ATTR_H

#include "fuse/ingest.h"
#include "fuse/tree.h"

/* Something just made. FD is a real descriptor of it, or -1 and it is NAME in DIRFD. */
struct attr_target {
	int fd, dirfd;
	const char *name;
};

/* Number and size of an entry's xattrs against the limits: LIMIT_XATTR. */
int attr_xattrs_check(const struct fs *fs, const struct ingest_entry *en, struct err *e);

/* Set them, security.capability last. */
int attr_xattrs_set(struct fs *fs, const struct attr_target *t, const struct ingest_entry *en, struct err *e);

/* Remove all xattrs of the directory FD; in overlay mode not its marks. */
int attr_xattrs_clear(const struct fs *fs, int fd, const char *path, struct err *e);

/* Owner, then mode, then xattrs; symlinks have no mode. IS_OWNED: it belongs to rec.uid:gid already. */
int attr_apply(struct fs *fs, const struct attr_target *t, const struct ingest_entry *en, bool is_owned, struct err *e);

/* -errno of a failed call on PATH as a sentence; a full disk gets its kind. */
int attr_sys(struct err *e, int rc, const char *path, const char *what);

#endif
