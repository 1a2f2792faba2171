/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sessions: one layer, or the finishing pass, written through builderd-fs.
 *
 *   mount the volume → FUSE mount → builderd-fs → open the ingest file → builderd-unpack → FS_STOP → FS_DONE → unmount
 *
 * Both mounts are detached: when the descriptors go, they go, whatever state we are in. One builderd-fs serves one
 * layer, so "what this layer wrote" is what its process knows, and a damaged process harms one layer at most.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "monitor/build.h"

static bool is_fs_ready(const struct build *b)
{
	return b->session->is_fs_ready;
}

static bool is_fs_done(const struct build *b)
{
	return b->session->is_fs_done;
}

static bool is_unpack_done(const struct build *b)
{
	return b->session->is_unpack_done;
}

static int fs_start(struct build *b, struct session *s, struct err *e)
{
	AUTO_CLOSE int fuse_fd = -1;

	s->mount_fd = fuse_mount_detached(&fuse_fd, e);
	if (s->mount_fd < 0)
		return s->mount_fd;
	int rc = build_child_start(b, ROLE_FS, &s->fs, e);
	if (rc < 0)
		return rc;
	const struct msg_fs_start start = {.max_bytes = b->start.max_bytes,
	        .max_inodes = b->start.max_inodes,
	        .used_bytes = b->used_bytes,
	        .used_inodes = b->used_inodes,
	        .grant_bytes = pool_begin(&b->pool, b->used_bytes),
	        /* b->layer is behind the last one when the finishing pass runs: it has a layer of its own */
	        .layer = b->start.preserves_layers ? b->layer + 1u : 0,
	        .limits = b->m->config.limits};
	const int fds[] = {fuse_fd, s->root_fd};
	rc = channel_send(&s->fs.channel, MSG_FS_START, &start, sizeof(start), fds, 2);
	if (rc < 0)
		return err_sys(e, rc, "start builderd-fs");
	s->fs.channel.state = MSG_STATE_RUNNING;
	pool_attach(&b->pool, &s->fs.channel);
	return 0;
}

/* Opening the ingest file asks builderd-fs; build_stop() kills it if it does not answer. */
static int session_open(struct build *b, struct session *s, struct err *e)
{
	*s = (struct session){.root_fd = -1, .mount_fd = -1, .control_fd = -1};
	s->fs.channel.fd = s->unpack.channel.fd = -1;
	b->session = s;
	s->root_fd = b->m->ops->mount(b->volume, e);
	if (s->root_fd < 0)
		return s->root_fd;
	build_mark(b, "mount");
	int rc = fs_start(b, s, e);
	/* The unpacker starts while builderd-fs does. */
	if (rc >= 0)
		rc = build_child_start(b, ROLE_UNPACK, &s->unpack, e);
	if (rc >= 0)
		rc = build_wait(b, is_fs_ready, e);
	if (rc < 0)
		return rc;
	build_mark(b, "start of builderd-fs and builderd-unpack");
	s->control_fd = fuse_mount_ingest_open(s->mount_fd, e);
	return s->control_fd < 0 ? s->control_fd : 0;
}

/* What layers wrote and later ones removed goes back to the medium: the product is what its tree holds. */
static void volume_trim(struct build *b, const struct session *s)
{
	struct fstrim_range range = {.len = UINT64_MAX};

	if (ioctl(s->root_fd, FITRIM, &range) < 0 && errno != EOPNOTSUPP)
		log_warn("a volume cannot be trimmed", KV("build", b->start.build_id), KV("error", strerror(errno)));
	build_mark(b, "trim");
}

/* The unpacker is done: builderd-fs drains, syncs, tells its ledger, and both mounts go. */
static int session_close(struct build *b, struct session *s, bool is_last, struct err *e)
{
	const struct msg_fs_grown stop = {0};

	build_mark(b, "unpack");
	cleanup_close(&s->control_fd);
	/* What it does not read any more would take its last word away: a socket that is closed with messages in it
	 * resets the other end (unix(7)). */
	pool_detach(&b->pool);
	int rc = channel_send_struct(&s->fs.channel, MSG_FS_STOP, stop);
	if (rc < 0)
		return err_sys(e, rc, "stop builderd-fs");
	rc = build_wait(b, is_fs_done, e);
	if (rc < 0)
		return rc;
	pool_end(&b->pool, s->fs_result.used_bytes);
	build_child_end(b, &s->fs, true);
	build_mark(b, "stop of builderd-fs");
	cleanup_close(&s->mount_fd);
	if (is_last)
		volume_trim(b, s);
	cleanup_close(&s->root_fd);
	rc = b->m->ops->unmount(b->volume, e);
	build_mark(b, "unmount");
	if (rc < 0)
		return rc;
	b->used_bytes = s->fs_result.used_bytes;
	b->used_inodes = s->fs_result.used_inodes;
	return 0;
}

/* In every case, after success too. */
static void session_end(struct build *b, struct session *s)
{
	pool_end(&b->pool, b->used_bytes);
	build_child_end(b, &s->unpack, s->is_unpack_done);
	build_child_end(b, &s->fs, s->is_fs_done);
	cleanup_close(&s->control_fd);
	cleanup_close(&s->mount_fd);
	cleanup_close(&s->root_fd);
	b->session = NULL;
}

/* What the unpacker met may be the echo of a dead builderd-fs: then that is the reason to tell. */
static int fs_reason(struct build *b, struct session *s, int rc, struct err *e)
{
	struct pollfd p = {.fd = s->fs.pidfd, .events = POLLIN};
	char status[64];

	if (!s->fs.pid || s->is_fs_killed || rc == -ECANCELED ||
	        (e->kind != ERR_KIND_NONE && e->kind != ERR_KIND_INTERNAL && e->kind != ERR_KIND_KILLED))
		return rc;
	if (poll(&p, 1, 200) <= 0)
		return rc;
	return err_kind_set(e, -EIO, ERR_KIND_KILLED, "builderd-fs %s",
	        child_status_text(build_child_end(b, &s->fs, false), status));
}

static int layer_send(struct build *b, struct session *s, const struct layer_plan *l, struct err *e)
{
	const struct msg_unpack_layer job = {.index = l->info.index,
	        .compression = l->info.compression,
	        .size = l->info.size,
	        .diff_id = l->info.diff_id,
	        .limits = b->m->config.limits};
	const int fds[] = {l->blob_fd, s->control_fd};
	int rc = lseek(l->blob_fd, 0, SEEK_SET) < 0 ? -errno : 0; /* a second try reads it again */
	if (rc >= 0)
		rc = channel_send(&s->unpack.channel, MSG_UNPACK_LAYER, &job, sizeof(job), fds, 2);

	if (rc < 0)
		return err_sys(e, rc, "hand the layer to builderd-unpack");
	s->unpack.channel.state = MSG_STATE_RUNNING;
	return 0;
}

int session_layer(struct build *b, uint32_t index, struct err *e)
{
	struct session s;
	int rc = session_open(b, &s, e);

	if (rc >= 0)
		rc = layer_send(b, &s, &b->plan.layers[index], e);
	if (rc >= 0)
		rc = build_wait(b, is_unpack_done, e);
	if (rc >= 0)
		rc = session_close(b, &s, false, e);
	if (rc < 0)
		rc = fs_reason(b, &s, rc, e);
	session_end(b, &s);
	b->layer_work = s.unpack_result.bytes + s.unpack_result.entries * 4096;
	if (rc >= 0 && s.unpack_result.dropped_xattrs)
		build_log(b, LOG_LEVEL_WARN, "unpack", "layer %u/%u: %llu extended attributes were dropped by rule",
		        index + 1, b->plan.image.layers, (unsigned long long)s.unpack_result.dropped_xattrs);
	if (rc >= 0)
		build_log(b, LOG_LEVEL_INFO, "unpack", "layer %u/%u unpacked: %llu entries, %llu bytes", index + 1,
		        b->plan.image.layers, (unsigned long long)s.unpack_result.entries,
		        (unsigned long long)s.unpack_result.bytes);
	return rc;
}

static int finish_send(struct build *b, struct session *s, int metadata_fd, struct err *e)
{
	struct msg_unpack_finish job = {.image_digest = b->plan.image.manifest, .layers = b->plan.image.layers};
	const int fds[] = {b->plan.config_fd, b->runtime_fd, b->m->init_fd, s->control_fd, metadata_fd};

	memcpy(job.reference, b->plan.image.reference, sizeof(job.reference));
	for (uint32_t i = 0; i < job.layers; i++)
		job.layer_blobs[i] = b->plan.layers[i].info.blob;
	int rc = channel_send(&s->unpack.channel, MSG_UNPACK_FINISH, &job, sizeof(job), fds, 5);
	if (rc < 0)
		return err_sys(e, rc, "hand the finishing pass to builderd-unpack");
	s->unpack.channel.state = MSG_STATE_RUNNING;
	return 0;
}

#define METADATA_MAX (8u << 20)

/* Memory that the unpacker fills is nobody's in the books: so its size is fixed beforehand, and what is left over is
 * zero. */
static int metadata_file(void)
{
	AUTO_CLOSE int fd = memfd_create("metadata.json", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, METADATA_MAX) < 0 ||
	        fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	return STEAL_FD(&fd);
}

int session_finish(struct build *b, char **metadata, size_t *metadata_len, struct err *e)
{
	AUTO_CLOSE int metadata_fd = metadata_file();
	struct session s;

	if (metadata_fd < 0)
		return err_sys(e, metadata_fd, "make a file for the image metadata");
	int rc = session_open(b, &s, e);
	if (rc >= 0)
		rc = finish_send(b, &s, metadata_fd, e);
	if (rc >= 0)
		rc = build_wait(b, is_unpack_done, e);
	if (rc >= 0)
		rc = session_close(b, &s, true, e);
	if (rc < 0)
		rc = fs_reason(b, &s, rc, e);
	session_end(b, &s);
	if (rc < 0)
		return rc;
	rc = fd_slurp(metadata_fd, METADATA_MAX, metadata, metadata_len);
	if (rc < 0)
		return err_sys(e, rc, "read the image metadata");
	*metadata_len = strlen(*metadata);
	return 0;
}
