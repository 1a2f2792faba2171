/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend for administrators: what is in a volume, as a file or as a mount. Only what nobody writes any more
 * can be had: rootfs, chains, empty file systems. Their devices come up read-only, and go down with their tenant's.
 */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "mount.h"
#include "tool.h"

#define CHUNK (1u << 20)
#define HOLE 4096 /* zeros of this size and alignment are left out */

static int sealed_check(const struct device_row *dev, struct err *e)
{
	static const char *const sealed[] = {"rootfs", "chain", "golden"};

	if (dev->damage[0])
		return err_set(e, -EIO, "volume %s is damaged: %s", dev->name, dev->damage);
	for (size_t i = 0; i < ARRAY_LEN(sealed) && dev->is_ready; i++)
		if (!strcmp(dev->kind, sealed[i]))
			return 0;
	return err_set(
	        e, -EBUSY, "volume %s is a %s that may be written to: it is no good to read now", dev->name, dev->kind);
}

/* Under the tenant's lock: nobody deletes it meanwhile. */
static int sealed_up(struct tenant *t, const struct device_row *dev, struct err *e)
{
	struct dm_state state;
	int rc = sealed_check(dev, e);

	pthread_mutex_lock(&t->lock);
	if (rc == 0)
		rc = device_up(&t->pool, dev, true, e);
	if (rc == 0)
		rc = dm_state_get(device_name(&t->pool, dev).text, &state, e);
	pthread_mutex_unlock(&t->lock);
	if (rc == 0 && !state.is_read_only)
		return err_set(e, -EBUSY, "volume %s can be written to", dev->name);
	return rc;
}

/* --- export --------------------------------------------------------------------------------------------------------
 */

struct copy {
	struct admin_call *call;
	const char *id;
	struct jsonw *map; /* NULL: not wanted */
	char *chunk;       /* owns */
	int from, to;      /* from owns */
	uint64_t block_bytes, size_bytes;
	uint64_t read, written, total; /* bytes */
};

static void copy_end(struct copy *c)
{
	free(c->chunk);
	cleanup_close(&c->from);
}

static bool is_zero(const char *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/* N bytes of the chunk, which are at OFFSET: runs of holes are left out. */
static int chunk_write(struct copy *c, uint64_t offset, size_t n, struct err *e)
{
	for (size_t at = 0, end; at < n; at = end) {
		bool is_hole = is_zero(c->chunk + at, n - at < HOLE ? n - at : HOLE);
		for (end = at; end < n; end += HOLE)
			if (is_zero(c->chunk + end, n - end < HOLE ? n - end : HOLE) != is_hole)
				break;
		end = end > n ? n : end;
		if (is_hole)
			continue;
		int rc = fd_pwrite_all(c->to, c->chunk + at, end - at, (off_t)(offset + at));
		if (rc < 0)
			return err_sys(e, rc, "write volume %s to the file", c->id);
		c->written += end - at;
	}
	return 0;
}

static int range_copy(struct copy *c, uint64_t from, uint64_t n, struct err *e)
{
	uint64_t end = from + n < c->size_bytes ? from + n : c->size_bytes;

	for (uint64_t at = from; at < end;) {
		size_t want = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
		ssize_t got = pread(c->from, c->chunk, want, (off_t)at);
		if (got <= 0)
			return err_sys(e, got < 0 ? -errno : -EIO, "read volume %s", c->id);
		int rc = chunk_write(c, at, (size_t)got, e);
		if (rc == 0)
			rc = tool_stop_check(e);
		if (rc < 0)
			return rc;
		at += (uint64_t)got;
		c->read += (uint64_t)got;
		admin_say(c->call, c->read, c->total, "exporting %s", c->id);
	}
	return 0;
}

static int mapping_copy(void *arg, uint32_t device, uint64_t origin, uint64_t data, uint64_t n, struct err *e)
{
	struct copy *c = arg;

	return range_copy(c, origin * c->block_bytes, n * c->block_bytes, e);
}

static int change_copy(void *arg, enum meta_change change, uint64_t origin, uint64_t n, struct err *e)
{
	struct copy *c = arg;
	uint64_t from = origin * c->block_bytes, end = from + n * c->block_bytes;

	if (from >= c->size_bytes)
		return 0;
	jsonw_begin(c->map, NULL, '{');
	jsonw_number(c->map, "offset", from);
	jsonw_number(c->map, "length", (end < c->size_bytes ? end : c->size_bytes) - from);
	jsonw_text(c->map, "content", change == META_GONE ? "zero" : "data");
	jsonw_end(c->map, '}');
	return change == META_GONE ? 0 : range_copy(c, from, n * c->block_bytes, e);
}

static int target_check(int fd, struct err *e)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size || (flags & O_ACCMODE) == O_RDONLY)
		return err_set(e, -EINVAL, "an export goes into an empty file that can be written to");
	return 0;
}

static int ranges_copy(struct copy *c, const struct thin_look *l, uint32_t device, uint32_t parent, struct err *e)
{
	if (!parent)
		return meta_mappings(&l->t->pool, device, mapping_copy, c, e);
	jsonw_begin(c->map, "changes", '[');
	int rc = meta_delta(&l->t->pool, parent, device, change_copy, c, e);
	jsonw_end(c->map, ']');
	return rc;
}

static int parent_find(
        struct store *s, struct admin_call *c, const struct thin_found *child, struct thin_found *out, struct err *e)
{
	const char *id = c->request->parent;

	*out = (struct thin_found){0};
	if (!id[0])
		return 0;
	int rc = thin_volume_find(s, c, id, out, e);
	if (rc == 0 && strcmp(out->tenant, child->tenant) != 0)
		return err_set(e, -EINVAL, "%s and %s are not in one pool", id, child->dev.name);
	return rc < 0 ? rc : sealed_check(&out->dev, e);
}

static int export_found(
        struct admin_call *c, const struct thin_look *l, const struct device_row *dev, uint32_t parent, struct err *e)
{
	AUTO(copy_end) struct copy copy = {.call = c, .id = dev->name, .from = -1, .to = c->fds[0]};
	const struct meta_device *d = meta_device_find(l->devices, l->n_devices, dev->id);
	int rc = sealed_up(l->t, dev, e);

	if (rc < 0)
		return rc;
	copy.from = device_open(&l->t->pool, dev, O_RDONLY, e);
	if (copy.from < 0)
		return copy.from;
	copy.chunk = xcalloc(1, CHUNK);
	copy.block_bytes = l->block_bytes;
	copy.size_bytes = dev->size_bytes;
	copy.total = d && !parent ? d->mapped : 0;
	copy.map = c->json;
	rc = ranges_copy(&copy, l, dev->id, parent, e);
	if (rc == 0 && (ftruncate(copy.to, (off_t)dev->size_bytes) < 0 || fsync(copy.to) < 0))
		rc = err_sys(e, -errno, "finish the file");
	jsonw_number(c->json, "read_bytes", copy.read);
	jsonw_number(c->json, "written_bytes", copy.written);
	return rc;
}

int thin_export(struct store *s, struct admin_call *c, struct err *e)
{
	AUTO(thin_look_end) struct thin_look l = {0};
	struct thin_found found, parent = {0};
	int rc = target_check(c->fds[0], e);

	if (rc == 0)
		rc = thin_volume_find(s, c, c->request->id, &found, e);
	if (rc == 0)
		rc = parent_find(s, c, &found, &parent, e);
	if (rc == 0)
		rc = thin_look_begin(s, found.tenant, &l, e);
	if (rc < 0)
		return rc;
	jsonw_text(c->json, "tenant", found.tenant);
	jsonw_text(c->json, "id", found.dev.name);
	jsonw_number(c->json, "size_bytes", found.dev.size_bytes);
	if (parent.n)
		jsonw_text(c->json, "parent", parent.dev.name);
	return export_found(c, &l, &found.dev, parent.n ? parent.dev.id : 0, e);
}

/* --- mount ---------------------------------------------------------------------------------------------------------
 */

int thin_volume_mount(struct store *s, struct admin_call *c, struct err *e)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	struct thin_found found;
	char path[128];
	int rc = thin_volume_find(s, c, c->request->id, &found, e);

	if (rc == 0)
		rc = tenant_get(s, found.tenant, false, &t, e);
	if (rc == 0)
		rc = sealed_up(t, &found.dev, e);
	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), DM_DIR "%s", device_name(&t->pool, &found.dev).text);
	c->result_fd = mount_look(path, e);
	if (c->result_fd < 0)
		return c->result_fd;
	jsonw_text(c->json, "tenant", found.tenant);
	jsonw_text(c->json, "id", found.dev.name);
	jsonw_text(c->json, "device_name", path);
	return 0;
}

/* ID is a device's name, as the mount table had it: take it down if nobody else uses it. */
static int device_release(struct store *s, struct tenant *t, const char *name, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	size_t n = 0;
	int rc = volumes_db_device_list(s->db, t->pool.row.id, &rows, &n, e);

	for (size_t i = 0; i < n && rc == 0; i++) {
		struct dm_state state = {0};
		if (strcmp(device_name(&t->pool, &rows[i]).text, name) != 0 || tenant_is_leased(s, t->id))
			continue;
		rc = dm_state_get(name, &state, e);
		if (rc == 0 && state.exists && !state.opens)
			rc = thin_deactivate(&t->pool.row, rows[i].kind, rows[i].id, 0, e);
		return rc < 0 ? rc : 1;
	}
	return rc;
}

int thin_volume_umount(struct store *s, struct admin_call *c, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	size_t n = 0;
	int rc = thin_tenants_asked(s, c, &rows, &n, e);

	for (size_t i = 0; i < n && rc == 0; i++) {
		AUTO(tenant_cleanup) struct tenant *t = NULL;
		if (tenant_get(s, rows[i].name, false, &t, NULL) < 0)
			continue;
		pthread_mutex_lock(&t->lock);
		rc = device_release(s, t, c->request->id, e);
		pthread_mutex_unlock(&t->lock);
	}
	jsonw_bool(c->json, "is_down", rc == 1);
	return rc < 0 ? rc : 0;
}
