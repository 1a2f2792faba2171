/* SPDX-License-Identifier: GPL-2.0-or-later */
/* POSIX operations on names. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuse/ops.h"
#include "fuse/overlay.h"
#include "ipc/ingest.h"

static bool is_marker(const char *name)
{
	return !strncmp(name, TREE_WHITEOUT, strlen(TREE_WHITEOUT));
}

static bool is_control(const struct fs *fs, const struct node *dir, const char *name)
{
	return dir == nodes_root(fs) && !strcmp(name, INGEST_NAME);
}

/* A name that may be looked for. */
static int name_check(const struct fs *fs, const char *name)
{
	return strnlen(name, NAME_MAX + 1) > NAME_MAX ? -ENAMETOOLONG : 0;
}

/* A name that may be made. */
static int new_name_check(const struct fs *fs, const struct node *dir, const char *name)
{
	int rc = name_check(fs, name);

	if (rc < 0)
		return rc;
	return is_control(fs, dir, name) ? -EPERM : is_marker(name) ? -EINVAL : 0;
}

int op_lookup(struct fs *fs, struct node *dir, const char *name, struct found *out)
{
	int rc = name_check(fs, name);

	if (rc < 0)
		return rc;
	if (is_marker(name))
		return -ENOENT;
	if (fs->ov)
		return ov_op_lookup(fs, dir, name, out);
	int fd = node_fd(fs, dir);
	return fd < 0 ? fd : node_lookup(fs, fd, name, &out->node, &out->st);
}

/* A directory about to get a name: its descriptor and what it was. */
struct grown {
	int fd;
	struct stat was;
	uint64_t reserved;
};

static int grow_begin(struct fs *fs, struct node *dir, uint64_t extra, uint64_t inodes, struct grown *g)
{
	g->fd = node_fd(fs, dir);
	if (g->fd < 0)
		return g->fd;
	if (fstat(g->fd, &g->was) < 0)
		return -errno;
	if (!g->was.st_nlink)
		return -ENOENT;
	g->reserved = fs_dir_growth(fs) + extra;
	return ledger_reserve(&fs->ledger, g->reserved, inodes, NULL);
}

/* OWN of the reservation is settled elsewhere. */
static int grow_end(struct fs *fs, const struct grown *g, uint64_t own, const char *name)
{
	struct stat st;

	mark_add(&fs->marks, g->was.st_ino, name);
	return fs_charge_fd(fs, g->fd, g->reserved - own, stat_bytes(&g->was), &st);
}

/* FLAGS: those of open(2) for a regular file that is wanted open. A descriptor then, otherwise -1 with *RC = 0; *RC is
 * -errno if it failed. */
static int make_inode(int dirfd, const char *name, const struct make *m, int flags, int *rc)
{
	int fd = -1;

	if (flags >= 0)
		*rc = fd = openat(dirfd, name, flags | O_CREAT | O_EXCL | O_CLOEXEC, m->mode & 0777);
	else if (S_ISDIR(m->mode))
		*rc = mkdirat(dirfd, name, m->mode & 0777);
	else if (S_ISLNK(m->mode))
		*rc = symlinkat(m->target, dirfd, name);
	else
		*rc = mknodat(dirfd, name, m->mode & (S_IFMT | 0777), m->rdev);
	*rc = *rc < 0 ? -errno : 0;
	return fd;
}

/* Owner and mode as the kernel gives them: a set-group-ID directory hands on its group, and to directories the bit. The
 * inode is FD or, without one, NAME in DIRFD. */
static int make_attrs(int fd, int dirfd, const char *name, const struct make *m, const struct stat *dir)
{
	bool inherits = dir->st_mode & S_ISGID;
	mode_t mode = (m->mode & 07777) | (inherits && S_ISDIR(m->mode) ? S_ISGID : 0u);
	gid_t gid = inherits ? dir->st_gid : m->who.gid;

	if ((fd >= 0 ? fchown(fd, m->who.uid, gid) : fchownat(dirfd, name, m->who.uid, gid, AT_SYMLINK_NOFOLLOW)) < 0)
		return -errno;
	/* NAME was made here a moment ago: it is no symlink that fchmodat would follow */
	if (!S_ISLNK(m->mode) && mode & 07000 && (fd >= 0 ? fchmod(fd, mode) : fchmodat(dirfd, name, mode, 0)) < 0)
		return -errno;
	return 0;
}

static struct node *marker_make(struct fs *fs, const struct make *m, struct stat *st)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	*st = (struct stat){.st_mode = m->mode,
	        .st_nlink = 1,
	        .st_uid = m->who.uid,
	        .st_gid = m->who.gid,
	        .st_blksize = 4096,
	        .st_rdev = m->rdev,
	        .st_atim = now,
	        .st_mtim = now,
	        .st_ctim = now};
	return node_phantom(fs, st);
}

/* The whiteout acts; what is left is an inode in memory. */
static int op_marker(struct fs *fs, struct node *dir, const char *name, const struct make *m, struct found *out)
{
	const char *hidden = name + strlen(TREE_WHITEOUT);
	struct stat st;
	int rc = 0;

	if (S_ISDIR(m->mode) || S_ISLNK(m->mode) || !*hidden || !strcmp(hidden, ".") || !strcmp(hidden, ".."))
		return -EINVAL;
	AUTO_CLOSE int fd = fs->ov ? ov_dir_open(fs, dir) : node_open(fs, dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fd < 0 ? fd : -errno;
	const struct stack *below = fs->ov ? &dir->place->below : NULL;
	if (!strcmp(name, TREE_OPAQUE))
		rc = below ? ov_hide_all(fs, fd, below) : whiteout_opaque(fs, fd);
	else if (!is_marker(hidden)) /* .wh..wh.*: AUFS's own files, without a meaning here */
		rc = below ? ov_hide(fs, fd, st.st_ino, below, hidden) : whiteout_apply(fs, fd, st.st_ino, hidden);
	if (rc < 0)
		return rc;
	out->node = marker_make(fs, m, &out->st);
	return 0;
}

/* As make_inode, with all that belongs to it, where no file of that name is in the way. *FD: -1 or the descriptor. */
static int make_here(
        struct fs *fs, struct node *dir, const char *name, const struct make *m, int flags, struct found *out, int *fd)
{
	uint64_t own = S_ISDIR(m->mode) || S_ISLNK(m->mode) ? fs->block : 0;
	struct grown g;
	int rc = grow_begin(fs, dir, own, 1, &g);

	if (rc < 0)
		return rc;
	AUTO_CLOSE int file = make_inode(g.fd, name, m, flags, &rc);
	if (rc < 0) {
		ledger_credit(&fs->ledger, g.reserved, 1);
		return rc;
	}
	rc = make_attrs(file, g.fd, name, m, &g.was);
	int found = file >= 0 ? node_lookup(fs, file, "", &out->node, &out->st)
	                      : node_lookup(fs, g.fd, name, &out->node, &out->st);
	ledger_settle(&fs->ledger, own, 0, found < 0 ? own : stat_bytes(&out->st));
	int grown = grow_end(fs, &g, own, name);
	if (rc == 0)
		rc = found < 0 ? found : grown;
	if (rc < 0 && found == 0)
		node_forget(fs, out->node, 1);
	if (rc == 0)
		*fd = STEAL_FD(&file);
	return rc;
}

/* Overlay mode: a whiteout may be in the way, and a new directory must not show what it hid. */
static int make_over(
        struct fs *fs, struct node *dir, const char *name, const struct make *m, int flags, struct found *out, int *fd)
{
	struct ov_cover cover = {0};

	AUTO_CLOSE int upper = ov_dir_open(fs, dir);
	if (upper < 0)
		return upper;
	int rc = ov_uncover(fs, upper, &dir->place->below, name, &cover);
	if (rc < 0)
		return rc;
	rc = make_here(fs, dir, name, m, flags, out, fd);
	if (rc < 0) {
		ov_recover(fs, upper, name, &cover);
		return rc;
	}
	node_move(fs, out->node, dir, name);
	return ov_covered(fs, upper, name, m->mode, &cover);
}

/* A 0:0 character device is the whiteout of its own name (overlayfs.rst). */
static int op_native_marker(struct fs *fs, struct node *dir, const char *name, const struct make *m, struct found *out)
{
	struct stat st;

	AUTO_CLOSE int fd = ov_dir_open(fs, dir);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fd < 0 ? fd : -errno;
	int rc = ov_hide(fs, fd, st.st_ino, &dir->place->below, name);
	if (rc == 0)
		out->node = marker_make(fs, m, &out->st);
	return rc;
}

static int make(
        struct fs *fs, struct node *dir, const char *name, const struct make *m, int flags, struct found *out, int *fd)
{
	*fd = -1;
	int rc = name_check(fs, name);
	if (rc == 0 && is_marker(name))
		return op_marker(fs, dir, name, m, out);
	if (rc == 0)
		rc = new_name_check(fs, dir, name);
	if (rc < 0)
		return rc;
	if (fs->ov && S_ISCHR(m->mode) && m->rdev == makedev(0, 0))
		return op_native_marker(fs, dir, name, m, out);
	return fs->ov ? make_over(fs, dir, name, m, flags, out, fd) : make_here(fs, dir, name, m, flags, out, fd);
}

int op_make(struct fs *fs, struct node *dir, const char *name, const struct make *m, struct found *out)
{
	int fd;

	return make(fs, dir, name, m, -1, out, &fd);
}

int op_create(
        struct fs *fs, struct node *dir, const char *name, const struct make *m, int flags, struct found *out, int *fd)
{
	int rc = make(fs, dir, name, m, op_open_flags(flags), out, fd);

	if (rc == 0 && *fd >= 0)
		node_opened(out->node, *fd);
	return rc;
}

int op_unlink(struct fs *fs, struct node *dir, const char *name, bool is_dir)
{
	struct stat st;
	int rc = name_check(fs, name);

	if (rc < 0)
		return rc;
	if (is_marker(name) || is_control(fs, dir, name))
		return -ENOENT;
	if (fs->ov)
		return ov_op_unlink(fs, dir, name, is_dir);
	int fd = node_fd(fs, dir);
	if (fd < 0 || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fd < 0 ? fd : -errno;
	if (is_dir != S_ISDIR(st.st_mode))
		return is_dir ? -ENOTDIR : -EISDIR;
	return tree_unlink(fs, fd, name, &st);
}

/* What rename is about to replace. */
struct replaced {
	bool is_last; /* its last name goes */
	struct node *node;
	struct stat st;
};

static int replaced_find(
        struct fs *fs, int dirfd, const char *name, const struct stat *source, unsigned flags, struct replaced *r)
{
	*r = (struct replaced){0};
	if (flags & RENAME_EXCHANGE)
		return 0;
	if (fstatat(dirfd, name, &r->st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	/* two names of one inode: rename(2) does nothing then */
	r->is_last = r->st.st_ino != source->st_ino && (S_ISDIR(r->st.st_mode) || r->st.st_nlink == 1);
	if (r->is_last)
		r->node = nodes_find_name(fs, dirfd, name);
	if (r->node)
		node_before_unlink(fs, r->node);
	return 0;
}

static void replaced_end(struct fs *fs, const struct replaced *r)
{
	if (!r->is_last || (r->node && node_orphan(fs, r->node)))
		return;
	ledger_credit(&fs->ledger, fs_charge_of(fs, &r->st), 1);
	itab_drop(&fs->itab, r->st.st_ino);
}

int op_rename(
        struct fs *fs, struct node *dir, const char *name, struct node *to_dir, const char *to_name, unsigned flags)
{
	struct replaced old;
	struct stat st;
	struct grown g;

	int rc = new_name_check(fs, to_dir, to_name);
	if (rc == 0 && (is_marker(name) || is_control(fs, dir, name)))
		rc = -ENOENT;
	if (rc == 0)
		rc = name_check(fs, name);
	if (rc < 0)
		return rc;
	if (fs->ov)
		return ov_op_rename(fs, dir, name, to_dir, to_name, flags);
	AUTO_CLOSE int from = node_open(fs, dir, O_RDONLY | O_DIRECTORY);
	if (from < 0 || fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return from < 0 ? from : -errno;
	rc = grow_begin(fs, to_dir, 0, 0, &g);
	if (rc < 0)
		return rc;
	/* a directory descriptor of our own: nothing below may evict it */
	AUTO_CLOSE int to = fcntl(g.fd, F_DUPFD_CLOEXEC, 3);
	g.fd = to;
	rc = to < 0 ? -errno : replaced_find(fs, to, to_name, &st, flags, &old);
	if (rc == 0 && syscall(SYS_renameat2, from, name, to, to_name, flags) < 0)
		rc = -errno;
	if (rc < 0) {
		ledger_credit(&fs->ledger, g.reserved, 0);
		return rc;
	}
	fs->serial++;
	replaced_end(fs, &old);
	if (flags & RENAME_EXCHANGE && fstat(from, &st) == 0)
		mark_add(&fs->marks, st.st_ino, name);
	return grow_end(fs, &g, 0, to_name);
}

static int link_here(struct fs *fs, struct node *n, struct node *dir, const char *name, struct found *out)
{
	struct grown g;
	AUTO_CLOSE int fd = n->phantom || n->is_orphan ? -ENOENT : node_open(fs, n, O_PATH | O_NOFOLLOW);

	if (fd < 0)
		return fd;
	int rc = grow_begin(fs, dir, 0, 0, &g);
	if (rc < 0)
		return rc;
	if (linkat(fd, "", g.fd, name, AT_EMPTY_PATH) < 0) {
		rc = -errno;
		ledger_credit(&fs->ledger, g.reserved, 0);
		return rc;
	}
	rc = grow_end(fs, &g, 0, name);
	return rc < 0 ? rc : node_lookup(fs, g.fd, name, &out->node, &out->st);
}

static int link_over(struct fs *fs, struct node *n, struct node *dir, const char *name, struct found *out)
{
	struct ov_cover cover = {0};
	int rc = n->phantom || n->is_orphan || (!n->place->parent && !n->place->is_upper) ? -ENOENT : 0;

	if (rc == 0)
		rc = ov_node_up(fs, n, UINT64_MAX);
	AUTO_CLOSE int upper = rc < 0 ? rc : ov_dir_open(fs, dir);
	if (upper < 0)
		return upper;
	rc = ov_uncover(fs, upper, &dir->place->below, name, &cover);
	if (rc < 0)
		return rc;
	rc = link_here(fs, n, dir, name, out);
	if (rc < 0) {
		ov_recover(fs, upper, name, &cover);
		return rc;
	}
	node_move(fs, n, dir, name);
	ov_node_stat(fs, n, &out->st);
	return ov_covered(fs, upper, name, n->type, &cover);
}

int op_link(struct fs *fs, struct node *n, struct node *dir, const char *name, struct found *out)
{
	int rc = new_name_check(fs, dir, name);

	if (rc < 0)
		return rc;
	return fs->ov ? link_over(fs, n, dir, name, out) : link_here(fs, n, dir, name, out);
}

int op_readlink(struct fs *fs, struct node *n, char *target, size_t size)
{
	int fd = n->phantom ? -EINVAL : node_fd(fs, n);
	ssize_t len = fd < 0 ? fd : readlinkat(fd, "", target, size - 1);

	if (len < 0)
		return fd < 0 ? fd : -errno;
	target[len] = 0;
	return 0;
}
