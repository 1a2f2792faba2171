/* SPDX-License-Identifier: GPL-2.0-or-later */
/* POSIX operations on attributes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fuse/ops.h"
#include "fuse/overlay.h"

/* "/proc/self/fd/N": for what only takes a path, on inodes that cannot be opened (devices, sockets, symlinks). */
struct fd_path {
	char text[32];
};

static struct fd_path fd_path(int fd)
{
	struct fd_path p;

	snprintf(p.text, sizeof(p.text), "/proc/self/fd/%d", fd);
	return p;
}

static bool is_plain(const struct node *n)
{
	return S_ISREG(n->type) || S_ISDIR(n->type);
}

int op_getattr(struct fs *fs, struct node *n, int fd, struct stat *st)
{
	if (n->phantom) {
		*st = *n->phantom;
		return 0;
	}
	if (fd < 0)
		fd = node_fd(fs, n);
	if (fd < 0)
		return fd;
	if (fstatat(fd, "", st, AT_EMPTY_PATH) < 0)
		return -errno;
	ov_node_stat(fs, n, st);
	return 0;
}

static int set_mode(const struct node *n, int fd, mode_t mode)
{
	if (is_plain(n))
		return fchmod(fd, mode) < 0 ? -errno : 0;
	if (S_ISLNK(n->type))
		return -EOPNOTSUPP;
	return fchmodat(AT_FDCWD, fd_path(fd).text, mode, 0) < 0 ? -errno : 0;
}

static int set_size(struct fs *fs, struct node *n, uint64_t size)
{
	struct stat st;

	if (!S_ISREG(n->type))
		return S_ISDIR(n->type) ? -EISDIR : -EINVAL;
	if (size > fs->limits.max_file)
		return -EFBIG;
	int own = n->is_orphan ? node_fd(fs, n) : -1;
	AUTO_CLOSE int fd = -1;
	if (own >= 0) /* no name, no handle: through the descriptor that is held */
		fd = open(fd_path(own).text, O_WRONLY | O_CLOEXEC);
	else
		fd = node_open(fs, n, O_WRONLY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return own >= 0 || fd >= 0 ? -errno : fd;
	/* The last block may become a real one, when what lies in it is cleared. */
	uint64_t was = fs_charge_of(fs, &st), reserved = size > (uint64_t)st.st_size ? fs->block : 0;
	int rc = ledger_reserve(&fs->ledger, reserved, 0, NULL);
	if (rc < 0)
		return rc;
	if (ftruncate(fd, (off_t)size) < 0)
		rc = -errno;
	int charged = fs_charge_fd(fs, fd, reserved, was, &st);
	return rc < 0 ? rc : charged;
}

static struct timespec time_of(const struct change *c, unsigned value_bit, unsigned now_bit, struct timespec value)
{
	if (c->set & now_bit)
		value.tv_nsec = UTIME_NOW;
	else if (!(c->set & value_bit))
		value.tv_nsec = UTIME_OMIT;
	return value;
}

static int set_times(int fd, const struct change *c)
{
	const struct timespec times[2] = {
	        time_of(c, SET_ATIME, SET_ATIME_NOW, c->atime), time_of(c, SET_MTIME, SET_MTIME_NOW, c->mtime)};

	if (!(c->set & (SET_ATIME | SET_MTIME | SET_ATIME_NOW | SET_MTIME_NOW)))
		return 0;
	return utimensat(fd, "", times, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* A change of nothing, such as chown(-1, -1), still moves ctime. */
static int touch(const struct node *n, int fd)
{
	struct stat st;

	if (fstatat(fd, "", &st, AT_EMPTY_PATH) < 0)
		return -errno;
	if (!S_ISLNK(st.st_mode))
		return set_mode(n, fd, st.st_mode & 07777);
	return fchownat(fd, "", (uid_t)-1, (gid_t)-1, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int set_phantom(struct node *n, const struct change *c)
{
	struct stat *st = n->phantom;

	if (c->set & SET_MODE)
		st->st_mode = (st->st_mode & S_IFMT) | (c->mode & 07777);
	if (c->set & SET_UID)
		st->st_uid = c->uid;
	if (c->set & SET_GID)
		st->st_gid = c->gid;
	if (c->set & SET_MTIME && !(c->set & SET_MTIME_NOW))
		st->st_mtim = c->mtime;
	return 0;
}

/* Before anything about it is changed. */
static int node_writable(struct fs *fs, struct node *n, uint64_t size)
{
	return fs->ov ? ov_node_up(fs, n, size) : 0;
}

/* The marks of overlay mode are nobody's to see or to set. */
static bool is_own_xattr(const struct fs *fs, const char *name)
{
	return fs->ov && !strncmp(name, OVERLAY_XATTR, strlen(OVERLAY_XATTR));
}

int op_setattr(struct fs *fs, struct node *n, int fd, const struct change *c, struct stat *st)
{
	int rc = 0;

	if (n->phantom) {
		set_phantom(n, c);
		*st = *n->phantom;
		return 0;
	}
	rc = node_writable(fs, n, c->set & SET_SIZE ? c->size : UINT64_MAX);
	if (rc < 0)
		return rc;
	if (fd < 0)
		fd = node_fd(fs, n);
	if (fd < 0)
		return fd;
	if (c->set & (SET_UID | SET_GID)) {
		uid_t uid = c->set & SET_UID ? c->uid : (uid_t)-1;
		gid_t gid = c->set & SET_GID ? c->gid : (gid_t)-1;
		if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
			return -errno; /* the set-id bits went with it */
	}
	if (!(c->set & SET_ALL))
		rc = touch(n, fd);
	if (c->set & SET_SIZE)
		rc = set_size(fs, n, c->size);
	if (rc == 0 && c->set & SET_KILL && c->set & SET_SIZE)
		rc = op_kill_set_id(fd);
	/* Behind chown: that clears set-id bits, and the mode that came with it says what is left of them. */
	if (rc == 0 && c->set & SET_MODE)
		rc = set_mode(n, fd, c->mode & 07777);
	if (rc == 0)
		rc = set_times(fd, c);
	return rc < 0 ? rc : op_getattr(fs, n, fd, st);
}

int op_statfs(struct fs *fs, struct statvfs *sv)
{
	const struct ledger *l = &fs->ledger;

	struct err ignored = ERR_INIT; /* an orphan has no handle: its last figure stays */

	fs_recount(fs, &ignored);
	if (fstatvfs(fs->root_fd, sv) < 0)
		return -errno;
	uint64_t room = ledger_room(l) / fs->block,
	         files = l->used_inodes < l->max_inodes ? l->max_inodes - l->used_inodes : 0;
	/* A volume that grows on demand is no limit of its own: the quota is the disk. */
	sv->f_frsize = sv->f_bsize = fs->block;
	sv->f_blocks = l->max_bytes / fs->block;
	sv->f_bfree = sv->f_bavail = room;
	sv->f_files = l->max_inodes;
	sv->f_ffree = sv->f_favail = files;
	sv->f_namemax = 255;
	return 0;
}

ssize_t op_getxattr(struct fs *fs, struct node *n, const char *name, void *value, size_t size)
{
	int fd = n->phantom || is_own_xattr(fs, name) ? -ENODATA : node_fd(fs, n);

	if (fd < 0)
		return fd;
	ssize_t rc = is_plain(n) ? fgetxattr(fd, name, value, size) : getxattr(fd_path(fd).text, name, value, size);
	return rc < 0 ? -errno : rc;
}

/* Leave the own names out of a list of LEN bytes; its new length. */
static ssize_t list_filter(const struct fs *fs, char *list, ssize_t len)
{
	ssize_t kept = 0;

	for (ssize_t at = 0; at < len;) {
		ssize_t n = (ssize_t)strlen(list + at) + 1;
		if (!is_own_xattr(fs, list + at)) {
			memmove(list + kept, list + at, (size_t)n);
			kept += n;
		}
		at += n;
	}
	return kept;
}

static ssize_t list_get(struct node *n, int fd, char *list, size_t size)
{
	ssize_t rc = is_plain(n) ? flistxattr(fd, list, size) : listxattr(fd_path(fd).text, list, size);

	return rc < 0 ? -errno : rc;
}

ssize_t op_listxattr(struct fs *fs, struct node *n, char *list, size_t size)
{
	if (n->phantom)
		return 0;
	int fd = node_fd(fs, n);
	ssize_t rc = fd < 0 ? fd : list_get(n, fd, list, fs->ov ? 0 : size);
	if (rc <= 0 || !fs->ov)
		return rc;
	AUTO_FREE char *all = xcalloc(1, (size_t)rc);
	rc = list_get(n, fd, all, (size_t)rc);
	if (rc > 0)
		rc = list_filter(fs, all, rc);
	if (rc <= 0 || !size)
		return rc;
	if ((size_t)rc > size)
		return -ERANGE;
	memcpy(list, all, (size_t)rc);
	return rc;
}

/* Settle what an inode's xattr block takes. Does not look at extents: xattrs have none. */
static int xattr_settle(struct fs *fs, int fd, uint64_t reserved, const struct stat *was)
{
	struct stat st;

	if (fstatat(fd, "", &st, AT_EMPTY_PATH) < 0)
		return -errno;
	ledger_settle(&fs->ledger, reserved, stat_bytes(was), stat_bytes(&st));
	struct itab_row *r = itab_find(&fs->itab, st.st_ino);
	if (r && r->flags & ITAB_CHARGE)
		r->charge += stat_bytes(&st) - stat_bytes(was);
	return 0;
}

int op_setxattr(struct fs *fs, struct node *n, const char *name, const void *value, size_t size, int flags)
{
	struct stat was;

	if (n->phantom)
		return -EOPNOTSUPP;
	int rc = is_own_xattr(fs, name) ? -EPERM : node_writable(fs, n, UINT64_MAX);
	int fd = rc < 0 ? rc : node_fd(fs, n);
	if (fd < 0 || fstatat(fd, "", &was, AT_EMPTY_PATH) < 0)
		return fd < 0 ? fd : -errno;
	rc = ledger_reserve(&fs->ledger, fs->block, 0, NULL);
	if (rc < 0)
		return rc;
	if ((is_plain(n) ? fsetxattr(fd, name, value, size, flags)
	                 : setxattr(fd_path(fd).text, name, value, size, flags)) < 0)
		rc = -errno;
	int settled = xattr_settle(fs, fd, fs->block, &was);
	return rc < 0 ? rc : settled;
}

int op_removexattr(struct fs *fs, struct node *n, const char *name)
{
	struct stat was;

	if (n->phantom || is_own_xattr(fs, name))
		return -ENODATA;
	int rc = node_writable(fs, n, UINT64_MAX);
	int fd = rc < 0 ? rc : node_fd(fs, n);
	if (fd < 0 || fstatat(fd, "", &was, AT_EMPTY_PATH) < 0)
		return fd < 0 ? fd : -errno;
	if ((is_plain(n) ? fremovexattr(fd, name) : removexattr(fd_path(fd).text, name)) < 0)
		rc = -errno;
	int settled = xattr_settle(fs, fd, 0, &was);
	return rc < 0 ? rc : settled;
}
