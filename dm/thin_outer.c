/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: the outer pool, on the operator's devices. A data device begins with a label that names its pool.
 * A device without one is taken only if it is blank.
 */
#include "thin.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fs.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "digest/hash.h"
#include "loopdev.h"

#define LABEL_MAGIC "BUILDERD-POOL-1\n"
#define LABEL_AREA (1u << 20)
#define BLOCK (1u << 20)
#define META_MIN ((uint64_t)32 << 20)
#define META_MAX ((uint64_t)15 << 30) /* the kernel uses no more than 16 GiB */
#define META_STEP ((uint64_t)1 << 20)
#define META_BYTES_PER_BLOCK 48 /* thin_metadata_size(8); doubled for snapshots */
#define DEVICE_MIN ((uint64_t)256 << 20)

/* Numbers are little endian, in bytes. */
struct label {
	char magic[16];
	char uuid[40];
	uint64_t meta_offset, meta_bytes; /* offset 0: a device of its own */
	uint64_t data_offset, data_bytes;
	uint8_t sha256[32]; /* of all before it */
};

struct medium {
	const char *path; /* the operator's: a device or the loop file */
	const char *meta_path;
	bool is_loop;
	int fd, meta_fd; /* own */
	uint64_t bytes, meta_bytes;
};

bool outer_is_configured(const struct store_options *o)
{
	return (o->dm_data_device && o->dm_data_device[0]) || (o->dm_loop_file && o->dm_loop_file[0]);
}

/* --- the medium -------------------------------------------------------------------------------------------------- */

static void medium_cleanup(struct medium *m)
{
	cleanup_close(&m->fd);
	cleanup_close(&m->meta_fd);
}

static int device_size(const char *path, int *fd, uint64_t *bytes, struct err *e)
{
	*fd = open(path, O_RDWR | O_CLOEXEC);
	if (*fd < 0)
		return err_sys(e, -errno, "open %s", path);
	if (ioctl(*fd, BLKGETSIZE64, bytes) < 0)
		return err_sys(e, -errno, "%s is not a block device that can be used", path);
	return 0;
}

static int loop_file_open(struct medium *m, const struct store_options *o, struct err *e)
{
	bool may_make = o->access == STORE_SERVE;
	struct stat st;

	m->is_loop = true;
	m->path = o->dm_loop_file;
	m->fd = open(m->path, O_RDWR | (may_make ? O_CREAT : 0) | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (m->fd < 0 || fstat(m->fd, &st) < 0)
		return err_sys(e, -errno, "open the loop file %s", m->path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "the loop file %s is not a regular file", m->path);
	m->bytes = (uint64_t)st.st_size;
	if (m->bytes)
		return 0;
	m->bytes = o->dm_loop_bytes;
	if (ftruncate(m->fd, (off_t)m->bytes) < 0)
		return err_sys(e, -errno, "size the loop file %s", m->path);
	return 0;
}

static int medium_open(struct medium *m, const struct store_options *o, struct err *e)
{
	*m = (struct medium){.path = o->dm_data_device, .fd = -1, .meta_fd = -1};
	if (!o->dm_data_device || !o->dm_data_device[0])
		return loop_file_open(m, o, e);
	int rc = device_size(m->path, &m->fd, &m->bytes, e);
	if (rc == 0 && o->dm_metadata_device && o->dm_metadata_device[0]) {
		m->meta_path = o->dm_metadata_device;
		rc = device_size(m->meta_path, &m->meta_fd, &m->meta_bytes, e);
	}
	return rc;
}

/* Whatever somebody may still need has a signature in its first mebibyte or its last 64 KiB. */
static int blank_check(int fd, const char *path, uint64_t bytes, struct err *e)
{
	const struct {
		uint64_t from, to;
	} ranges[] = {{0, 1u << 20}, {bytes - 65536, bytes}};
	char chunk[65536];

	for (size_t r = 0; r < ARRAY_LEN(ranges); r++) {
		for (uint64_t at = ranges[r].from; at < ranges[r].to; at += sizeof(chunk)) {
			if (pread(fd, chunk, sizeof(chunk), (off_t)at) != (ssize_t)sizeof(chunk))
				return err_sys(e, -EIO, "read %s", path);
			if (chunk[0] || memcmp(chunk, chunk + 1, sizeof(chunk) - 1))
				return err_set(e, -EEXIST,
				        "%s is neither empty nor a pool of builderd's: if nobody needs what is on it, "
				        "clear its first mebibyte and its last 64 KiB",
				        path);
		}
	}
	return 0;
}

/* --- the label --------------------------------------------------------------------------------------------------- */

static void label_digest(const struct label *l, struct digest *out)
{
	hash_buffer(DIGEST_SHA256, l, offsetof(struct label, sha256), out);
}

/* 1: read, 0: there is none. */
static int label_read(const struct medium *m, struct label *l, struct err *e)
{
	struct digest d;

	if (pread(m->fd, l, sizeof(*l), 0) != (ssize_t)sizeof(*l))
		return err_sys(e, -EIO, "read the label of %s", m->path);
	if (memcmp(l->magic, LABEL_MAGIC, sizeof(l->magic)))
		return 0;
	label_digest(l, &d);
	if (memcmp(l->sha256, d.bytes, sizeof(l->sha256)) || strnlen(l->uuid, sizeof(l->uuid)) != POOL_UUID_MAX - 1)
		return err_set(e, -EUCLEAN, "the label of %s is damaged", m->path);
	return 1;
}

static int label_make(const struct medium *m, const char *uuid, struct label *l, struct err *e)
{
	uint64_t meta = m->meta_bytes, at = LABEL_AREA;

	if (m->bytes < DEVICE_MIN)
		return err_set(e, -EINVAL, "%s has %" PRIu64 " MiB, a pool needs at least %" PRIu64 " MiB", m->path,
		        m->bytes >> 20, DEVICE_MIN >> 20);
	if (m->meta_path && meta < META_MIN / 4)
		return err_set(e, -EINVAL, "%s has %" PRIu64 " KiB, pool metadata needs at least %" PRIu64 " MiB",
		        m->meta_path, meta >> 10, META_MIN >> 22);
	*l = (struct label){.magic = LABEL_MAGIC};
	memcpy(l->uuid, uuid, POOL_UUID_MAX);
	if (!m->meta_path) {
		meta = m->bytes / 1024; /* per block of 1 MiB: an entry of 48 bytes, and room for the trees above it */
		meta = (meta < META_MIN ? META_MIN : meta) / BLOCK * BLOCK;
		l->meta_offset = htole64(at);
		at += meta > META_MAX ? META_MAX : meta;
	}
	l->meta_bytes = htole64(meta > META_MAX ? META_MAX : meta);
	l->data_offset = htole64(at);
	l->data_bytes = htole64((m->bytes - at) / BLOCK * BLOCK);
	return 0;
}

static int label_write(const struct medium *m, struct label *l, struct err *e)
{
	struct digest d;

	label_digest(l, &d);
	memcpy(l->sha256, d.bytes, sizeof(l->sha256));
	char block[4096] = {0};
	memcpy(block, l, sizeof(*l));
	int rc = fd_pwrite_all(m->fd, block, sizeof(block), 0);
	if (rc == 0 && fsync(m->fd) < 0)
		rc = -errno;
	return rc < 0 ? err_sys(e, rc, "write a label to %s", m->path) : 0;
}

/* The row first, the label last: a medium without a label has nothing on it yet. */
static int set_up(struct store *s, const struct medium *m, struct label *l, struct err *e)
{
	AUTO_FREE struct device_row *devices = NULL;
	char uuid[POOL_UUID_MAX];
	size_t n = 0;
	int rc = blank_check(m->fd, m->path, m->bytes, e);

	if (rc == 0 && m->meta_path)
		rc = blank_check(m->meta_fd, m->meta_path, m->meta_bytes, e);
	if (rc < 0)
		return rc;
	rc = volumes_db_pool_get(s->db, "", &s->outer.row, e);
	if (rc == -ENOENT) {
		thin_uuid_make(uuid);
		rc = volumes_db_pool_add(s->db, "", uuid, &s->outer.row, e);
	}
	if (rc == 0)
		rc = volumes_db_device_list(s->db, s->outer.row.id, &devices, &n, e);
	if (rc == 0 && n)
		return err_set(e, -ENODATA, "%s is blank, but %s/volumes.db knows %zu tenants in its pool", m->path,
		        s->dir, n);
	if (rc == 0)
		rc = label_make(m, s->outer.row.uuid, l, e);
	if (rc == 0)
		rc = thin_wipe_start(m->meta_path ? m->meta_path : m->path, le64toh(l->meta_offset), e);
	if (rc == 0)
		rc = label_write(m, l, e);
	if (rc == 0)
		log_info("a pool was set up", KV("device", m->path), KV("pool", l->uuid));
	return rc;
}

static int adopt(struct store *s, const struct medium *m, const struct label *l, struct err *e)
{
	int rc = volumes_db_pool_get(s->db, "", &s->outer.row, e);

	if (rc == -ENOENT || (rc == 0 && strcmp(s->outer.row.uuid, l->uuid)))
		return err_set(
		        e, -EEXIST, "%s holds pool %s, which %s/volumes.db does not know", m->path, l->uuid, s->dir);
	if (rc == 0 && le64toh(l->data_offset) + le64toh(l->data_bytes) > m->bytes)
		return err_set(e, -EIO, "%s has become smaller than its pool", m->path);
	if (rc == 0 && !l->meta_offset && !m->meta_path)
		return err_set(e, -EINVAL, "the metadata of pool %s is on a device of its own: name it", l->uuid);
	return rc;
}

/* --- linear devices ---------------------------------------------------------------------------------------------- */

static int linears_up(struct store *s, const struct medium *m, const struct label *l, const char *path, struct err *e)
{
	const char *meta_path = l->meta_offset ? path : m->meta_path;
	int rc = thin_linear(&s->outer.row, "meta", meta_path, le64toh(l->meta_offset), le64toh(l->meta_bytes), e);

	if (rc == 0)
		rc = thin_linear(&s->outer.row, "data", path, le64toh(l->data_offset), le64toh(l->data_bytes), e);
	return rc;
}

/* Which loop device the pool's data is on. */
static int loop_find(struct store *s, struct loopdev *loop, struct err *e)
{
	char live[64], path[LOOPDEV_PATH_MAX];
	int rc = dm_live_table(thin_name(&s->outer.row, "data", 0).text, live, sizeof(live), e);

	if (rc < 0)
		return rc;
	if (sscanf(live, "7:%d ", &loop->number) != 1)
		return err_set(
		        e, -EEXIST, "pool %.8s is up on \"%s\", which is no loop device", s->outer.row.uuid, live);
	loop->fd = open(loopdev_path(loop, path), O_RDWR | O_CLOEXEC);
	return loop->fd < 0 ? err_sys(e, -errno, "open %s", path) : loopdev_resize(loop, e);
}

/* The loop device detaches itself when the linear devices above it go. */
static int loop_linears_up(struct store *s, const struct medium *m, const struct label *l, struct err *e)
{
	struct loopdev loop = LOOPDEV_NONE;
	char path[LOOPDEV_PATH_MAX];
	struct dm_state meta, data;
	int rc = dm_state_get(thin_name(&s->outer.row, "meta", 0).text, &meta, e);

	if (rc == 0)
		rc = dm_state_get(thin_name(&s->outer.row, "data", 0).text, &data, e);
	if (rc < 0 || (meta.exists && data.exists && s->access == STORE_LOOK))
		return rc;
	rc = data.exists ? loop_find(s, &loop, e) : loopdev_attach(&loop, m->fd, "builderd-pool", e);
	if (rc == 0)
		rc = linears_up(s, m, l, loopdev_path(&loop, path), e);
	cleanup_close(&loop.fd);
	return rc;
}

/* --- bigger ------------------------------------------------------------------------------------------------------ */

static uint64_t data_bytes_max(uint64_t meta_bytes)
{
	return meta_bytes / (2 * META_BYTES_PER_BLOCK) * BLOCK;
}

/* What the label should say now that the medium has the size that it has. */
static void label_fit(const struct medium *m, struct label *l)
{
	uint64_t meta = le64toh(l->meta_bytes), data = (m->bytes - le64toh(l->data_offset)) / BLOCK * BLOCK;

	if (m->meta_path && m->meta_bytes > meta)
		meta = m->meta_bytes > META_MAX ? META_MAX : m->meta_bytes / META_STEP * META_STEP;
	if (meta > le64toh(l->meta_bytes))
		l->meta_bytes = htole64(meta);
	if (data > data_bytes_max(meta)) {
		log_warn("the pool cannot use all of its device: its metadata maps no more", KV("device", m->path),
		        KV_U("bytes", data), KV_U("used", data_bytes_max(meta)));
		data = data_bytes_max(meta);
	}
	if (data > le64toh(l->data_bytes))
		l->data_bytes = htole64(data);
}

/* The label first, one sector: whatever stops afterwards is finished at the next start. */
static int grow(struct store *s, const struct medium *m, struct label *l, struct err *e)
{
	const struct label before = *l;

	if (s->access != STORE_SERVE)
		return 0;
	label_fit(m, l);
	if (!memcmp(&before, l, sizeof(before)))
		return 0;
	int rc = label_write(m, l, e);
	if (rc == 0)
		log_info("the pool grows", KV("device", m->path), KV_U("from", le64toh(before.data_bytes)),
		        KV_U("to", le64toh(l->data_bytes)), KV_U("metadata", le64toh(l->meta_bytes)));
	return rc;
}

/* Under the pool's lock, if others know it already. */
static int pool_bring_up(struct store *s, const struct medium *m, struct label *l, struct err *e)
{
	int rc = grow(s, m, l, e);

	if (rc == 0)
		rc = m->is_loop ? loop_linears_up(s, m, l, e) : linears_up(s, m, l, m->path, e);
	/* A full pool makes writers wait, for an operator to enlarge it; admission keeps room (thin_volume.c). */
	const struct pool_layout layout = {
	        .block_bytes = BLOCK, .data_bytes = le64toh(l->data_bytes), .feature = "skip_block_zeroing"};
	return rc < 0 ? rc : pool_up(&s->outer, &layout, e);
}

static bool has_grown(const struct store *s, const struct medium *m, struct err *e)
{
	struct label l, fit;

	if (label_read(m, &l, e) <= 0 || strcmp(l.uuid, s->outer.row.uuid) != 0)
		return false;
	fit = l;
	label_fit(m, &fit);
	return memcmp(&fit, &l, sizeof(l)) != 0;
}

int outer_grow(struct store *s, struct err *e)
{
	const struct store_options o = {.dm_data_device = s->data_device,
	        .dm_metadata_device = s->metadata_device,
	        .dm_loop_file = s->loop_file,
	        .access = STORE_CHANGE};
	AUTO(medium_cleanup) struct medium m;
	struct label l;
	int rc = medium_open(&m, &o, e);

	if (rc < 0 || !has_grown(s, &m, e))
		return rc;
	pthread_mutex_lock(&s->outer.lock);
	rc = label_read(&m, &l, e);
	if (rc > 0)
		rc = pool_bring_up(s, &m, &l, e);
	pthread_mutex_unlock(&s->outer.lock);
	return rc;
}

/* --- up and down ------------------------------------------------------------------------------------------------- */

static char *copy_of(const char *text)
{
	return text && text[0] ? xstrdup(text) : NULL;
}

int outer_up(struct store *s, const struct store_options *o, struct err *e)
{
	AUTO(medium_cleanup) struct medium m;
	struct dm_state pool;
	struct label l;
	int rc = medium_open(&m, o, e);

	if (rc == 0)
		rc = label_read(&m, &l, e);
	if (rc < 0)
		return rc;
	s->outer.db = s->db;
	if (!rc && s->access != STORE_SERVE)
		return err_set(e, -ENODEV, "%s holds no pool of builderd's", m.path);
	rc = rc ? adopt(s, &m, &l, e) : set_up(s, &m, &l, e);
	if (rc == 0 && faccessat(s->dirfd, OUTER_REPAIRED, F_OK, 0) == 0)
		rc = err_set(e, -EUCLEAN, "a repair was stopped half-way: run it again");
	if (rc < 0)
		return rc;
	s->data_device = copy_of(o->dm_data_device);
	s->metadata_device = copy_of(o->dm_metadata_device);
	s->loop_file = copy_of(o->dm_loop_file);
	s->outer.is_look = s->access == STORE_LOOK;
	rc = dm_state_get(thin_name(&s->outer.row, "pool", 0).text, &pool, e);
	s->was_up = rc == 0 && pool.exists && s->access == STORE_LOOK;
	if (rc == 0)
		rc = pool_bring_up(s, &m, &l, e);
	if (rc == -EUCLEAN)
		return err_wrap(e, "the host's pool is damaged: run \"builder-volume fsck --repair\" while builderd is "
		                   "stopped");
	return rc;
}

int outer_meta_up(struct store *s, const struct store_options *o, struct meta_facts *facts, struct err *e)
{
	AUTO(medium_cleanup) struct medium m;
	struct loopdev loop = LOOPDEV_NONE;
	char path[LOOPDEV_PATH_MAX];
	struct label l;
	int rc = medium_open(&m, o, e);

	if (rc == 0)
		rc = label_read(&m, &l, e);
	if (rc <= 0)
		return rc < 0 ? rc : err_set(e, -ENODEV, "%s holds no pool of builderd's", m.path);
	s->outer.db = s->db;
	rc = adopt(s, &m, &l, e);
	if (rc == 0)
		rc = pool_down(&s->outer, e); /* what a builderd left that died */
	if (rc == 0 && m.is_loop)
		rc = loopdev_attach(&loop, m.fd, "builderd-pool", e);
	if (rc < 0)
		return rc;
	*facts =
	        (struct meta_facts){.tid = s->outer.row.tid, .block_bytes = BLOCK, .data_bytes = le64toh(l.data_bytes)};
	const char *data_path = m.is_loop ? loopdev_path(&loop, path) : m.path;
	rc = thin_linear(&s->outer.row, "meta", l.meta_offset ? data_path : m.meta_path, le64toh(l.meta_offset),
	        le64toh(l.meta_bytes), e);
	cleanup_close(&loop.fd);
	return rc;
}

void outer_down(struct store *s)
{
	struct err e = ERR_INIT;

	if (s->outer.db && !s->was_up && pool_down(&s->outer, &e) < 0)
		log_warn("the pool stays up", KV("error", e.msg));
}

void outer_look(const struct store_options *o, char *out, size_t size)
{
	bool is_loop = !o->dm_data_device || !o->dm_data_device[0];
	struct medium m = {.path = is_loop ? o->dm_loop_file : o->dm_data_device, .meta_fd = -1};
	struct err e = ERR_INIT;
	struct dm_state state = {0};
	struct label l;

	m.fd = open(m.path, O_RDONLY | O_CLOEXEC);
	int rc = m.fd < 0 ? -errno : label_read(&m, &l, &e);
	if (rc == -ENOENT && is_loop)
		snprintf(out, size, "%s does not exist and would be made", m.path);
	else if (rc < 0)
		snprintf(out, size, "%s: %s", m.path, e.code ? e.msg : strerror(-rc));
	else if (!rc)
		snprintf(out, size, "%s has no pool: it would be set up if it is blank, else refused", m.path);
	medium_cleanup(&m);
	if (rc <= 0)
		return;
	struct pool_row row = {0};
	memcpy(row.uuid, l.uuid, POOL_UUID_MAX);
	bool is_up = dm_state_get(thin_name(&row, "pool", 0).text, &state, NULL) == 0 && state.exists;
	snprintf(out, size, "%s holds pool %s, %" PRIu64 " MiB, %s", m.path, l.uuid, le64toh(l.data_bytes) >> 20,
	        is_up ? "up" : "not up");
}
