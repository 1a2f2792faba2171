/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Removing trees: all of one, or what lower layers brought.
 *
 * The walk is a loop with one directory open at a time, so that neither stack nor descriptors grow with the depth. It
 * goes down by name and up by "..", which leads where we came from: nobody else moves directories. Where a directory
 * was left is kept as its getdents offset; ext4's offsets are hashes, which stay right while entries are removed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fuse/overlay.h"
#include "fuse/tree.h"

#define WALK_BUFFER 32768

struct level {
	uint64_t ino;
	off_t resume; /* offset behind the child that the walk is in */
	bool is_kept; /* something in it stays */
	char child[NAME_MAX + 1];
};

enum prune { PRUNE_ALL, PRUNE_LOWER, PRUNE_WHITEOUTS };

struct walk {
	struct fs *fs;
	enum prune what;
	int fd; /* owns; of the deepest level */
	size_t depth, cap;
	struct level *levels; /* owns */
	size_t pos, len;
	_Alignas(struct dirent64) char buffer[WALK_BUFFER];
};

static int walk_push(struct walk *w, uint64_t ino)
{
	if (w->depth == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 16;
		w->levels = xrealloc(w->levels, w->cap * sizeof(*w->levels));
	}
	w->levels[w->depth++] = (struct level){.ino = ino};
	w->pos = w->len = 0;
	return 0;
}

/* The next entry of the current directory; NULL at its end, with *RC = 0 or -errno. */
static struct dirent64 *walk_next(struct walk *w, int *rc)
{
	*rc = 0;
	for (;;) {
		if (w->pos >= w->len) {
			ssize_t n = getdents64(w->fd, w->buffer, sizeof(w->buffer));
			if (n <= 0) {
				*rc = n < 0 ? -errno : 0;
				return NULL;
			}
			w->pos = 0;
			w->len = (size_t)n;
		}
		struct dirent64 *d = (struct dirent64 *)(void *)(w->buffer + w->pos);
		w->pos += d->d_reclen;
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			return d;
	}
}

static bool is_written(const struct walk *w, uint64_t dir_ino, const char *name)
{
	return w->what == PRUNE_LOWER && mark_has(&w->fs->marks, dir_ino, name);
}

static int walk_down(struct walk *w, const struct dirent64 *d, uint64_t ino)
{
	struct level *l = &w->levels[w->depth - 1];
	int fd = openat(w->fd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	l->resume = d->d_off;
	memcpy(l->child, d->d_name, strlen(d->d_name) + 1);
	close(w->fd);
	w->fd = fd;
	return walk_push(w, ino);
}

/* The deepest directory is done: back to its parent, and remove it there unless something in it stays. */
static int walk_up(struct walk *w)
{
	struct level done = w->levels[--w->depth];
	struct level *l = &w->levels[w->depth - 1];
	int fd = openat(w->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	close(w->fd);
	w->fd = fd;
	w->pos = w->len = 0;
	if (lseek(fd, l->resume, SEEK_SET) < 0)
		return -errno;
	if (w->what == PRUNE_WHITEOUTS || done.is_kept || is_written(w, l->ino, l->child) ||
	        is_written(w, done.ino, "")) {
		l->is_kept = true;
		return 0;
	}
	if (fstatat(fd, l->child, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return tree_unlink(w->fs, fd, l->child, &st);
}

static int walk_entry(struct walk *w, const struct dirent64 *d)
{
	struct level *l = &w->levels[w->depth - 1];
	struct stat st;

	if (fstatat(w->fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return walk_down(w, d, st.st_ino);
	bool stays = w->what == PRUNE_WHITEOUTS ? !ov_is_whiteout(&st) : is_written(w, l->ino, d->d_name);
	if (!stays)
		return tree_unlink(w->fs, w->fd, d->d_name, &st);
	l->is_kept = true;
	return 0;
}

/* Empty the directory FD (taken over). 1: something stays, 0: it is empty, or -errno. */
static int tree_prune(struct fs *fs, int fd, enum prune what)
{
	AUTO_FREE struct walk *w = xcalloc(1, sizeof(*w));
	struct dirent64 *d;
	struct stat st;
	int rc;

	w->fs = fs;
	w->what = what;
	w->fd = fd;
	rc = fstat(fd, &st) < 0 ? -errno : walk_push(w, st.st_ino);
	while (!rc) {
		d = walk_next(w, &rc);
		if (d)
			rc = walk_entry(w, d);
		else if (!rc && w->depth == 1)
			break;
		else if (!rc)
			rc = walk_up(w);
	}
	if (!rc)
		rc = w->levels[0].is_kept;
	free(w->levels);
	close(w->fd);
	return rc;
}

static int remove_name(struct fs *fs, int dirfd, const char *name, bool is_lower_only, bool is_marked)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISDIR(st.st_mode))
		return is_marked ? 0 : tree_unlink(fs, dirfd, name, &st);
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (is_lower_only)
		fs_time_keep(fs, fd, &st);
	int kept = tree_prune(fs, fd, is_lower_only ? PRUNE_LOWER : PRUNE_ALL);
	if (kept || is_marked || (is_lower_only && mark_has(&fs->marks, st.st_ino, "")))
		return kept < 0 ? kept : 0;
	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : tree_unlink(fs, dirfd, name, &st);
}

int tree_remove(struct fs *fs, int dirfd, const char *name)
{
	return remove_name(fs, dirfd, name, false, false);
}

int whiteout_apply(struct fs *fs, int dirfd, uint64_t dir_ino, const char *name)
{
	return remove_name(fs, dirfd, name, true, mark_has(&fs->marks, dir_ino, name));
}

int whiteout_opaque(struct fs *fs, int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int rc = tree_prune(fs, fd, PRUNE_LOWER);
	return rc < 0 ? rc : 0;
}

int ov_marks_remove(struct fs *fs, int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int rc = tree_prune(fs, fd, PRUNE_WHITEOUTS);
	return rc < 0 ? rc : 0;
}
