/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The messages between builderd's programs: one table, plain structs, bounded sizes.
 *
 * Transport: SOCK_SEQPACKET socketpair, one message per packet: struct msg_header, the type's struct, descriptors as
 * SCM_RIGHTS. All programs come from one build on one host, so structs cross as they are (native byte order,
 * zero-filled padding). Each type is listed once in MSG_TABLE with its sender, the states of the conversation in which
 * it is legal, whether it may come once only, and its exact size. builderd ends a child that breaks the table. Nothing
 * here is a path: children name things by id, index and enum, and get descriptors.
 */
#ifndef IPC_MESSAGE_H
#define IPC_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"

#define BUILD_ID_MAX 40  /* "build_" + 26 characters of ULID + NUL, room to grow */
#define TENANT_ID_MAX 72 /* [A-Za-z0-9][A-Za-z0-9._-]{0,63} */
#define MSG_MAX_FDS 8
#define MSG_MAX_BYTES 16384 /* header included */
#define IMAGE_LAYERS_MAX 127
#define LEASE_ID_MAX 40     /* "lease_" + 26 characters of ULID + NUL, room to grow */
#define LEASE_HOLDER_MAX 72 /* [A-Za-z0-9][A-Za-z0-9._-]{0,63} */
#define LEASE_JAIL_MAX 192  /* relative path: components of [A-Za-z0-9._-], none "." or ".." */

enum lease_mode { LEASE_READ_ONLY = 1, LEASE_COW = 2 };

/* Who may send a message to builderd; ROLE_MONITOR is builderd itself. */
enum role {
	ROLE_MONITOR,
	ROLE_API,
	ROLE_FETCH,
	ROLE_UNPACK,
	ROLE_FS,
	ROLE_COUNT,             /* of the programs that builderd starts, and itself */
	ROLE_ADMIN = ROLE_COUNT /* builder-volume: it connects */
};

/* Where a conversation stands. Bits: a table row lists every state in which its message is legal. */
enum msg_state {
	MSG_STATE_NEW = 1,     /* started, nothing said yet */
	MSG_STATE_RUNNING = 2, /* after the START message of the role */
	MSG_STATE_PLANNED = 4, /* fetch: the image is known, layers are being downloaded */
	MSG_STATE_DONE = 8,    /* the child said DONE or FAIL: silence is expected */
};

enum compression { COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD, COMPRESSION_COUNT };
enum source_kind { SOURCE_REGISTRY, SOURCE_OCI_LAYOUT, SOURCE_DOCKER_ARCHIVE, SOURCE_KIND_COUNT };

/* builder.v1.BuildState, same numbers. */
enum build_state {
	BUILD_UNSPECIFIED,
	BUILD_PENDING,
	BUILD_PULLING,
	BUILD_EXTRACTING,
	BUILD_BUILDING,
	BUILD_OPTIMIZING,
	BUILD_COMPLETED,
	BUILD_FAILED,
	BUILD_CANCELLED,
	BUILD_CLEANING,
	BUILD_STATE_COUNT
};

struct msg_header {
	uint32_t type;   /* enum msg_type */
	uint32_t length; /* of the payload that follows */
};

/* --- limits that travel with a build; 0 is never "unlimited" ------------------------------------------------- */
/* The names are those of corpus/limits.json; defaults in src/build/config.c. */
struct image_limits {
	uint64_t index_depth, index_entries, json_depth;
	uint64_t max_config, max_manifest; /* bytes */
	uint64_t max_layers;
	uint64_t max_depth;          /* directories below the root */
	uint64_t max_entries;        /* archive entries of one layer */
	uint64_t max_file;           /* bytes, apparent size of one file */
	uint64_t max_total;          /* bytes, sum of apparent sizes of one layer */
	uint64_t max_links;          /* names of one inode */
	uint64_t max_name, max_path; /* bytes */
	uint64_t max_pax;            /* bytes of one entry's extended headers */
	uint64_t max_sparse_segments;
	uint64_t max_xattr_bytes, max_xattrs; /* of one entry */
	uint64_t max_ratio;                   /* uncompressed / compressed, once over 64 MiB uncompressed */
	uint64_t max_image;                   /* bytes, compressed layers in all */
};

/* --- api -> builderd ------------------------------------------------------------------------------------------- */

/* fds: [0] source spec, [1] runtime spec: sealed memfds with JSON (doc/ipc.md). builderd hands them on unread. */
struct msg_build_start {
	char build_id[BUILD_ID_MAX];
	char tenant_id[TENANT_ID_MAX];
	uint32_t source_kind; /* enum source_kind; local kinds need LOCAL_IMAGES_DIR in the configuration */
	uint32_t timeout_ms;
	uint64_t max_bytes; /* the build's quota: allocated bytes of its tree */
	uint64_t max_inodes;
	uint64_t preserves_layers; /* 1: each layer stays a directory of its own (ipc/ingest.h, INGEST_LAYERS) */
	struct digest
	        runtime_key; /* sha256 over what decides the finishing pass: same chain + same key = same product */
};

struct msg_build_ref { /* BUILD_CANCEL, BUILD_DELETE, ARTIFACT_OPEN */
	char build_id[BUILD_ID_MAX];
	char tenant_id[TENANT_ID_MAX];
};

struct msg_lease_acquire {
	uint64_t serial; /* of the question, any number; the answer has it, too */
	char tenant_id[TENANT_ID_MAX];
	char build_id[BUILD_ID_MAX];
	char holder[LEASE_HOLDER_MAX];
	char jail[LEASE_JAIL_MAX];
	uint32_t mode; /* enum lease_mode */
};

struct msg_lease_release {
	uint64_t serial;
	char lease_id[LEASE_ID_MAX];
};

#define LEASE_PAGE_MAX 100

struct msg_lease_list {
	uint64_t serial;
	char tenant_id[TENANT_ID_MAX]; /* "": all, so for the build */
	char build_id[BUILD_ID_MAX];
	char after[LEASE_ID_MAX]; /* "": from the first */
	uint32_t limit;           /* 1 to LEASE_PAGE_MAX */
};

/* What a tenant may store, and what it does; before a build of it starts, and when it changes. */
struct msg_tenant_storage {
	char tenant_id[TENANT_ID_MAX];
	uint64_t max_bytes, stored_bytes;
	uint64_t done_seen; /* BUILD_DONE that came so far: these products are in stored_bytes */
};

struct msg_api_ready {
	uint32_t port; /* the port that was bound */
};

/* --- builderd -> api ------------------------------------------------------------------------------------------- */

struct msg_build_progress {
	char build_id[BUILD_ID_MAX];
	uint32_t state;                   /* enum build_state */
	uint32_t percent;                 /* of the whole build, 0-100, never falls */
	uint64_t bytes_done, bytes_total; /* of the current step; total 0: not known */
	char step[160];                   /* what a person reads: "layer 2/3: unpacking" */
};

struct msg_build_log {
	char build_id[BUILD_ID_MAX]; /* set by builderd; zero when a child sends it as MSG_LOG */
	uint32_t level;              /* enum log_level */
	char component[16];          /* fetch, unpack, fs, storage, builderd */
	char text[1024];
};

/* Final word on a build. fds when COMPLETED: [0] memfd with the image metadata JSON (the text of metadata.json). */
struct msg_build_done {
	char build_id[BUILD_ID_MAX];
	uint32_t state; /* COMPLETED, FAILED, CANCELLED */
	uint32_t layers_total, layers_cached;
	struct err err;
	struct digest checksum;     /* of the rootfs file; COMPLETED only */
	struct digest image_digest; /* of the manifest */
	uint64_t original_bytes;    /* compressed layers in all */
	uint64_t rootfs_bytes;      /* size of the block device */
	uint64_t disk_bytes;        /* allocated in the tree */
	uint64_t inodes;
	uint64_t memory_peak_bytes;
	uint64_t downloaded_bytes;
	uint32_t pull_ms, extract_ms, build_ms, optimize_ms, seal_ms, total_ms;
	char rootfs_path[256]; /* for metald and operators */
};

/* Answer to BUILD_DELETE. */
struct msg_build_deleted {
	char build_id[BUILD_ID_MAX];
	uint64_t freed_bytes;
	struct err err; /* code 0: gone (also when it was not there) */
};

/* Answer to ARTIFACT_OPEN. fds when err.code == 0: [0] the rootfs, read-only. */
struct msg_artifact {
	char build_id[BUILD_ID_MAX];
	uint64_t size;
	struct err err;
};

/* After READY. fds: [0] a listening stream socket for clients on this host; who connects is known by uid. */
struct msg_api_listen {
	uint32_t metald_uid; /* the VM manager's; 0: it has none of its own */
};

struct msg_lease_info {
	char lease_id[LEASE_ID_MAX];
	char tenant_id[TENANT_ID_MAX];
	char build_id[BUILD_ID_MAX];
	char holder[LEASE_HOLDER_MAX];
	char jail[LEASE_JAIL_MAX];
	uint32_t mode;
	int64_t created_ms;    /* Unix time */
	char path[256];        /* "": not up, or lost */
	uint32_t major, minor; /* 0: a file */
	uint64_t size_bytes;
	unsigned char fs_uuid[16];
	struct digest checksum, verity_root;
	char verity_path[256];
};

/* Answer to LEASE_ACQUIRE. fds when err.code == 0: [0] metadata.json. */
struct msg_lease {
	uint64_t serial;
	struct err err;
	struct msg_lease_info info;
};

/* Answer to LEASE_RELEASE. */
struct msg_lease_released {
	uint64_t serial;
	struct err err;
};

/* Answer to LEASE_LIST. fds when err.code == 0: [0] COUNT of struct msg_lease_info. */
struct msg_leases {
	uint64_t serial;
	uint32_t count;    /* at most the limit that was asked for */
	uint32_t has_more; /* there are others behind them */
	struct err err;
};

struct msg_storage { /* sent after READY and every 10 s while it changes; health */
	char backend[16];
	uint64_t total_bytes, free_bytes;
	uint64_t used_bytes;
	uint32_t active_builds;
	uint32_t is_healthy;
};

/* After SIGHUP. fds: [0] the certificate, [1] its key, [2] the client CA if there is one; read-only files. */
struct msg_tls_files {
	uint32_t has_client_ca;
};

/* --- builderd <-> fetch ---------------------------------------------------------------------------------------- */

/* fds: [0] source spec, [1] directory of the tenant's blobs, owned by fetch's uid: "sha256-<hex>" = verified blob,
 * ".tmp-*" = a download under way. [2] for local sources only: the operator's image directory. */
struct msg_fetch_start {
	char build_id[BUILD_ID_MAX]; /* for temporary names */
	uint32_t source_kind;
	uint32_t timeout_ms; /* the pull timeout */
	struct image_limits limits;
};

/* The image after manifest and config were verified. fds: [0] the config blob, read-only. Then LAYER 0..n-1. */
struct msg_fetch_image {
	struct digest manifest, config;
	uint32_t layers;
	uint64_t compressed_bytes; /* sum of the layer descriptors */
	char reference[512];       /* canonical: registry/name:tag or as given for local sources */
};

struct msg_fetch_layer {
	uint32_t index;
	uint32_t compression; /* enum compression */
	uint64_t size;        /* of the blob */
	struct digest blob, diff_id;
};

/* builderd -> fetch, once, after the last LAYER: download layers first..layers-1 (the earlier ones are in the chain
 * cache). first == layers: nothing is needed, say DONE. */
struct msg_fetch_want {
	uint32_t first;
};

struct msg_fetch_blob { /* fds: [0] the verified blob, read-only, offset 0; in any order */
	uint32_t index;
	uint32_t is_cached; /* it was on disk already */
};

struct msg_fetch_progress { /* at most ten a second */
	uint64_t bytes_done, bytes_total;
};

/* --- builderd <-> unpack --------------------------------------------------------------------------------------- */

/* One layer. fds: [0] the blob, [1] the ingest control file, open for reading and writing.
 * A process unpacks one layer and ends. */
struct msg_unpack_layer {
	uint32_t index;
	uint32_t compression;
	uint64_t size; /* of the blob */
	struct digest diff_id;
	struct image_limits limits;
};

/* The finishing pass. fds: [0] config blob, [1] runtime spec, [2] the static init program, [3] the ingest control file,
 * [4] an empty file to write metadata.json into. */
struct msg_unpack_finish {
	char reference[512];
	struct digest image_digest;
	uint32_t layers;
	struct digest layer_blobs[IMAGE_LAYERS_MAX]; /* for the metadata's layers[] */
};

/* Hash a whole file with SHA-256 (holes included). fds: [0] the file. */
struct msg_unpack_hash {
	uint64_t size;
};

struct msg_unpack_progress { /* at most ten a second */
	uint64_t bytes_done; /* of the blob read so far */
	uint64_t entries;
};

struct msg_unpack_done {
	struct digest digest; /* HASH: of the file; LAYER: the diffID that was computed (equal to the one asked for) */
	uint64_t entries;     /* archive entries */
	uint64_t bytes;       /* uncompressed */
	uint64_t dropped_xattrs; /* by rule, see images.md */
};

/* --- builderd <-> fs ------------------------------------------------------------------------------------------- */

/* fds: [0] /dev/fuse of a mount already made, [1] the backing root directory. */
struct msg_fs_start {
	uint64_t max_bytes, max_inodes;   /* quota of the build */
	uint64_t used_bytes, used_inodes; /* already charged: what the parent chain holds */
	uint64_t grant_bytes; /* of the tenant's storage, for this build; UINT64_MAX: no limit but the quota */
	uint64_t layer;       /* 0: the tree is the volume's root; N: layer N - 1 of preserved layers */
	struct image_limits limits;
};

/* fs -> builderd: the volume will be full before the quota is; answered by FS_GROWN. The sender waits for it. */
struct msg_fs_grow {
	uint64_t free_bytes, free_inodes; /* what statvfs says */
	uint64_t want_bytes;              /* free space wanted */
};

struct msg_fs_grown {
	int32_t code; /* 0, or -errno: the volume stays as it is */
};

/* fs -> builderd: what this build has charged may grow up to need_bytes; answered by FS_GRANT, which the sender waits
 * for. need_bytes 0: the answer to FS_RECALL, used_bytes are kept. */
struct msg_fs_need {
	uint64_t need_bytes, used_bytes;
};

struct msg_fs_grant {
	uint64_t grant_bytes; /* in all; below what was needed: there is no more */
};

struct msg_fs_recall { /* give back what was granted and is not used */
	uint64_t reserved;
};

struct msg_fs_done { /* after FS_STOP: everything is drained and synced, the process ends */
	uint64_t used_bytes, used_inodes;
	uint64_t requests; /* FUSE requests served */
};

struct msg_fail {
	struct err err;
};

/* --- builder-volume <-> builderd, over VOLUME_SOCKET: one request, progress, one answer ----------------------------
 */

#define ADMIN_ID_MAX 136 /* a chain's hex digits */

enum admin_command {
	ADMIN_LS,
	ADMIN_DF,
	ADMIN_INSPECT,
	ADMIN_WHY_FULL,
	ADMIN_EXPORT,
	ADMIN_MOUNT,
	ADMIN_UMOUNT,
	ADMIN_TRIM,
	ADMIN_ORPHANS,
	ADMIN_DESTROY,
	ADMIN_REKEY,
	ADMIN_HEADER_BACKUP,
	ADMIN_HEADER_RESTORE,
	ADMIN_FSCK,
	ADMIN_GROW,    /* tenant, bytes: how big it is to be */
	ADMIN_ENLARGE, /* the host's pool, to what its device has become */
	ADMIN_COMMAND_COUNT
};

enum admin_flag {
	ADMIN_REMOVE = 1, /* ORPHANS */
	ADMIN_ALL = 2,    /* REKEY: every tenant */
	ADMIN_MASTER = 4, /* REKEY: the key above the tenants' keys */
	ADMIN_REPAIR = 8  /* FSCK */
};

/* dm/admin.h says which command takes what. fds: as its row there says. */
struct msg_admin_request {
	uint32_t command; /* enum admin_command */
	uint32_t flags;   /* enum admin_flag */
	char tenant[TENANT_ID_MAX];
	char id[ADMIN_ID_MAX], parent[ADMIN_ID_MAX]; /* of volumes: a build, or a chain's first hex digits */
	uint64_t bytes;
};

struct msg_admin_progress {
	char text[160];
	uint64_t done, total; /* total 0: not known */
};

/* fds: when there is an answer: [0] sealed memfd with one JSON object; MOUNT: [1] the mount, attached nowhere. */
struct msg_admin_answer {
	struct err err; /* code 0: done */
};

#define MSG_NR (MSG_STATE_NEW | MSG_STATE_RUNNING)
#define MSG_RP (MSG_STATE_RUNNING | MSG_STATE_PLANNED)
#define MSG_NRP (MSG_NR | MSG_STATE_PLANNED)

/*        id               name            sender        states   once   payload                      descriptors */
#define MSG_TABLE(X)                                                                                                   \
	X(API_READY, "api-ready", ROLE_API, MSG_STATE_NEW, true, struct msg_api_ready, 0, 0)                           \
	X(API_LISTEN, "api-listen", ROLE_MONITOR, MSG_STATE_RUNNING, true, struct msg_api_listen, 1, 1)                \
	X(BUILD_START, "build-start", ROLE_API, MSG_STATE_RUNNING, false, struct msg_build_start, 2, 2)                \
	X(BUILD_CANCEL, "build-cancel", ROLE_API, MSG_STATE_RUNNING, false, struct msg_build_ref, 0, 0)                \
	X(BUILD_DELETE, "build-delete", ROLE_API, MSG_STATE_RUNNING, false, struct msg_build_ref, 0, 0)                \
	X(TENANT_STORAGE, "tenant-storage", ROLE_API, MSG_STATE_RUNNING, false, struct msg_tenant_storage, 0, 0)       \
	X(ARTIFACT_OPEN, "artifact-open", ROLE_API, MSG_STATE_RUNNING, false, struct msg_build_ref, 0, 0)              \
	X(LEASE_ACQUIRE, "lease-acquire", ROLE_API, MSG_STATE_RUNNING, false, struct msg_lease_acquire, 0, 0)          \
	X(LEASE_RELEASE, "lease-release", ROLE_API, MSG_STATE_RUNNING, false, struct msg_lease_release, 0, 0)          \
	X(LEASE_LIST, "lease-list", ROLE_API, MSG_STATE_RUNNING, false, struct msg_lease_list, 0, 0)                   \
	X(BUILD_PROGRESS, "build-progress", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_build_progress, 0, 0)   \
	X(BUILD_LOG, "build-log", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_build_log, 0, 0)                  \
	X(BUILD_DONE, "build-done", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_build_done, 0, 1)               \
	X(BUILD_DELETED, "build-deleted", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_build_deleted, 0, 0)      \
	X(ARTIFACT, "artifact", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_artifact, 0, 1)                     \
	X(LEASE, "lease", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_lease, 0, 1)                              \
	X(LEASE_RELEASED, "lease-released", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_lease_released, 0, 0)   \
	X(LEASES, "leases", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_leases, 0, 1)                           \
	X(STORAGE, "storage", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_storage, 0, 0)                        \
	X(TLS_FILES, "tls-files", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_tls_files, 2, 3)                  \
	X(FETCH_START, "fetch-start", ROLE_MONITOR, MSG_STATE_NEW, true, struct msg_fetch_start, 2, 3)                 \
	X(FETCH_WANT, "fetch-want", ROLE_MONITOR, MSG_STATE_PLANNED, true, struct msg_fetch_want, 0, 0)                \
	X(FETCH_IMAGE, "fetch-image", ROLE_FETCH, MSG_STATE_RUNNING, true, struct msg_fetch_image, 1, 1)               \
	X(FETCH_LAYER, "fetch-layer", ROLE_FETCH, MSG_STATE_PLANNED, false, struct msg_fetch_layer, 0, 0)              \
	X(FETCH_BLOB, "fetch-blob", ROLE_FETCH, MSG_STATE_PLANNED, false, struct msg_fetch_blob, 1, 1)                 \
	X(FETCH_PROGRESS, "fetch-progress", ROLE_FETCH, MSG_RP, false, struct msg_fetch_progress, 0, 0)                \
	X(FETCH_DONE, "fetch-done", ROLE_FETCH, MSG_STATE_PLANNED, true, struct msg_fetch_progress, 0, 0)              \
	X(FETCH_LOG, "fetch-log", ROLE_FETCH, MSG_RP, false, struct msg_build_log, 0, 0)                               \
	X(FETCH_FAIL, "fetch-fail", ROLE_FETCH, MSG_NRP, true, struct msg_fail, 0, 0)                                  \
	X(UNPACK_LAYER, "unpack-layer", ROLE_MONITOR, MSG_STATE_NEW, true, struct msg_unpack_layer, 2, 2)              \
	X(UNPACK_FINISH, "unpack-finish", ROLE_MONITOR, MSG_STATE_NEW, true, struct msg_unpack_finish, 5, 5)           \
	X(UNPACK_HASH, "unpack-hash", ROLE_MONITOR, MSG_STATE_NEW, true, struct msg_unpack_hash, 1, 1)                 \
	X(UNPACK_PROGRESS, "unpack-progress", ROLE_UNPACK, MSG_STATE_RUNNING, false, struct msg_unpack_progress, 0, 0) \
	X(UNPACK_DONE, "unpack-done", ROLE_UNPACK, MSG_STATE_RUNNING, true, struct msg_unpack_done, 0, 0)              \
	X(UNPACK_LOG, "unpack-log", ROLE_UNPACK, MSG_STATE_RUNNING, false, struct msg_build_log, 0, 0)                 \
	X(UNPACK_FAIL, "unpack-fail", ROLE_UNPACK, MSG_NR, true, struct msg_fail, 0, 0)                                \
	X(FS_START, "fs-start", ROLE_MONITOR, MSG_STATE_NEW, true, struct msg_fs_start, 2, 2)                          \
	X(FS_GROWN, "fs-grown", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_fs_grown, 0, 0)                     \
	X(FS_GRANT, "fs-grant", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_fs_grant, 0, 0)                     \
	X(FS_RECALL, "fs-recall", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_fs_recall, 0, 0)                  \
	X(FS_STOP, "fs-stop", ROLE_MONITOR, MSG_STATE_RUNNING, true, struct msg_fs_grown, 0, 0)                        \
	X(FS_READY, "fs-ready", ROLE_FS, MSG_STATE_RUNNING, true, struct msg_fs_done, 0, 0)                            \
	X(FS_GROW, "fs-grow", ROLE_FS, MSG_STATE_RUNNING, false, struct msg_fs_grow, 0, 0)                             \
	X(FS_NEED, "fs-need", ROLE_FS, MSG_STATE_RUNNING, false, struct msg_fs_need, 0, 0)                             \
	X(FS_DONE, "fs-done", ROLE_FS, MSG_STATE_RUNNING, true, struct msg_fs_done, 0, 0)                              \
	X(FS_LOG, "fs-log", ROLE_FS, MSG_STATE_RUNNING, false, struct msg_build_log, 0, 0)                             \
	X(FS_FAIL, "fs-fail", ROLE_FS, MSG_NR, true, struct msg_fail, 0, 0)                                            \
	X(ADMIN_REQUEST, "admin-request", ROLE_ADMIN, MSG_STATE_NEW, true, struct msg_admin_request, 0, 1)             \
	X(ADMIN_PROGRESS, "admin-progress", ROLE_MONITOR, MSG_STATE_RUNNING, false, struct msg_admin_progress, 0, 0)   \
	X(ADMIN_ANSWER, "admin-answer", ROLE_MONITOR, MSG_STATE_RUNNING, true, struct msg_admin_answer, 0, 2)

enum msg_type {
	MSG_NONE,
#define X(id, name, sender, states, once, payload, min_fds, max_fds) MSG_##id,
	MSG_TABLE(X)
#undef X
	        MSG_TYPE_COUNT
};

struct msg_rule {
	const char *name;
	uint32_t sender;  /* enum role */
	uint32_t states;  /* bits of enum msg_state */
	uint32_t is_once; /* a second one is a breach */
	uint32_t size;    /* of the payload, exact */
	uint32_t min_fds, max_fds;
};

extern const struct msg_rule msg_rules[MSG_TYPE_COUNT];

/* Name for logs, "unknown" outside the table. */
const char *msg_name(uint32_t type);

/* BUILD_ID and TENANT_ID as they came over a socket: terminated, legal characters, never "." or "..". */
bool msg_build_id_is_valid(const char id[BUILD_ID_MAX]);
bool msg_tenant_id_is_valid(const char id[TENANT_ID_MAX]);

/* The same for what leases are named by. */
bool msg_lease_id_is_valid(const char id[LEASE_ID_MAX]);
bool msg_lease_holder_is_valid(const char holder[LEASE_HOLDER_MAX]);
/* Also "". */
bool msg_lease_jail_is_valid(const char jail[LEASE_JAIL_MAX]);

#endif
