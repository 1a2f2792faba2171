/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fuse/merge.h"

int overlay_new(struct fs *fs, const int *layers, unsigned n, struct err *e)
{
	struct overlay *ov = fs->ov = xcalloc(1, sizeof(*ov));
	struct node *root = nodes_root(fs);

	ov->whiteout_fd = ov->volume_fd = -1;
	for (unsigned i = 0; i < n; i++) {
		struct handle h;
		int rc = handle_get(&h, layers[i], "");
		if (rc < 0)
			return err_sys(e, rc, "take a file handle of a lower layer");
		stack_push(&ov->root, &h);
	}
	root->place = xcalloc(1, sizeof(*root->place));
	root->place->is_upper = true;
	root->place->below = stack_copy(&ov->root);
	return 0;
}

void overlay_free(struct fs *fs)
{
	struct overlay *ov = fs->ov;

	if (!ov)
		return;
	stack_free(&ov->root);
	cleanup_close(&ov->whiteout_fd);
	cleanup_close(&ov->volume_fd);
	origins_free(fs);
	aliases_free(fs);
	free(ov);
	fs->ov = NULL;
}

/* --- looking ---------------------------------------------------------------------------------------------------- */

bool ov_is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

void ov_found_free(struct ov_found *f)
{
	stack_free(&f->below);
}

/* DIRFD may be O_PATH, which fgetxattr does not take. */
static bool is_opaque(int dirfd, const char *name)
{
	char path[PATH_MAX], value = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
	return lgetxattr(path, OVERLAY_OPAQUE, &value, 1) == 1 && value == 'y';
}

static int find_upper(int upper, const char *name, struct ov_found *f)
{
	if (fstatat(upper, name, &f->st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	f->is_hidden = ov_is_whiteout(&f->st);
	f->exists = f->is_upper = !f->is_hidden;
	return f->is_upper ? handle_get(&f->real, upper, name) : 0;
}

/* One lower directory. 1: nothing below it counts any more. */
static int find_lower(struct fs *fs, const struct handle *dir, const char *name, struct ov_found *f)
{
	AUTO_CLOSE int fd = handle_open(fs->root_fd, dir, O_PATH | O_DIRECTORY);
	struct handle h;
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (ov_is_whiteout(&st) || (f->covers && !S_ISDIR(st.st_mode)))
		return 1;
	int rc = handle_get(&h, fd, name);
	if (rc < 0)
		return rc;
	if (!f->covers && !f->is_upper && !f->is_hidden) {
		f->exists = true;
		f->st = st;
		f->real = h;
	}
	f->covers = true;
	if (!S_ISDIR(st.st_mode))
		return 1;
	stack_push(&f->below, &h);
	return is_opaque(fd, name);
}

int ov_find(struct fs *fs, int upper, const struct stack *below, const char *name, struct ov_found *f)
{
	*f = (struct ov_found){0};
	int rc = upper >= 0 ? find_upper(upper, name, f) : 0;
	for (unsigned i = 0; i < below->n && rc == 0; i++)
		rc = find_lower(fs, &below->dirs[i], name, f);
	if (!f->exists || !S_ISDIR(f->st.st_mode) || (f->is_upper && is_opaque(upper, name)))
		stack_free(&f->below);
	return rc < 0 ? rc : 0;
}

void ov_dir_free(struct ov_dir *d)
{
	cleanup_close(&d->upper);
	stack_free(&d->below);
}

int ov_dir_root(struct fs *fs, struct ov_dir *d)
{
	d->below = stack_copy(&fs->ov->root);
	d->upper = openat(fs->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return d->upper < 0 ? -errno : 0;
}

int ov_dir_down(struct fs *fs, struct ov_dir *d, const char *name, struct ov_found *f, bool up)
{
	AUTO_CLOSE int fd = -1;

	if (!f->exists)
		return -ENOENT;
	if (!S_ISDIR(f->st.st_mode))
		return -ENOTDIR;
	if (!f->is_upper && up) {
		int rc = copy_up(fs, d->upper, name, &f->real, 0);
		if (rc < 0)
			return rc;
	}
	if (f->is_upper || up) {
		fd = openat(d->upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	}
	ov_dir_free(d);
	d->upper = STEAL_FD(&fd);
	d->below = f->below;
	f->below = (struct stack){0};
	return 0;
}

int ov_dir_walk(struct fs *fs, const char *path, size_t len, bool up, struct ov_dir *d)
{
	int rc = ov_dir_root(fs, d);

	for (const char *p = path, *end = path + len; rc == 0 && p < end;) {
		size_t n = strcspn(p, "/") < (size_t)(end - p) ? strcspn(p, "/") : (size_t)(end - p);
		char name[NAME_MAX + 1];
		struct ov_found f;
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, p, n);
		name[n] = 0;
		p += n + 1;
		rc = ov_find(fs, d->upper, &d->below, name, &f);
		if (rc == 0)
			rc = ov_dir_down(fs, d, name, &f, up);
		ov_found_free(&f);
	}
	return rc;
}

/* --- marks ------------------------------------------------------------------------------------------------------ */

/* Charge a name that MAKE adds to DIRFD. */
static int name_charged(struct fs *fs, int dirfd, uint64_t inodes, int (*make)(struct fs *fs, int dirfd, const char *n),
        const char *name)
{
	uint64_t reserved = fs_dir_growth(fs);
	struct stat was, st;

	if (fstat(dirfd, &was) < 0)
		return -errno;
	int rc = ledger_reserve(&fs->ledger, reserved, inodes, NULL);
	if (rc < 0)
		return rc;
	rc = make(fs, dirfd, name);
	if (rc < 0)
		ledger_credit(&fs->ledger, 0, inodes);
	int charged = fs_charge_fd(fs, dirfd, reserved, stat_bytes(&was), &st);
	return rc < 0 ? rc : charged;
}

static int whiteout_link(struct fs *fs, int dirfd, const char *name)
{
	int fd = fs->ov->whiteout_fd;

	return fd < 0 || linkat(fd, "", dirfd, name, AT_EMPTY_PATH) < 0 ? -ENOENT : 0;
}

static int whiteout_make(struct fs *fs, int dirfd, const char *name)
{
	struct overlay *ov = fs->ov;

	if (mknodat(dirfd, name, S_IFCHR, makedev(0, 0)) < 0)
		return -errno;
	cleanup_close(&ov->whiteout_fd);
	ov->whiteout_fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return 0;
}

int ov_whiteout(struct fs *fs, int dirfd, const char *name)
{
	fs->ov->changes++;
	/* Too many links, or all of its names are gone: another one. */
	int rc = name_charged(fs, dirfd, 0, whiteout_link, name);
	return rc == -ENOENT ? name_charged(fs, dirfd, 1, whiteout_make, name) : rc;
}

int ov_whiteout_prepare(struct fs *fs, int dirfd)
{
	return ov_whiteout(fs, dirfd, OVERLAY_TEMP);
}

int ov_whiteout_commit(struct fs *fs, int dirfd, const char *name)
{
	return renameat(dirfd, OVERLAY_TEMP, dirfd, name) < 0 ? -errno : 0;
}

/* N is one of the directories below TOP, or TOP. */
static bool is_within(const struct node *n, const struct node *top)
{
	while (n && n != top)
		n = n->place ? n->place->parent : NULL;
	return n != NULL;
}

static void node_cut(void *arg, struct node *n)
{
	if (n->place && n->place->below.n && n->place->is_upper && is_within(n, arg))
		stack_free(&n->place->below);
}

int ov_opaque(struct fs *fs, int fd)
{
	struct stat was, st;
	struct handle h;

	int rc = handle_get(&h, fd, "");
	if (rc == 0 && fstat(fd, &was) < 0)
		rc = -errno;
	if (rc == 0)
		rc = ledger_reserve(&fs->ledger, fs->block, 0, NULL);
	if (rc < 0)
		return rc;
	/* FD may be O_PATH */
	AUTO_CLOSE int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsetxattr(dir, OVERLAY_OPAQUE, "y", 1, 0) < 0)
		rc = -errno;
	int charged = fs_charge_fd(fs, fd, fs->block, stat_bytes(&was), &st);
	struct node *n = nodes_find(fs, origins_key(fs, &h, NULL));
	if (rc == 0 && n)
		nodes_each(fs, node_cut, n);
	fs->serial++;
	fs->ov->changes++;
	return rc < 0 ? rc : charged;
}

/* --- names about to be made ------------------------------------------------------------------------------------- */

int ov_uncover(struct fs *fs, int dirfd, const struct stack *below, const char *name, struct ov_cover *cover)
{
	struct ov_found f;
	struct stat st;
	int rc = ov_find(fs, dirfd, below, name, &f);

	*cover = (struct ov_cover){.was_hidden = f.is_hidden, .covers = f.covers};
	if (rc == 0 && f.exists)
		rc = -EEXIST;
	if (rc == 0 && f.is_hidden)
		rc = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : tree_unlink(fs, dirfd, name, &st);
	ov_found_free(&f);
	return rc;
}

void ov_recover(struct fs *fs, int dirfd, const char *name, const struct ov_cover *cover)
{
	if (cover->was_hidden)
		ov_whiteout(fs, dirfd, name);
}

int ov_covered(struct fs *fs, int dirfd, const char *name, mode_t mode, const struct ov_cover *cover)
{
	if (cover->covers)
		fs->ov->changes++;
	if (!S_ISDIR(mode) || !cover->covers)
		return 0;
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : ov_opaque(fs, fd);
}

/* --- whiteouts of the stream ------------------------------------------------------------------------------------ */

int ov_hide(struct fs *fs, int dirfd, uint64_t dir_ino, const struct stack *below, const char *name)
{
	struct ov_found f = {0};
	int rc = whiteout_apply(fs, dirfd, dir_ino, name);

	if (rc == 0)
		rc = ov_find(fs, dirfd, below, name, &f);
	if (rc == 0 && f.is_upper && f.below.n) {
		AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		rc = fd < 0 ? -errno : ov_opaque(fs, fd);
	} else if (rc == 0 && !f.is_upper && !f.is_hidden && f.covers) {
		rc = ov_whiteout(fs, dirfd, name);
		fs->serial++;
	}
	ov_found_free(&f);
	return rc;
}

/* The kernel asks no layer's root whether it is opaque: each name by itself. */
static int hide_root(struct fs *fs, int dirfd, const struct stack *below)
{
	struct merge m;
	int rc = merge_read(fs, -1, below, &m);

	for (size_t i = 0; i < m.n && rc == 0; i++)
		rc = ov_hide(fs, dirfd, fs->root_ino, below, m.entries[i].name);
	merge_free(&m);
	return rc;
}

int ov_hide_all(struct fs *fs, int dirfd, const struct stack *below)
{
	struct stat st;
	int rc = whiteout_opaque(fs, dirfd);

	if (rc == 0 && fstat(dirfd, &st) < 0)
		rc = -errno;
	if (rc < 0 || !below->n)
		return rc;
	return st.st_ino == fs->root_ino ? hide_root(fs, dirfd, below) : ov_opaque(fs, dirfd);
}
