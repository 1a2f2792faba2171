/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * volumes.db: what a backend knows of chains and rootfs, and what the dm backend knows of pools and the devices in
 * them. SQLite, WAL, synchronous=FULL (sql.h): a row that was written is durable. Calls may come from any thread; a
 * mutex makes them one at a time.
 */
#ifndef DM_VOLUMES_DB_H
#define DM_VOLUMES_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "dm/volume.h"
#include "ipc/message.h"

struct volumes_db;

#define BOOT_ID_MAX 40

struct chain_row {
	char tenant[TENANT_ID_MAX];
	struct digest chain;
	struct chain_info info;
	int64_t last_use_ms; /* Unix time */
	bool is_durable;     /* the file was synced; else it can be believed only while the kernel that wrote it runs */
	char boot_id[BOOT_ID_MAX];
};

struct rootfs_row {
	char tenant[TENANT_ID_MAX], build[BUILD_ID_MAX];
	struct digest product_key;
	struct rootfs_info info;   /* without path */
	struct digest verity_root; /* zero: there is no hash tree */
};

int volumes_db_open(const char *path, struct volumes_db **out, struct err *e);
void volumes_db_close(struct volumes_db *db);

/* Insert or replace. */
int volumes_db_chain_put(struct volumes_db *db, const struct chain_row *row, struct err *e);
/* -ENOENT: no row (no sentence in E). */
int volumes_db_chain_get(
        struct volumes_db *db, const char *tenant, const struct digest *chain, struct chain_row *out, struct err *e);
int volumes_db_chain_touch(
        struct volumes_db *db, const char *tenant, const struct digest *chain, int64_t now_ms, struct err *e);
int volumes_db_chain_set_durable(struct volumes_db *db, const char *tenant, const struct digest *chain, struct err *e);
int volumes_db_chain_delete(struct volumes_db *db, const char *tenant, const struct digest *chain, struct err *e);
/* All rows, oldest use first. The caller frees *OUT. */
int volumes_db_chain_list(struct volumes_db *db, struct chain_row **out, size_t *n, struct err *e);

int volumes_db_rootfs_put(struct volumes_db *db, const struct rootfs_row *row, struct err *e);
int volumes_db_rootfs_get(
        struct volumes_db *db, const char *tenant, const char *build, struct rootfs_row *out, struct err *e);
/* The newest of the tenant's with this key. */
int volumes_db_rootfs_find(struct volumes_db *db, const char *tenant, const struct digest *product_key,
        struct rootfs_row *out, struct err *e);
int volumes_db_rootfs_delete(struct volumes_db *db, const char *tenant, const char *build, struct err *e);
int volumes_db_rootfs_list(struct volumes_db *db, struct rootfs_row **out, size_t *n, struct err *e);

/* --- pools and their thin devices ----------------------------------------------------------------------------------
 */
/*
 * A pool's own metadata and these rows are two stores; the pool's transaction id ties them together. begin (a durable
 * intent) → one message to the pool → set_transaction_id → finish, or abort when the message was refused.
 */
#define POOL_UUID_MAX 33 /* 32 hex digits */
#define DEVICE_KIND_MAX 12
#define DEVICE_NAME_MAX 136 /* a chain's hex digits */
#define POOL_STATE_MAX 160
#define DEVICE_DAMAGE_MAX 120

struct pool_row {
	int64_t id;
	char uuid[POOL_UUID_MAX];
	char tenant[TENANT_ID_MAX]; /* "": the outer pool */
	uint64_t tid;
	uint32_t key_generation;    /* of the key file that opens the tenant's volume */
	unsigned meta_region;       /* which of the two regions holds the metadata: 0 the first, 1 the second */
	uint64_t meta_bytes;        /* of each of those two; 0: as older versions decided it (thin_inner.c) */
	int64_t last_check_ms;      /* Unix time; 0: never */
	char state[POOL_STATE_MAX]; /* "": well; else a sentence, why it is DEGRADED */
};

struct device_row {
	int64_t pool;
	uint32_t id; /* in its pool; never used again */
	char kind[DEVICE_KIND_MAX], name[DEVICE_NAME_MAX];
	uint64_t size_bytes, own_bytes; /* own: not shared with what it was made from, about */
	bool is_ready;                  /* what is in it is complete */
	uint32_t parent;                /* it began as a snapshot of this one; 0: of none */
	int64_t created_ms;             /* Unix time */
	char damage[DEVICE_DAMAGE_MAX]; /* "": none known; else why it is LOST or not to be trusted */
};

enum intent_op { INTENT_CREATE = 1, INTENT_DELETE = 2 };

struct intent_row {
	uint64_t tid; /* what the pool's transaction id will be */
	int op;       /* enum intent_op */
	uint32_t device;
};

int volumes_db_pool_add(
        struct volumes_db *db, const char *tenant, const char *uuid, struct pool_row *out, struct err *e);
/* -ENOENT: no row, no sentence. So for the look-ups below. */
int volumes_db_pool_get(struct volumes_db *db, const char *tenant, struct pool_row *out, struct err *e);
/* All, the outer one first. The caller frees *OUT. */
int volumes_db_pool_list(struct volumes_db *db, struct pool_row **out, size_t *n, struct err *e);
/* Key generation, state, region and its size, last check. */
int volumes_db_pool_update(struct volumes_db *db, const struct pool_row *row, struct err *e);
/* With its devices and intent. */
int volumes_db_pool_delete(struct volumes_db *db, int64_t pool, struct err *e);

/* Its pool, devices, chains, rootfs and leases, in one transaction. */
int volumes_db_tenant_forget(struct volumes_db *db, const char *tenant, struct err *e);
/* How many of those there are. */
int volumes_db_tenant_count(struct volumes_db *db, const char *tenant, uint64_t *n, struct err *e);

/* A new device's row with its id in DEV->id, and the intent; pool, kind, name, size are the caller's. MOVES_TID: the
 * pool's transaction id will be one more. */
int volumes_db_create_begin(struct volumes_db *db, struct device_row *dev, bool moves_tid, struct err *e);
int volumes_db_delete_begin(struct volumes_db *db, int64_t pool, uint32_t id, struct err *e);
int volumes_db_intent_finish(struct volumes_db *db, int64_t pool, struct err *e);
int volumes_db_intent_abort(struct volumes_db *db, int64_t pool, struct err *e);
int volumes_db_intent_get(struct volumes_db *db, int64_t pool, struct intent_row *out, struct err *e);

int volumes_db_device_get(
        struct volumes_db *db, int64_t pool, const char *kind, const char *name, struct device_row *out, struct err *e);
/* A row for a device that the pool has and the database did not: all of it is the caller's. Its id is not used again.
 */
int volumes_db_device_adopt(struct volumes_db *db, const struct device_row *dev, struct err *e);
/* Of one that the pool does not have. */
int volumes_db_device_forget(struct volumes_db *db, int64_t pool, uint32_t id, struct err *e);
/* From now on the pool's transaction id is TID; no intent is left. */
int volumes_db_pool_adopt(struct volumes_db *db, int64_t pool, uint64_t tid, struct err *e);
/* Kind, name, sizes, is_ready, damage. */
int volumes_db_device_update(struct volumes_db *db, const struct device_row *dev, struct err *e);
struct cache_row {
	char tenant[TENANT_ID_MAX];
	uint64_t own_bytes;
};
/* The tenants' caches with something in them, those of the longest unused chains first. The caller frees *OUT. */
int volumes_db_cache_list(struct volumes_db *db, struct cache_row **out, size_t *n, struct err *e);
/* In the order of their ids. The caller frees *OUT. */
int volumes_db_device_list(struct volumes_db *db, int64_t pool, struct device_row **out, size_t *n, struct err *e);

/* --- leases: who was given a rootfs --------------------------------------------------------------------------------
 */
struct lease_row {
	char id[LEASE_ID_MAX];
	char tenant[TENANT_ID_MAX], build[BUILD_ID_MAX];
	int mode;                      /* enum lease_mode */
	char holder[LEASE_HOLDER_MAX]; /* the VM, as the VM manager calls it */
	char jail[LEASE_JAIL_MAX];     /* where a node was placed, below the allowed directory; "": nowhere */
	uint32_t device;               /* COW: the clone, in the tenant's pool */
	int64_t created_ms;            /* Unix time */
};

int volumes_db_lease_put(struct volumes_db *db, const struct lease_row *row, struct err *e);
int volumes_db_lease_get(struct volumes_db *db, const char *id, struct lease_row *out, struct err *e);
int volumes_db_lease_delete(struct volumes_db *db, const char *id, struct err *e);
/* Of TENANT and BUILD; "": of any. In the order of their ids. The caller frees *OUT. */
int volumes_db_lease_list(
        struct volumes_db *db, const char *tenant, const char *build, struct lease_row **out, size_t *n, struct err *e);

#endif
