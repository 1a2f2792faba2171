/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/itab.h"

#include <stdlib.h>

#include "base/buf.h"

static size_t home(const struct itab *t, uint64_t ino)
{
	/* Inode numbers are given by the file system: neighbours, not chosen to collide. */
	return (size_t)(ino * 0x9e3779b97f4a7c15ull >> 20) & (t->cap - 1);
}

struct itab_row *itab_find(const struct itab *t, uint64_t ino)
{
	if (!t->count)
		return NULL;
	for (size_t i = home(t, ino); t->rows[i].ino; i = (i + 1) & (t->cap - 1))
		if (t->rows[i].ino == ino)
			return &t->rows[i];
	return NULL;
}

static struct itab_row *place(struct itab *t, uint64_t ino)
{
	size_t i = home(t, ino);

	while (t->rows[i].ino)
		i = (i + 1) & (t->cap - 1);
	return &t->rows[i];
}

static void grow(struct itab *t)
{
	struct itab old = *t;

	t->cap = old.cap ? old.cap * 2 : 64;
	t->rows = xcalloc(t->cap, sizeof(*t->rows));
	for (size_t i = 0; i < old.cap; i++)
		if (old.rows[i].ino)
			*place(t, old.rows[i].ino) = old.rows[i];
	free(old.rows);
}

struct itab_row *itab_add(struct itab *t, uint64_t ino)
{
	struct itab_row *r = itab_find(t, ino);

	if (r)
		return r;
	if (t->count * 4 >= t->cap * 3)
		grow(t);
	r = place(t, ino);
	r->ino = ino;
	t->count++;
	return r;
}

void itab_drop(struct itab *t, uint64_t ino)
{
	struct itab_row *r = itab_find(t, ino);

	if (!r)
		return;
	size_t hole = (size_t)(r - t->rows), mask = t->cap - 1;
	/* Linear probing: move back every later row of the run that may stand in the hole. */
	for (size_t i = (hole + 1) & mask; t->rows[i].ino; i = (i + 1) & mask) {
		size_t want = home(t, t->rows[i].ino);
		if (((i - want) & mask) >= ((i - hole) & mask)) {
			t->rows[hole] = t->rows[i];
			hole = i;
		}
	}
	t->rows[hole] = (struct itab_row){0};
	t->count--;
}

void itab_free(struct itab *t)
{
	free(t->rows);
	*t = (struct itab){0};
}
