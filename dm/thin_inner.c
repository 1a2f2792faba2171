/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: a tenant's own pool on its decrypted device.
 *
 *   0          region 0: metadata
 *   meta       region 1: as big, for thin_repair; after a repair the two change roles (pools.meta_region)
 *   2 x meta   data, to the end
 *
 * How big the regions are is decided when the tenant is made, because they cannot grow: they can map GROWTH times the
 * data that the pool begins with. It costs next to nothing, since the volume below is thin.
 */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "luks.h"

#define INNER_BLOCK ((uint64_t)64 << 10)
#define INNER_META_MIN ((uint64_t)16 << 20)
#define INNER_META_MAX ((uint64_t)15 << 30) /* the kernel uses no more than 16 GiB */
#define META_BYTES_PER_BLOCK 48             /* thin_metadata_size(8); doubled for snapshots */
#define GROWTH 4
#define MIB ((uint64_t)1 << 20)

static uint64_t whole_bytes(uint64_t outer_bytes)
{
	return (outer_bytes - LUKS_DATA_OFFSET) / MIB * MIB;
}

uint64_t inner_meta_bytes(uint64_t outer_bytes)
{
	uint64_t meta = GROWTH * 2 * META_BYTES_PER_BLOCK * (whole_bytes(outer_bytes) / INNER_BLOCK);

	if (meta > INNER_META_MAX)
		return INNER_META_MAX;
	return (meta < INNER_META_MIN ? INNER_META_MIN : meta + MIB - 1) / MIB * MIB;
}

uint64_t inner_bytes_max(uint64_t meta_bytes)
{
	return meta_bytes / (2 * META_BYTES_PER_BLOCK) * INNER_BLOCK / MIB * MIB + 2 * meta_bytes + LUKS_DATA_OFFSET;
}

struct inner_split inner_split(uint64_t outer_bytes, uint64_t meta_bytes)
{
	uint64_t whole = whole_bytes(outer_bytes), meta = meta_bytes;

	if (!meta) { /* a pool of before volumes.db knew it, never enlarged since */
		meta = 2 * META_BYTES_PER_BLOCK * (whole / INNER_BLOCK);
		meta = (meta < INNER_META_MIN ? INNER_META_MIN : meta + MIB - 1) / MIB * MIB;
	}
	return (struct inner_split){.meta = meta, .data_offset = 2 * meta, .data = whole - 2 * meta};
}

int inner_meta_up(const struct store *s, struct tenant *t, const char *kind, unsigned region, struct err *e)
{
	struct inner_split split = inner_split(t->outer.size_bytes, t->pool.row.meta_bytes);
	char crypt[128];

	snprintf(crypt, sizeof(crypt), DM_DIR "%s", thin_name(&s->outer.row, "crypt", t->outer.id).text);
	return thin_linear(&t->pool.row, kind, crypt, region * split.meta, split.meta, e);
}

static int linears_up(const struct store *s, struct tenant *t, struct err *e)
{
	struct inner_split split = inner_split(t->outer.size_bytes, t->pool.row.meta_bytes);
	char crypt[128];
	int rc = inner_meta_up(s, t, "meta", t->pool.row.meta_region, e);

	t->pool.block_bytes = INNER_BLOCK;
	snprintf(crypt, sizeof(crypt), DM_DIR "%s", thin_name(&s->outer.row, "crypt", t->outer.id).text);
	return rc < 0 ? rc : thin_linear(&t->pool.row, "data", crypt, split.data_offset, split.data, e);
}

int inner_pool_up(struct tenant *t, struct err *e)
{
	struct inner_split split = inner_split(t->outer.size_bytes, t->pool.row.meta_bytes);
	const struct pool_layout layout = {
	        .block_bytes = INNER_BLOCK, .data_bytes = split.data, .feature = "error_if_no_space"};

	return pool_up(&t->pool, &layout, e);
}

/* VMs get the devices themselves: without zeroing they would read what another build left in a block. */
static int zeroing_check(const struct tenant *t, struct err *e)
{
	struct thin_name pool = thin_name(&t->pool.row, "pool", 0);
	char live[256];
	int rc = dm_live_table(pool.text, live, sizeof(live), e);

	if (rc == 0 && strstr(live, "skip_block_zeroing"))
		return err_kind_set(
		        e, -EPERM, ERR_KIND_INTERNAL, "pool %s does not zero its blocks: \"%s\"", pool.text, live);
	return rc;
}

/* The kernel would make a new, empty pool where the first block is zero. */
static int blank_check(const struct tenant *t, struct err *e)
{
	char block[META_BLOCK];
	AUTO_CLOSE int fd = dm_open(thin_name(&t->pool.row, "meta", 0).text, O_RDONLY, e);

	if (fd < 0)
		return fd;
	if (pread(fd, block, sizeof(block), 0) != (ssize_t)sizeof(block))
		return err_sys(e, -EIO, "read the metadata of pool %.8s", t->pool.row.uuid);
	if (block[0] || memcmp(block, block + 1, sizeof(block) - 1))
		return 0;
	return err_set(e, -EUCLEAN, "its metadata has no superblock");
}

static int make_new(struct tenant *t, struct err *e)
{
	char meta[128];

	snprintf(meta, sizeof(meta), DM_DIR "%s", thin_name(&t->pool.row, "meta", 0).text);
	int rc = thin_wipe_start(meta, 0, e);
	return rc < 0 ? rc : inner_pool_up(t, e);
}

/* -EUCLEAN: its metadata is damaged. */
static int old_up(struct tenant *t, struct err *e)
{
	int rc = blank_check(t, e);

	return rc < 0 ? rc : inner_pool_up(t, e);
}

int inner_up(struct store *s, struct tenant *t, bool is_new, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = linears_up(s, t, &why);

	if (rc == 0)
		rc = is_new ? make_new(t, &why) : old_up(t, &why);
	if (s->access != STORE_LOOK && (rc == -EUCLEAN || (rc == 0 && pool_is_unchecked(&t->pool))))
		return inner_repair(s, t, rc < 0 ? why.msg : NULL, e);
	if (rc == 0)
		rc = zeroing_check(t, &why);
	if (rc < 0)
		*(e ? e : &why) = why;
	return rc;
}

/* Up already: what is smaller than it should be is enlarged. */
int inner_enlarge(struct store *s, struct tenant *t, struct err *e)
{
	int rc = linears_up(s, t, e);

	pthread_mutex_lock(&t->pool.lock);
	if (rc == 0)
		rc = inner_pool_up(t, e);
	pthread_mutex_unlock(&t->pool.lock);
	return rc;
}

/* Once volumes.db has the new size, every opening brings the tenant up with it. */
static int grow_locked(struct store *s, struct tenant *t, uint64_t bytes, struct err *e)
{
	struct pool_row *row = &t->pool.row;
	uint64_t meta = inner_split(t->outer.size_bytes, row->meta_bytes).meta, max = inner_bytes_max(meta);
	struct device_row bigger = t->outer;
	int rc = 0;

	if (t->pool.refusal[0])
		return err_set(e, -EROFS, "the pool of tenant %s is not written to: %s", t->id, t->pool.refusal);
	if (bytes <= t->outer.size_bytes)
		return err_set(e, -EINVAL, "the storage of tenant %s has %" PRIu64 " MiB: it can only become bigger",
		        t->id, t->outer.size_bytes / MIB);
	if (bytes > max)
		return err_set(e, -EINVAL,
		        "the storage of tenant %s can grow to %" PRIu64 " MiB: its pool's metadata of %" PRIu64
		        " MiB maps no more, and cannot be moved",
		        t->id, max / MIB, meta / MIB);
	if (!row->meta_bytes) { /* from now on it does not follow from the size */
		row->meta_bytes = meta;
		rc = volumes_db_pool_update(t->pool.db, row, e);
	}
	bigger.size_bytes = bytes;
	if (rc == 0)
		rc = volumes_db_device_update(t->pool.db, &bigger, e);
	if (rc < 0)
		return rc;
	t->outer = bigger;
	rc = stack_enlarge(s, t, e);
	if (rc == 0)
		log_info("a tenant's storage has grown", KV("tenant", t->id), KV_U("bytes", bytes));
	return rc;
}

int tenant_grow(struct store *s, const char *id, uint64_t bytes, struct err *e)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	int rc = tenant_get(s, id, false, &t, e);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&t->lock);
	rc = grow_locked(s, t, bytes / MIB * MIB, e);
	pthread_mutex_unlock(&t->lock);
	return rc;
}
