/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `file` backend: volumes while builds write them, and the chains they leave. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "image.h"
#include "mount.h"

/* Not in the kernel's exported headers: fs/ext4/ext4.h, Documentation/admin-guide/ext4.rst "Ioctls". */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

#define BLOCK_SIZE 4096
#define RELEASE_TIMEOUT_MS 10000
#define HEADROOM (64ull << 20) /* a build is not begun on a medium with less free */

/* --- chains ------------------------------------------------------------------------------------------------------ */

/* 0 with *ROW if the chain can be believed and its file is there. */
static int chain_look_up(
        struct store *s, const char *tenant, const struct digest *chain, struct chain_row *row, struct err *e)
{
	struct file_path p = file_chain_path(tenant, chain, ".ext4");
	int rc = volumes_db_chain_get(s->db, tenant, chain, row, e);

	if (rc < 0)
		return rc;
	if (faccessat(s->dirfd, p.text, R_OK, 0) == 0)
		return 0;
	log_warn("a chain's file is gone", KV("tenant", tenant), KV("file", p.text));
	rc = volumes_db_chain_delete(s->db, tenant, chain, e);
	return rc < 0 ? rc : -ENOENT;
}

int file_chain_find(
        struct store *s, const char *tenant, const struct digest *chain, struct chain_info *out, struct err *e)
{
	struct chain_row row;
	int rc = chain_look_up(s, tenant, chain, &row, e);

	if (rc < 0)
		return rc;
	*out = row.info;
	return volumes_db_chain_touch(s->db, tenant, chain, time_wall_ms(), e);
}

/* The copy appears under its name only when it is whole. -EEXIST: another build was faster with the same chain. */
static int chain_copy(struct volume *v, const struct digest *chain, struct err *e)
{
	struct store *s = v->store;
	char suffix[BUILD_ID_MAX + 8];

	snprintf(suffix, sizeof(suffix), ".%s.tmp", v->build);
	struct file_path tmp = file_chain_path(v->tenant, chain, suffix),
	                 to = file_chain_path(v->tenant, chain, ".ext4");
	AUTO_CLOSE int fd = openat(s->dirfd, tmp.text, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return image_error(e, -errno, "make a chain");
	int rc = image_copy(v->fd, fd, false, e);
	if (rc == 0 && fchmod(fd, 0444) < 0)
		rc = err_sys(e, -errno, "make a chain read-only");
	if (rc == 0 && renameat2(s->dirfd, tmp.text, s->dirfd, to.text, RENAME_NOREPLACE) < 0)
		rc = errno == EEXIST ? -EEXIST : err_sys(e, -errno, "name a chain");
	if (rc < 0)
		unlinkat(s->dirfd, tmp.text, 0);
	return rc;
}

/*
 * Where a snapshot is a copy, the chains of an image with many layers would cost the square of its size. So one is made
 * when unpacking again what came since the last one would write at least a quarter of what the copy does: all chains of
 * an image together then cost a few times its size at most, and a layer that is not kept is cheap to unpack. Small
 * volumes are always kept.
 */
#define COPY_FREE_BYTES (64ull << 20)
#define COPY_WORK_SHARE 4

static bool is_worth_a_copy(const struct volume *v)
{
	struct stat st;

	if (v->store->has_reflink || fstat(v->fd, &st) < 0)
		return true;
	uint64_t cost = (uint64_t)st.st_blocks * 512;
	return cost <= COPY_FREE_BYTES || v->work_bytes >= cost / COPY_WORK_SHARE;
}

int file_snapshot(struct volume *v, const struct digest *chain_id, const struct chain_info *info, struct err *e)
{
	struct store *s = v->store;
	struct chain_row row = {.chain = *chain_id, .info = *info, .last_use_ms = time_wall_ms()};
	struct chain_row there;

	int rc = chain_look_up(s, v->tenant, chain_id, &there, e);
	v->work_bytes = rc == -ENOENT ? v->work_bytes + info->work_bytes : 0;
	if (rc != -ENOENT)
		return rc;
	if (!is_worth_a_copy(v))
		return 1;
	rc = chain_copy(v, chain_id, e);
	if (rc == -EEXIST)
		return 0;
	if (rc < 0)
		return rc;
	snprintf(row.tenant, sizeof(row.tenant), "%s", v->tenant);
	snprintf(row.boot_id, sizeof(row.boot_id), "%s", s->boot_id);
	row.info.size_bytes = v->size_bytes;
	v->work_bytes = 0;
	rc = volumes_db_chain_put(s->db, &row, e);
	if (rc < 0) {
		unlinkat(s->dirfd, file_chain_path(v->tenant, chain_id, ".ext4").text, 0);
		return rc;
	}
	file_syncer_add(s->syncer, v->tenant, chain_id);
	return 0;
}

/* --- create ------------------------------------------------------------------------------------------------------ */

static int headroom_check(struct store *s, uint64_t wanted, struct err *e)
{
	struct statvfs st;

	if (fstatvfs(s->dirfd, &st) < 0)
		return err_sys(e, -errno, "ask for free space below %s", s->dir);
	uint64_t free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	if (free_bytes < wanted + HEADROOM)
		return err_kind_set(e, -ENOSPC, ERR_KIND_DISK_FULL,
		        "%s has %llu MiB free, this build needs at least %llu MiB", s->dir,
		        (unsigned long long)(free_bytes >> 20), (unsigned long long)((wanted + HEADROOM) >> 20));
	return 0;
}

/* Clone PARENT into V; then as big as asked. */
static int volume_from_chain(
        struct volume *v, const struct digest *parent, uint64_t size_bytes, uint64_t inodes, struct err *e)
{
	struct store *s = v->store;
	struct file_path p = file_chain_path(v->tenant, parent, ".ext4");
	AUTO_CLOSE int from = openat(s->dirfd, p.text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	uint64_t have, unused;

	if (from < 0)
		return err_sys(e, -errno, "open %s", p.text);
	if (fstat(from, &st) < 0)
		return err_sys(e, -errno, "look at %s", p.text);
	int rc = headroom_check(s, (uint64_t)st.st_blocks * 512, e);
	if (rc == 0)
		rc = image_copy(from, v->fd, true, e);
	if (rc == 0)
		rc = image_inodes(v->fd, &have, &unused, e);
	if (rc < 0)
		return rc;
	uint64_t size = size_bytes > (uint64_t)st.st_size ? image_size(size_bytes, 0) : (uint64_t)st.st_size;
	if (inodes > have && have) /* inodes come with block groups: as many more bytes, in proportion */
		size = image_size((uint64_t)((double)st.st_size * ((double)inodes / (double)have)), inodes);
	v->size_bytes = size > (uint64_t)st.st_size ? size : (uint64_t)st.st_size;
	return image_grow(v->fd, v->size_bytes, e);
}

static int volume_fill(
        struct volume *v, const struct digest *parent, uint64_t size_bytes, uint64_t inodes, struct err *e)
{
	struct chain_row row;
	int rc;

	if (parent) {
		rc = chain_look_up(v->store, v->tenant, parent, &row, e);
		return rc < 0 ? rc : volume_from_chain(v, parent, size_bytes, inodes, e);
	}
	v->size_bytes = image_size(size_bytes, inodes);
	rc = headroom_check(v->store, 0, e);
	return rc < 0 ? rc : image_make(v->fd, v->size_bytes, inodes, e);
}

int file_create(struct store *s, const char *tenant, const char *build, const struct digest *parent,
        uint64_t size_bytes, uint64_t inodes, struct volume **out, struct err *e)
{
	struct file_path p = file_path(tenant, "builds", build, ".ext4");
	struct volume *v = xcalloc(1, sizeof(*v));

	*v = (struct volume){.store = s, .loop = LOOPDEV_NONE, .root_fd = -1};
	snprintf(v->tenant, sizeof(v->tenant), "%s", tenant);
	snprintf(v->build, sizeof(v->build), "%s", build);
	v->fd = openat(s->dirfd, p.text, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (v->fd < 0) {
		int rc = image_error(e, -errno, "make a volume");
		free(v);
		return rc;
	}
	file_syncer_busy(s->syncer, 1);
	int rc = fchmod(v->fd, 0666) < 0 ? err_sys(e, -errno, "open %s to e2fsprogs", p.text)
	                                 : volume_fill(v, parent, size_bytes, inodes, e);
	if (rc < 0) {
		file_discard(v);
		return rc;
	}
	*out = v;
	return 0;
}

/* --- mounted ------------------------------------------------------------------------------------------------------ */

int file_mount(struct volume *v, struct err *e)
{
	char path[LOOPDEV_PATH_MAX], name[64];

	snprintf(name, sizeof(name), "%s", v->build);
	int rc = loopdev_attach(&v->loop, v->fd, name, e);
	if (rc < 0)
		return rc;
	v->root_fd = mount_detached(loopdev_path(&v->loop, path), e);
	int root = v->root_fd < 0 ? v->root_fd : fcntl(v->root_fd, F_DUPFD_CLOEXEC, 3);
	if (v->root_fd >= 0 && root < 0)
		root = err_sys(e, -errno, "copy a descriptor");
	if (root < 0) {
		cleanup_close(&v->root_fd);
		loopdev_release(&v->loop, RELEASE_TIMEOUT_MS, NULL);
	}
	return root;
}

/* What the device could not write: a full medium shows as an I/O error one layer up. */
static int write_error(struct volume *v, int code, struct err *e)
{
	struct err full = ERR_INIT;

	if (code == -ENOSPC || headroom_check(v->store, 0, &full) < 0)
		return image_error(e, -ENOSPC, "write the volume");
	return err_sys(e, code, "write the volume of build %s", v->build);
}

int file_unmount(struct volume *v, struct err *e)
{
	int rc = v->root_fd >= 0 && syncfs(v->root_fd) < 0 ? write_error(v, -errno, e) : 0;

	cleanup_close(&v->root_fd);
	int released = loopdev_release(&v->loop, RELEASE_TIMEOUT_MS, rc < 0 ? NULL : e);
	return rc == 0 ? released : rc;
}

static int resize_mounted(struct volume *v, int root_fd, uint64_t size, struct err *e)
{
	uint64_t blocks = size / BLOCK_SIZE;

	if (ftruncate(v->fd, (off_t)size) < 0)
		return image_error(e, -errno, "enlarge an image");
	int rc = loopdev_resize(&v->loop, e);
	if (rc < 0)
		return rc;
	if (ioctl(root_fd, EXT4_IOC_RESIZE_FS, &blocks) < 0) {
		rc = -errno;
		if (rc == -EPERM) /* ext4_resize_begin() */
			return err_set(e, rc, "enlarge a mounted volume: builderd needs CAP_SYS_RESOURCE for it");
		return err_sys(e, rc, "enlarge the volume of build %s to %llu MiB", v->build,
		        (unsigned long long)(size >> 20));
	}
	return 0;
}

int file_grow(struct volume *v, int root_fd, uint64_t size_bytes, struct err *e)
{
	uint64_t size = image_size(size_bytes, 0);

	if (size <= v->size_bytes)
		return 0;
	int rc = headroom_check(v->store, 0, e);
	if (rc == 0)
		rc = v->loop.fd >= 0 ? resize_mounted(v, root_fd, size, e) : image_grow(v->fd, size, e);
	if (rc < 0) {
		if (v->loop.fd >= 0 && ftruncate(v->fd, (off_t)v->size_bytes) == 0)
			loopdev_resize(&v->loop, NULL);
		return rc;
	}
	v->size_bytes = size;
	return 0;
}

uint64_t file_size(const struct volume *v)
{
	return v->size_bytes;
}

/* --- unmounted ---------------------------------------------------------------------------------------------------- */

int file_journal(struct volume *v, struct err *e)
{
	return image_journal_add(v->fd, e);
}

int file_check(struct volume *v, struct err *e)
{
	return image_check(v->fd, e);
}

/* Whoever reads the bytes is about to seal them: the disk begins to write while they are hashed. Not before: what
 * earlier layers wrote may be gone by then, and chains are copied with the disk to themselves. */
int file_open_raw(struct volume *v, struct err *e)
{
	struct file_path p = file_path(v->tenant, "builds", v->build, ".ext4");
	int fd = openat(v->store->dirfd, p.text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "open %s", p.text);
	file_syncer_start(v->store->syncer, v->fd);
	return fd;
}

void file_discard(struct volume *v)
{
	struct err e = ERR_INIT;

	if (!v)
		return;
	unlinkat(v->store->dirfd, file_path(v->tenant, "builds", v->build, ".ext4").text, 0);
	cleanup_close(&v->root_fd);
	if (loopdev_release(&v->loop, RELEASE_TIMEOUT_MS, &e) < 0)
		log_error("a discarded volume is still in use", KV("build", v->build), KV("error", e.msg));
	cleanup_close(&v->fd);
	file_syncer_busy(v->store->syncer, -1);
	free(v);
}
