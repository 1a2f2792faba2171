/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: a tenant's stack, from the thin volume in the outer pool up to the mounted cache: how it is made,
 * brought up and taken down. A tenant is made once; its row in the outer pool becomes "ready" when all of it is there,
 * and what is not ready is made anew. When to do which is thin_tenant.c's.
 */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fs.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "image.h"
#include "luks.h"
#include "mount.h"

static struct thin_name crypt_name(const struct store *s, const struct tenant *t)
{
	return thin_name(&s->outer.row, "crypt", t->outer.id);
}

static void path_of(struct thin_name n, char out[128])
{
	snprintf(out, 128, DM_DIR "%s", n.text);
}

/* --- down -------------------------------------------------------------------------------------------------------- */

/* What a lease speaks for: the sealed device, or the VM's own clone. */
static bool is_leased(const struct device_row *dev, const struct lease_row *leases, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (leases[i].mode == LEASE_COW ? leases[i].device == dev->id
		                                : (!strcmp(dev->kind, "rootfs") || !strcmp(dev->kind, "verity")) &&
		                                          !strcmp(dev->name, leases[i].build))
			return true;
	return false;
}

/* A tenant's devices and leases, both freed by rows_free. */
struct rows {
	struct device_row *devices;
	struct lease_row *leases;
	size_t n_devices, n_leases;
};

static void rows_free(struct rows *r)
{
	free(r->devices);
	free(r->leases);
}

static int rows_read(const struct tenant *t, struct rows *r, struct err *e)
{
	*r = (struct rows){0};
	int rc = volumes_db_device_list(t->pool.db, t->pool.row.id, &r->devices, &r->n_devices, e);

	return rc < 0 ? rc : volumes_db_lease_list(t->pool.db, t->id, "", &r->leases, &r->n_leases, e);
}

/* 1: what is leased stays up. */
static int devices_down(struct tenant *t, struct err *e)
{
	AUTO(rows_free) struct rows r;
	int rc = rows_read(t, &r, e);

	for (size_t i = 0; i < r.n_devices && rc == 0; i++)
		if (!is_leased(&r.devices[i], r.leases, r.n_leases))
			rc = thin_deactivate(&t->pool.row, r.devices[i].kind, r.devices[i].id, 1000, e);
	return rc == 0 && r.n_leases ? 1 : rc;
}

int stack_down(struct store *s, struct tenant *t, struct err *e)
{
	int rc = 0;

	if (t->cache_fd >= 0 && t->pool.db && !t->pool.is_look)
		thin_blobs_note(t);
	cleanup_close(&t->cache_fd);
	t->is_open = false;
	if (t->pool.db) {
		rc = devices_down(t, e);
		if (rc == 0)
			rc = pool_down(&t->pool, e);
	}
	if (rc == 0)
		rc = luks_close(crypt_name(s, t).text, e);
	if (rc == 0)
		rc = device_down(&s->outer, &t->outer, e);
	if (rc == 0)
		t->pool.db = NULL;
	return rc;
}

/* The kernel has let go of the cache when its device can be opened by one alone. A fetcher's descriptor of the blobs
 * keeps it. */
static bool cache_let_go(struct tenant *t, const struct device_row *cache)
{
	int64_t deadline = time_mono_ms() + 200;

	thin_blobs_note(t);
	cleanup_close(&t->cache_fd);
	for (;;) {
		AUTO_CLOSE int fd = device_open(&t->pool, cache, O_RDONLY | O_EXCL, NULL);
		if (fd >= 0)
			return true;
		if (fd != -EBUSY || time_mono_ms() >= deadline)
			return false;
		usleep(5000);
	}
}

static int cache_mount(struct store *s, struct tenant *t, const struct device_row *cache, struct err *e);

int stack_let_go(struct store *s, struct tenant *t, struct err *e)
{
	AUTO(rows_free) struct rows r;
	struct device_row *cache = NULL;
	int rc = rows_read(t, &r, e);

	for (size_t i = 0; i < r.n_devices && rc == 0; i++) {
		struct dm_state state = {0};
		if (!strcmp(r.devices[i].kind, "cache"))
			cache = &r.devices[i];
		else
			rc = dm_state_get(device_name(&t->pool, &r.devices[i]).text, &state, e);
		if (rc == 0 && state.opens)
			return 1;
	}
	if (rc < 0 || r.n_leases)
		return rc < 0 ? rc : 1;
	if (cache && !cache_let_go(t, cache)) {
		rc = cache_mount(s, t, cache, e);
		return rc < 0 ? rc : 1;
	}
	return stack_down(s, t, e);
}

/* --- bigger ------------------------------------------------------------------------------------------------------ */

/* As far as it is smaller than volumes.db says. */
static int crypt_enlarge(struct store *s, struct tenant *t, struct err *e)
{
	AUTO(tenant_key_cleanup) struct tenant_key key = {0};
	struct thin_name name = crypt_name(s, t);
	AUTO_CLOSE int fd = dm_open(name.text, O_RDONLY, e);
	uint64_t bytes;

	if (fd < 0)
		return fd;
	if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		return err_sys(e, -errno, "ask %s for its size", name.text);
	if (bytes + LUKS_DATA_OFFSET >= t->outer.size_bytes)
		return 0;
	cleanup_close(&fd);
	int rc = device_up(&s->outer, &t->outer, false, e);
	if (rc == 0)
		rc = keys_tenant_read(s->keys_fd, t->id, t->pool.row.key_generation, &s->master, &key, e);
	return rc < 0 ? rc : luks_resize(name.text, key.bytes, sizeof(key.bytes), e);
}

int stack_enlarge(struct store *s, struct tenant *t, struct err *e)
{
	int rc = crypt_enlarge(s, t, e);

	return rc < 0 ? rc : inner_enlarge(s, t, e);
}

/* --- up ---------------------------------------------------------------------------------------------------------- */

static int adopt(struct store *s, struct tenant *t, struct err *e)
{
	int rc = tenant_key_adopt(s, t, e);

	return rc < 0 || s->access == STORE_LOOK ? rc : crypt_enlarge(s, t, e);
}

static int decrypted_up(struct store *s, struct tenant *t, bool is_new, struct err *e)
{
	struct thin_name crypt = crypt_name(s, t);
	int rc = dm_remains(crypt.text, e);

	if (rc < 0)
		return rc;
	if (rc) /* builderd died, the kernel did not */
		return adopt(s, t, e);
	rc = device_up(&s->outer, &t->outer, false, e);
	if (rc < 0)
		return rc;
	return is_new ? tenant_key_first(s, t, crypt.text, e) : tenant_key_open(s, t, crypt.text, e);
}

/* --- the cache --------------------------------------------------------------------------------------------------- */

static int cache_make(struct tenant *t, struct device_row *cache, struct err *e)
{
	uint64_t size = image_size(inner_split(t->outer.size_bytes, t->pool.row.meta_bytes).data / 4, 0);
	int rc = pool_create(&t->pool, "cache", "cache", size, NULL, cache, e);

	if (rc == 0)
		rc = device_up(&t->pool, cache, false, e);
	AUTO_CLOSE int fd = rc < 0 ? rc : device_open(&t->pool, cache, O_RDWR, e);
	return fd < 0 ? fd : image_format(fd, size, 0, true, e);
}

static int cache_mount(struct store *s, struct tenant *t, const struct device_row *cache, struct err *e)
{
	char path[128];
	int rc = device_up(&t->pool, cache, false, e);

	if (rc < 0)
		return rc;
	path_of(device_name(&t->pool, cache), path);
	t->cache_fd = t->pool.is_look ? mount_detached_look(path, e) : mount_detached_durable(path, e);
	if (t->cache_fd < 0 || t->pool.is_look)
		return t->cache_fd < 0 ? t->cache_fd : 0;
	if ((mkdirat(t->cache_fd, "blobs", 0700) < 0 && errno != EEXIST) ||
	        (mkdirat(t->cache_fd, "metadata", 0700) < 0 && errno != EEXIST) ||
	        fchownat(t->cache_fd, "blobs", s->fetch_uid, s->fetch_uid, AT_SYMLINK_NOFOLLOW) < 0)
		return image_error(e, -errno, "prepare a tenant's cache");
	return 0;
}

/* --- after a crash ----------------------------------------------------------------------------------------------- */

bool digest_from_hex(const char *hex, struct digest *d)
{
	char text[DIGEST_TEXT_MAX];

	snprintf(text, sizeof(text), "%s:%s", strlen(hex) == 64 ? "sha256" : "sha512", hex);
	return digest_parse(d, text, strlen(text), NULL) == 0;
}

/* Does a row somewhere say that DEV is more than a leftover? */
static bool is_known(const struct tenant *t, const struct device_row *dev, const struct rows *r)
{
	struct chain_row chain;
	struct rootfs_row rootfs;
	struct digest d;

	if (!strcmp(dev->kind, "chain"))
		return digest_from_hex(dev->name, &d) && volumes_db_chain_get(t->pool.db, t->id, &d, &chain, NULL) == 0;
	if (!strcmp(dev->kind, "rootfs") || !strcmp(dev->kind, "verity"))
		return volumes_db_rootfs_get(t->pool.db, t->id, dev->name, &rootfs, NULL) == 0;
	return dev->is_ready || is_leased(dev, r->leases, r->n_leases); /* golden, cache; a build never is */
}

/* One that somebody has open stays until the next start. */
static void leftovers_delete(struct tenant *t, const struct rows *r)
{
	unsigned removed = 0;

	for (size_t i = 0; i < r->n_devices; i++) {
		struct err why = ERR_INIT;
		if (is_known(t, &r->devices[i], r) || !strcmp(r->devices[i].kind, DEVICE_DEAD))
			continue;
		if (pool_delete(&t->pool, &r->devices[i], &why) < 0)
			log_warn("a leftover stays", KV("tenant", t->id),
			        KV("device", device_name(&t->pool, &r->devices[i]).text), KV("error", why.msg));
		else
			removed++;
	}
	if (removed)
		log_info("leftovers removed", KV("tenant", t->id), KV_U("devices", removed));
}

/* What was leased is there for its VM, first of all; other products come up when they are asked for. A pool that is not
 * to be written to still gives out its products. */
static int tenant_recover(struct store *s, struct tenant *t, struct err *e)
{
	AUTO(rows_free) struct rows r;
	int rc = rows_read(t, &r, e);

	if (rc < 0)
		return rc;
	thin_leases_up(s, t, r.leases, r.n_leases);
	if (!t->pool.refusal[0])
		leftovers_delete(t, &r);
	return 0;
}

/* --- make, open -------------------------------------------------------------------------------------------------- */

int stack_wreck_remove(struct store *s, struct tenant *t, struct err *e)
{
	struct pool_row row;
	int rc = volumes_db_pool_get(s->db, t->id, &row, e);
	bool has_pool = rc == 0;

	if (has_pool) {
		t->pool.row = row;
		t->pool.db = s->db;
	}
	if (rc < 0 && rc != -ENOENT)
		return rc;
	rc = stack_down(s, t, e);
	if (rc == 0 && has_pool)
		rc = volumes_db_pool_delete(s->db, row.id, e);
	if (rc == 0)
		rc = pool_delete(&s->outer, &t->outer, e);
	t->pool.db = NULL;
	return rc;
}

int stack_make(struct store *s, struct tenant *t, struct err *e)
{
	struct device_row cache;
	char uuid[POOL_UUID_MAX];
	int rc = pool_room_check(&s->outer, "the host's pool", e);

	if (rc == 0)
		rc = pool_create(&s->outer, "tenant", t->id, s->tenant_bytes, NULL, &t->outer, e);
	if (rc < 0)
		return rc;
	thin_uuid_make(uuid);
	rc = volumes_db_pool_add(s->db, t->id, uuid, &t->pool.row, e);
	t->pool.row.meta_bytes = inner_meta_bytes(t->outer.size_bytes);
	if (rc == 0)
		rc = volumes_db_pool_update(s->db, &t->pool.row, e);
	if (rc == 0) {
		t->pool.db = s->db;
		rc = decrypted_up(s, t, true, e);
	}
	if (rc == 0)
		rc = inner_up(s, t, true, e);
	if (rc == 0)
		rc = cache_make(t, &cache, e);
	if (rc == 0)
		rc = cache_mount(s, t, &cache, e);
	if (rc < 0)
		return rc;
	if (syncfs(t->cache_fd) < 0)
		return err_sys(e, -errno, "sync the new cache of tenant %s", t->id);
	cache.is_ready = t->outer.is_ready = true;
	rc = volumes_db_device_update(s->db, &cache, e);
	if (rc == 0)
		rc = volumes_db_device_update(s->db, &t->outer, e);
	if (rc == 0)
		log_info("a tenant was made", KV("tenant", t->id), KV_U("bytes", t->outer.size_bytes));
	return rc;
}

/* A cache that was lost with a part of the pool is only a cache. */
static int cache_get(struct tenant *t, struct device_row *cache, struct err *e)
{
	int rc = volumes_db_device_get(t->pool.db, t->pool.row.id, "cache", "cache", cache, e);

	if (rc != -ENOENT)
		return rc;
	if (!t->pool.row.state[0] || t->pool.refusal[0])
		return err_set(e, -EUCLEAN, "volumes.db has no cache of tenant %s", t->id);
	rc = cache_make(t, cache, e);
	cache->is_ready = true;
	return rc < 0 ? rc : volumes_db_device_update(t->pool.db, cache, e);
}

/* What is above the pool. */
static int stack_finish(struct store *s, struct tenant *t, struct err *e)
{
	struct device_row cache;
	struct err why = ERR_INIT;
	int rc = t->pool.is_look ? 0 : tenant_recover(s, t, e);

	if (rc == 0)
		rc = cache_get(t, &cache, e);
	if (rc < 0)
		return rc;
	rc = cache_mount(s, t, &cache, &why);
	if (rc < 0 && t->pool.refusal[0]) { /* the kernel does not write to the pool, but it gives out what is in it */
		log_error("a tenant's cache cannot be used", KV("tenant", t->id), KV("error", why.msg));
		return 0;
	}
	if (rc < 0)
		*(e ? e : &why) = why;
	else if (!t->pool.is_look && !t->pool.refusal[0])
		thin_metadata_sweep(t);
	return rc;
}

/* Damage below the roots of the metadata's trees shows only when they are used. */
static int stack_repair(struct store *s, struct tenant *t, const char *why, struct err *e)
{
	cleanup_close(&t->cache_fd);
	int rc = devices_down(t, e);

	if (rc >= 0)
		rc = inner_repair(s, t, why, e);
	return rc < 0 ? rc : stack_finish(s, t, e);
}

int stack_open(struct store *s, struct tenant *t, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = volumes_db_pool_get(s->db, t->id, &t->pool.row, e);

	if (rc == -ENOENT)
		return err_set(e, -EUCLEAN, "volumes.db has no pool of tenant %s", t->id);
	if (rc < 0)
		return rc;
	t->pool.db = s->db;
	rc = decrypted_up(s, t, false, e);
	if (rc == 0)
		rc = inner_up(s, t, false, e);
	if (rc < 0)
		return rc;
	rc = stack_finish(s, t, &why);
	if (pool_is_damage(rc) && s->access != STORE_LOOK && !t->pool.refusal[0])
		return stack_repair(s, t, why.msg, e);
	if (rc < 0)
		*(e ? e : &why) = why;
	return rc;
}
