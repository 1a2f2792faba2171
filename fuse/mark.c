/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/mark.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "fuse/hash64.h"

static uint64_t mark_hash(uint64_t dir_ino, const char *name)
{
	uint64_t h = hash64(dir_ino, name, strlen(name));

	return h ? h : 1;
}

static uint64_t *slot_of(const struct marks *m, uint64_t h)
{
	size_t i = (size_t)h & (m->cap - 1);

	while (m->slots[i] && m->slots[i] != h)
		i = (i + 1) & (m->cap - 1);
	return &m->slots[i];
}

void mark_add(struct marks *m, uint64_t dir_ino, const char *name)
{
	uint64_t h = mark_hash(dir_ino, name);

	if (m->count * 4 >= m->cap * 3) {
		struct marks old = *m;
		m->cap = old.cap ? old.cap * 2 : 1024;
		m->slots = xcalloc(m->cap, sizeof(*m->slots));
		for (size_t i = 0; i < old.cap; i++)
			if (old.slots[i])
				*slot_of(m, old.slots[i]) = old.slots[i];
		free(old.slots);
	}
	uint64_t *s = slot_of(m, h);
	if (!*s)
		m->count++;
	*s = h;
}

bool mark_has(const struct marks *m, uint64_t dir_ino, const char *name)
{
	return m->count && *slot_of(m, mark_hash(dir_ino, name));
}

void marks_free(struct marks *m)
{
	free(m->slots);
	*m = (struct marks){0};
}
