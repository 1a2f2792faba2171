/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: a tenant's pool whose metadata is damaged. Each step leaves a state that the next start goes on
 * from:
 *   1. thin_check finds nothing: the pool's needs_check flag is taken away.
 *      Else thin_repair writes what can be saved into the other region, and thin_check must find nothing there.
 *   2. pools.meta_region says which region counts from now on, pools.state "CHECK: why": one row, one moment. The
 *      damaged metadata stays in the other region.
 *   3. The pool comes up. Each volume is checked: e2fsck -fn; of the cache, which has a journal, -fp; after a
 *      thin_repair, the checksum of each product, too. What the pool
 *      lost or what is damaged is marked so; chains, empty file systems and the cache can be made again, they go;
 *      products stay.
 *   4. pools.state "DEGRADED: why, and what it cost", until an administrator has looked.
 * All of it happens under the tenant's lock; at the start of builderd it is left to a thread (thin_reap.c).
 */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "digest/hash.h"
#include "image.h"
#include "tool.h"

#define THIN_CHECK "/usr/sbin/thin_check"
#define THIN_LS "/usr/sbin/thin_ls"
#define THIN_REPAIR "/usr/sbin/thin_repair"
#define HASH_BLOCK (1u << 20)
#define TIMEOUT_MS (10 * 60000)
#define STATE_CHECK "CHECK: "
#define REPAIRED "thin_repair wrote its metadata anew"

bool pool_is_unchecked(const struct pool *p)
{
	return !strncmp(p->row.state, STATE_CHECK, strlen(STATE_CHECK));
}

/* --- metadata ---------------------------------------------------------------------------------------------------- */

int meta_check(int fd, bool clears_flag, struct tool_result *r, struct err *e)
{
	const char *const look[] = {THIN_CHECK, TOOL_PATH, NULL};
	const char *const clear[] = {THIN_CHECK, "--clear-needs-check-flag", TOOL_PATH, NULL};
	int rc = tool_run(clears_flag ? clear : look, fd, TIMEOUT_MS, r, e);

	return rc < 0 ? rc : !tool_succeeded(r);
}

/* thin_repair knows these from the superblock, unless that is gone. */
static int repair_run(int from, int to, const struct meta_facts *facts, struct tool_result *r, struct err *e)
{
	char tid[24], sectors[24], blocks[24];
	const char *const argv[] = {THIN_REPAIR, "-i", TOOL_PATH, "-o", TOOL_PATH_2, facts ? "--transaction-id" : NULL,
	        tid, "--data-block-size", sectors, "--nr-data-blocks", blocks, NULL};

	if (facts) {
		snprintf(tid, sizeof(tid), "%" PRIu64, facts->tid);
		snprintf(sectors, sizeof(sectors), "%" PRIu64, facts->block_bytes / DM_SECTOR);
		snprintf(blocks, sizeof(blocks), "%" PRIu64, facts->data_bytes / facts->block_bytes);
	}
	return tool_run_2(argv, from, to, TIMEOUT_MS, 0, NULL, r, e);
}

/* Where nothing can be found the result is an empty pool. */
static int devices_check(int fd, struct err *e)
{
	const char *const argv[] = {THIN_LS, "--no-headers", "--format", "DEV", TOOL_PATH, NULL};
	struct tool_result r;
	int rc = tool_run(argv, fd, TIMEOUT_MS, &r, e);

	if (rc == 0 && tool_succeeded(&r) && !r.text[0])
		return err_set(e, -EUCLEAN, "thin_repair finds no volume in it");
	return rc;
}

int meta_repair(int from, int to, const struct meta_facts *facts, struct err *e)
{
	struct tool_result r, check;
	int rc = repair_run(from, to, NULL, &r, e);

	if (rc == 0 && !tool_succeeded(&r))
		rc = repair_run(from, to, facts, &r, e);
	if (rc < 0)
		return rc;
	if (!tool_succeeded(&r))
		return err_set(e, -EUCLEAN, "thin_repair cannot repair it: %s", r.text);
	if (fsync(to) < 0)
		return err_sys(e, -errno, "sync repaired metadata");
	rc = devices_check(to, e);
	if (rc == 0)
		rc = meta_check(to, false, &check, e);
	return rc > 0 ? err_set(e, -EUCLEAN, "thin_repair could not make it whole: %s", check.text) : rc;
}

static int into_other_region(struct store *s, struct tenant *t, struct err *e)
{
	struct pool *p = &t->pool;
	struct inner_split split = inner_split(t->outer.size_bytes, p->row.meta_bytes);
	const struct meta_facts facts = {.tid = p->row.tid, .block_bytes = p->block_bytes, .data_bytes = split.data};
	int rc = inner_meta_up(s, t, "spare", !p->row.meta_region, e);
	AUTO_CLOSE int from = rc < 0 ? rc : dm_open(thin_name(&p->row, "meta", 0).text, O_RDONLY, e);
	AUTO_CLOSE int to = from < 0 ? from : dm_open(thin_name(&p->row, "spare", 0).text, O_RDWR, e);

	rc = to < 0 ? to : meta_repair(from, to, &facts, e);
	cleanup_close(&from);
	cleanup_close(&to);
	int down = thin_deactivate(&p->row, "spare", 0, THIN_TIMEOUT_MS, rc < 0 ? NULL : e);
	return rc < 0 ? rc : down;
}

static int state_set(struct pool *p, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int state_set(struct pool *p, struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->row.state, sizeof(p->row.state), fmt, ap);
	va_end(ap);
	return volumes_db_pool_update(p->db, &p->row, e);
}

/* Its metadata alone is up. */
static int metadata_mend(struct store *s, struct tenant *t, const char *why, struct err *e)
{
	struct pool *p = &t->pool;
	struct tool_result r;
	AUTO_CLOSE int fd = dm_open(thin_name(&p->row, "meta", 0).text, O_RDWR, e);
	int rc = fd < 0 ? fd : meta_check(fd, false, &r, e);

	if (rc < 0)
		return rc;
	if (rc == 0) {
		rc = state_set(p, e, STATE_CHECK "thin_check found nothing; %s", why);
		if (rc == 0)
			rc = meta_check(fd, true, &r, e);
		return rc > 0 ? err_set(e, -EUCLEAN, "thin_check cannot clear a flag: %s", r.text) : rc;
	}
	cleanup_close(&fd);
	rc = into_other_region(s, t, e);
	if (rc < 0)
		return rc;
	p->row.meta_region = !p->row.meta_region;
	rc = state_set(p, e, STATE_CHECK REPAIRED "; %s", why);
	if (rc < 0)
		p->row.meta_region = !p->row.meta_region;
	if (rc == 0)
		rc = thin_deactivate(&p->row, "meta", 0, THIN_TIMEOUT_MS, e);
	return rc < 0 ? rc : inner_meta_up(s, t, "meta", p->row.meta_region, e);
}

/* --- volumes ----------------------------------------------------------------------------------------------------- */

struct losses {
	unsigned checked, damaged, lost;
};

static void damage_set(struct tenant *t, struct device_row *dev, const char *what)
{
	snprintf(dev->damage, sizeof(dev->damage), "%s", what);
	volumes_db_device_update(t->pool.db, dev, NULL);
	log_error("a volume is damaged", KV("tenant", t->id), KV("kind", dev->kind), KV("name", dev->name),
	        KV("reason", what));
}

/* What can be made again goes. */
static void damaged_drop(struct tenant *t, const struct device_row *dev)
{
	struct err e = ERR_INIT;
	struct digest d;
	int rc = 0;

	if (t->pool.refusal[0] || !strcmp(dev->kind, "rootfs"))
		return;
	if (!strcmp(dev->kind, "chain") && digest_from_hex(dev->name, &d))
		rc = volumes_db_chain_delete(t->pool.db, t->id, &d, &e);
	if (rc == 0)
		rc = pool_delete(&t->pool, dev, &e);
	if (rc < 0)
		log_warn("a damaged volume stays", KV("tenant", t->id), KV("name", dev->name), KV("error", e.msg));
}

/* thin_repair may have found an older state than the last: whole, but not all of it. */
static int checksum_check(struct tenant *t, const struct device_row *dev, int fd, struct err *e)
{
	struct rootfs_row row;
	struct digest found;
	AUTO_FREE char *block = malloc(HASH_BLOCK);
	AUTO(hash_cleanup) struct hash *h = hash_new(DIGEST_SHA256);
	ssize_t n = -1;

	if (volumes_db_rootfs_get(t->pool.db, t->id, dev->name, &row, NULL) < 0 || !digest_is_valid(&row.info.checksum))
		return 0;
	while (block && (n = fd_read_full(fd, block, HASH_BLOCK)) > 0) {
		int rc = tool_stop_check(e);
		if (rc < 0)
			return rc;
		hash_update(h, block, (size_t)n);
	}
	if (n < 0)
		return err_sys(e, -EIO, "read the rootfs");
	hash_final(h, &found);
	return digest_equal(&found, &row.info.checksum)
	               ? 0
	               : err_kind_set(e, -EUCLEAN, ERR_KIND_INTERNAL, "its checksum is not that of the product");
}

static int file_system_check(struct tenant *t, const struct device_row *dev, struct err *e)
{
	bool is_cache = !strcmp(dev->kind, "cache");
	struct dm_state before;
	int rc = dm_state_get(device_name(&t->pool, dev).text, &before, e);

	if (rc == 0)
		rc = device_up(&t->pool, dev, !is_cache, e);
	if (rc < 0)
		return rc;
	int fd = device_open(&t->pool, dev, is_cache ? O_RDWR : O_RDONLY, e);
	rc = fd < 0 ? fd : is_cache ? image_mend(fd, e) : image_check(fd, e);
	if (rc == 0 && !strcmp(dev->kind, "rootfs") && strstr(t->pool.row.state, REPAIRED))
		rc = checksum_check(t, dev, fd, e);
	cleanup_close(&fd);
	if (!before.exists)
		device_down(&t->pool, dev, NULL);
	return rc;
}

/* Clones are their VMs', and builds that were under way go anyway; a cache that is in use is mounted. */
static bool is_to_check(const struct tenant *t, const struct device_row *dev)
{
	return !strcmp(dev->kind, "chain") || !strcmp(dev->kind, "golden") || !strcmp(dev->kind, "rootfs") ||
	       (!strcmp(dev->kind, "cache") && t->cache_fd < 0);
}

static int volume_check(struct tenant *t, struct device_row *dev, bool is_there, struct losses *l, struct err *e)
{
	struct err why = ERR_INIT;

	l->checked++;
	if (!is_there) {
		l->lost++;
		damage_set(t, dev, "LOST: the pool does not have it any more");
		damaged_drop(t, dev);
		return 0;
	}
	int rc = file_system_check(t, dev, &why);
	if (rc == -ECANCELED) {
		*e = why;
		return rc;
	}
	if (rc < 0) {
		l->damaged++;
		damage_set(t, dev, why.msg);
		damaged_drop(t, dev);
	}
	return 0;
}

int pool_volumes_check(struct tenant *t, struct losses_text *out, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	AUTO_FREE struct meta_device *devices = NULL;
	struct losses l = {0};
	size_t n = 0, n_devices = 0;
	int rc = meta_devices(&t->pool, &devices, &n_devices, e);

	if (rc == 0)
		rc = volumes_db_device_list(t->pool.db, t->pool.row.id, &rows, &n, e);
	for (size_t i = 0; i < n && rc == 0; i++)
		if (is_to_check(t, &rows[i]))
			rc = volume_check(t, &rows[i], meta_device_find(devices, n_devices, rows[i].id), &l, e);
	snprintf(out->text, sizeof(out->text), "%u of %u volumes are damaged, %u are lost", l.damaged, l.checked,
	        l.lost);
	out->n = l.damaged + l.lost;
	return rc;
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

static int volumes_part(struct tenant *t, struct err *e)
{
	struct pool *p = &t->pool;
	struct losses_text losses;
	char why[POOL_STATE_MAX];
	int rc = pool_volumes_check(t, &losses, e);

	if (rc < 0)
		return rc;
	snprintf(why, sizeof(why), "%s", p->row.state + strlen(STATE_CHECK));
	p->row.last_check_ms = time_wall_ms();
	rc = state_set(p, e, "DEGRADED: %s; %s", losses.text, why);
	log_error("a tenant's pool was repaired", KV("tenant", t->id), KV("state", p->row.state));
	return rc;
}

/* 1: not now. The pool stays as it is, and gives out what it has. */
static int metadata_part(struct store *s, struct tenant *t, const char *why, struct err *e)
{
	struct pool *p = &t->pool;
	struct pool_usage u;
	int rc = thin_deactivate(&p->row, "pool", 0, THIN_TIMEOUT_MS, e);

	if (rc == -EBUSY && pool_usage_get(p, &u, NULL) == 0 && !u.has_failed) {
		snprintf(p->refusal, sizeof(p->refusal), "its repair waits until nobody uses its volumes: %.150s", why);
		return 1;
	}
	if (rc == 0)
		rc = metadata_mend(s, t, why, e);
	return rc < 0 ? rc : inner_pool_up(t, e);
}

int inner_repair(struct store *s, struct tenant *t, const char *why, struct err *e)
{
	struct err said = ERR_INIT;
	int rc = 0;

	t->wants_repair = s->is_starting;
	if (s->is_starting)
		return err_set(e, -EAGAIN, "it is about to be repaired: %.300s", why ? why : t->pool.row.state);
	log_error(
	        "a tenant's pool is being repaired", KV("tenant", t->id), KV("reason", why ? why : t->pool.row.state));
	if (why)
		rc = metadata_part(s, t, why, &said);
	if (rc == 0)
		rc = volumes_part(t, &said);
	if (rc > 0)
		log_error("a pool is not written to", KV("tenant", t->id), KV("reason", &t->pool.refusal[0]));
	if (rc >= 0)
		return 0;
	if (rc != -ECANCELED && !pool_is_unchecked(&t->pool))
		state_set(&t->pool, NULL, "DEGRADED: %.140s", said.msg);
	return err_set(e, rc, "its repair failed: %.400s", said.msg);
}
