/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `dm` backend: volumes while builds write them, and the chains they leave. Every copy here is a snapshot. */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "image.h"
#include "mount.h"

/* Not in the kernel's exported headers: fs/ext4/ext4.h, Documentation/admin-guide/ext4.rst "Ioctls". */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)
#define BLOCK_SIZE 4096
#define REAP_PATIENCE_MS 30000
#define GOLDEN_MIN ((uint64_t)256 << 20)

static struct pool *pool_of(const struct volume *v)
{
	return &v->tenant->pool;
}

/* --- chains ------------------------------------------------------------------------------------------------------ */

static int chain_device(struct tenant *t, const struct digest *chain, struct device_row *out, struct err *e)
{
	char hex[DIGEST_TEXT_MAX];

	return volumes_db_device_get(t->pool.db, t->pool.row.id, "chain", digest_hex(chain, hex), out, e);
}

int thin_chain_find(
        struct store *s, const char *tenant, const struct digest *chain, struct chain_info *out, struct err *e)
{
	struct chain_row row;
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	int rc = tenant_get(s, tenant, false, &t, e);

	if (rc == 0)
		rc = volumes_db_chain_get(s->db, tenant, chain, &row, e);
	if (rc < 0)
		return rc;
	*out = row.info;
	return volumes_db_chain_touch(s->db, tenant, chain, time_wall_ms(), e);
}

int thin_chain_delete(struct store *s, struct tenant *t, const struct digest *chain, struct err *e)
{
	struct device_row dev;
	int rc = volumes_db_chain_delete(s->db, t->id, chain, e);

	if (rc == 0)
		rc = chain_device(t, chain, &dev, e);
	if (rc == -ENOENT)
		return 0;
	return rc < 0 ? rc : pool_delete(&t->pool, &dev, e);
}

/* Under the tenant's lock, the volume not active. */
static int chain_make(struct volume *v, const struct digest *chain, const struct chain_info *info, struct err *e)
{
	struct chain_row row = {.chain = *chain, .info = *info, .last_use_ms = time_wall_ms(), .is_durable = true};
	struct device_row dev;
	char hex[DIGEST_TEXT_MAX];
	int rc = pool_create(pool_of(v), "chain", digest_hex(chain, hex), v->dev.size_bytes, &v->dev, &dev, e);

	if (rc < 0)
		return rc;
	dev.is_ready = true;
	dev.own_bytes = info->used_bytes > v->chain_bytes ? info->used_bytes - v->chain_bytes : 0;
	snprintf(row.tenant, sizeof(row.tenant), "%s", v->tenant->id);
	row.info.size_bytes = v->dev.size_bytes;
	rc = volumes_db_device_update(v->store->db, &dev, e);
	if (rc == 0)
		rc = volumes_db_chain_put(v->store->db, &row, e);
	if (rc < 0)
		pool_delete(pool_of(v), &dev, NULL);
	return rc;
}

/* The pool commits before it answers, data first: the chain is durable. */
int thin_snapshot(struct volume *v, const struct digest *chain_id, const struct chain_info *info, struct err *e)
{
	struct chain_row there;
	int rc = device_down(pool_of(v), &v->dev, e);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&v->tenant->lock);
	rc = volumes_db_chain_get(v->store->db, v->tenant->id, chain_id, &there, e);
	if (rc == -ENOENT)
		rc = chain_make(v, chain_id, info, e);
	pthread_mutex_unlock(&v->tenant->lock);
	if (rc == 0)
		v->chain_bytes = info->used_bytes;
	return rc < 0 ? rc : device_up(pool_of(v), &v->dev, false, e);
}

/* --- create ------------------------------------------------------------------------------------------------------ */

/* Few sizes, so that few golden file systems are made: four in each power of two. */
static uint64_t golden_size(uint64_t size_bytes, uint64_t inodes)
{
	uint64_t want = inodes * IMAGE_BYTES_PER_INODE > size_bytes ? inodes * IMAGE_BYTES_PER_INODE : size_bytes;
	uint64_t step = GOLDEN_MIN / 4;

	while (want > 8 * step)
		step *= 2;
	want = want < GOLDEN_MIN ? GOLDEN_MIN : (want + step - 1) / step * step;
	return image_size(want, 0);
}

static int golden_make(struct tenant *t, const char *name, uint64_t size, struct device_row *out, struct err *e)
{
	int rc = pool_create(&t->pool, "golden", name, size, NULL, out, e);

	if (rc == 0)
		rc = device_up(&t->pool, out, false, e);
	if (rc < 0)
		return rc;
	int fd = device_open(&t->pool, out, O_RDWR, e);
	rc = fd < 0 ? fd : image_format(fd, size, 0, false, e);
	if (rc == 0 && fsync(fd) < 0)
		rc = err_sys(e, -errno, "sync an empty file system");
	cleanup_close(&fd);
	if (rc == 0)
		rc = device_down(&t->pool, out, e);
	if (rc == 0) {
		out->is_ready = true;
		rc = volumes_db_device_update(t->pool.db, out, e);
	}
	if (rc < 0)
		pool_delete(&t->pool, out, NULL);
	return rc;
}

/* Under the tenant's lock. */
static int golden_get(struct tenant *t, uint64_t size, struct device_row *out, struct err *e)
{
	char name[24];

	snprintf(name, sizeof(name), "%" PRIu64, size >> 20);
	int rc = volumes_db_device_get(t->pool.db, t->pool.row.id, "golden", name, out, e);
	return rc == -ENOENT ? golden_make(t, name, size, out, e) : rc;
}

/* Under the tenant's lock: nobody deletes the origin meanwhile. */
static int origin_find(struct volume *v, const struct digest *parent, uint64_t size_bytes, uint64_t inodes,
        struct device_row *out, struct err *e)
{
	struct chain_row chain;

	if (!parent)
		return golden_get(v->tenant, golden_size(size_bytes, inodes), out, e);
	int rc = volumes_db_chain_get(v->store->db, v->tenant->id, parent, &chain, e);
	if (rc < 0)
		return rc;
	v->chain_bytes = chain.info.used_bytes;
	return chain_device(v->tenant, parent, out, e);
}

static int device_make(struct volume *v, const char *build, const struct digest *parent, uint64_t size_bytes,
        uint64_t inodes, struct err *e)
{
	struct tenant *t = v->tenant;
	struct device_row origin;
	int rc = volumes_db_device_get(t->pool.db, t->pool.row.id, "build", build, &v->dev, e);

	if (rc == 0)
		return err_set(e, -EEXIST, "build %s has a volume already", build);
	if (rc == -ENOENT)
		rc = origin_find(v, parent, size_bytes, inodes, &origin, e);
	return rc < 0 ? rc : pool_create(&t->pool, "build", build, origin.size_bytes, &origin, &v->dev, e);
}

static int volume_resize(struct volume *v, uint64_t size, struct err *e)
{
	struct device_row bigger = v->dev;
	char params[128];
	const struct dm_table t = {.type = "thin", .size_bytes = size, .params = params};

	bigger.size_bytes = size;
	snprintf(params, sizeof(params), DM_DIR "%s %u", thin_name(&pool_of(v)->row, "pool", 0).text, v->dev.id);
	int rc = dm_reload(device_name(pool_of(v), &v->dev).text, &t, e);
	if (rc == 0)
		rc = volumes_db_device_update(v->store->db, &bigger, e);
	if (rc == 0)
		v->dev = bigger;
	return rc;
}

static int grow_unmounted(struct volume *v, uint64_t size, struct err *e)
{
	int rc = volume_resize(v, size, e);
	AUTO_CLOSE int fd = rc < 0 ? rc : device_open(pool_of(v), &v->dev, O_RDWR, e);

	return fd < 0 ? fd : image_fill_device(fd, e);
}

/* A chain's volume may be smaller than what is asked for. */
static int size_fit(struct volume *v, uint64_t size_bytes, uint64_t inodes, struct err *e)
{
	uint64_t have, unused, size = v->dev.size_bytes;
	AUTO_CLOSE int fd = device_open(pool_of(v), &v->dev, O_RDONLY, e);
	int rc = fd < 0 ? fd : image_inodes(fd, &have, &unused, e);

	if (rc < 0)
		return rc;
	cleanup_close(&fd);
	if (size_bytes > size)
		size = golden_size(size_bytes, 0);
	if (have && inodes > have) { /* inodes come with block groups: as many more bytes, in proportion */
		uint64_t grown = image_size((uint64_t)((double)v->dev.size_bytes * ((double)inodes / (double)have)), 0);
		size = grown > size ? grown : size;
	}
	return size > v->dev.size_bytes ? grow_unmounted(v, size, e) : 0;
}

static int room_check_now(struct store *s, struct tenant *t, struct err *e)
{
	int rc = pool_room_check(&s->outer, "the host's pool", e);

	return rc < 0 ? rc : pool_room_check(&t->pool, "the tenant's storage", e);
}

/* What was deleted may still take space. */
static int room_check(struct store *s, struct tenant *t, struct err *e)
{
	struct err first = ERR_INIT;
	int rc = room_check_now(s, t, &first);

	if (rc != -ENOSPC) {
		*(e ? e : &first) = first;
		return rc;
	}
	reaper_wait(s, REAP_PATIENCE_MS);
	return room_check_now(s, t, e);
}

int thin_create(struct store *s, const char *tenant, const char *build, const struct digest *parent,
        uint64_t size_bytes, uint64_t inodes, struct volume **out, struct err *e)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	int rc = tenant_get(s, tenant, !parent, &t, e);

	if (rc == 0)
		rc = room_check(s, t, e);
	if (rc < 0)
		return rc;
	struct volume *v = xcalloc(1, sizeof(*v));
	*v = (struct volume){.store = s, .tenant = t, .root_fd = -1};
	pthread_mutex_lock(&t->lock);
	rc = device_make(v, build, parent, size_bytes, inodes, e);
	pthread_mutex_unlock(&t->lock);
	if (rc < 0) {
		free(v);
		return rc;
	}
	t = NULL; /* the volume's now */
	rc = device_up(pool_of(v), &v->dev, false, e);
	if (rc == 0)
		rc = size_fit(v, size_bytes, inodes, e);
	if (rc < 0) {
		thin_discard(v);
		return rc;
	}
	*out = v;
	return 0;
}

/* --- mounted ----------------------------------------------------------------------------------------------------- */

int thin_mount(struct volume *v, struct err *e)
{
	char path[128];

	snprintf(path, sizeof(path), DM_DIR "%s", device_name(pool_of(v), &v->dev).text);
	v->root_fd = mount_detached(path, e);
	if (v->root_fd < 0)
		return v->root_fd;
	int root = fcntl(v->root_fd, F_DUPFD_CLOEXEC, 3);
	if (root < 0) {
		root = err_sys(e, -errno, "copy a descriptor");
		cleanup_close(&v->root_fd);
	}
	return root;
}

/* What the device could not write: a full pool shows as an I/O error one layer up. */
static int write_error(struct volume *v, int code, struct err *e)
{
	struct err full = ERR_INIT;

	if (code == -ENOSPC || room_check_now(v->store, v->tenant, &full) < 0)
		return err_kind_set(e, -ENOSPC, ERR_KIND_DISK_FULL, "write the volume: the tenant's storage is full");
	return err_sys(e, code, "write the volume %s", v->dev.name);
}

/* The kernel has let go of a mount when its device can be opened by one alone. */
static int unmount_wait(struct volume *v, struct err *e)
{
	int64_t deadline = time_mono_ms() + THIN_TIMEOUT_MS;
	int fd;

	while ((fd = device_open(pool_of(v), &v->dev, O_RDONLY | O_EXCL, e)) == -EBUSY && time_mono_ms() < deadline)
		usleep(2000);
	if (fd < 0)
		return fd;
	close(fd);
	*e = (struct err)ERR_INIT;
	return 0;
}

int thin_unmount(struct volume *v, struct err *e)
{
	struct err busy = ERR_INIT;
	int rc = v->root_fd >= 0 && syncfs(v->root_fd) < 0 ? write_error(v, -errno, e) : 0;

	cleanup_close(&v->root_fd);
	int waited = unmount_wait(v, &busy);
	if (rc == 0 && waited < 0) {
		*e = busy;
		rc = waited;
	}
	return rc;
}

static int grow_mounted(struct volume *v, int root_fd, uint64_t size, struct err *e)
{
	uint64_t blocks = size / BLOCK_SIZE;
	int rc = volume_resize(v, size, e);

	if (rc < 0 || ioctl(root_fd, EXT4_IOC_RESIZE_FS, &blocks) == 0)
		return rc;
	rc = -errno;
	if (rc == -EPERM) /* ext4_resize_begin() */
		return err_set(e, rc, "enlarge a mounted volume: builderd needs CAP_SYS_RESOURCE for it");
	return err_sys(e, rc, "enlarge the volume %s to %" PRIu64 " MiB", v->dev.name, size >> 20);
}

int thin_grow(struct volume *v, int root_fd, uint64_t size_bytes, struct err *e)
{
	uint64_t size = image_size(size_bytes, 0);

	if (size <= v->dev.size_bytes)
		return 0;
	int rc = room_check(v->store, v->tenant, e);
	if (rc < 0)
		return rc;
	return v->root_fd >= 0 ? grow_mounted(v, root_fd, size, e) : grow_unmounted(v, size, e);
}

uint64_t thin_size(const struct volume *v)
{
	return v->dev.size_bytes;
}

/* --- unmounted --------------------------------------------------------------------------------------------------- */

int thin_journal(struct volume *v, struct err *e)
{
	AUTO_CLOSE int fd = device_open(pool_of(v), &v->dev, O_RDWR, e);

	return fd < 0 ? fd : image_journal_add(fd, e);
}

int thin_check(struct volume *v, struct err *e)
{
	AUTO_CLOSE int fd = device_open(pool_of(v), &v->dev, O_RDONLY, e);

	return fd < 0 ? fd : image_check(fd, e);
}

int thin_open_raw(struct volume *v, struct err *e)
{
	return device_open(pool_of(v), &v->dev, O_RDONLY, e);
}

void thin_volume_free(struct volume *v)
{
	cleanup_close(&v->root_fd);
	tenant_put(v->tenant);
	free(v);
}

void thin_discard(struct volume *v)
{
	struct err e = ERR_INIT;

	if (!v)
		return;
	cleanup_close(&v->root_fd);
	if (pool_delete(pool_of(v), &v->dev, &e) < 0)
		log_error(
		        "a discarded volume stays until the next start", KV("build", v->dev.name), KV("error", e.msg));
	thin_volume_free(v);
}
