/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `file` backend: open, close, the table of operations. file.h says how things lie on disk. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "image.h"
#include "jail.h"
#include "mount.h"

struct file_path file_path(const char *tenant, const char *kind, const char *name, const char *suffix)
{
	struct file_path p;

	snprintf(
	        p.text, sizeof(p.text), "tenants/%s/%s%s%s%s", tenant, kind, name ? "/" : "", name ? name : "", suffix);
	return p;
}

struct file_path file_chain_path(const char *tenant, const struct digest *chain, const char *suffix)
{
	char hex[DIGEST_TEXT_MAX];

	return file_path(tenant, "chains", digest_hex(chain, hex), suffix);
}

int file_dir_sync(struct store *s, const char *tenant, const char *kind, struct err *e)
{
	struct file_path p = file_path(tenant, kind, NULL, "");
	AUTO_CLOSE int fd = openat(s->dirfd, p.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_sys(e, -errno, "sync %s", p.text);
	return 0;
}

static int file_probe(const struct store_options *o, struct err *e)
{
	int rc = image_probe(e);

	if (rc == 0)
		rc = loopdev_probe(e);
	return rc < 0 ? rc : mount_probe(e);
}

static int state_dir_lock(struct store *s, struct err *e)
{
	s->lock_fd = openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return err_sys(e, -errno, "open %s/lock", s->dir);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return err_sys(e, -errno, "the state directory %s is in use by another builderd", s->dir);
	return 0;
}

/* For an admin: what is not there is not made. */
static int state_dir_find(struct store *s, struct err *e)
{
	s->dirfd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dirfd < 0 || faccessat(s->dirfd, "volumes.db", F_OK, 0) < 0)
		return err_sys(e, -errno, "no builderd has kept its storage in %s", s->dir);
	return state_dir_lock(s, e);
}

static int state_dir_open(struct store *s, const struct store_options *o, struct err *e)
{
	if (strlen(o->state_dir) >= sizeof(s->dir) || o->state_dir[0] != '/')
		return err_set(e, -EINVAL,
		        "state directory \"%.200s\": expected an absolute path shorter than %zu bytes", o->state_dir,
		        sizeof(s->dir));
	snprintf(s->dir, sizeof(s->dir), "%s", o->state_dir);
	if (o->access != STORE_SERVE)
		return state_dir_find(s, e);
	if (mkdir(s->dir, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "make the state directory %s", s->dir);
	s->dirfd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dirfd < 0)
		return err_sys(e, -errno, "open the state directory %s", s->dir);
	if (fchmod(s->dirfd, 0700) < 0)
		return err_sys(e, -errno, "close the state directory %s to others", s->dir);
	if (mkdirat(s->dirfd, "tenants", 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "make %s/tenants", s->dir);
	return state_dir_lock(s, e);
}

static int boot_id_read(struct store *s, struct err *e)
{
	AUTO_CLOSE int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -errno : fd_read_full(fd, s->boot_id, sizeof(s->boot_id) - 1);

	if (n <= 0)
		return err_sys(e, n ? (int)n : -EIO, "read the kernel's boot id");
	s->boot_id[strcspn(s->boot_id, "\n")] = 0;
	return 0;
}

static void file_close(struct store *s)
{
	if (!s)
		return;
	file_syncer_free(s->syncer);
	volumes_db_close(s->db);
	cleanup_close(&s->jail_fd);
	cleanup_close(&s->lock_fd);
	pthread_mutex_destroy(&s->lease_lock);
	cleanup_close(&s->dirfd);
	free(s);
}

static int file_open(const struct store_options *o, struct store **out, struct err *e)
{
	char db_path[FILE_STATE_DIR_MAX + 16];
	struct store *s = xcalloc(1, sizeof(*s));

	s->dirfd = s->lock_fd = s->jail_fd = -1;
	pthread_mutex_init(&s->lease_lock, NULL);
	s->fetch_uid = o->fetch_uid;
	s->cache_max_bytes = o->cache_max_bytes;
	int rc = state_dir_open(s, o, e);
	if (rc == 0)
		rc = jail_base_open(o->jail_dir, &s->jail_fd, e);
	if (rc == 0)
		rc = boot_id_read(s, e);
	if (rc == 0)
		rc = file_recover_precheck(s, e);
	if (rc == 0) {
		s->has_reflink = image_can_clone(s->dirfd);
		snprintf(db_path, sizeof(db_path), "%s/volumes.db", s->dir);
		rc = volumes_db_open(db_path, &s->db, e);
	}
	if (rc == 0 && o->access == STORE_LOOK) {
		*out = s;
		return 0;
	}
	if (rc == 0) {
		s->syncer = file_syncer_new(s, e);
		rc = s->syncer ? 0 : -ENOMEM;
	}
	if (rc == 0)
		rc = file_recover(s, e);
	if (rc < 0) {
		file_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

static int blob_dir_open(struct store *s, const char *tenant, struct err *e)
{
	struct file_path p = file_path(tenant, "blobs", NULL, "");
	AUTO_CLOSE int fd = openat(s->dirfd, p.text, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "open %s", p.text);
	if (fchown(fd, s->fetch_uid, s->fetch_uid) < 0 || fchmod(fd, 0700) < 0)
		return err_sys(e, -errno, "give %s to uid %u", p.text, s->fetch_uid);
	return STEAL_FD(&fd);
}

static int file_blob_dir(struct store *s, const char *tenant, struct err *e)
{
	static const char *const kinds[] = {"blobs", "chains", "builds", "rootfs"};
	char top[16 + TENANT_ID_MAX];

	snprintf(top, sizeof(top), "tenants/%s", tenant);
	if (mkdirat(s->dirfd, top, 0700) < 0 && errno != EEXIST)
		return image_error(e, -errno, "make a tenant's directory");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (mkdirat(s->dirfd, file_path(tenant, kinds[i], NULL, "").text, 0700) < 0 && errno != EEXIST)
			return image_error(e, -errno, "make a tenant's directory");
	return blob_dir_open(s, tenant, e);
}

/* create() may be a tenant's first call as well. */
static int file_create_in_tenant(struct store *s, const char *tenant, const char *build, const struct digest *parent,
        uint64_t size_bytes, uint64_t inodes, struct volume **out, struct err *e)
{
	AUTO_CLOSE int blobs = file_blob_dir(s, tenant, e);

	return blobs < 0 ? blobs : file_create(s, tenant, build, parent, size_bytes, inodes, out, e);
}

const struct volume_ops volume_file_ops = {
        .name = "file",
        .probe = file_probe,
        .open = file_open,
        .close = file_close,
        .usage = file_usage,
        .blob_dir = file_blob_dir,
        .chain_find = file_chain_find,
        .create = file_create_in_tenant,
        .mount = file_mount,
        .unmount = file_unmount,
        .grow = file_grow,
        .size = file_size,
        .snapshot = file_snapshot,
        .journal = file_journal,
        .check = file_check,
        .open_raw = file_open_raw,
        .seal = file_seal,
        .discard = file_discard,
        .share = file_share,
        .rootfs_open = file_rootfs_open,
        .rootfs_delete = file_rootfs_delete,
        .lease_acquire = file_lease_acquire,
        .lease_release = file_lease_release,
        .lease_list = file_lease_list,
        .trim = file_trim,
        .admin = file_admin,
};
