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
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

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

typedef bool is_known_fn(struct store *s, const char *tenant, const char *name);

static bool is_known_blob(struct store *s, const char *tenant, const char *name)
{
	return strncmp(name, ".tmp-", 5) != 0; /* downloads verify themselves; halves go */
}

static bool is_known_chain(struct store *s, const char *tenant, const char *name)
{
	struct digest d;
	struct chain_row row;
	char hex[2 * DIGEST_MAX_BYTES + 1], text[DIGEST_TEXT_MAX];

	if (!stem(name, ".ext4", hex, sizeof(hex)))
		return false;
	snprintf(text, sizeof(text), "%s:%s", strlen(hex) == 64 ? "sha256" : "sha512", hex);
	return digest_parse(&d, text, strlen(text), NULL) == 0 &&
	       volumes_db_chain_get(s->db, tenant, &d, &row, NULL) == 0;
}

static bool is_known_build(struct store *s, const char *tenant, const char *name)
{
	return false;
}

static bool is_known_rootfs(struct store *s, const char *tenant, const char *name)
{
	struct rootfs_row row;
	char build[BUILD_ID_MAX];

	if (!stem(name, ".ext4", build, sizeof(build)) && !stem(name, ".metadata.json", build, sizeof(build)))
		return false;
	return volumes_db_rootfs_get(s->db, tenant, build, &row, NULL) == 0;
}

static const struct {
	const char *kind;
	is_known_fn *is_known;
} sweeps[] = {
        {"blobs", is_known_blob},
        {"chains", is_known_chain},
        {"builds", is_known_build},
        {"rootfs", is_known_rootfs},
};

static int tenant_sweep(struct store *s, const char *tenant, void *arg, struct err *e)
{
	unsigned *removed = arg;

	for (size_t i = 0; i < ARRAY_LEN(sweeps); i++) {
		AUTO_DIR DIR *d = dir_open(s->dirfd, file_path(tenant, sweeps[i].kind, NULL, "").text);
		for (struct dirent *entry; d && (entry = readdir(d));) {
			if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
			        sweeps[i].is_known(s, tenant, entry->d_name))
				continue;
			if (unlinkat(dirfd(d), entry->d_name, 0) == 0)
				++*removed;
			else
				log_warn("cannot remove a leftover", KV("file", entry->d_name),
				        KV("error", strerror(errno)));
		}
	}
	return 0;
}

/* --- rows without files ------------------------------------------------------------------------------------------ */

/* Chains that another boot left unsynced may be damaged: their rows go, and the sweep takes the files. */
static int chains_recover(struct store *s, struct err *e)
{
	AUTO_FREE struct chain_row *rows = NULL;
	size_t n;
	int rc = volumes_db_chain_list(s->db, &rows, &n, e);

	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct chain_row *r = &rows[i];
		bool is_there = faccessat(s->dirfd, file_chain_path(r->tenant, &r->chain, ".ext4").text, F_OK, 0) == 0;
		bool is_ours = !strcmp(r->boot_id, s->boot_id);
		if (!is_there || (!r->is_durable && !is_ours))
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
		if (faccessat(s->dirfd, file_path(r->tenant, "rootfs", r->build, ".ext4").text, F_OK, 0) == 0)
			continue;
		log_error("a rootfs is lost: its file was removed by somebody else", KV("tenant", r->tenant),
		        KV("build", r->build));
		rc = volumes_db_rootfs_delete(s->db, r->tenant, r->build, e);
	}
	return rc;
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
