/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/merge.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fuse/listing.h"

static bool is_whiteout(int fd, const struct dirent64 *d)
{
	struct stat st;

	return d->d_type == DT_CHR && fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && ov_is_whiteout(&st);
}

/* As the kernel is told by a look-up. */
static uint64_t ino_shown(const struct fs *fs, int fd, const struct dirent64 *d)
{
	uint64_t ino = d->d_ino;
	struct handle h;

	if (fs->ov->origins && handle_get(&h, fd, d->d_name) == 0)
		origins_key(fs, &h, &ino);
	return ino;
}

static void merge_add(const struct fs *fs, struct merge *m, int fd, unsigned layer, const struct dirent64 *d)
{
	if (m->n == m->cap) {
		m->cap = m->cap ? m->cap * 2 : 64;
		m->entries = xrealloc(m->entries, m->cap * sizeof(*m->entries));
	}
	m->entries[m->n++] = (struct merge_entry){.name = xstrdup(d->d_name),
	        .ino = layer ? d->d_ino : ino_shown(fs, fd, d),
	        .layer = layer,
	        .type = d->d_type,
	        .is_whiteout = is_whiteout(fd, d)};
}

/* FD is taken over. */
static int merge_layer(const struct fs *fs, struct merge *m, int fd, unsigned layer)
{
	struct listing *l = listing_new(fd);
	const struct dirent64 *d;
	int rc = 0;

	while ((d = listing_peek(l, &rc))) {
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			merge_add(fs, m, fd, layer, d);
		listing_take(l);
	}
	listing_free(l);
	return rc;
}

static int compare(const void *a, const void *b)
{
	const struct merge_entry *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : x->layer < y->layer ? -1 : x->layer > y->layer;
}

/* Of each name the topmost; none if that is a whiteout. */
static void merge_reduce(struct merge *m)
{
	size_t kept = 0;

	for (size_t i = 0, next; i < m->n; i = next) {
		for (next = i + 1; next < m->n && !strcmp(m->entries[i].name, m->entries[next].name); next++)
			;
		struct merge_entry top = m->entries[i];
		for (size_t k = i + 1; k < next; k++)
			free(m->entries[k].name);
		if (top.is_whiteout)
			free(top.name);
		else
			m->entries[kept++] = top;
	}
	m->n = kept;
}

int merge_read(struct fs *fs, int upper, const struct stack *below, struct merge *m)
{
	int rc = 0;

	*m = (struct merge){0};
	if (upper >= 0) {
		int fd = openat(upper, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = fd < 0 ? -errno : merge_layer(fs, m, fd, 0);
	}
	for (unsigned i = 0; i < below->n && rc == 0; i++) {
		int fd = handle_open(fs->root_fd, &below->dirs[i], O_RDONLY | O_DIRECTORY);
		rc = fd < 0 ? fd : merge_layer(fs, m, fd, i + 1);
	}
	if (m->n)
		qsort(m->entries, m->n, sizeof(*m->entries), compare);
	merge_reduce(m);
	return rc;
}

void merge_free(struct merge *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->entries[i].name);
	free(m->entries);
	*m = (struct merge){0};
}
