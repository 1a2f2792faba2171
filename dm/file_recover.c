/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `file` backend after a crash: what has no row goes, what has no file is forgotten. file.h says why that is
 * enough. */
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
#include "cache_list.h"

static DIR *dir_open(int dirfd, const char *path)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

int file_tenants_each(struct store *s, int (*fn)(struct store *s, const char *tenant, void *arg, struct err *e),
        void *arg, struct err *e)
{
	AUTO_DIR DIR *d = dir_open(s->dirfd, "tenants");
	char tenant[TENANT_ID_MAX];
	int rc = 0;

	if (!d)
		return err_sys(e, -errno, "open %s/tenants", s->dir);
	for (struct dirent *entry; rc >= 0 && (entry = readdir(d));) {
		memset(tenant, 0, sizeof(tenant));
		if (strlen(entry->d_name) >= sizeof(tenant))
			continue;
		memcpy(tenant, entry->d_name, strlen(entry->d_name));
		if (msg_tenant_id_is_valid(tenant))
			rc = fn(s, tenant, arg, e);
	}
	return rc < 0 ? rc : 0;
}

/* NAME without SUFFIX in OUT, if it ends so and fits. */
static bool stem(const char *name, const char *suffix, char *out, size_t size)
{
	size_t n = strlen(name), m = strlen(suffix);

	if (n <= m || n - m >= size || strcmp(name + n - m, suffix))
		return false;
	memcpy(out, name, n - m);
	out[n - m] = 0;
	return true;
}

/* --- which file belongs to a row --------------------------------------------------------------------------------- */

/* 1: it belongs to a row, 0: it does not and goes. -errno with a sentence: nobody can say, so nothing goes. */
typedef int is_known_fn(struct store *s, const char *tenant, const char *name, struct err *e);

static int is_known_blob(struct store *s, const char *tenant, const char *name, struct err *e)
{
	return cache_blob_name_is_valid(name); /* downloads verify themselves; halves go */
}

static int is_known_by(int rc)
{
	return rc == 0 ? 1 : rc == -ENOENT ? 0 : rc;
}

static int is_known_chain(struct store *s, const char *tenant, const char *name, struct err *e)
{
	struct digest d;
	struct chain_row row;
	char hex[2 * DIGEST_MAX_BYTES + 1], text[DIGEST_TEXT_MAX];

	if (!stem(name, ".ext4", hex, sizeof(hex)))
		return 0;
	snprintf(text, sizeof(text), "%s:%s", strlen(hex) == 64 ? "sha256" : "sha512", hex);
	if (digest_parse(&d, text, strlen(text), NULL) < 0)
		return 0;
	return is_known_by(volumes_db_chain_get(s->db, tenant, &d, &row, e));
}

static int is_known_build(struct store *s, const char *tenant, const char *name, struct err *e)
{
	return 0;
}

static int is_known_rootfs(struct store *s, const char *tenant, const char *name, struct err *e)
{
	struct rootfs_row row;
	char build[BUILD_ID_MAX];

	if (!stem(name, ".ext4", build, sizeof(build)) && !stem(name, ".metadata.json", build, sizeof(build)))
		return 0;
	return is_known_by(volumes_db_rootfs_get(s->db, tenant, build, &row, e));
}

static int is_known_clone(struct store *s, const char *tenant, const char *name, struct err *e)
{
	struct lease_row row;
	char id[LEASE_ID_MAX];

	return stem(name, ".ext4", id, sizeof(id)) ? is_known_by(volumes_db_lease_get(s->db, id, &row, e)) : 0;
}

static const struct {
	const char *kind;
	is_known_fn *is_known;
} sweeps[] = {
        {"blobs", is_known_blob},
        {"chains", is_known_chain},
        {"builds", is_known_build},
        {"rootfs", is_known_rootfs},
        {"vm", is_known_clone},
};

static int kind_orphans(struct store *s, const char *tenant, size_t i, file_orphan_fn *fn, void *arg, struct err *e)
{
	AUTO_DIR DIR *d = dir_open(s->dirfd, file_path(tenant, sweeps[i].kind, NULL, "").text);
	int rc = 0;

	for (struct dirent *entry; d && rc >= 0 && (entry = readdir(d));) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		int known = sweeps[i].is_known(s, tenant, entry->d_name, e);
		if (known < 0)
			return err_wrap(e, "recover %s", file_path(tenant, sweeps[i].kind, NULL, "").text);
		if (!known)
			rc = fn(s, dirfd(d), file_path(tenant, sweeps[i].kind, entry->d_name, "").text, entry->d_name,
			        arg, e);
	}
	return rc < 0 ? rc : 0;
}

int file_orphans_each(struct store *s, const char *tenant, file_orphan_fn *fn, void *arg, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(sweeps) && rc == 0; i++)
		rc = kind_orphans(s, tenant, i, fn, arg, e);
	return rc;
}

static int orphan_remove(struct store *s, int dir, const char *path, const char *name, void *removed, struct err *e)
{
	if (unlinkat(dir, name, 0) == 0)
		++*(unsigned *)removed;
	else
		log_warn("cannot remove a leftover", KV("file", path), KV("error", strerror(errno)));
	return 0;
}

static int tenant_sweep(struct store *s, const char *tenant, void *arg, struct err *e)
{
	return file_orphans_each(s, tenant, orphan_remove, arg, e);
}

/* --- rows without files ------------------------------------------------------------------------------------------ */

/* 1: the file is there, 0: it is not. -errno: a row is not given up for a disk that does not answer. */
static int file_is_there(struct store *s, const struct file_path *p, struct err *e)
{
	if (faccessat(s->dirfd, p->text, F_OK, 0) == 0)
		return 1;
	return errno == ENOENT ? 0 : err_sys(e, -errno, "look for %s/%s", s->dir, p->text);
}

/* Chains that another boot left unsynced may be damaged: their rows go, and the sweep takes the files. */
static int chains_recover(struct store *s, struct err *e)
{
	AUTO_FREE struct chain_row *rows = NULL;
	size_t n;
	int rc = volumes_db_chain_list(s->db, &rows, &n, e);

	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct chain_row *r = &rows[i];
		const struct file_path p = file_chain_path(r->tenant, &r->chain, ".ext4");
		bool is_ours = !strcmp(r->boot_id, s->boot_id);
		int is_there = file_is_there(s, &p, e);
		if (is_there < 0)
			rc = is_there;
		else if (!is_there || (!r->is_durable && !is_ours))
			rc = volumes_db_chain_delete(s->db, r->tenant, &r->chain, e);
		else if (!r->is_durable)
			file_syncer_add(s->syncer, r->tenant, &r->chain);
	}
	return rc;
}

static int rootfs_recover(struct store *s, struct err *e)
{
	AUTO_FREE struct rootfs_row *rows = NULL;
	size_t n;
	int rc = volumes_db_rootfs_list(s->db, &rows, &n, e);

	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct rootfs_row *r = &rows[i];
		const struct file_path p = file_path(r->tenant, "rootfs", r->build, ".ext4");
		int is_there = file_is_there(s, &p, e);
		if (is_there)
			rc = is_there < 0 ? is_there : 0;
		if (is_there)
			continue;
		log_error("a rootfs is lost: its file was removed by somebody else", KV("tenant", r->tenant),
		        KV("build", r->build));
		rc = volumes_db_rootfs_delete(s->db, r->tenant, r->build, e);
	}
	return rc;
}

static int tenant_has_rootfs(struct store *s, const char *tenant, void *arg, struct err *e)
{
	AUTO_DIR DIR *d = dir_open(s->dirfd, file_path(tenant, "rootfs", NULL, "").text);

	for (struct dirent *entry; d && (entry = readdir(d));)
		if (entry->d_name[0] != '.')
			return err_kind_set(e, -EUCLEAN, ERR_KIND_INTERNAL,
			        "%s/volumes.db is missing, but tenants/%s/rootfs holds %.64s, which would be removed "
			        "as a "
			        "leftover: put volumes.db back from a copy, or move the rootfs away",
			        s->dir, tenant, entry->d_name);
	return 0;
}

int file_recover_precheck(struct store *s, struct err *e)
{
	struct stat st;

	if (fstatat(s->dirfd, "volumes.db", &st, 0) == 0 && st.st_size > 0)
		return 0;
	return file_tenants_each(s, tenant_has_rootfs, NULL, e);
}

int file_recover(struct store *s, struct err *e)
{
	unsigned removed = 0;
	int rc = chains_recover(s, e);

	if (rc == 0)
		rc = rootfs_recover(s, e);
	if (rc == 0)
		rc = file_tenants_each(s, tenant_sweep, &removed, e);
	if (rc == 0 && removed)
		log_info("leftovers removed", KV_U("files", removed));
	return rc;
}
