/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: the end of a tenant. Its thin volume is marked as dying, which is durable and cannot be taken back;
 * then its keys go, then the header, then the volume, then what volumes.db knows. Whatever stops it, the next start
 * goes on. Each step is looked at afterwards: what is handed out is what was seen, not what was meant.
 */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/fs.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "luks.h"

#define CHUNK 65536

/* --- may it be? -------------------------------------------------------------------------------------------------- */

static int leases_check(struct store *s, const struct tenant *t, struct err *e)
{
	AUTO_FREE struct lease_row *rows = NULL;
	char text[200] = "";
	size_t n = 0, at = 0;
	int rc = volumes_db_lease_list(s->db, t->id, "", &rows, &n, e);

	if (rc < 0 || !n)
		return rc;
	for (size_t i = 0; i < n && at < sizeof(text) - 50; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? ", " : "", rows[i].id);
	return err_set(e, -EBUSY, "tenant %s has %zu leases: %s", t->id, n, text);
}

static int builds_check(struct store *s, const struct tenant *t, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	char text[200] = "";
	size_t n = 0, at = 0;
	unsigned users = atomic_load(&t->users);

	if (!users)
		return 0;
	volumes_db_device_list(s->db, t->pool.row.id, &rows, &n, NULL);
	for (size_t i = 0; i < n && at < sizeof(text) - 50; i++)
		if (!strcmp(rows[i].kind, "build"))
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? ", " : ": ", rows[i].name);
	return err_set(e, -EBUSY, "tenant %s is in use by %u builds or requests%s", t->id, users, text);
}

/* --- overwriting ------------------------------------------------------------------------------------------------- */

static int header_overwrite(int fd)
{
	static const char zeros[CHUNK];
	int rc = 0;

	for (uint64_t at = 0; at < LUKS_HEADER_BYTES && rc == 0; at += CHUNK)
		rc = fd_pwrite_all(fd, zeros, CHUNK, (off_t)at);
	return rc == 0 && fsync(fd) < 0 ? -errno : rc;
}

/* From the device, not from what the kernel remembers of it. */
static bool header_is_zero(int fd)
{
	char block[CHUNK];

	if (ioctl(fd, BLKFLSBUF, 0) < 0)
		return false;
	for (uint64_t at = 0; at < LUKS_HEADER_BYTES; at += CHUNK) {
		if (pread(fd, block, CHUNK, (off_t)at) != CHUNK || block[0] || memcmp(block, block + 1, CHUNK - 1))
			return false;
	}
	return true;
}

/* The header takes blocks that are there already, so that it can be overwritten in a full pool, too. */
static int volume_erase(struct store *s, struct tenant *t, struct tenant_destroyed *d, struct err *e)
{
	uint64_t range[2] = {0, t->outer.size_bytes};
	int rc = device_up(&s->outer, &t->outer, false, e);
	AUTO_CLOSE int fd = rc < 0 ? rc : device_open(&s->outer, &t->outer, O_RDWR | O_EXCL, e);

	if (fd < 0)
		return fd;
	rc = header_overwrite(fd);
	if (rc < 0)
		return err_sys(e, rc, "overwrite the LUKS header of tenant %s", t->id);
	d->header_is_zero = header_is_zero(fd);
	if (!s->forbids_discards && ioctl(fd, BLKDISCARD, range) < 0)
		log_warn("a destroyed tenant's blocks go back to the pool only", KV("tenant", t->id));
	return 0;
}

/* KEY: the last one, which has been kept to be tried; zeros if it was gone before. */
static bool opens_nothing(struct store *s, const struct tenant *t, const struct tenant_key *key)
{
	char path[128];

	snprintf(path, sizeof(path), DM_DIR "%s", device_name(&s->outer, &t->outer).text);
	return luks_key_check(path, t->pool.row.uuid, key->bytes, NULL) == -EUCLEAN;
}

/* --- the steps --------------------------------------------------------------------------------------------------- */

static int files_shred(struct store *s, const struct tenant *t, struct tenant_destroyed *d, struct err *e)
{
	int keys = keys_files_shred(s->keys_fd, t->id, e);
	int headers = keys < 0 ? keys : keys_files_shred(s->headers_fd, t->id, e);

	if (headers < 0)
		return headers;
	d->key_files = (unsigned)keys;
	d->header_files = (unsigned)headers;
	keys = keys_files_shred(s->keys_fd, t->id, e);
	headers = keys_files_shred(s->headers_fd, t->id, e);
	d->files_are_gone = keys == 0 && headers == 0;
	return 0;
}

static bool rows_are_gone(struct store *s, const struct tenant *t)
{
	struct device_row dev;
	uint64_t n = 1;

	return volumes_db_tenant_count(s->db, t->id, &n, NULL) == 0 && n == 0 &&
	       volumes_db_device_get(s->db, s->outer.row.id, "tenant", t->id, &dev, NULL) == -ENOENT &&
	       volumes_db_device_get(s->db, s->outer.row.id, TENANT_DYING, t->id, &dev, NULL) == -ENOENT;
}

static bool device_is_gone(struct store *s, const struct tenant *t)
{
	struct dm_state state = {.exists = true};

	/* A thin id that the pool does not have cannot be brought up. */
	if (device_up(&s->outer, &t->outer, true, NULL) == 0) {
		device_down(&s->outer, &t->outer, NULL);
		return false;
	}
	return dm_state_get(device_name(&s->outer, &t->outer).text, &state, NULL) == 0 && !state.exists;
}

static int dying_finish(struct store *s, struct tenant *t, struct tenant_destroyed *d, struct err *e)
{
	AUTO(tenant_key_cleanup) struct tenant_key key = {0};
	struct pool_usage before = {0}, after = {0};
	int rc = volumes_db_pool_get(s->db, t->id, &t->pool.row, e);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == 0)
		keys_tenant_read(s->keys_fd, t->id, t->pool.row.key_generation, &s->master, &key, NULL);
	pool_usage_get(&s->outer, &before, NULL);
	rc = files_shred(s, t, d, e);
	if (rc == 0)
		rc = volume_erase(s, t, d, e);
	if (rc == 0) {
		d->key_opens_nothing = opens_nothing(s, t, &key);
		rc = device_down(&s->outer, &t->outer, e);
	}
	if (rc == 0)
		rc = volumes_db_tenant_forget(s->db, t->id, e);
	if (rc == 0)
		rc = pool_delete_now(&s->outer, &t->outer, e);
	if (rc < 0)
		return rc;
	d->device_is_gone = device_is_gone(s, t);
	d->rows_are_gone = rows_are_gone(s, t);
	if (pool_usage_get(&s->outer, &after, NULL) == 0 && after.data_used < before.data_used)
		d->freed_bytes = before.data_used - after.data_used;
	return 0;
}

/* Under t->lock. 1: there was one, and it is destroyed. */
int tenant_dying_finish(struct store *s, struct tenant *t, struct tenant_destroyed *d, struct err *e)
{
	struct tenant_destroyed mine = {0};
	struct device_row row;
	int rc = volumes_db_device_get(s->db, s->outer.row.id, TENANT_DYING, t->id, &row, e);

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	t->outer = row;
	if (!d)
		d = &mine;
	rc = dying_finish(s, t, d, e);
	if (rc < 0)
		return err_wrap(e, "destroy tenant %s", t->id);
	log_info("a tenant was destroyed", KV("tenant", t->id), KV_U("key_files", d->key_files),
	        KV_U("header_backups", d->header_files), KV_U("freed", d->freed_bytes));
	return 1;
}

static int dying_mark(struct store *s, struct tenant *t, struct err *e)
{
	int rc = volumes_db_device_get(s->db, s->outer.row.id, "tenant", t->id, &t->outer, e);

	if (rc == -ENOENT)
		return err_kind_set(e, rc, ERR_KIND_NOT_FOUND, "there is no tenant %s", t->id);
	if (rc == 0)
		rc = leases_check(s, t, e);
	if (rc == 0)
		rc = builds_check(s, t, e);
	if (rc == 0 && volumes_db_pool_get(s->db, t->id, &t->pool.row, e) == 0)
		t->pool.db = s->db;
	if (rc == 0)
		rc = stack_down(s, t, e);
	if (rc != 0)
		return rc < 0 ? rc : err_set(e, -EBUSY, "tenant %s was leased meanwhile", t->id);
	snprintf(t->outer.kind, sizeof(t->outer.kind), TENANT_DYING);
	return volumes_db_device_update(s->db, &t->outer, e);
}

int tenant_destroy(struct store *s, const char *tenant, struct tenant_destroyed *out, struct err *e)
{
	struct tenant *t = tenant_find(s, tenant);

	*out = (struct tenant_destroyed){0};
	reaper_keep_off(t);
	pthread_mutex_lock(&t->lock);
	int rc = tenant_dying_finish(s, t, out, e); /* it was begun, and not ended */
	if (rc == 0) {
		rc = dying_mark(s, t, e);
		if (rc == 0)
			rc = tenant_dying_finish(s, t, out, e);
	}
	pthread_mutex_unlock(&t->lock);
	reaper_resume(s, t);
	return rc < 0 ? rc : 0;
}
