/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copy-up: a lower inode becomes one in the upper directory, with owner, mode, xattrs, ACLs, times, holes and all of
 * its visible names. Nobody sees it half done: there is one thread, and what fails is undone.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fuse/merge.h"
#include "fuse/overlay.h"

#define CAPABILITY "security.capability"

struct copy {
	struct fs *fs;
	int dirfd; /* borrowed */
	const char *name;
	int from, to; /* own */
	struct stat st;
	struct handle real; /* of the copy */
	uint64_t size;
};

struct fd_path {
	char text[32];
};

static struct fd_path fd_path(int fd)
{
	struct fd_path p;

	snprintf(p.text, sizeof(p.text), "/proc/self/fd/%d", fd);
	return p;
}

/* --- content and attributes ------------------------------------------------------------------------------------- */

static int copy_range(const struct copy *c, off_t at, off_t end)
{
	off_t to = at;

	while (at < end) {
		ssize_t n = copy_file_range(c->from, &at, c->to, &to, (size_t)(end - at), 0);
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
	}
	return 0;
}

static int copy_content(const struct copy *c)
{
	off_t end = (uint64_t)c->st.st_size < c->size ? c->st.st_size : (off_t)c->size;
	int rc = ftruncate(c->to, end) < 0 ? -errno : 0;

	for (off_t at = 0; rc == 0 && at < end;) {
		off_t data = lseek(c->from, at, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		off_t hole = lseek(c->from, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		at = hole < end ? hole : end;
		if (data < end)
			rc = copy_range(c, data, at);
	}
	return rc;
}

static int copy_xattr(const struct copy *c, const char *name)
{
	ssize_t size = getxattr(fd_path(c->from).text, name, NULL, 0);

	if (size < 0)
		return errno == ENODATA ? 0 : -errno;
	AUTO_FREE char *value = xcalloc(1, (size_t)size + 1);
	size = getxattr(fd_path(c->from).text, name, value, (size_t)size);
	if (size < 0)
		return -errno;
	if (setxattr(fd_path(c->to).text, name, value, (size_t)size, 0) == 0)
		return 0;
	/* Labels that only the host's administrator may give are given by the host's rules. */
	return errno == EPERM && !strncmp(name, "security.", 9) && strcmp(name, CAPABILITY) ? 0 : -errno;
}

static int copy_xattrs(const struct copy *c)
{
	ssize_t n = listxattr(fd_path(c->from).text, NULL, 0);
	int rc = 0;

	if (n <= 0)
		return n < 0 && errno != ENOTSUP ? -errno : 0;
	AUTO_FREE char *names = xcalloc(1, (size_t)n + 1);
	n = listxattr(fd_path(c->from).text, names, (size_t)n);
	for (char *p = names; rc == 0 && p < names + n; p += strlen(p) + 1)
		if (strncmp(p, OVERLAY_XATTR, strlen(OVERLAY_XATTR)))
			rc = copy_xattr(c, p);
	return rc;
}

static int copy_attrs(const struct copy *c)
{
	const struct timespec times[2] = {c->st.st_atim, c->st.st_mtim};

	if (fchownat(c->to, "", c->st.st_uid, c->st.st_gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISLNK(c->st.st_mode)) {
		/* What a default ACL of the parent gave it */
		removexattr(fd_path(c->to).text, "system.posix_acl_access");
		removexattr(fd_path(c->to).text, "system.posix_acl_default");
		if (fchmodat(AT_FDCWD, fd_path(c->to).text, c->st.st_mode & 07777, 0) < 0)
			return -errno;
	}
	int rc = copy_xattrs(c);
	if (rc == 0 && utimensat(c->to, "", times, AT_EMPTY_PATH) < 0)
		rc = -errno;
	return rc;
}

int copy_up_attrs(int from, int to)
{
	struct copy c = {.from = from, .to = to};

	return fstat(from, &c.st) < 0 ? -errno : copy_attrs(&c);
}

/* --- one inode -------------------------------------------------------------------------------------------------- */

static int copy_open(struct copy *c, const struct handle *lower)
{
	int fd = handle_open(c->fs->root_fd, lower, O_PATH | O_NOFOLLOW);

	if (fd < 0 || fstat(fd, &c->st) < 0)
		return fd < 0 ? fd : -errno;
	c->from = fd;
	if (!S_ISREG(c->st.st_mode))
		return 0;
	fd = handle_open(c->fs->root_fd, lower, O_RDONLY);
	if (fd < 0)
		return fd;
	close(c->from);
	c->from = fd;
	return 0;
}

static int link_copy(const struct copy *c)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(c->from, "", target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = 0;
	return symlinkat(target, c->dirfd, c->name) < 0 ? -errno : 0;
}

/* The name, empty. C->to is open if it worked. */
static int copy_make(struct copy *c)
{
	int flags = O_PATH | O_NOFOLLOW, rc = 0;

	if (S_ISREG(c->st.st_mode))
		flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
	else if (S_ISLNK(c->st.st_mode))
		rc = link_copy(c);
	else if (S_ISDIR(c->st.st_mode))
		rc = mkdirat(c->dirfd, c->name, 0700) < 0 ? -errno : 0;
	else
		rc = mknodat(c->dirfd, c->name, (c->st.st_mode & S_IFMT) | 0600, c->st.st_rdev) < 0 ? -errno : 0;
	if (S_ISDIR(c->st.st_mode))
		flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
	if (rc == 0)
		c->to = openat(c->dirfd, c->name, flags | O_CLOEXEC, 0600);
	return rc < 0 ? rc : c->to < 0 ? -errno : 0;
}

/* Worst case of the new inode itself. */
static uint64_t copy_worst(const struct copy *c)
{
	const struct fs *fs = c->fs;
	uint64_t blocks = stat_bytes(&c->st) / fs->block + 1, wanted = c->size / fs->block + 1;

	if (!S_ISREG(c->st.st_mode))
		return 2 * fs->block;
	return fs_content_worst(fs, blocks < wanted ? blocks : wanted) + fs->block;
}

/* Under the reservations. Whatever comes of it, they are settled. */
static int copy_do(struct copy *c, uint64_t own, uint64_t growth, const struct stat *dir)
{
	const struct timespec times[2] = {dir->st_atim, dir->st_mtim};
	struct fs *fs = c->fs;
	struct stat st = {0};

	int rc = copy_make(c);
	bool is_made = c->to >= 0;
	if (rc == 0 && S_ISREG(c->st.st_mode))
		rc = copy_content(c);
	if (rc == 0)
		rc = copy_attrs(c);
	if (rc == 0)
		rc = handle_get(&c->real, c->to, "");
	if (rc < 0 && is_made)
		unlinkat(c->dirfd, c->name, S_ISDIR(c->st.st_mode) ? AT_REMOVEDIR : 0);
	int charged = fs_charge_fd(fs, c->dirfd, growth, stat_bytes(dir), &st);
	if (rc == 0)
		rc = charged;
	utimensat(c->dirfd, "", times, AT_EMPTY_PATH);
	if (rc < 0)
		ledger_credit(&fs->ledger, own, 1);
	else
		rc = fs_charge_fd(fs, c->to, own, 0, &st);
	return rc;
}

static int copy_charged(struct copy *c)
{
	struct fs *fs = c->fs;
	uint64_t own = copy_worst(c), growth = fs_dir_growth(fs);
	struct stat dir;

	if (fstat(c->dirfd, &dir) < 0)
		return -errno;
	int rc = ledger_reserve(&fs->ledger, own + growth, 1, NULL);
	return rc < 0 ? rc : copy_do(c, own, growth, &dir);
}

/* --- its other names -------------------------------------------------------------------------------------------- */

static int alias_dir(struct fs *fs, const char *path, struct ov_dir *d, const char **name)
{
	const char *slash = strrchr(path, '/');

	*name = slash ? slash + 1 : path;
	return ov_dir_walk(fs, path, slash ? (size_t)(slash - path) : 0, true, d);
}

static int alias_link(struct fs *fs, const char *path, void *arg)
{
	const struct copy *c = arg;
	struct ov_dir d = {.upper = -1};
	struct stat was, st;
	const char *name;

	int rc = alias_dir(fs, path, &d, &name);
	if (rc == 0 && fstat(d.upper, &was) < 0)
		rc = -errno;
	if (rc == 0)
		rc = ledger_reserve(&fs->ledger, fs_dir_growth(fs), 0, NULL);
	if (rc == 0) {
		const struct timespec times[2] = {was.st_atim, was.st_mtim};
		rc = linkat(c->to, "", d.upper, name, AT_EMPTY_PATH) < 0 ? -errno : 0;
		int charged = fs_charge_fd(fs, d.upper, fs_dir_growth(fs), stat_bytes(&was), &st);
		utimensat(d.upper, "", times, AT_EMPTY_PATH);
		if (rc == 0)
			rc = charged;
	}
	ov_dir_free(&d);
	return rc;
}

static int alias_unlink(struct fs *fs, const char *path, void *arg)
{
	struct ov_dir d = {.upper = -1};
	struct stat st;
	const char *name;

	if (alias_dir(fs, path, &d, &name) == 0 && fstatat(d.upper, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		tree_unlink(fs, d.upper, name, &st);
	ov_dir_free(&d);
	return 0;
}

static int copy_aliases(struct copy *c, const struct handle *lower)
{
	struct stat st;
	int rc = aliases_each(c->fs, lower, c->st.st_ino, alias_link, c);

	if (rc == 0)
		return 0;
	aliases_each(c->fs, &c->real, c->st.st_ino, alias_unlink, NULL);
	if (fstatat(c->dirfd, c->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		tree_unlink(c->fs, c->dirfd, c->name, &st);
	return rc;
}

int copy_up(struct fs *fs, int dirfd, const char *name, const struct handle *lower, uint64_t size)
{
	struct copy c = {.fs = fs, .dirfd = dirfd, .name = name, .from = -1, .to = -1, .size = size};
	int rc = copy_open(&c, lower);

	if (rc == 0)
		rc = copy_charged(&c);
	if (rc == 0 && !S_ISDIR(c.st.st_mode) && c.st.st_nlink > 1)
		rc = copy_aliases(&c, lower);
	if (rc == 0) {
		struct node *n = nodes_find(fs, lower);
		origins_add(fs, &c.real, lower, c.st.st_ino);
		fs->ov->changes++;
		if (n) {
			n->place->ino = c.st.st_ino;
			node_moved_up(fs, n, &c.real);
		}
	}
	cleanup_close(&c.from);
	cleanup_close(&c.to);
	return rc;
}

int copy_up_orphan(struct fs *fs, struct node *n, uint64_t size)
{
	struct copy c = {.fs = fs, .from = -1, .to = -1, .size = size};
	struct stat st;
	int rc = copy_open(&c, &n->real);
	uint64_t own = rc < 0 ? 0 : copy_worst(&c);

	if (rc == 0)
		rc = S_ISREG(c.st.st_mode) ? ledger_reserve(&fs->ledger, own, 1, NULL) : -ENOENT;
	if (rc == 0) {
		c.to = openat(fs->root_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		rc = c.to < 0 ? -errno : copy_content(&c);
		if (rc == 0)
			rc = copy_attrs(&c);
		if (rc == 0)
			rc = handle_get(&c.real, c.to, "");
		if (rc < 0)
			ledger_credit(&fs->ledger, own, 1);
		else
			rc = fs_charge_fd(fs, c.to, own, 0, &st);
	}
	if (rc == 0)
		n->place->ino = c.st.st_ino;
	if (rc == 0)
		node_orphan_up(fs, n, &c.real, STEAL_FD(&c.to));
	cleanup_close(&c.from);
	cleanup_close(&c.to);
	return rc;
}

/* --- a tree ----------------------------------------------------------------------------------------------------- */

struct paths {
	char **at; /* owns */
	size_t n, cap;
};

static void paths_push(struct paths *p, char *path)
{
	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 16;
		p->at = xrealloc(p->at, p->cap * sizeof(*p->at));
	}
	p->at[p->n++] = path;
}

static int tree_dir(struct fs *fs, const char *path, struct paths *todo)
{
	struct ov_dir d = {.upper = -1};
	struct merge m = {0};

	int rc = ov_dir_walk(fs, path, strlen(path), true, &d);
	if (rc == 0)
		rc = merge_read(fs, d.upper, &d.below, &m);
	for (size_t i = 0; i < m.n && rc == 0; i++) {
		struct ov_found f;
		const char *name = m.entries[i].name;
		rc = ov_find(fs, d.upper, &d.below, name, &f);
		if (rc == 0 && S_ISDIR(f.st.st_mode))
			paths_push(todo, xasprintf("%s/%s", path, name));
		else if (rc == 0 && f.exists && !f.is_upper)
			rc = copy_up(fs, d.upper, name, &f.real, UINT64_MAX);
		ov_found_free(&f);
	}
	merge_free(&m);
	ov_dir_free(&d);
	return rc;
}

int copy_up_tree(struct fs *fs, const char *path)
{
	struct paths todo = {0};
	int rc = 0;

	paths_push(&todo, xstrdup(path));
	while (todo.n) {
		AUTO_FREE char *next = todo.at[--todo.n];
		if (rc == 0)
			rc = tree_dir(fs, next, &todo);
	}
	free(todo.at);
	return rc;
}
