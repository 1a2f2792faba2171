/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Overlay mode: read-only lower directories stacked below one upper directory, all of one file system.
 *
 * On disk it is what the kernel's overlayfs reads with `userxattr` (Documentation/filesystems/overlayfs.rst): a
 * whiteout is a 0:0 character device, an opaque directory has user.overlay.opaque=y. The trusted.* forms, redirects and
 * metacopy need CAP_SYS_ADMIN, which this process lacks, so a copy-up takes the content along and a directory that
 * lower layers have a part in is renamed by copying it up whole. A directory therefore always has the same path in each
 * layer, which keeps all of this small.
 *
 * What is copied up keeps its identity: inode number, open descriptors, all of its hard links. The upper inode is known
 * as the one it came from by a table in memory, which goes with the process.
 */
#ifndef FUSE_OVERLAY_H
#define FUSE_OVERLAY_H

#include <sys/stat.h>

#include "fuse/node.h"
#include "fuse/tree.h"

#define OVERLAY_XATTR "user.overlay."
#define OVERLAY_OPAQUE "user.overlay.opaque"
#define OVERLAY_TEMP ".wh.." /* a whiteout on its way to its name; hidden as all such names */

struct overlay {
	struct stack root;       /* the layers */
	int volume_fd;           /* owns; its root */
	int whiteout_fd;         /* owns; O_PATH: one inode serves many whiteouts; -1: none yet */
	struct origins *origins; /* owns */
	struct aliases *aliases; /* owns; NULL until a lower file with several names is met */
	uint64_t changes;        /* of what lower layers show: grows */
};

/* LAYERS are open directories, topmost first; borrowed. fs->root_fd is the upper one. 0 or -errno. */
int overlay_new(struct fs *fs, const int *layers, unsigned n, struct err *e);
void overlay_free(struct fs *fs);

/* What stands at one name of a merged directory. */
struct ov_found {
	bool exists;
	bool is_upper;      /* what is seen lies in the upper directory */
	bool is_hidden;     /* a whiteout in the upper directory stands there */
	bool covers;        /* lower layers would show something here */
	struct stat st;     /* as it lies on disk */
	struct handle real; /* what is seen */
	struct stack below; /* owns; of a directory: the lower ones it is merged of, itself included if it is one */
};

void ov_found_free(struct ov_found *f);

/* UPPER: descriptor of the upper directory or -1. F is to be freed in every case. 0 (exists or not) or -errno. */
int ov_find(struct fs *fs, int upper, const struct stack *below, const char *name, struct ov_found *f);

/* A directory of the merged tree, by descriptor. */
struct ov_dir {
	int upper;          /* owns; -1: no layer but lower ones has it */
	struct stack below; /* owns */
};

void ov_dir_free(struct ov_dir *d);
/* The root. 0 or -errno. */
int ov_dir_root(struct fs *fs, struct ov_dir *d);
/* Go down into F = ov_find(NAME); with UP it is copied up on the way. 0 or -errno. */
int ov_dir_down(struct fs *fs, struct ov_dir *d, const char *name, struct ov_found *f, bool up);
/* Resolve a path of directories, no symlinks, from the root. */
int ov_dir_walk(struct fs *fs, const char *path, size_t len, bool up, struct ov_dir *d);

bool ov_is_whiteout(const struct stat *st);
/* Make NAME a whiteout; it must not exist in DIRFD. Charged. 0 or -errno. */
int ov_whiteout(struct fs *fs, int dirfd, const char *name);
/* Make NAME a whiteout, which replaces what is no directory there. First half: what may fail. Then the old name goes,
 * then the second. */
int ov_whiteout_prepare(struct fs *fs, int dirfd);
int ov_whiteout_commit(struct fs *fs, int dirfd, const char *name);

/* Remove the whiteouts in an opaque directory and below it: the kernel would list them. In whiteout.c. */
int ov_marks_remove(struct fs *fs, int dirfd);

/* Lower layers end at the directory FD: for readers and for the nodes at and below it. 0 or -errno. */
int ov_opaque(struct fs *fs, int fd);

/* For the ingest stream. The whiteout of NAME, or of all names: lower layers' and copies of them go, what this layer
 * wrote stays. */
int ov_hide(struct fs *fs, int dirfd, uint64_t dir_ino, const struct stack *below, const char *name);
int ov_hide_all(struct fs *fs, int dirfd, const struct stack *below);

/* Before a name is made: the way is free in DIRFD if *COVER says so. 0, or -EEXIST. */
struct ov_cover {
	bool was_hidden, covers;
};
int ov_uncover(struct fs *fs, int dirfd, const struct stack *below, const char *name, struct ov_cover *cover);
/* It was not made: put the whiteout back. */
void ov_recover(struct fs *fs, int dirfd, const char *name, const struct ov_cover *cover);
/* It was made: a new directory does not merge with what the whiteout hid. */
int ov_covered(struct fs *fs, int dirfd, const char *name, mode_t mode, const struct ov_cover *cover);

/* --- identity: origins.c ------------------------------------------------------------------------------------- */

void origins_add(struct fs *fs, const struct handle *upper, const struct handle *key, uint64_t ino);
/* The key of a real inode: where it was copied from, or itself. *INO is set if it was copied. */
const struct handle *origins_key(const struct fs *fs, const struct handle *real, uint64_t *ino);
void origins_free(struct fs *fs);

/* --- copyup.c ------------------------------------------------------------------------------------------------- */

/* Copy LOWER (not a directory's contents) to NAME in DIRFD, its other visible names with it; the content up to SIZE
 * bytes. 0 or -errno (-EDQUOT, -ENOSPC), nothing is left then. */
int copy_up(struct fs *fs, int dirfd, const char *name, const struct handle *lower, uint64_t size);
/* Copy a lower file that has no name any more, but is open; it ends with its last close. */
int copy_up_orphan(struct fs *fs, struct node *n, uint64_t size);
/* A whole directory with all below it. PATH is that of the merged tree. */
int copy_up_tree(struct fs *fs, const char *path);

/* Owner, mode, xattrs and times of one inode to another. */
int copy_up_attrs(int from, int to);

/* --- layers.c: the layers of a volume -------------------------------------------------------------------------- */

/* Make LAYER (0: the first) of the volume fs->root_fd the upper directory, and fs->root_fd it; those below it the lower
 * ones. Charged. */
int layers_open(struct fs *fs, unsigned layer, struct err *e);

/* At the end: a volume with our init in its topmost layer can be booted. */
int layers_close(struct fs *fs, struct err *e);

/* --- aliases.c: names of lower files that have several --------------------------------------------------------- */

/* How many names of LOWER are visible. -errno. */
int aliases_count(struct fs *fs, const struct handle *lower, const struct stat *st);
/* Call FN for each visible name of LOWER. */
typedef int alias_fn(struct fs *fs, const char *path, void *arg);
int aliases_each(struct fs *fs, const struct handle *lower, uint64_t ino, alias_fn *fn, void *arg);
void aliases_free(struct fs *fs);

/* --- ops_overlay.c: what the POSIX side does differently ------------------------------------------------------- */

struct found;
int ov_op_lookup(struct fs *fs, struct node *dir, const char *name, struct found *out);
int ov_op_unlink(struct fs *fs, struct node *dir, const char *name, bool is_dir);
int ov_op_rename(
        struct fs *fs, struct node *dir, const char *name, struct node *to_dir, const char *to_name, unsigned flags);
/* A directory that was removed. */
bool ov_is_gone(const struct fs *fs, const struct node *dir);
/* A new descriptor of DIR in the upper directory. -ENOENT: it was removed. */
int ov_dir_open(struct fs *fs, struct node *dir);
/* N is in the upper directory afterwards; of a file's content the first SIZE bytes at least. */
int ov_node_up(struct fs *fs, struct node *n, uint64_t size);
/* ST of the real inode becomes what the kernel is told. */
void ov_node_stat(struct fs *fs, struct node *n, struct stat *st);

#endif
