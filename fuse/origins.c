/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Overlay mode: which lower inode an upper one was copied from. An entry of an inode that is gone does no harm, since
 * handles have generations. */
#include <stdlib.h>

#include "base/buf.h"
#include "fuse/hash64.h"
#include "fuse/overlay.h"

struct origin {
	struct handle upper, key; /* upper.len 0: empty */
	uint64_t ino;
};

struct origins {
	struct origin *slots; /* owns */
	size_t count, cap;    /* a power of two, at most half full */
};

static struct origin *slot_of(const struct origins *o, const struct handle *upper)
{
	size_t i = (size_t)hash64(1, upper, sizeof(*upper)) & (o->cap - 1);

	while (o->slots[i].upper.len && !handle_equal(&o->slots[i].upper, upper))
		i = (i + 1) & (o->cap - 1);
	return &o->slots[i];
}

static void origins_grow(struct origins *o)
{
	struct origins old = *o;

	o->cap = old.cap ? old.cap * 2 : 64;
	o->slots = xcalloc(o->cap, sizeof(*o->slots));
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i].upper.len)
			*slot_of(o, &old.slots[i].upper) = old.slots[i];
	free(old.slots);
}

void origins_add(struct fs *fs, const struct handle *upper, const struct handle *key, uint64_t ino)
{
	struct origins *o = fs->ov->origins;

	if (!o)
		o = fs->ov->origins = xcalloc(1, sizeof(*o));
	if (o->count * 2 >= o->cap)
		origins_grow(o);
	struct origin *s = slot_of(o, upper);
	o->count += !s->upper.len;
	*s = (struct origin){.upper = *upper, .key = *key, .ino = ino};
}

const struct handle *origins_key(const struct fs *fs, const struct handle *real, uint64_t *ino)
{
	const struct origins *o = fs->ov ? fs->ov->origins : NULL;
	const struct origin *s = o ? slot_of(o, real) : NULL;

	if (!s || !s->upper.len)
		return real;
	if (ino)
		*ino = s->ino;
	return &s->key;
}

void origins_free(struct fs *fs)
{
	if (fs->ov->origins)
		free(fs->ov->origins->slots);
	free(fs->ov->origins);
}
