/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `dm` backend: blobs, and making room. Chains know when they were last used, blobs by their mtime. */
#include "thin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cache_list.h"

static int blobs_open(const struct tenant *t)
{
	return openat(t->cache_fd, "blobs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int thin_blob_dir(struct store *s, const char *tenant, struct err *e)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	int rc = tenant_get(s, tenant, true, &t, e);

	if (rc < 0)
		return rc;
	int fd = blobs_open(t);
	return fd < 0 ? err_sys(e, -errno, "open the blobs of tenant %s", tenant) : fd;
}

static int chains_add(struct store *s, struct cache_list *l, struct err *e)
{
	AUTO_FREE struct chain_row *rows = NULL;
	struct device_row dev;
	struct pool_row pool;
	char hex[DIGEST_TEXT_MAX];
	size_t n = 0;
	int rc = volumes_db_chain_list(s->db, &rows, &n, e);

	for (size_t i = 0; i < n && rc == 0; i++)
		if (volumes_db_pool_get(s->db, rows[i].tenant, &pool, NULL) == 0 &&
		        volumes_db_device_get(s->db, pool.id, "chain", digest_hex(&rows[i].chain, hex), &dev, NULL) ==
		                0)
			cache_list_chain(l, &rows[i], dev.own_bytes);
	return rc;
}

/* A build that reads a blob holds a descriptor; one that was made from a chain has a snapshot of its own. */
static int cached_drop(void *arg, const struct cached *c, struct err *e)
{
	struct store *s = arg;
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	int rc = tenant_get(s, c->tenant, false, &t, e);

	if (rc < 0)
		return rc;
	if (c->is_chain) {
		pthread_mutex_lock(&t->lock);
		rc = thin_chain_delete(s, t, &c->chain, e);
		pthread_mutex_unlock(&t->lock);
		return rc;
	}
	AUTO_CLOSE int dir = blobs_open(t);
	if (dir < 0 || (unlinkat(dir, c->blob, 0) < 0 && errno != ENOENT))
		return err_sys(e, -errno, "remove a blob of tenant %s", t->id);
	return 0;
}

static bool is_open(struct store *s, const char *tenant)
{
	struct tenant *t = tenants_first(s);

	while (t && strcmp(t->id, tenant))
		t = t->next;
	if (!t)
		return false;
	pthread_mutex_lock(&t->lock);
	bool is = t->is_open;
	pthread_mutex_unlock(&t->lock);
	return is;
}

void thin_blobs_note(struct tenant *t)
{
	AUTO(cache_list_free) struct cache_list l = {0};
	struct device_row cache;

	cache_list_blobs(&l, t->id, blobs_open(t));
	if (volumes_db_device_get(t->pool.db, t->pool.row.id, "cache", "cache", &cache, NULL) == 0 &&
	        cache.own_bytes != l.bytes) {
		cache.own_bytes = l.bytes;
		volumes_db_device_update(t->pool.db, &cache, NULL);
	}
}

/* Of closed tenants it is known how much their blobs took when they were closed. As many are opened as hold what is too
 * much; UNSEEN gets what the others have. */
static int closed_add(struct store *s, struct cache_list *l, uint64_t *unseen, struct err *e)
{
	AUTO_FREE struct cache_row *rows = NULL;
	size_t n = 0;
	int rc = volumes_db_cache_list(s->db, &rows, &n, e);

	*unseen = 0;
	for (size_t i = 0; i < n; i++) {
		if (is_open(s, rows[i].tenant))
			rows[i].own_bytes = 0;
		*unseen += rows[i].own_bytes;
	}
	uint64_t all = l->bytes + *unseen, excess = all > s->cache_max_bytes ? all - s->cache_max_bytes : 0;
	for (size_t i = 0, listed = 0; i < n && listed < excess && rc == 0; i++) {
		AUTO(tenant_cleanup) struct tenant *t = NULL;
		if (!rows[i].own_bytes)
			continue;
		if (tenant_get(s, rows[i].tenant, false, &t, NULL) < 0)
			continue; /* it was said why when it was opened */
		cache_list_blobs(l, t->id, blobs_open(t));
		*unseen -= rows[i].own_bytes;
		listed += rows[i].own_bytes;
	}
	return rc;
}

int thin_trim(struct store *s, uint64_t *freed, struct err *e)
{
	AUTO(cache_list_free) struct cache_list l = {0};
	uint64_t unseen = 0;

	*freed = 0;
	int rc = chains_add(s, &l, e);
	for (struct tenant *t = tenants_first(s); t; t = t->next) {
		pthread_mutex_lock(&t->lock);
		if (t->is_open)
			cache_list_blobs(&l, t->id, blobs_open(t));
		pthread_mutex_unlock(&t->lock);
	}
	if (rc == 0)
		rc = closed_add(s, &l, &unseen, e);
	if (rc < 0)
		return rc;
	return cache_list_trim(
	        &l, s->cache_max_bytes > unseen ? s->cache_max_bytes - unseen : 0, cached_drop, s, freed, e);
}
