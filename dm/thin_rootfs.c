/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: products. To seal is to flush and to rename: the build's device becomes the rootfs's, and comes up
 * read-only under its new name. A product that another build gets, too, is a snapshot of it.
 */
#include "thin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "image.h"
#include "lease.h"
#include "verity.h"

#define METADATA_MAX (16u << 20)

struct file_name {
	char text[BUILD_ID_MAX + 32];
};

static struct file_name metadata_name(const char *build)
{
	struct file_name n;

	snprintf(n.text, sizeof(n.text), "metadata/%s.json", build);
	return n;
}

/* It lies in the tenant's cache: what an image says about itself is the tenant's, too. */
static int metadata_write(struct tenant *t, const char *build, const char *metadata, size_t len, struct err *e)
{
	AUTO_CLOSE int fd = openat(
	        t->cache_fd, metadata_name(build).text, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0400);
	AUTO_CLOSE int dir = openat(t->cache_fd, "metadata", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd < 0 || dir < 0 ? -errno : fd_write_all(fd, metadata, len);

	if (rc == 0 && (fsync(fd) < 0 || fsync(dir) < 0))
		rc = -errno;
	return rc < 0 ? image_error(e, rc, "write metadata.json") : 0;
}

int thin_metadata_read(struct tenant *t, const char *build, char **out, size_t *len, struct err *e)
{
	AUTO_CLOSE int fd = openat(t->cache_fd, metadata_name(build).text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int rc = fd < 0 ? -errno : fd_slurp(fd, METADATA_MAX, out, len);

	return rc < 0 ? err_sys(e, rc, "read the metadata of build %s", build) : 0;
}

/* Is NAME the file of a product, or of nothing any more? */
static bool metadata_is_wanted(const struct tenant *t, const char *name)
{
	const char *end = strrchr(name, '.');
	struct rootfs_row row;
	char build[BUILD_ID_MAX];

	if (!end || strcmp(end, ".json") || (size_t)(end - name) >= sizeof(build))
		return false;
	snprintf(build, sizeof(build), "%.*s", (int)(end - name), name);
	return volumes_db_rootfs_get(t->pool.db, t->id, build, &row, NULL) != -ENOENT;
}

void thin_metadata_sweep(struct tenant *t)
{
	int fd = openat(t->cache_fd, "metadata", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		cleanup_close(&fd);
		return;
	}
	for (struct dirent *entry; (entry = readdir(d));)
		if (entry->d_name[0] != '.' && !metadata_is_wanted(t, entry->d_name))
			unlinkat(dirfd(d), entry->d_name, 0);
}

static void info_path(const struct tenant *t, const struct device_row *dev, struct rootfs_info *info)
{
	snprintf(info->path, sizeof(info->path), DM_DIR "%s", device_name(&t->pool, dev).text);
}

/* --- hash trees -------------------------------------------------------------------------------------------------- */

static int verity_device(struct tenant *t, const char *build, struct device_row *out, struct err *e)
{
	return volumes_db_device_get(t->pool.db, t->pool.row.id, "verity", build, out, e);
}

int thin_verity_up(struct tenant *t, const char *build, struct device_row *out, struct err *e)
{
	int rc = verity_device(t, build, out, e);

	if (rc == 0)
		rc = device_up(&t->pool, out, true, e);
	return rc == 0 ? 1 : rc == -ENOENT ? 0 : rc;
}

/* It is a leftover until the rootfs has its row (thin_open.c). */
static void verity_remove(struct tenant *t, const char *build)
{
	struct err e = ERR_INIT;
	struct device_row dev;

	if (verity_device(t, build, &dev, NULL) == 0 && pool_delete(&t->pool, &dev, &e) < 0)
		log_warn("a hash tree stays until the next start", KV("build", build), KV("error", e.msg));
}

static int verity_write(struct tenant *t, int data, const struct device_row *from, const struct device_row *tree,
        struct digest *root, struct err *e)
{
	int rc = device_up(&t->pool, tree, false, e);
	AUTO_CLOSE int fd = rc < 0 ? rc : device_open(&t->pool, tree, O_RDWR, e);

	if (fd < 0)
		return fd;
	rc = verity_make(data, from->size_bytes, fd, root, e);
	cleanup_close(&fd);
	return rc < 0 ? rc : device_down(&t->pool, tree, e);
}

/* Over the volume that is about to be sealed. */
static int volume_verity(struct volume *v, struct digest *root, struct err *e)
{
	struct tenant *t = v->tenant;
	struct device_row tree;
	AUTO_CLOSE int data = device_open(&t->pool, &v->dev, O_RDONLY, e);
	int rc = data < 0
	                 ? data
	                 : pool_create(&t->pool, "verity", v->dev.name, verity_size(v->dev.size_bytes), NULL, &tree, e);

	if (rc < 0)
		return rc;
	rc = verity_write(t, data, &v->dev, &tree, root, e);
	tree.is_ready = true;
	if (rc == 0)
		rc = volumes_db_device_update(t->pool.db, &tree, e);
	if (rc < 0)
		verity_remove(t, v->dev.name);
	return rc;
}

/* What is shared is the same data, so it has the same tree. */
static int verity_share(struct tenant *t, const char *from, const char *build, struct err *e)
{
	struct device_row origin, tree;
	int rc = verity_device(t, from, &origin, e);

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	rc = pool_create(&t->pool, "verity", build, origin.size_bytes, &origin, &tree, e);
	tree.is_ready = true;
	return rc < 0 ? rc : volumes_db_device_update(t->pool.db, &tree, e);
}

/* --- products ---------------------------------------------------------------------------------------------------- */

/* DEV, not active, is named as the rootfs already: up, then the row that makes it one. */
static int rootfs_publish(struct tenant *t, const struct device_row *dev, const struct digest *product_key,
        const struct digest *verity_root, struct rootfs_info *info, struct err *e)
{
	struct rootfs_row row = {.product_key = *product_key, .verity_root = *verity_root};
	int rc = device_up(&t->pool, dev, true, e);

	if (rc < 0)
		return rc;
	info_path(t, dev, info);
	row.info = *info;
	snprintf(row.tenant, sizeof(row.tenant), "%s", t->id);
	snprintf(row.build, sizeof(row.build), "%s", dev->name);
	return volumes_db_rootfs_put(t->pool.db, &row, e);
}

/* The flush goes down to the medium, through both pools, which commit their metadata with it. */
static int volume_flush(struct volume *v, struct err *e)
{
	AUTO_CLOSE int fd = device_open(&v->tenant->pool, &v->dev, O_RDWR, e);

	if (fd < 0)
		return fd;
	return fsync(fd) < 0 ? image_error(e, -errno, "flush the rootfs") : 0;
}

static int volume_seal(struct volume *v, const struct digest *product_key, const char *metadata, size_t metadata_len,
        struct rootfs_info *info, struct err *e)
{
	struct tenant *t = v->tenant;
	struct device_row sealed = v->dev;
	struct digest verity_root = {0};
	int rc = metadata_write(t, v->dev.name, metadata, metadata_len, e);

	if (rc == 0)
		rc = volume_flush(v, e);
	if (rc == 0 && v->store->has_verity)
		rc = volume_verity(v, &verity_root, e);
	if (rc == 0)
		rc = device_down(&t->pool, &v->dev, e);
	if (rc < 0)
		return rc;
	snprintf(sealed.kind, sizeof(sealed.kind), "rootfs");
	sealed.is_ready = true;
	rc = volumes_db_device_update(t->pool.db, &sealed, e);
	if (rc < 0)
		return rc;
	v->dev = sealed;
	return rootfs_publish(t, &sealed, product_key, &verity_root, info, e);
}

int thin_seal(struct volume *v, const struct digest *product_key, const char *metadata, size_t metadata_len,
        struct rootfs_info *info, struct err *e)
{
	int rc = volume_seal(v, product_key, metadata, metadata_len, info, e);

	if (rc < 0) {
		unlinkat(v->tenant->cache_fd, metadata_name(v->dev.name).text, 0);
		verity_remove(v->tenant, v->dev.name);
		thin_discard(v);
		return rc;
	}
	thin_volume_free(v);
	return 0;
}

static int rootfs_device(struct tenant *t, const char *build, struct device_row *out, struct err *e)
{
	return volumes_db_device_get(t->pool.db, t->pool.row.id, "rootfs", build, out, e);
}

/* The product may be in use: it is suspended for the one message between. */
static int product_snapshot(
        struct tenant *t, const struct device_row *from, const char *build, struct device_row *out, struct err *e)
{
	struct thin_name name = device_name(&t->pool, from);
	struct dm_state state;
	int rc = dm_state_get(name.text, &state, e);

	if (rc == 0 && state.exists)
		rc = dm_suspend(name.text, e);
	if (rc < 0)
		return rc;
	rc = pool_create(&t->pool, "rootfs", build, from->size_bytes, from, out, e);
	if (state.exists) {
		int resumed = dm_resume(name.text, rc < 0 ? NULL : e);
		rc = rc < 0 ? rc : resumed;
	}
	return rc;
}

/* Under the tenant's lock: the product is not deleted meanwhile. */
static int share_locked(struct tenant *t, const char *build, const struct digest *product_key, struct rootfs_info *info,
        char **metadata, size_t *metadata_len, struct err *e)
{
	struct device_row from, dev;
	struct rootfs_row row;
	int rc = volumes_db_rootfs_find(t->pool.db, t->id, product_key, &row, e);

	if (rc == 0)
		rc = rootfs_device(t, row.build, &from, e);
	if (rc == 0 && from.damage[0])
		rc = -ENOENT;
	if (rc == 0)
		rc = thin_metadata_read(t, row.build, metadata, metadata_len, e);
	if (rc == 0)
		rc = metadata_write(t, build, *metadata, *metadata_len, e);
	if (rc == 0)
		rc = product_snapshot(t, &from, build, &dev, e);
	if (rc < 0)
		return rc;
	*info = row.info;
	dev.is_ready = true;
	rc = volumes_db_device_update(t->pool.db, &dev, e);
	if (rc == 0)
		rc = verity_share(t, row.build, build, e);
	if (rc == 0)
		rc = rootfs_publish(t, &dev, product_key, &row.verity_root, info, e);
	if (rc < 0) {
		verity_remove(t, build);
		pool_delete(&t->pool, &dev, NULL);
	}
	return rc;
}

int thin_share(struct store *s, const char *tenant, const char *build, const struct digest *product_key,
        struct rootfs_info *info, char **metadata, size_t *metadata_len, struct err *e)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	AUTO_FREE char *text = NULL;
	int rc = tenant_get(s, tenant, false, &t, e);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&t->lock);
	rc = share_locked(t, build, product_key, info, &text, metadata_len, e);
	pthread_mutex_unlock(&t->lock);
	if (rc == 0)
		*metadata = STEAL(&text);
	return rc;
}

static int rootfs_find(struct store *s, const char *tenant, const char *build, struct tenant **t,
        struct rootfs_row *row, struct device_row *dev, struct err *e)
{
	int rc = tenant_get(s, tenant, false, t, e);

	if (rc == 0)
		rc = volumes_db_rootfs_get(s->db, tenant, build, row, e);
	if (rc == 0)
		rc = rootfs_device(*t, build, dev, e);
	if (rc == -ENOENT)
		return err_kind_set(e, -ENOENT, ERR_KIND_NOT_FOUND, "build %s has no rootfs", build);
	return rc;
}

int thin_rootfs_open(struct store *s, const char *tenant, const char *build, struct rootfs_info *info, struct err *e)
{
	struct device_row dev;
	struct rootfs_row row;
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	int rc = rootfs_find(s, tenant, build, &t, &row, &dev, e);

	if (rc < 0)
		return rc;
	*info = row.info;
	info_path(t, &dev, info);
	if (dev.damage[0])
		return err_kind_set(
		        e, -EUCLEAN, ERR_KIND_INTERNAL, "the rootfs of build %s is not usable: %s", build, dev.damage);
	rc = device_up(&t->pool, &dev, true, e); /* down again when the tenant is closed */
	return rc < 0 ? rc : device_open(&t->pool, &dev, O_RDONLY, e);
}

/* What nothing else shares. Where that cannot be read, what the build wrote. */
static uint64_t own_bytes(struct tenant *t, const struct device_row *dev)
{
	AUTO_FREE struct meta_device *devices = NULL;
	const struct meta_device *found = NULL;
	size_t n = 0;

	if (meta_devices(&t->pool, &devices, &n, NULL) == 0)
		found = meta_device_find(devices, n, dev->id);
	return found ? found->exclusive : dev->own_bytes;
}

static int delete_locked(
        struct tenant *t, const char *build, const struct device_row *dev, uint64_t *freed, struct err *e)
{
	struct dm_state state = {0};
	int rc = lease_refuse_deletion(t->pool.db, t->id, build, e);

	if (rc == 0)
		rc = dm_state_get(device_name(&t->pool, dev).text, &state, e);
	if (rc == 0 && state.opens)
		return err_set(e, -EBUSY, "the rootfs of build %s is in use: %u times open", build, state.opens);
	uint64_t own = own_bytes(t, dev);
	if (rc == 0)
		rc = volumes_db_rootfs_delete(t->pool.db, t->id, build, e);
	if (rc < 0)
		return rc;
	unlinkat(t->cache_fd, metadata_name(build).text, 0);
	verity_remove(t, build);
	rc = pool_delete(&t->pool, dev, e);
	*freed = rc < 0 ? 0 : own;
	return rc;
}

int thin_rootfs_delete(struct store *s, const char *tenant, const char *build, uint64_t *freed, struct err *e)
{
	struct device_row dev;
	struct rootfs_row row;
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	int rc = rootfs_find(s, tenant, build, &t, &row, &dev, e);

	*freed = 0;
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&t->lock);
	rc = delete_locked(t, build, &dev, freed, e);
	pthread_mutex_unlock(&t->lock);
	return rc;
}
