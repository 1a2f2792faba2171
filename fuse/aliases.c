/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of lower files that have several. Nothing on disk leads from an inode to its names, so the lower layers are
 * read through once, when the first such file is met. What is visible of it is looked up again after each change.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fuse/listing.h"
#include "fuse/overlay.h"

struct alias {
	uint64_t ino;
	char *path; /* owns; in its layer, which is its path in the merged tree too */
	int count;  /* visible names when `changes` was current; of the inode's first row */
	uint64_t changes;
};

struct aliases {
	struct alias *rows; /* owns; by inode */
	size_t n, cap;
};

struct dir_todo {
	struct handle handle;
	char *path; /* owns */
};

struct scan {
	struct fs *fs;
	struct aliases *out;
	struct dir_todo *todo; /* owns */
	size_t n, cap;
};

static void scan_push(struct scan *s, const struct handle *h, char *path)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->todo = xrealloc(s->todo, s->cap * sizeof(*s->todo));
	}
	s->todo[s->n++] = (struct dir_todo){.handle = *h, .path = path};
}

static void alias_add(struct aliases *a, uint64_t ino, char *path)
{
	if (a->n == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 64;
		a->rows = xrealloc(a->rows, a->cap * sizeof(*a->rows));
	}
	a->rows[a->n++] = (struct alias){.ino = ino, .path = path, .changes = UINT64_MAX};
}

static int scan_entry(struct scan *s, int fd, const char *dir, const struct dirent64 *d)
{
	struct handle h;
	struct stat st;

	if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
		return 0;
	if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode) && (st.st_nlink == 1 || ov_is_whiteout(&st)))
		return 0;
	char *path = *dir ? xasprintf("%s/%s", dir, d->d_name) : xstrdup(d->d_name);
	if (!S_ISDIR(st.st_mode)) {
		alias_add(s->out, st.st_ino, path);
		return 0;
	}
	int rc = handle_get(&h, fd, d->d_name);
	scan_push(s, &h, path);
	return rc;
}

static int scan_dir(struct scan *s, const struct dir_todo *dir)
{
	const struct dirent64 *d;
	int fd = handle_open(s->fs->root_fd, &dir->handle, O_RDONLY | O_DIRECTORY), rc = 0;

	if (fd < 0)
		return fd;
	struct listing *l = listing_new(fd);
	while (rc == 0 && (d = listing_peek(l, &rc))) {
		rc = scan_entry(s, fd, dir->path, d);
		listing_take(l);
	}
	listing_free(l);
	return rc;
}

static int compare(const void *a, const void *b)
{
	const struct alias *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static int aliases_read(struct fs *fs)
{
	struct scan s = {.fs = fs, .out = xcalloc(1, sizeof(*s.out))};
	int rc = 0;

	fs->ov->aliases = s.out;
	for (unsigned i = 0; i < fs->ov->root.n; i++)
		scan_push(&s, &fs->ov->root.dirs[i], xstrdup(""));
	while (s.n) {
		struct dir_todo next = s.todo[--s.n];
		if (rc == 0)
			rc = scan_dir(&s, &next);
		free(next.path);
	}
	free(s.todo);
	if (rc < 0)
		aliases_free(fs);
	else if (s.out->n)
		qsort(s.out->rows, s.out->n, sizeof(*s.out->rows), compare);
	return rc;
}

void aliases_free(struct fs *fs)
{
	struct aliases *a = fs->ov->aliases;

	for (size_t i = 0; a && i < a->n; i++)
		free(a->rows[i].path);
	if (a)
		free(a->rows);
	free(a);
	fs->ov->aliases = NULL;
}

/* The first row of INO; the end if there is none. */
static int rows_of(struct fs *fs, uint64_t ino, struct alias **row, struct alias **end)
{
	int rc = fs->ov->aliases ? 0 : aliases_read(fs);
	size_t low = 0;

	if (rc < 0)
		return rc;
	struct aliases *a = fs->ov->aliases;
	for (size_t high = a->n; low < high;) {
		size_t middle = low + (high - low) / 2;
		if (a->rows[middle].ino < ino)
			low = middle + 1;
		else
			high = middle;
	}
	*row = a->rows + low;
	*end = a->rows + a->n;
	return 0;
}

/* 1: PATH shows what lies at REAL. */
static int is_visible(struct fs *fs, const char *path, const struct handle *real)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	struct ov_dir d = {.upper = -1};
	struct ov_found f = {0};

	int rc = ov_dir_walk(fs, path, slash ? (size_t)(slash - path) : 0, false, &d);
	if (rc == 0)
		rc = ov_find(fs, d.upper, &d.below, name, &f);
	if (rc == 0)
		rc = f.exists && handle_equal(&f.real, real);
	ov_found_free(&f);
	ov_dir_free(&d);
	return rc == -ENOENT || rc == -ENOTDIR ? 0 : rc;
}

int aliases_each(struct fs *fs, const struct handle *real, uint64_t ino, alias_fn *fn, void *arg)
{
	struct alias *r, *end;
	int rc = rows_of(fs, ino, &r, &end);

	for (; rc == 0 && r < end && r->ino == ino; r++) {
		rc = is_visible(fs, r->path, real);
		if (rc == 1)
			rc = fn(fs, r->path, arg);
	}
	return rc;
}

static int count_one(struct fs *fs, const char *path, void *arg)
{
	++*(int *)arg;
	return 0;
}

int aliases_count(struct fs *fs, const struct handle *real, const struct stat *st)
{
	struct alias *r, *end;
	int n = 0, rc = rows_of(fs, st->st_ino, &r, &end);

	if (rc < 0 || r == end || r->ino != st->st_ino)
		return rc;
	if (r->changes == fs->ov->changes)
		return r->count;
	rc = aliases_each(fs, real, st->st_ino, count_one, &n);
	if (rc < 0)
		return rc;
	r->count = n;
	r->changes = fs->ov->changes;
	return n;
}
