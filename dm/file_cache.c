/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `file` backend: what things take, and making room. Chains know when they were last used, blobs by their mtime. */
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "cache_list.h"

/* Call FN for each regular file of tenants/TENANT/KIND. */
typedef void file_fn(void *arg, const char *tenant, const char *kind, const char *name, const struct stat *st);

static void files_each(struct store *s, const char *tenant, const char *kind, file_fn *fn, void *arg)
{
	int fd = openat(
	        s->dirfd, file_path(tenant, kind, NULL, "").text, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct stat st;

	if (!d) {
		cleanup_close(&fd);
		return;
	}
	for (struct dirent *entry; (entry = readdir(d));)
		if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			fn(arg, tenant, kind, entry->d_name, &st);
}

/* --- usage ------------------------------------------------------------------------------------------------------- */

/* A file with several names (shared rootfs) counts once in all. */
static void usage_add(void *arg, const char *tenant, const char *kind, const char *name, const struct stat *st)
{
	*(uint64_t *)arg += (uint64_t)st->st_blocks * 512 / (st->st_nlink ? st->st_nlink : 1);
}

static int tenant_usage(struct store *s, const char *tenant, void *arg, struct err *e)
{
	static const char *const kinds[] = {"blobs", "chains", "builds", "rootfs", "vm"};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		files_each(s, tenant, kinds[i], usage_add, arg);
	return 0;
}

int file_tenant_usage(struct store *s, const char *tenant, uint64_t *bytes, struct err *e)
{
	*bytes = 0;
	return tenant_usage(s, tenant, bytes, e);
}

/* Walking all tenants' files is a system call a file, and whoever asks may ask often. */
#define USAGE_FRESH_MS 5000

static int used_bytes(struct store *s, uint64_t *out, struct err *e)
{
	int64_t now = time_mono_ms(), then = atomic_load(&s->used_at_ms);

	if (!then || now - then >= USAGE_FRESH_MS) {
		uint64_t sum = 0;
		int rc = file_tenants_each(s, tenant_usage, &sum, e);
		if (rc < 0)
			return rc;
		atomic_store(&s->used_bytes, sum);
		atomic_store(&s->used_at_ms, now);
	}
	*out = atomic_load(&s->used_bytes);
	return 0;
}

int file_usage(struct store *s, struct store_usage *out, struct err *e)
{
	struct statvfs st;

	if (fstatvfs(s->dirfd, &st) < 0)
		return err_sys(e, -errno, "ask for free space below %s", s->dir);
	*out = (struct store_usage){
	        .total_bytes = (uint64_t)st.f_blocks * st.f_frsize,
	        .free_bytes = (uint64_t)st.f_bavail * st.f_frsize,
	};
	return used_bytes(s, &out->used_bytes, e);
}

/* --- trim -------------------------------------------------------------------------------------------------------- */

static int tenant_blobs(struct store *s, const char *tenant, void *arg, struct err *e)
{
	cache_list_blobs(arg, tenant,
	        openat(s->dirfd, file_path(tenant, "blobs", NULL, "").text,
	                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
	return 0;
}

static int chains_add(struct store *s, struct cache_list *l, struct err *e)
{
	AUTO_FREE struct chain_row *rows = NULL;
	struct stat st;
	size_t n;
	int rc = volumes_db_chain_list(s->db, &rows, &n, e);

	for (size_t i = 0; i < n && rc == 0; i++) {
		if (fstatat(s->dirfd, file_chain_path(rows[i].tenant, &rows[i].chain, ".ext4").text, &st,
		            AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		cache_list_chain(l, &rows[i], (uint64_t)st.st_blocks * 512);
	}
	return rc;
}

/* A build that reads one of these holds a descriptor: it goes on, and the bytes come back when it is done. */
static int cached_drop(void *arg, const struct cached *c, struct err *e)
{
	struct store *s = arg;
	struct file_path p = c->is_chain ? file_chain_path(c->tenant, &c->chain, ".ext4")
	                                 : file_path(c->tenant, "blobs", c->blob, "");
	int rc = c->is_chain ? volumes_db_chain_delete(s->db, c->tenant, &c->chain, e) : 0;

	if (rc == 0 && unlinkat(s->dirfd, p.text, 0) < 0 && errno != ENOENT)
		rc = err_sys(e, -errno, "remove %s", p.text);
	return rc;
}

int file_trim(struct store *s, uint64_t *freed, struct err *e)
{
	AUTO(cache_list_free) struct cache_list l = {0};
	int rc = file_tenants_each(s, tenant_blobs, &l, e);

	*freed = 0;
	if (rc == 0)
		rc = chains_add(s, &l, e);
	return rc < 0 ? rc : cache_list_trim(&l, s->cache_max_bytes, cached_drop, s, freed, e);
}
