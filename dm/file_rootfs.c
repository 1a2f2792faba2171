/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `file` backend: products.
 *
 * Two builds of one tenant with the same product key have the same bytes, so the second gets a hard link: both are
 * sealed, read-only, and nobody writes them in place (a VM that writes gets a clone). Everywhere else a hard link would
 * let one owner's writes show in the other's file, so this is the only place that makes one.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "image.h"
#include "lease.h"

#define METADATA ".metadata.json"
#define METADATA_MAX (16u << 20)

static void info_path(const struct store *s, const char *tenant, const char *build, struct rootfs_info *info)
{
	snprintf(info->path, sizeof(info->path), "%s/%s", s->dir, file_path(tenant, "rootfs", build, ".ext4").text);
}

/* Written, synced; its name is durable once the directory was synced. */
static int metadata_write(
        struct store *s, const char *tenant, const char *build, const char *metadata, size_t len, struct err *e)
{
	struct file_path p = file_path(tenant, "rootfs", build, METADATA);
	AUTO_CLOSE int fd = openat(s->dirfd, p.text, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0444);
	int rc = fd < 0 ? -errno : fd_write_all(fd, metadata, len);

	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	return rc < 0 ? image_error(e, rc, "write metadata.json") : 0;
}

int file_metadata_read(struct store *s, const char *tenant, const char *build, char **out, size_t *len, struct err *e)
{
	struct file_path p = file_path(tenant, "rootfs", build, METADATA);
	AUTO_CLOSE int fd = openat(s->dirfd, p.text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int rc = fd < 0 ? -errno : fd_slurp(fd, METADATA_MAX, out, len);

	return rc < 0 ? err_sys(e, rc, "read %s", p.text) : 0;
}

static void files_remove(struct store *s, const char *tenant, const char *build)
{
	unlinkat(s->dirfd, file_path(tenant, "rootfs", build, ".ext4").text, 0);
	unlinkat(s->dirfd, file_path(tenant, "rootfs", build, METADATA).text, 0);
}

/* The image is under its final name: make the names durable, then the row. */
static int rootfs_record(struct store *s, const char *tenant, const char *build, const struct digest *product_key,
        struct rootfs_info *info, struct err *e)
{
	struct rootfs_row row = {.product_key = *product_key};
	int rc = file_dir_sync(s, tenant, "rootfs", e);

	info_path(s, tenant, build, info);
	row.info = *info;
	snprintf(row.tenant, sizeof(row.tenant), "%s", tenant);
	snprintf(row.build, sizeof(row.build), "%s", build);
	return rc < 0 ? rc : volumes_db_rootfs_put(s->db, &row, e);
}

static int volume_seal(struct volume *v, const struct digest *product_key, const char *metadata, size_t metadata_len,
        struct rootfs_info *info, struct err *e)
{
	struct store *s = v->store;
	struct file_path from = file_path(v->tenant, "builds", v->build, ".ext4"),
	                 to = file_path(v->tenant, "rootfs", v->build, ".ext4");
	int rc = metadata_write(s, v->tenant, v->build, metadata, metadata_len, e);

	if (rc == 0 && (fchmod(v->fd, 0444) < 0 || fsync(v->fd) < 0))
		rc = image_error(e, -errno, "sync the rootfs");
	if (rc == 0 && renameat(s->dirfd, from.text, s->dirfd, to.text) < 0)
		rc = err_sys(e, -errno, "name the rootfs %s", to.text);
	if (rc == 0)
		rc = rootfs_record(s, v->tenant, v->build, product_key, info, e);
	if (rc < 0)
		files_remove(s, v->tenant, v->build);
	return rc;
}

int file_seal(struct volume *v, const struct digest *product_key, const char *metadata, size_t metadata_len,
        struct rootfs_info *info, struct err *e)
{
	int rc = volume_seal(v, product_key, metadata, metadata_len, info, e);

	file_discard(v); /* what was renamed is no longer below builds/ */
	return rc;
}

/* -ENOENT: the one that the row named is being deleted, or has all the links it can have. */
static int image_link(struct store *s, const char *tenant, const char *from, const char *to, struct err *e)
{
	struct file_path a = file_path(tenant, "rootfs", from, ".ext4"), b = file_path(tenant, "rootfs", to, ".ext4");

	if (linkat(s->dirfd, a.text, s->dirfd, b.text, 0) == 0)
		return 0;
	if (errno == ENOENT || errno == EMLINK)
		return -ENOENT;
	return image_error(e, -errno, "share a rootfs");
}

int file_share(struct store *s, const char *tenant, const char *build, const struct digest *product_key,
        struct rootfs_info *info, char **metadata, size_t *metadata_len, struct err *e)
{
	struct rootfs_row row;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int rc = volumes_db_rootfs_find(s->db, tenant, product_key, &row, e);

	if (rc < 0)
		return rc;
	if (file_metadata_read(s, tenant, row.build, &text, &len, NULL) < 0)
		return -ENOENT; /* being deleted */
	rc = image_link(s, tenant, row.build, build, e);
	if (rc < 0)
		return rc;
	*info = row.info;
	rc = metadata_write(s, tenant, build, text, len, e);
	if (rc == 0)
		rc = rootfs_record(s, tenant, build, product_key, info, e);
	if (rc < 0) {
		files_remove(s, tenant, build);
		return rc;
	}
	*metadata = STEAL(&text);
	*metadata_len = len;
	return 0;
}

int file_rootfs_open(struct store *s, const char *tenant, const char *build, struct rootfs_info *info, struct err *e)
{
	struct file_path p = file_path(tenant, "rootfs", build, ".ext4");
	struct rootfs_row row;
	int rc = volumes_db_rootfs_get(s->db, tenant, build, &row, e);

	if (rc == -ENOENT)
		return err_kind_set(e, -ENOENT, ERR_KIND_NOT_FOUND, "build %s has no rootfs", build);
	if (rc < 0)
		return rc;
	int fd = openat(s->dirfd, p.text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, -errno, "open %s", p.text);
	*info = row.info;
	info_path(s, tenant, build, info);
	return fd;
}

/* No lease is made meanwhile. */
static int row_delete(struct store *s, const char *tenant, const char *build, struct err *e)
{
	pthread_mutex_lock(&s->lease_lock);
	int rc = lease_refuse_deletion(s->db, tenant, build, e);
	if (rc == 0)
		rc = volumes_db_rootfs_delete(s->db, tenant, build, e);
	pthread_mutex_unlock(&s->lease_lock);
	return rc;
}

int file_rootfs_delete(struct store *s, const char *tenant, const char *build, uint64_t *freed, struct err *e)
{
	struct rootfs_row row;
	struct stat st;
	uint64_t bytes = 0;
	int rc = volumes_db_rootfs_get(s->db, tenant, build, &row, e);

	*freed = 0;
	if (rc == -ENOENT)
		return err_kind_set(e, -ENOENT, ERR_KIND_NOT_FOUND, "build %s has no rootfs", build);
	if (rc == 0)
		rc = row_delete(s, tenant, build, e);
	if (rc < 0)
		return rc;
	if (fstatat(s->dirfd, file_path(tenant, "rootfs", build, METADATA).text, &st, AT_SYMLINK_NOFOLLOW) == 0)
		bytes += (uint64_t)st.st_blocks * 512;
	/* Another build's link keeps the image's bytes. */
	if (fstatat(s->dirfd, file_path(tenant, "rootfs", build, ".ext4").text, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	        st.st_nlink == 1)
		bytes += (uint64_t)st.st_blocks * 512;
	files_remove(s, tenant, build);
	*freed = bytes;
	return 0;
}
