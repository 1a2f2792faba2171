/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One build, from START to its last message.
 *
 * Order of a build, and what a crash leaves: fetch plans the image; a product with the same key is shared, done.
 * Otherwise the longest known chain becomes a volume; each missing layer is one *session* (mount, builderd-fs,
 * builderd-unpack, unmount) followed by a chain snapshot; the finishing pass is a session too; then e2fsck and SHA-256
 * side by side, and seal. Until seal nothing is visible under the build's id; a crash leaves a volume that the next
 * start throws away, and chains that are complete.
 */
#ifndef MONITOR_BUILD_H
#define MONITOR_BUILD_H

#include <stdatomic.h>

#include "base/log.h"
#include "monitor/monitor.h"

enum build_stop { BUILD_GO_ON, BUILD_STOP_CANCEL, BUILD_STOP_TIMEOUT, BUILD_STOP_SHUTDOWN };

struct layer_plan {
	struct msg_fetch_layer info;
	struct digest chain_id;
	int blob_fd; /* owns; -1 until it is downloaded */
};

struct image_plan {
	struct msg_fetch_image image;
	struct layer_plan layers[IMAGE_LAYERS_MAX];
	uint32_t n_known; /* LAYER messages that came */
	int config_fd;    /* owns */
};

/* A mounted volume with its builderd-fs, for one layer or the finishing pass. */
struct session {
	struct child fs, unpack;
	int root_fd;    /* owns: backing root */
	int mount_fd;   /* owns: detached FUSE mount */
	int control_fd; /* owns: the ingest file */
	bool is_fs_ready, is_fs_done, is_unpack_done;
	bool is_fs_killed; /* by us, to free the unpacker */
	struct msg_fs_done fs_result;
	struct msg_unpack_done unpack_result;
};

struct build {
	struct build *next; /* main thread only */
	struct monitor *m;
	pthread_t thread;
	struct loop_timer *timeout; /* main thread only */
	bool is_delete_wanted;      /* main thread only: delete what the build left once it ended */

	struct pool_member pool; /* its part of the tenant's storage */
	struct msg_build_start start;
	int source_fd, runtime_fd; /* own: specs, never read here */
	unsigned slot;             /* picks the uid of the unpacker */

	int stop_fd;     /* owns: eventfd, readable once the build is to stop */
	atomic_int stop; /* enum build_stop */
	pthread_mutex_t children_lock;
	int children[8]; /* under children_lock: pidfds of living children, -1 = free slot */

	/* build thread only from here */
	struct child fetch;
	struct image_plan plan;
	bool is_fetch_done;
	struct session *session;
	struct volume *volume;
	uint64_t used_bytes, used_inodes;
	uint64_t unpacked_bytes;      /* of blobs, finished layers */
	uint64_t size_min;            /* of the volume; a guess that was too small raises it */
	bool is_grow_refused;         /* this host does not let us enlarge a mounted volume */
	uint64_t layer_work;          /* what the last layer wrote, an entry counted as a block */
	uint32_t layer;               /* index being unpacked */
	uint32_t messages, log_lines; /* from all children: bounded */
	int64_t t_progress;           /* when the last one was posted */
	struct msg_build_progress progress;
	struct msg_build_done result;
	int metadata_fd;                           /* owns: sent with the result */
	uint64_t fetch_peak, fs_peak, unpack_peak; /* bytes */
	int64_t t_start, t_step, t_mark;
};

/* Main thread: start a build from a START message; takes the descriptors. */
int build_start(struct monitor *m, const struct msg_build_start *start, int source_fd, int runtime_fd, struct err *e);

/* Main thread: ask it to stop and kill its children. The first reason stays. */
void build_stop(struct build *b, enum build_stop why);

struct build *build_find(struct monitor *m, const char *build_id);

/* Main thread, after the thread has ended: join and free. */
void build_free(struct build *b);

/* --- build thread ------------------------------------------------------------------------------------------------ */

/* Serve the children's messages until IS_MET. -ECANCELED when the build is to stop; else what a child reported. */
typedef bool build_condition(const struct build *b);
int build_wait(struct build *b, build_condition *is_met, struct err *e);

/* Start a child in ROLE and register it for build_stop(). */
int build_child_start(struct build *b, enum role role, struct child *c, struct err *e);

/* End a child: a second's grace when IS_DONE, else at once. Returns the wait status. */
int build_child_end(struct build *b, struct child *c, bool is_done);

/* Tell the client: a log line, and how far we are. */
void build_log(struct build *b, enum log_level level, const char *component, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
void build_progress(struct build *b, enum build_state state, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));

/* Milliseconds since the last step ended; a new one begins. */
uint32_t build_step_ms(struct build *b);

/* A line in the debug log: WHAT just ended, and what it took since the last mark. */
void build_mark(struct build *b, const char *what);

/* layers.c: from the longest known chain to a volume that holds all layers, unmounted. */
int layers_unpack(struct build *b, struct err *e);
/* Make the volume as big as its contents and the guest's free space want. */
int layers_room(struct build *b, struct err *e);

/* session.c: mount, start builderd-fs; unpack one layer; the finishing pass; everything ends in session_end. */
int session_layer(struct build *b, uint32_t index, struct err *e);
int session_finish(struct build *b, char **metadata, size_t *metadata_len, struct err *e);

/* fuse_mount.c: a FUSE mount that is attached nowhere. *FUSE_FD is the server's end. Returns the mount's descriptor;
 * both are the caller's. */
int fuse_mount_detached(int *fuse_fd, struct err *e);

/* Open the mount's ingest file for reading and writing, and nothing else whatever builderd-fs says. Blocks until it
 * answers. Returns the caller's descriptor. */
int fuse_mount_ingest_open(int mount_fd, struct err *e);

#endif
