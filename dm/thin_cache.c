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

int thin_blob_dir(struct store *s, const char *tenant, struct err *e)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	int rc = tenant_get(s, tenant, true, &t, e);

	if (rc < 0)
		return rc;
	int fd = openat(t->cache_fd, "blobs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(e, -errno, "open the blobs of tenant %s", tenant) : fd;
}

/* A download under way is somebody's work, not cache. */
static void blobs_add(struct tenant *t, struct cache_list *l)
{
	int fd = openat(t->cache_fd, "blobs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct stat st;

	if (!d) {
		cleanup_close(&fd);
		return;
	}
	for (struct dirent *entry; (entry = readdir(d));)
		if (entry->d_name[0] != '.' && fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		        S_ISREG(st.st_mode))
			cache_list_blob(l, t->id, entry->d_name, &st);
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
	AUTO_CLOSE int dir = openat(t->cache_fd, "blobs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || (unlinkat(dir, c->blob, 0) < 0 && errno != ENOENT))
		return err_sys(e, -errno, "remove a blob of tenant %s", t->id);
	return 0;
}

/* The blobs of closed tenants are counted when those are in use again: to look would be to open ten thousand. */
int thin_trim(struct store *s, uint64_t *freed, struct err *e)
{
	AUTO(cache_list_free) struct cache_list l = {0};

	for (struct tenant *t = tenants_first(s); t; t = t->next) {
		pthread_mutex_lock(&t->lock);
		if (t->is_open)
			blobs_add(t, &l);
		pthread_mutex_unlock(&t->lock);
	}
	int rc = chains_add(s, &l, e);
	*freed = 0;
	return rc < 0 ? rc : cache_list_trim(&l, s->cache_max_bytes, cached_drop, s, freed, e);
}
