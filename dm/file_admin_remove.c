/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `file` backend for administrators: what nobody needs any more. */
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "dm/admin.h"

/* --- orphans -------------------------------------------------------------------------------------------------------
 */

/* A file gets its row when it is complete: a young one without a row may be somebody's work. */
#define YOUNG_MS (24 * 3600000ll)

struct orphans {
	struct jsonw *json;
	bool is_remove, is_serving;
	unsigned found;
};

static int orphan_put(struct store *s, int dir, const char *path, const char *name, void *arg, struct err *e)
{
	struct orphans *o = arg;
	const char *stays = NULL;
	bool is_removed = false;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0; /* it has gone meanwhile */
	bool is_young = time_wall_ms() - (int64_t)st.st_ctim.tv_sec * 1000 < YOUNG_MS;
	if (o->is_serving && is_young)
		return 0;
	if (o->is_remove) {
		is_removed = unlinkat(dir, name, 0) == 0;
		stays = is_removed ? NULL : strerror(errno);
	}
	o->found += !is_removed;
	admin_put_orphan(o->json, "file", path, is_removed, stays);
	return 0;
}

static int tenant_orphans(struct store *s, const char *tenant, void *arg, struct err *e)
{
	return file_orphans_each(s, tenant, orphan_put, arg, e);
}

int file_admin_orphans(struct store *s, struct admin_call *c, struct err *e)
{
	struct orphans o = {
	        .json = c->json, .is_remove = c->request->flags & ADMIN_REMOVE, .is_serving = s->syncer != NULL};

	jsonw_begin(c->json, "orphans", '[');
	int rc = file_tenants_each(s, tenant_orphans, &o, e);
	jsonw_end(c->json, ']');
	jsonw_number(c->json, "problems", o.found);
	return rc;
}

/* --- destroy -------------------------------------------------------------------------------------------------------
 */

static int unused_check(struct store *s, const char *tenant, struct err *e)
{
	AUTO_FREE struct lease_row *leases = NULL;
	size_t n = 0;
	int rc = volumes_db_lease_list(s->db, tenant, "", &leases, &n, e);

	if (rc < 0)
		return rc;
	if (n)
		return err_set(e, -EBUSY, "tenant %s has %zu leases: %s holds build %s", tenant, n, leases[0].holder,
		        leases[0].build);
	int fd = openat(s->dirfd, file_path(tenant, "builds", NULL, "").text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		cleanup_close(&fd);
	for (struct dirent *entry; d && (entry = readdir(d));)
		if (entry->d_name[0] != '.')
			return err_set(e, -EBUSY, "tenant %s has a build that runs: %.60s", tenant, entry->d_name);
	return 0;
}

/* Rows first: a file without a row is garbage. */
static int rows_delete(struct store *s, const char *tenant, struct err *e)
{
	AUTO_FREE struct rootfs_row *rootfs = NULL;
	AUTO_FREE struct chain_row *chains = NULL;
	size_t n = 0, m = 0;
	int rc = volumes_db_rootfs_list(s->db, &rootfs, &n, e);

	if (rc == 0)
		rc = volumes_db_chain_list(s->db, &chains, &m, e);
	for (size_t i = 0; i < n && rc == 0; i++)
		if (!strcmp(rootfs[i].tenant, tenant))
			rc = volumes_db_rootfs_delete(s->db, tenant, rootfs[i].build, e);
	for (size_t i = 0; i < m && rc == 0; i++)
		if (!strcmp(chains[i].tenant, tenant))
			rc = volumes_db_chain_delete(s->db, tenant, &chains[i].chain, e);
	return rc;
}

static int directory_remove(struct store *s, const char *path, struct err *e)
{
	int fd = openat(s->dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		cleanup_close(&fd);
		return errno == ENOENT ? 0 : err_sys(e, -errno, "open %s/%s", s->dir, path);
	}
	for (struct dirent *entry; (entry = readdir(d));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		        unlinkat(dirfd(d), entry->d_name, 0) < 0 && errno != ENOENT)
			return err_sys(e, -errno, "remove %s/%s/%s", s->dir, path, entry->d_name);
	return unlinkat(s->dirfd, path, AT_REMOVEDIR) < 0 ? err_sys(e, -errno, "remove %s/%s", s->dir, path) : 0;
}

int file_admin_destroy(struct store *s, struct admin_call *c, struct err *e)
{
	static const char *const kinds[] = {"blobs", "chains", "builds", "rootfs", "vm"};
	const char *tenant = c->request->tenant;
	char top[16 + TENANT_ID_MAX];
	uint64_t freed = 0;

	snprintf(top, sizeof(top), "tenants/%s", tenant);
	if (faccessat(s->dirfd, top, F_OK, 0) < 0)
		return err_kind_set(e, -ENOENT, ERR_KIND_NOT_FOUND, "there is no tenant %s", tenant);
	int rc = unused_check(s, tenant, e);
	if (rc == 0)
		rc = file_tenant_usage(s, tenant, &freed, e);
	if (rc == 0)
		rc = rows_delete(s, tenant, e);
	for (size_t i = 0; i < ARRAY_LEN(kinds) && rc == 0; i++)
		rc = directory_remove(s, file_path(tenant, kinds[i], NULL, "").text, e);
	if (rc == 0)
		rc = directory_remove(s, top, e);
	jsonw_text(c->json, "tenant", tenant);
	jsonw_bool(c->json, "is_erased", false); /* files are removed, not overwritten; nothing was encrypted */
	jsonw_number(c->json, "freed_bytes", freed);
	return rc;
}
