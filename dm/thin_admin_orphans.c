/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend for administrators: what belongs to nobody. Devices of the kernel against rows, thin ids in pools
 * against rows, rows against thin ids, key files and header backups against tenants, files against what we keep. What
 * looks lost while builds work is looked at again under the pool's lock. Removed is only what has our pool's uuid and
 * no row in a database that agrees with the kernel, and what nobody has open.
 */
#include "thin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"

struct orphans {
	struct store *s;
	struct admin_call *call;
	bool is_remove;
	unsigned found; /* that stay */
};

static void orphan_put(struct orphans *o, const char *what, const char *name, bool is_removed, const char *stays)
{
	o->found += !is_removed;
	admin_put_orphan(o->call->json, what, name, is_removed, stays);
}

/* --- devices of the kernel -----------------------------------------------------------------------------------------
 */

struct known_pool {
	struct pool_row row;
	struct device_row *devices; /* owns */
	size_t n;
};

struct known {
	struct known_pool *pools; /* own */
	size_t n;
};

static void known_free(struct known *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->pools[i].devices);
	free(k->pools);
}

static int known_read(struct store *s, struct known *k, struct err *e)
{
	AUTO_FREE struct pool_row *rows = NULL;
	int rc = volumes_db_pool_list(s->db, &rows, &k->n, e);

	k->pools = xcalloc(k->n + 1, sizeof(*k->pools));
	for (size_t i = 0; i < k->n && rc == 0; i++) {
		k->pools[i].row = rows[i];
		rc = volumes_db_device_list(s->db, rows[i].id, &k->pools[i].devices, &k->pools[i].n, e);
	}
	return rc;
}

static bool has_row(const struct device_row *rows, size_t n, uint32_t id)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].id == id)
			return true;
	return false;
}

/* What has no row of its own: a pool's parts. */
static bool is_part(const char *kind)
{
	static const char *const parts[] = {"meta", "data", "pool", "look", "spare", "repair"};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (!strcmp(kind, parts[i]))
			return true;
	return false;
}

/* NULL: it belongs to somebody. Else why it does not; *IS_OURS: we may take it down. */
static const char *device_judge(const struct known *k, const struct dm_device *d, bool *is_ours)
{
	char uuid[POOL_UUID_MAX], kind[16];
	uint32_t id;

	*is_ours = false;
	if (sscanf(d->uuid, DM_UUID_PREFIX "%32[0-9a-f]-%15[a-z]-%" SCNx32, uuid, kind, &id) != 3)
		return "its uuid is not one of ours";
	for (size_t i = 0; i < k->n; i++) {
		if (strcmp(k->pools[i].row.uuid, uuid) != 0)
			continue;
		*is_ours = true;
		return is_part(kind) || has_row(k->pools[i].devices, k->pools[i].n, id) ? NULL
		                                                                        : "volumes.db does not know it";
	}
	return "it is of a pool that volumes.db does not know, perhaps another builderd's";
}

static int devices_judge(struct orphans *o, struct err *e)
{
	AUTO(known_free) struct known k = {0};
	AUTO_FREE struct dm_device *devices = NULL;
	size_t n = 0;
	int rc = dm_list(&devices, &n, e); /* before the rows: a row is there before its device */

	if (rc == 0)
		rc = known_read(o->s, &k, e);
	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct dm_device *d = &devices[i];
		bool is_ours, is_removed = false;
		const char *why = device_judge(&k, d, &is_ours);
		struct err stays = ERR_INIT;
		if (!why)
			continue;
		if (o->is_remove && is_ours && d->state.opens)
			err_set(&stays, -EBUSY, "it is open %u times", d->state.opens);
		else if (o->is_remove && is_ours)
			is_removed = dm_deactivate(d->name, d->uuid, 0, &stays) == 0;
		orphan_put(o, "device", d->name, is_removed, stays.code ? stays.msg : why);
	}
	return rc;
}

/* --- thin ids and rows ---------------------------------------------------------------------------------------------
 */

/* Under p->lock, where rows and devices are made. */
static int thin_remove(struct pool *p, uint32_t id, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	char text[40];
	size_t n = 0;
	int rc = volumes_db_device_list(p->db, p->row.id, &rows, &n, e);

	if (rc < 0)
		return rc;
	if (has_row(rows, n, id))
		return err_set(e, -EAGAIN, "it has got a row");
	if (p->refusal[0])
		return err_set(e, -EROFS, "its pool is not written to: %s", p->refusal);
	snprintf(text, sizeof(text), "delete %" PRIu32, id);
	return dm_message(thin_name(&p->row, "pool", 0).text, text, e);
}

static int thin_orphan(struct orphans *o, struct pool *p, uint32_t id)
{
	struct err stays = ERR_INIT;
	bool is_removed = false;
	char name[DM_DEVICE_NAME_MAX + 24];

	snprintf(name, sizeof(name), "%s/%" PRIu32, thin_name(&p->row, "pool", 0).text, id);
	if (o->is_remove) {
		pthread_mutex_lock(&p->lock);
		is_removed = thin_remove(p, id, &stays) == 0;
		pthread_mutex_unlock(&p->lock);
	}
	if (stays.code != -EAGAIN)
		orphan_put(o, "thin device", name, is_removed, stays.code ? stays.msg : "volumes.db does not know it");
	return 0;
}

/* Rows whose device the pool does not have. LOCKED: nothing is being made, so what is missing is lost. */
static int rows_judge(struct orphans *o, struct pool *p, bool is_locked, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	AUTO_FREE struct meta_device *devices = NULL;
	size_t n = 0, m = 0;
	int rc = volumes_db_device_list(p->db, p->row.id, &rows, &n, e);

	if (rc == 0)
		rc = meta_devices(p, &devices, &m, e);
	for (size_t i = 0; i < n && rc == 0; i++) {
		char name[DM_DEVICE_NAME_MAX + 24];
		if (meta_device_find(devices, m, rows[i].id))
			continue;
		if (!is_locked)
			return 1;
		snprintf(name, sizeof(name), "%s/%" PRIu32, thin_name(&p->row, "pool", 0).text, rows[i].id);
		orphan_put(o, "row", name, false, "its thin device is lost: fsck --repair marks it");
	}
	return rc;
}

static int pool_judge(struct orphans *o, struct pool *p, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	AUTO_FREE struct meta_device *devices = NULL;
	size_t n = 0, m = 0;
	int rc = meta_devices(p, &devices, &m, e); /* before the rows: a row is there before its device */

	if (rc == 0)
		rc = volumes_db_device_list(p->db, p->row.id, &rows, &n, e);
	for (size_t i = 0; i < m && rc == 0; i++)
		if (!has_row(rows, n, devices[i].id))
			rc = thin_orphan(o, p, devices[i].id);
	if (rc == 0)
		rc = rows_judge(o, p, false, e);
	if (rc != 1)
		return rc;
	pthread_mutex_lock(&p->lock);
	rc = rows_judge(o, p, true, e);
	pthread_mutex_unlock(&p->lock);
	return rc;
}

/* --- files ---------------------------------------------------------------------------------------------------------
 */

/* metadata.json of a build that has no device. */
static int metadata_judge(struct orphans *o, const struct tenant *t, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	int fd = t->cache_fd < 0 ? -1 : openat(t->cache_fd, "metadata", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	size_t n = 0;
	int rc = 0;

	for (struct dirent *entry; d && (entry = readdir(d));) {
		char name[BUILD_ID_MAX + 8];
		bool is_known = entry->d_name[0] == '.', is_removed = false;
		free(STEAL(&rows));
		rc = volumes_db_device_list(t->pool.db, t->pool.row.id, &rows, &n, e); /* after the file was seen */
		if (rc < 0)
			return rc;
		for (size_t i = 0; i < n && !is_known; i++) {
			snprintf(name, sizeof(name), "%.*s.json", BUILD_ID_MAX, rows[i].name);
			is_known = !strcmp(name, entry->d_name);
		}
		if (is_known)
			continue;
		if (o->is_remove)
			is_removed = unlinkat(fd, entry->d_name, 0) == 0;
		orphan_put(o, "metadata", entry->d_name, is_removed, "there is no such build");
	}
	return rc;
}

static bool tenant_exists(struct store *s, const char *tenant)
{
	struct device_row row;
	struct pool_row pool;

	return volumes_db_pool_get(s->db, tenant, &pool, NULL) != -ENOENT ||
	       volumes_db_device_get(s->db, s->outer.row.id, "tenant", tenant, &row, NULL) != -ENOENT;
}

/* Files called TENANT.GENERATION in DIR. */
static int named_judge(struct orphans *o, int dir, const char *what, struct err *e)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		cleanup_close(&fd);
		return err_sys(e, -errno, "read a directory of the store's");
	}
	for (struct dirent *entry; (entry = readdir(d));) {
		char tenant[TENANT_ID_MAX] = "";
		const char *dot = strrchr(entry->d_name, '.');
		bool is_removed = false;
		struct err stays = ERR_INIT;
		if (entry->d_name[0] == '.')
			continue; /* its writer's, or nothing */
		if (dot && dot[1] && strspn(dot + 1, "0123456789") == strlen(dot + 1) &&
		        (size_t)(dot - entry->d_name) < sizeof(tenant))
			memcpy(tenant, entry->d_name, (size_t)(dot - entry->d_name));
		if (tenant[0] && tenant_exists(o->s, tenant))
			continue;
		if (o->is_remove && tenant[0] && !o->s->outer.refusal[0])
			is_removed = keys_file_shred(dir, entry->d_name, &stays) == 0;
		orphan_put(o, what, entry->d_name, is_removed, stays.code ? stays.msg : "there is no such tenant");
	}
	return 0;
}

/* Nobody says what else lies there: it stays. */
static int state_judge(struct orphans *o, struct err *e)
{
	static const char *const ours[] = {"lock", "keys", "headers", "volumes.db", "volumes.db-wal", "volumes.db-shm",
	        "master.key", "master.key" MASTER_NEXT};
	int fd = openat(o->s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		cleanup_close(&fd);
		return err_sys(e, -errno, "read %s", o->s->dir);
	}
	for (struct dirent *entry; (entry = readdir(d));) {
		bool is_known = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
		for (size_t i = 0; i < ARRAY_LEN(ours); i++)
			is_known = is_known || !strcmp(entry->d_name, ours[i]);
		if (!is_known)
			orphan_put(o, "file", entry->d_name, false, "builderd did not make it");
	}
	return 0;
}

/* A loop device over a file below the state directory that no pool is built on. */
static void loops_judge(struct orphans *o)
{
	AUTO_DIR DIR *d = opendir("/sys/block");
	size_t n = strlen(o->s->dir) - strlen("dm");

	for (struct dirent *entry; d && (entry = readdir(d));) {
		AUTO_FREE char *path = xasprintf("/sys/block/%s/loop/backing_file", entry->d_name);
		AUTO_FREE char *holders = xasprintf("/sys/block/%s/holders", entry->d_name);
		AUTO_FILE FILE *f = strncmp(entry->d_name, "loop", 4) ? NULL : fopen(path, "re");
		char file[512] = "";
		unsigned held = 0;
		if (!f || !fgets(file, sizeof(file), f) || strncmp(file, o->s->dir, n) != 0)
			continue;
		AUTO_DIR DIR *h = opendir(holders);
		for (struct dirent *x; h && (x = readdir(h));)
			held += x->d_name[0] != '.';
		if (!held)
			orphan_put(o, "loop", entry->d_name, false,
			        "no device is built on it; it goes with its last user");
	}
}

/* ------------------------------------------------------------------------------------------------------------------ */

/* One that cannot be opened has its own troubles. */
static int tenant_judge(struct orphans *o, const char *id, struct err *e)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	struct err why = ERR_INIT;

	if (tenant_get(o->s, id, false, &t, &why) < 0) {
		orphan_put(o, "tenant", id, false, why.code ? why.msg : "it is half made");
		return 0;
	}
	int rc = pool_judge(o, &t->pool, e);
	return rc < 0 ? rc : metadata_judge(o, t, e);
}

static int all_judge(struct orphans *o, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	size_t n = 0;
	int rc = devices_judge(o, e);

	if (rc == 0)
		rc = pool_judge(o, &o->s->outer, e);
	if (rc == 0)
		rc = thin_tenants_asked(o->s, o->call, &rows, &n, e);
	for (size_t i = 0; i < n && rc == 0; i++) {
		admin_say(o->call, i, n, "tenant %s", rows[i].name);
		rc = tenant_judge(o, rows[i].name, e);
	}
	if (rc == 0)
		rc = named_judge(o, o->s->keys_fd, "key", e);
	if (rc == 0)
		rc = named_judge(o, o->s->headers_fd, "header", e);
	if (rc == 0)
		rc = state_judge(o, e);
	loops_judge(o);
	return rc;
}

int thin_orphans(struct store *s, struct admin_call *c, struct err *e)
{
	struct orphans o = {.s = s, .call = c, .is_remove = c->request->flags & ADMIN_REMOVE};

	jsonw_begin(c->json, "orphans", '[');
	int rc = all_judge(&o, e);
	jsonw_end(c->json, ']');
	jsonw_number(c->json, "problems", o.found);
	return rc;
}
