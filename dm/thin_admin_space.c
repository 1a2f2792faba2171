/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend for administrators: why a tenant's pool is full. Each block of the pool is one owner's: of the
 * devices that map it, the first in the order of the kinds below, and of one kind the oldest. A chain is a snapshot
 * taken after a layer, so what it owns is what its layer wrote; what a rootfs owns, it wrote after its last layer. So
 * the owners' bytes add up to what the pool has in use.
 */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"

#define METADATA_MAX (64u << 10)
#define POOL_BLOCKS_MAX ((uint64_t)1 << 31)

static const char *const kinds_in_order[] = {"cache", "golden", "chain", "rootfs", "build", "vm", DEVICE_DEAD};

struct owner {
	const struct device_row *row; /* borrowed; NULL: volumes.db does not know the device */
	uint32_t id;
	size_t rank;
	uint64_t blocks;
};

struct owners {
	const struct thin_look *look;
	struct owner *items; /* own; in the order in which they claim blocks, numbered from 1 */
	size_t n;
	uint32_t *by_block; /* owns: number of the owner, 0: none */
	uint64_t n_blocks;
};

static void owners_free(struct owners *o)
{
	free(o->items);
	free(o->by_block);
}

static size_t rank_of(const struct device_row *row)
{
	size_t i = 0;

	while (row && i < ARRAY_LEN(kinds_in_order) && strcmp(row->kind, kinds_in_order[i]) != 0)
		i++;
	return row ? i : ARRAY_LEN(kinds_in_order) + 1;
}

static int by_claim(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

static int by_size(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;

	return (x->blocks < y->blocks) - (x->blocks > y->blocks);
}

const struct device_row *thin_row_find(const struct thin_look *l, uint32_t id)
{
	for (size_t i = 0; i < l->n_rows; i++)
		if (l->rows[i].id == id)
			return &l->rows[i];
	return NULL;
}

static void owners_make(struct owners *o, const struct thin_look *l)
{
	o->look = l;
	o->n = l->n_devices;
	o->items = xcalloc(o->n + 1, sizeof(*o->items));
	for (size_t i = 0; i < o->n; i++) {
		const struct device_row *row = thin_row_find(l, l->devices[i].id);
		o->items[i] = (struct owner){.row = row, .id = l->devices[i].id, .rank = rank_of(row)};
	}
	qsort(o->items, o->n, sizeof(*o->items), by_claim);
	o->n_blocks = l->usage.data_total / l->block_bytes;
	o->by_block = o->n_blocks > POOL_BLOCKS_MAX ? NULL : calloc(o->n_blocks + 1, sizeof(*o->by_block));
}

/* One that was made since the devices were listed owns nothing yet. */
static uint32_t owner_number(const struct owners *o, uint32_t id)
{
	const struct owner key = {
	        .row = thin_row_find(o->look, id), .id = id, .rank = rank_of(thin_row_find(o->look, id))};
	const struct owner *found = bsearch(&key, o->items, o->n, sizeof(key), by_claim);

	return found ? (uint32_t)(found - o->items) + 1 : 0;
}

static int mapping_claim(void *arg, uint32_t device, uint64_t origin, uint64_t data, uint64_t n, struct err *e)
{
	struct owners *o = arg;
	uint32_t number = owner_number(o, device);

	if (data > o->n_blocks || n > o->n_blocks - data)
		return err_set(e, -EUCLEAN, "device %" PRIu32 " maps blocks beyond its pool's end", device);
	for (uint64_t b = data; number && b < data + n; b++)
		if (!o->by_block[b] || o->by_block[b] > number)
			o->by_block[b] = number;
	return 0;
}

static void owners_count(struct owners *o)
{
	for (uint64_t b = 0; b < o->n_blocks; b++)
		if (o->by_block[b])
			o->items[o->by_block[b] - 1].blocks++;
}

/* --- what a chain is -----------------------------------------------------------------------------------------------
 */

/* The number of the layer after which CHAIN was taken, 0: what it was made from is gone, so nobody knows. Its parent is
 * the build's volume, whose parent is an empty file system or the chain that the build began with. */
static unsigned layer_number(const struct thin_look *l, const struct device_row *chain)
{
	unsigned number = 0;

	for (size_t depth = 0; depth <= l->n_rows; depth++) {
		const struct device_row *build = thin_row_find(l, chain->parent);
		const struct device_row *origin = build ? thin_row_find(l, build->parent) : NULL;
		if (!origin)
			return 0;
		for (size_t i = 0; i < l->n_rows; i++)
			number += l->rows[i].parent == build->id && l->rows[i].id <= chain->id &&
			          !strcmp(l->rows[i].kind, "chain");
		if (strcmp(origin->kind, "chain") != 0)
			return strcmp(origin->kind, "golden") == 0 ? number : 0;
		chain = origin;
	}
	return 0;
}

/* metadata.json as it was written, unread here: what is in it came from an image. */
static void put_metadata(struct jsonw *w, const struct tenant *t, const char *build)
{
	char name[BUILD_ID_MAX + 32];
	AUTO_FREE char *text = NULL;
	size_t len;

	snprintf(name, sizeof(name), "metadata/%.*s.json", BUILD_ID_MAX, build);
	AUTO_CLOSE int fd = t->cache_fd < 0 ? -1 : openat(t->cache_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && fd_slurp(fd, METADATA_MAX, &text, &len) == 0 && strlen(text) == len)
		jsonw_text(w, "metadata", text);
}

static void put_owner(struct jsonw *w, const struct thin_look *l, const struct owner *o)
{
	const struct meta_device *d = meta_device_find(l->devices, l->n_devices, o->id);
	const struct device_row *maker = NULL;
	unsigned layer;

	jsonw_begin(w, NULL, '{');
	jsonw_number(w, "device", o->id);
	jsonw_text(w, "kind", o->row ? o->row->kind : "unknown");
	jsonw_text(w, "id", o->row ? o->row->name : NULL);
	jsonw_number(w, "owned_bytes", o->blocks * l->block_bytes);
	jsonw_number(w, "exclusive_bytes", d ? d->exclusive : 0);
	if (o->row && !strcmp(o->row->kind, "chain")) {
		maker = thin_row_find(l, o->row->parent);
		layer = layer_number(l, o->row);
		if (maker && (!strcmp(maker->kind, "rootfs") || !strcmp(maker->kind, "build")))
			jsonw_text(w, "build", maker->name);
		if (layer)
			jsonw_number(w, "layer", layer);
	}
	if (o->row && !strcmp(o->row->kind, "rootfs"))
		put_metadata(w, l->t, o->row->name);
	jsonw_end(w, '}');
}

static void put_owners(struct jsonw *w, struct owners *o)
{
	uint64_t sum = 0;

	qsort(o->items, o->n, sizeof(*o->items), by_size);
	jsonw_begin(w, "owners", '[');
	for (size_t i = 0; i < o->n; i++) {
		put_owner(w, o->look, &o->items[i]);
		sum += o->items[i].blocks;
	}
	jsonw_end(w, ']');
	jsonw_number(w, "owned_bytes", sum * o->look->block_bytes);
}

int thin_why_full(struct store *s, struct admin_call *c, struct err *e)
{
	AUTO(thin_look_end) struct thin_look l = {0};
	AUTO(owners_free) struct owners o = {0};
	int rc = thin_look_begin(s, c->request->tenant, &l, e);

	if (rc < 0)
		return rc;
	owners_make(&o, &l);
	if (!o.by_block)
		return err_set(e, -EFBIG, "the pool of tenant %s has %" PRIu64 " blocks: too many to count", l.tenant,
		        o.n_blocks);
	admin_say(c, 0, 0, "counting blocks of tenant %s", l.tenant);
	rc = meta_mappings(&l.t->pool, 0, mapping_claim, &o, e);
	if (rc < 0)
		return rc;
	owners_count(&o);
	jsonw_text(c->json, "tenant", l.tenant);
	jsonw_number(c->json, "size_bytes", l.usage.data_total);
	jsonw_number(c->json, "used_bytes", l.usage.data_used);
	put_owners(c->json, &o);
	return 0;
}
