/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Layers: the longest known chain becomes a volume, each missing layer is unpacked onto it and kept as a chain.
 *
 * How big the volume has to be is not known before the layers were read. It starts with a guess, is enlarged between
 * layers when the next one may not fit, and while a layer is unpacked when builderd-fs asks (children.c, on_fs_grow).
 * The kernel lets only CAP_SYS_RESOURCE enlarge a mounted ext4; where that is missing, the layers are unpacked again
 * onto a volume four times as big.
 */
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "monitor/build.h"

#define GUEST_ROOM (128ull << 20) /* what a guest has left to write at least, unless the quota says less */

static bool is_blob_here(const struct build *b)
{
	return b->plan.layers[b->layer].blob_fd >= 0;
}

static bool is_fetched(const struct build *b)
{
	return b->is_fetch_done;
}

static int fetch_want(struct build *b, uint32_t first, struct err *e)
{
	const struct msg_fetch_want want = {.first = first};
	int rc = channel_send_struct(&b->fetch.channel, MSG_FETCH_WANT, want);

	/* A fetcher that died says why on its channel; build_wait hears it. */
	return rc < 0 && rc != -EPIPE ? err_sys(e, rc, "ask for the layers") : 0;
}

/* Index of the first layer that no chain holds; *INFO is the chain below it. */
static int chain_longest(struct build *b, struct chain_info *info, uint32_t *first, struct err *e)
{
	struct monitor *m = b->m;

	for (*first = b->plan.image.layers; *first; --*first) {
		int rc =
		        m->ops->chain_find(m->store, b->start.tenant_id, &b->plan.layers[*first - 1].chain_id, info, e);
		if (rc != -ENOENT)
			return rc;
	}
	*info = (struct chain_info){0};
	return 0;
}

/* More than a build may ever need: its quota, ext4's own blocks for it, and the guest's room. */
static uint64_t size_cap(const struct build *b)
{
	return b->start.max_bytes + b->start.max_bytes / 16 + 2 * GUEST_ROOM;
}

/* Compressed layers grow about twofold. */
static uint64_t layer_guess(const struct build *b, uint32_t index)
{
	const struct msg_fetch_layer *l = &b->plan.layers[index].info;

	if (l->size >= b->start.max_bytes)
		return b->start.max_bytes;
	return l->compression == COMPRESSION_NONE ? l->size + l->size / 8 : l->size * 5 / 2;
}

static uint64_t size_guess(const struct build *b, const struct chain_info *chain, uint32_t first)
{
	uint64_t size = chain->used_bytes + GUEST_ROOM;

	for (uint32_t i = first; i < b->plan.image.layers; i++)
		size += layer_guess(b, i);
	if (size < b->size_min)
		size = b->size_min;
	if (size > size_cap(b))
		size = size_cap(b);
	return size > chain->size_bytes ? size : chain->size_bytes;
}

static int volume_make(struct build *b, uint32_t first, const struct chain_info *chain, struct err *e)
{
	struct monitor *m = b->m;
	const struct digest *parent = first ? &b->plan.layers[first - 1].chain_id : NULL;

	b->used_bytes = chain->used_bytes;
	b->used_inodes = chain->used_inodes;
	volume_stop_fd_set(b->stop_fd); /* this thread is the build's until it ends */
	return m->ops->create(m->store, b->start.tenant_id, b->start.build_id, parent, size_guess(b, chain, first),
	        chain->used_inodes + 8192, &b->volume, e);
}

/* Unmounted: room for MORE bytes beside what is there. */
static int volume_room(struct build *b, uint64_t more, struct err *e)
{
	uint64_t want = b->used_bytes + b->used_bytes / 16 + more;

	if (want > size_cap(b))
		want = size_cap(b);
	return want > b->m->ops->size(b->volume) ? b->m->ops->grow(b->volume, -1, want, e) : 0;
}

int layers_room(struct build *b, struct err *e)
{
	return volume_room(b, GUEST_ROOM, e);
}

static int layer_keep(struct build *b, const struct layer_plan *l, struct err *e)
{
	const struct chain_info info = {.used_bytes = b->used_bytes,
	        .used_inodes = b->used_inodes,
	        .work_bytes = b->layer_work,
	        .size_bytes = b->m->ops->size(b->volume)};
	int rc = b->m->ops->snapshot(b->volume, &l->chain_id, &info, e);

	build_mark(b, "snapshot");
	return rc;
}

static int layer_unpack(struct build *b, uint32_t index, struct err *e)
{
	const struct layer_plan *l = &b->plan.layers[index];
	char text[DIGEST_TEXT_MAX];

	b->layer = index;
	int rc = build_wait(b, is_blob_here, e);
	if (rc >= 0)
		rc = volume_room(b, layer_guess(b, index) + GUEST_ROOM / 4, e);
	if (rc < 0)
		return rc;
	b->progress.bytes_done = 0;
	b->progress.bytes_total = l->info.size;
	build_progress(b, BUILD_EXTRACTING, "layer %u/%u: unpacking", index + 1, b->plan.image.layers);
	build_mark(b, "wait for the blob");
	rc = session_layer(b, index, e);
	if (rc < 0) {
		err_wrap(e, "layer %u/%u (%.19s)", index + 1, b->plan.image.layers, digest_format(&l->info.blob, text));
		return rc;
	}
	b->unpacked_bytes += l->info.size;
	b->progress.bytes_done = 0;
	return layer_keep(b, l, e);
}

static int layers_try(struct build *b, uint32_t first, const struct chain_info *chain, struct err *e)
{
	int rc = b->volume ? 0 : volume_make(b, first, chain, e);

	if (rc == -ENOENT)
		err_kind_set(e, rc, ERR_KIND_INTERNAL, "a layer kept from an earlier build was removed: build again");
	build_mark(b, "volume");
	b->result.layers_cached = first;
	b->unpacked_bytes = 0;
	for (uint32_t i = 0; i < first; i++)
		b->unpacked_bytes += b->plan.layers[i].info.size;
	for (uint32_t i = first; i < b->plan.image.layers && rc >= 0; i++)
		rc = layer_unpack(b, i, e);
	return rc;
}

/* The volume was too small and could not grow while it was mounted. */
static bool is_worth_a_bigger_try(struct build *b, const struct err *e)
{
	uint64_t size = b->volume ? b->m->ops->size(b->volume) : 0;

	if (e->kind != ERR_KIND_DISK_FULL || !b->is_grow_refused || !size || size >= size_cap(b))
		return false;
	b->is_grow_refused = false;
	b->size_min = 4 * size;
	b->m->ops->discard(STEAL(&b->volume));
	build_log(b, LOG_LEVEL_WARN, "storage", "%s; trying again with a volume of %llu MiB", e->msg,
	        (unsigned long long)(b->size_min >> 20));
	return true;
}

int layers_unpack(struct build *b, struct err *e)
{
	struct chain_info chain;
	uint32_t first;
	int rc, tries = 0;

	/* A chain may be trimmed between the look-up and its use; so the volume comes first, then what is wanted. */
	do {
		rc = chain_longest(b, &chain, &first, e);
		if (rc >= 0 && first)
			rc = volume_make(b, first, &chain, e);
	} while (rc == -ENOENT && ++tries < 5);
	if (rc >= 0)
		rc = fetch_want(b, first, e);
	build_mark(b, "plan");
	if (rc < 0)
		return rc;
	if (first)
		build_log(b, LOG_LEVEL_INFO, "storage", "%u of %u layers were unpacked before", first,
		        b->plan.image.layers);
	build_step_ms(b);
	while ((rc = layers_try(b, first, &chain, e)) < 0 && is_worth_a_bigger_try(b, e)) {
		/* Chains that this build left are as good a start as any, and no older than the blobs it holds. */
		rc = chain_longest(b, &chain, &first, e);
		if (rc < 0)
			break;
	}
	b->layer = b->plan.image.layers;
	if (rc >= 0)
		rc = build_wait(b, is_fetched, e);
	b->result.extract_ms = build_step_ms(b);
	return rc;
}
