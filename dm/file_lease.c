/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `file` backend: leases. READ_ONLY is the sealed file itself. COW is a clone of its own,
 * tenants/<tenant>/vm/<lease>.ext4: a reflink where the medium has them, else a copy of the data. It is made before its
 * row and without the lock, because a copy takes long; who made one that is not wanted any more removes it, and what a
 * crash leaves is swept (file_recover.c).
 */
#include "file.h"

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

static struct file_path lease_path(const struct lease_row *row)
{
	bool is_clone = row->mode == LEASE_COW;

	return file_path(row->tenant, is_clone ? "vm" : "rootfs", is_clone ? row->id : row->build, ".ext4");
}

/* What can be read of the file; *FD is the caller's. */
static int lease_look(struct store *s, const struct lease_row *row, struct lease *out, int *fd, struct err *e)
{
	struct file_path p = lease_path(row);
	struct stat st;

	*fd = openat(s->dirfd, p.text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st) < 0)
		return err_sys(e, -errno, "open the leased file %s", p.text);
	snprintf(out->path, sizeof(out->path), "%s/%s", s->dir, p.text);
	out->size_bytes = (uint64_t)st.st_size;
	return image_uuid(*fd, out->fs_uuid, e);
}

static struct jail_root jail_root_of(const struct lease *l, int fd)
{
	bool is_clone = l->what.mode == LEASE_COW;

	return (struct jail_root){.fd = fd, .is_private = is_clone, .is_read_only = !is_clone};
}

static void clone_remove(struct store *s, const struct lease_row *row)
{
	if (row->mode == LEASE_COW)
		unlinkat(s->dirfd, lease_path(row).text, 0);
}

static int clone_copy(struct store *s, const struct lease_row *row, int from, struct err *e)
{
	struct file_path dir = file_path(row->tenant, "vm", NULL, ""), p = lease_path(row);

	if (mkdirat(s->dirfd, dir.text, 0700) < 0 && errno != EEXIST)
		return image_error(e, -errno, "make a tenant's directory");
	AUTO_CLOSE int to = openat(s->dirfd, p.text, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return image_error(e, -errno, "make a clone");
	int rc = image_copy(from, to, false, e);
	if (rc == 0 && fsync(to) < 0)
		rc = image_error(e, -errno, "sync a clone");
	if (rc == 0)
		rc = file_dir_sync(s, row->tenant, "vm", e);
	if (rc < 0)
		unlinkat(s->dirfd, p.text, 0);
	return rc;
}

/* Under the lock: the row, unless the rootfs is gone, or the same request was quicker: then 1, and *ROW is its. */
static int lease_record(struct store *s, const struct lease_request *q, struct lease_row *row, struct err *e)
{
	struct rootfs_row rootfs;
	struct lease_row other;
	int rc = volumes_db_rootfs_get(s->db, q->tenant, q->build, &rootfs, e);

	if (rc == 0)
		rc = lease_row_find(s->db, q, &other, e);
	else
		return rc;
	if (rc == -ENOENT)
		return volumes_db_lease_put(s->db, row, e);
	if (rc == 0)
		*row = other;
	return rc < 0 ? rc : 1;
}

static int lease_make(struct store *s, const struct lease_request *q, struct lease_row *row, int rootfs, struct err *e)
{
	int rc = lease_row_make(q, row, e);

	if (rc == 0 && q->mode == LEASE_COW)
		rc = clone_copy(s, row, rootfs, e);
	if (rc < 0)
		return rc;
	const struct lease_row mine = *row;
	pthread_mutex_lock(&s->lease_lock);
	rc = lease_record(s, q, row, e);
	pthread_mutex_unlock(&s->lease_lock);
	if (rc)
		clone_remove(s, &mine);
	return rc;
}

/* Under the lock: the lease may have been released meanwhile. */
static int lease_show(struct store *s, const struct lease_row *row, const struct rootfs_info *info,
        const char *metadata, size_t len, bool is_new, struct lease *out, struct err *e)
{
	AUTO_CLOSE int fd = -1;
	int rc = lease_look(s, row, out, &fd, e);

	if (rc < 0)
		return rc;
	out->checksum = info->checksum;
	if (!row->jail[0])
		return 0;
	const struct jail_root root = jail_root_of(out, fd);
	rc = jail_place(s->jail_fd, row->jail, &root, metadata, len, !is_new, e);
	if (rc < 0 && is_new) {
		volumes_db_lease_delete(s->db, row->id, NULL);
		clone_remove(s, row);
	}
	return rc;
}

int file_lease_acquire(
        struct store *s, const struct lease_request *q, struct lease *out, char **metadata, size_t *len, struct err *e)
{
	AUTO_FREE char *text = NULL;
	struct rootfs_info info;
	struct lease_row row;
	AUTO_CLOSE int rootfs = file_rootfs_open(s, q->tenant, q->build, &info, e);
	int rc = rootfs < 0 ? rootfs : file_metadata_read(s, q->tenant, q->build, &text, len, e);

	*metadata = NULL;
	if (rc == 0)
		rc = lease_row_find(s->db, q, &row, e);
	bool is_new = rc == -ENOENT && !e->code;
	if (is_new)
		rc = lease_make(s, q, &row, rootfs, e);
	if (rc == -ENOENT && !e->code)
		return err_kind_set(e, rc, ERR_KIND_NOT_FOUND, "build %s has no rootfs", q->build);
	if (rc < 0)
		return rc;
	lease_from_row(&row, out);
	pthread_mutex_lock(&s->lease_lock);
	rc = lease_show(s, &row, &info, text, *len, is_new && rc == 0, out, e);
	pthread_mutex_unlock(&s->lease_lock);
	if (rc == 0)
		*metadata = STEAL(&text);
	return rc;
}

/* --- release ----------------------------------------------------------------------------------------------------- */

/* The kernel lends a file for writing (fcntl(2), F_SETLEASE) only while nobody else has it open, loop devices
 * included. Without CAP_LEASE it does not say, and who can be seen counts. */
static bool is_open_elsewhere(int fd, const struct stat *st)
{
	char who[8 + 200];

	if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) {
		fcntl(fd, F_SETLEASE, F_UNLCK);
		return false;
	}
	return errno == EAGAIN || busy_names(st, who, sizeof(who));
}

static int busy_check(struct store *s, const struct lease_row *row, int fd, struct err *e)
{
	char who[200];
	struct stat st;
	int others = row->mode == LEASE_READ_ONLY ? lease_others_read_only(s->db, row, e) : 0;

	if (others)
		return others < 0 ? others : 0;
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "look at the leased file");
	if (!is_open_elsewhere(fd, &st))
		return 0;
	return err_set(e, -EBUSY, "%s is in use: its file is open in %s", row->id,
	        busy_names(&st, who, sizeof(who)) ? who : "a process that cannot be seen");
}

static int release_locked(struct store *s, const char *id, struct err *e)
{
	struct err why = ERR_INIT;
	AUTO_CLOSE int fd = -1;
	struct lease_row row;
	struct lease l;
	int rc = lease_row_get(s->db, id, &row, e);

	if (rc < 0)
		return rc;
	lease_from_row(&row, &l);
	bool is_there = lease_look(s, &row, &l, &fd, NULL) == 0; /* or it is lost, and released all the same */
	if (is_there)
		rc = busy_check(s, &row, fd, e);
	if (rc < 0)
		return rc;
	const struct jail_root root = jail_root_of(&l, fd);
	if (is_there && row.jail[0] && jail_clear(s->jail_fd, row.jail, &root, &why) < 0)
		log_warn("a jail may keep the names of a rootfs", KV("lease", id), KV("jail", row.jail),
		        KV("error", why.msg));
	rc = volumes_db_lease_delete(s->db, id, e);
	if (rc == 0)
		clone_remove(s, &row);
	return rc;
}

int file_lease_release(struct store *s, const char *id, struct err *e)
{
	pthread_mutex_lock(&s->lease_lock);
	int rc = release_locked(s, id, e);
	pthread_mutex_unlock(&s->lease_lock);
	return rc;
}

/* --- list -------------------------------------------------------------------------------------------------------- */

static void list_fill(void *arg, const struct lease_row *row, struct lease *out)
{
	struct store *s = arg;
	AUTO_CLOSE int fd = -1;
	struct rootfs_row rootfs;

	if (lease_look(s, row, out, &fd, NULL) == 0 &&
	        volumes_db_rootfs_get(s->db, row->tenant, row->build, &rootfs, NULL) == 0)
		out->checksum = rootfs.info.checksum;
}

int file_lease_list(struct store *s, const char *tenant, const char *build, const char *after, struct lease *out,
        size_t max, struct err *e)
{
	return lease_page(s->db, tenant, build, after, out, max, list_fill, s, e);
}
