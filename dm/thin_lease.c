/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: leases. READ_ONLY is the sealed device itself. COW is a snapshot of it, `vm-<lease>`: one message
 * to the pool and nothing copied; its blocks are the rootfs's until the VM writes them.
 *
 *   acquire    clone (pool_clone: intent, message, row) → device up → lease row → names in the jail
 *   release    names out of the jail → lease row gone → clone deleted, when nobody has it open any more
 *
 * A clone without a lease row is a leftover (thin_open.c). A lease row without names in its jail is what a crash, or a
 * reboot that changed the device's number, leaves: the names are made again when the tenant is opened, and by the same
 * request. All of it happens under the tenant's lock.
 */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "busy.h"
#include "image.h"
#include "jail.h"
#include "lease.h"

/* The device that LEASE speaks for. */
static int lease_device(struct tenant *t, const struct lease_row *row, struct device_row *out, struct err *e)
{
	bool is_clone = row->mode == LEASE_COW;
	int rc = volumes_db_device_get(
	        t->pool.db, t->pool.row.id, is_clone ? "vm" : "rootfs", is_clone ? row->id : row->build, out, e);

	if (rc == -ENOENT)
		return err_kind_set(e, -ENODEV, ERR_KIND_INTERNAL, "%s has lost its device: release it", row->id);
	return rc;
}

/* What can be read of the device that is up; no call to device-mapper. */
static int lease_look(struct tenant *t, const struct device_row *dev, struct lease *out, struct err *e)
{
	struct stat st;

	snprintf(out->path, sizeof(out->path), DM_DIR "%s", device_name(&t->pool, dev).text);
	AUTO_CLOSE int fd = open(out->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "open the leased device %s", out->path);
	out->dev = st.st_rdev;
	out->size_bytes = dev->size_bytes;
	return image_uuid(fd, out->fs_uuid, e);
}

/* The hash tree is good for the sealed device only: a clone is there to be written. */
static void lease_add_rootfs(struct tenant *t, const struct rootfs_row *rootfs, struct lease *out)
{
	struct device_row tree;

	out->checksum = rootfs->info.checksum;
	if (out->what.mode != LEASE_READ_ONLY || !digest_is_valid(&rootfs->verity_root) ||
	        volumes_db_device_get(t->pool.db, t->pool.row.id, "verity", rootfs->build, &tree, NULL) < 0)
		return;
	out->verity_root = rootfs->verity_root;
	snprintf(out->verity_path, sizeof(out->verity_path), DM_DIR "%s", device_name(&t->pool, &tree).text);
}

/* Up, with its hash tree if it has one and that is of use. */
static int lease_device_up(struct tenant *t, const struct lease_row *row, const struct device_row *dev, struct err *e)
{
	struct device_row tree;
	bool is_sealed = row->mode == LEASE_READ_ONLY;
	int rc = device_up(&t->pool, dev, is_sealed, e);

	if (rc == 0 && is_sealed)
		rc = thin_verity_up(t, row->build, &tree, e);
	return rc < 0 ? rc : 0;
}

static struct jail_root jail_root_of(const struct lease *l)
{
	return (struct jail_root){.dev = l->dev, .fd = -1, .is_read_only = l->what.mode == LEASE_READ_ONLY};
}

static int clone_up(struct tenant *t, struct lease_row *row, struct device_row *dev, struct err *e)
{
	struct device_row origin;
	int rc = volumes_db_device_get(t->pool.db, t->pool.row.id, "rootfs", row->build, &origin, e);

	if (rc == 0)
		rc = pool_clone(&t->pool, "vm", row->id, &origin, dev, e);
	if (rc < 0)
		return rc;
	row->device = dev->id;
	rc = device_up(&t->pool, dev, false, e);
	if (rc < 0)
		pool_delete(&t->pool, dev, NULL);
	return rc;
}

static int lease_make(struct tenant *t, const struct lease_request *q, struct lease_row *row, struct err *e)
{
	struct device_row dev;
	int rc = lease_row_make(q, row, e);

	if (rc == 0)
		rc = q->mode == LEASE_COW ? clone_up(t, row, &dev, e) : 0;
	if (rc < 0)
		return rc;
	rc = volumes_db_lease_put(t->pool.db, row, e);
	if (rc < 0 && q->mode == LEASE_COW)
		pool_delete(&t->pool, &dev, NULL);
	return rc;
}

/* Only what nobody has seen yet. */
static void lease_undo(struct tenant *t, const struct lease_row *row)
{
	struct device_row dev;

	if (volumes_db_lease_delete(t->pool.db, row->id, NULL) == 0 && row->mode == LEASE_COW &&
	        lease_device(t, row, &dev, NULL) == 0)
		pool_delete(&t->pool, &dev, NULL);
}

static int lease_show(struct store *s, struct tenant *t, const struct lease_row *row, const struct rootfs_row *rootfs,
        const char *metadata, size_t len, bool is_new, struct lease *out, struct err *e)
{
	struct device_row dev;
	int rc = lease_device(t, row, &dev, e);

	lease_from_row(row, out);
	if (rc == 0 && row->mode == LEASE_READ_ONLY)
		rc = lease_device_up(t, row, &dev, e);
	if (rc == 0)
		rc = lease_look(t, &dev, out, e);
	if (rc < 0)
		return rc;
	lease_add_rootfs(t, rootfs, out);
	if (!row->jail[0])
		return 0;
	const struct jail_root root = jail_root_of(out);
	return jail_place(s->jail_fd, row->jail, &root, metadata, len, !is_new, e);
}

static int acquire_locked(struct store *s, struct tenant *t, const struct lease_request *q, struct lease *out,
        char **metadata, size_t *len, struct err *e)
{
	struct rootfs_row rootfs;
	struct lease_row row;
	int rc = volumes_db_rootfs_get(s->db, t->id, q->build, &rootfs, e);

	if (rc == 0)
		rc = thin_metadata_read(t, q->build, metadata, len, e);
	if (rc < 0)
		return rc;
	rc = lease_row_find(s->db, q, &row, e);
	bool is_new = rc == -ENOENT;
	if (is_new)
		rc = lease_make(t, q, &row, e);
	if (rc < 0)
		return rc;
	rc = lease_show(s, t, &row, &rootfs, *metadata, *len, is_new, out, e);
	if (rc < 0 && is_new)
		lease_undo(t, &row);
	return rc;
}

int thin_lease_acquire(
        struct store *s, const struct lease_request *q, struct lease *out, char **metadata, size_t *len, struct err *e)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	AUTO_FREE char *text = NULL;
	int rc = tenant_get(s, q->tenant, false, &t, e);

	*metadata = NULL;
	if (rc == 0) {
		pthread_mutex_lock(&t->lock);
		rc = acquire_locked(s, t, q, out, &text, len, e);
		pthread_mutex_unlock(&t->lock);
	}
	if (rc == -ENOENT && !e->code)
		return err_kind_set(e, -ENOENT, ERR_KIND_NOT_FOUND, "build %s has no rootfs", q->build);
	if (rc == 0)
		*metadata = STEAL(&text);
	return rc;
}

/* --- release ----------------------------------------------------------------------------------------------------- */

/* A sealed device that others have read-only, too, may be open for them. */
static int busy_check(struct tenant *t, const struct lease_row *row, const struct device_row *dev, struct err *e)
{
	struct thin_name name = device_name(&t->pool, dev);
	struct dm_state state;
	struct stat st = {.st_mode = S_IFBLK};
	char who[200];
	int others = row->mode == LEASE_READ_ONLY ? lease_others_read_only(t->pool.db, row, e) : 0;
	int rc = others < 0 ? others : dm_state_get(name.text, &state, e);

	if (rc < 0 || others || !state.exists || !state.opens)
		return rc;
	st.st_rdev = state.dev;
	return err_set(e, -EBUSY, "%s is in use: its device %s is open in %s", row->id, name.text,
	        busy_names(&st, who, sizeof(who)) ? who : "a process that cannot be seen");
}

static void names_clear(struct store *s, struct tenant *t, const struct lease_row *row, const struct device_row *dev)
{
	struct lease l;
	struct err e = ERR_INIT;

	lease_from_row(row, &l);
	int rc = lease_look(t, dev, &l, &e);
	const struct jail_root root = jail_root_of(&l);
	if (rc == 0)
		rc = jail_clear(s->jail_fd, row->jail, &root, &e);
	if (rc < 0)
		log_warn("a jail may keep the names of a rootfs", KV("lease", row->id), KV("jail", row->jail),
		        KV("error", e.msg));
}

/* Under the tenant's lock. *DEV is to be deleted behind it, if its id is not 0. */
static int release_locked(struct store *s, struct tenant *t, const char *id, struct device_row *clone, struct err *e)
{
	struct device_row dev;
	struct lease_row row;
	int rc = lease_row_get(s->db, id, &row, e);
	bool has_device =
	        rc == 0 && lease_device(t, &row, &dev, NULL) == 0; /* or it is lost, and released all the same */

	if (rc == 0 && has_device)
		rc = busy_check(t, &row, &dev, e);
	if (rc < 0)
		return rc;
	if (row.jail[0] && has_device)
		names_clear(s, t, &row, &dev);
	rc = volumes_db_lease_delete(s->db, id, e);
	if (rc == 0 && row.mode == LEASE_COW && has_device)
		*clone = dev;
	return rc;
}

int thin_lease_release(struct store *s, const char *id, struct err *e)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	struct device_row clone = {0};
	struct lease_row row;
	struct err why = ERR_INIT;
	int rc = lease_row_get(s->db, id, &row, e);

	if (rc == 0)
		rc = tenant_get(s, row.tenant, false, &t, e);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&t->lock);
	rc = release_locked(s, t, id, &clone, e);
	pthread_mutex_unlock(&t->lock);
	if (rc == 0 && clone.id && pool_delete(&t->pool, &clone, &why) < 0)
		log_warn("a released clone stays until the next start", KV("lease", id), KV("error", why.msg));
	return rc;
}

/* --- list, start ------------------------------------------------------------------------------------------------- */

/* Of a tenant whose storage is not open nothing more is said: the list opens none. */
static void list_fill(void *arg, const struct lease_row *row, struct lease *out)
{
	struct store *s = arg;
	struct tenant *t = tenant_find(s, row->tenant);
	struct rootfs_row rootfs;
	struct device_row dev;

	pthread_mutex_lock(&t->lock);
	if (t->is_open && lease_device(t, row, &dev, NULL) == 0 && lease_look(t, &dev, out, NULL) == 0 &&
	        volumes_db_rootfs_get(s->db, row->tenant, row->build, &rootfs, NULL) == 0)
		lease_add_rootfs(t, &rootfs, out);
	pthread_mutex_unlock(&t->lock);
}

int thin_lease_list(struct store *s, const char *tenant, const char *build, const char *after, struct lease *out,
        size_t max, struct err *e)
{
	return lease_page(s->db, tenant, build, after, out, max, list_fill, s, e);
}

/* Up, and its node where it was: the number may be another one since the last boot. */
static int lease_up(struct store *s, struct tenant *t, const struct lease_row *row, struct err *e)
{
	struct device_row dev;
	struct lease l;
	int rc = lease_device(t, row, &dev, e);

	lease_from_row(row, &l);
	if (rc == 0)
		rc = lease_device_up(t, row, &dev, e);
	if (rc == 0 && row->jail[0]) {
		rc = lease_look(t, &dev, &l, e);
		const struct jail_root root = jail_root_of(&l);
		if (rc == 0)
			rc = jail_place(s->jail_fd, row->jail, &root, NULL, 0, true, e);
	}
	return rc;
}

void thin_leases_up(struct store *s, struct tenant *t, const struct lease_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct err e = ERR_INIT;
		if (lease_up(s, t, &rows[i], &e) < 0)
			log_error("a leased rootfs is not there", KV("lease", rows[i].id), KV("tenant", t->id),
			        KV("holder", rows[i].holder), KV("error", e.msg));
	}
}
