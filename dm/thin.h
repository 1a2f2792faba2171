/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend, shared by its own files only.
 *
 *   data device (or loop file)   1 MiB label | metadata, unless it has a device of its own | data
 *   └ outer thin pool            blocks of 1 MiB, not zeroed (what leaks is ciphertext under another key)
 *     └ thin volume per tenant
 *       └ LUKS2
 *         ├ linear: metadata     then a spare region of the same size, for thin_repair
 *         └ linear: data
 *           └ inner thin pool    blocks of 64 KiB, zeroed, error when full
 *             ├ golden-<class>   an empty ext4, never mounted
 *             ├ cache            ext4 with a journal, mounted nowhere: blobs/, metadata/<build>.json
 *             ├ chain-<hex>      snapshot after a layer, never active
 *             ├ build-<build>    while a build writes it
 *             ├ rootfs-<build>   the product, active read-only
 *             ├ verity-<build>   its hash tree, if there is one (verity.h)
 *             └ vm-<lease>         a VM's own clone of a product
 *
 * STATE_DIR/dm/   lock   volumes.db (volumes_db.h)   keys/<tenant>.<generation> (keys.h)   master.key unless configured
 *
 * Locks, in this order: a tenant's, a pool's. A device becomes something (chain, rootfs) by its row in volumes.db,
 * which is the last step; the deletion of that row is the first step of a removal. So after a crash, whatever has no
 * row is garbage (thin_open.c, leftovers).
 */
#ifndef DM_THIN_H
#define DM_THIN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "dm.h"
#include "dm/admin.h"
#include "dm/volume.h"
#include "ipc/message.h"
#include "keys.h"
#include "volumes_db.h"

#define DEVICE_DEAD "dead" /* the kind of what is being deleted; its name is "KIND-ID", what it was */

#define THIN_STATE_DIR_MAX 120
/* How full a pool may get. */
#define POOL_META_FULL_PERCENT 80             /* of the metadata: nothing is made beyond */
#define POOL_DATA_WARN_PERCENT 90             /* of the host's pool: it is reported as unhealthy beyond */
#define POOL_ADMIT_PERCENT 95                 /* of the host's pool: no build begins beyond */
#define POOL_ADMIT_BYTES ((uint64_t)64 << 20) /* no build begins in a pool with less free */
#define POOL_KEEP_BYTES ((uint64_t)8 << 20)   /* nothing is made in one with less free */

#define THIN_TIMEOUT_MS 10000 /* how long a device may stay in use after we let go of it */

struct thin_name {
	char text[DM_DEVICE_NAME_MAX];
};

/* A thin pool that is up, the outer one or a tenant's. */
struct pool {
	struct store *store;
	struct volumes_db *db;
	struct pool_row row;
	pthread_mutex_t lock; /* one change at a time */
	char refusal[256];    /* why it is not written to, "" if it is; under lock */
	bool is_look;         /* STORE_LOOK: read-only, not recovered */
	uint64_t block_bytes;
	bool is_in_trouble; /* the watchdog has said so */
	bool is_meta_full;  /* it saw the metadata at its limit; under the tenant's lock */
};

struct pool_layout {
	uint64_t block_bytes;
	uint64_t data_bytes;
	const char *feature; /* "error_if_no_space" */
};

struct pool_usage {
	uint64_t tid;
	uint64_t data_used, data_total;                      /* bytes */
	uint64_t meta_used, meta_total;                      /* metadata blocks */
	bool needs_check, has_failed, is_read_only, is_full; /* is_full: writers wait, or get errors */
};

/* --- thin_pool.c ---------------------------------------------------------------------------------------------------
 */

/* builderd-<first 8 digits of the pool's uuid>-KIND-<hex id> */
struct thin_name thin_name(const struct pool_row *pool, const char *kind, uint32_t id);
int thin_activate(const struct pool_row *pool, const char *kind, uint32_t id, const struct dm_table *t, struct err *e);
int thin_deactivate(const struct pool_row *pool, const char *kind, uint32_t id, int timeout_ms, struct err *e);
/* SIZE bytes of DEVICE (a path) from OFFSET on. */
int thin_linear(const struct pool_row *pool, const char *kind, const char *device, uint64_t offset, uint64_t size,
        struct err *e);
void thin_uuid_make(char out[POOL_UUID_MAX]);
/* Zero the first bytes of a device that is up, so that the kernel makes new pool metadata there. */
int thin_wipe_start(const char *path, uint64_t offset, struct err *e);

/* Its two linear devices, "meta" and "data", are up: bring the pool up, and bring kernel and database together. A pool
 * that disagrees with the database comes up all the same; p->refusal says why nothing may be changed. -EUCLEAN: its
 * metadata is damaged. */
int pool_up(struct pool *p, const struct pool_layout *l, struct err *e);
int pool_down(struct pool *p, struct err *e);
/* RC is what the kernel answers when it cannot make sense of a pool's metadata. */
bool pool_is_damage(int rc);
/* As of now; nothing is flushed for it. */
int pool_usage_get(const struct pool *p, struct pool_usage *out, struct err *e);
/* What a person has to know about it, "" if nothing. */
void pool_trouble(const struct pool_usage *u, char *out, size_t size);
bool pool_meta_is_full(const struct pool_usage *u);
/* A build may begin in WHAT ("the host's pool"). */
int pool_room_check(const struct pool *p, const char *what, struct err *e);

/* One transaction. ORIGIN (not active, suspended or read-only): a snapshot of it; NULL: an empty device. -ENOSPC: the
 * pool's metadata or its data are nearly full. */
int pool_create(struct pool *p, const char *kind, const char *name, uint64_t size_bytes,
        const struct device_row *origin, struct device_row *out, struct err *e);
/* A snapshot of a rootfs, which nobody writes: without moving the pool's transaction id, and without asking for its
 * status: what the watchdog saw last counts. */
int pool_clone(struct pool *p, const char *kind, const char *name, const struct device_row *origin,
        struct device_row *out, struct err *e);
/* Takes it down, or if it is in use lets it go when it no longer is, and makes it "dead", durably: it is nothing to
 * anybody any more, and the reaper will come. */
int pool_delete(struct pool *p, const struct device_row *dev, struct err *e);
/* The transaction at the end of a dead one. One that the pool does not have is fine. */
int pool_delete_now(struct pool *p, const struct device_row *dev, struct err *e);

int device_up(const struct pool *p, const struct device_row *dev, bool is_read_only, struct err *e);
int device_down(const struct pool *p, const struct device_row *dev, struct err *e);
int device_open(const struct pool *p, const struct device_row *dev, int flags, struct err *e);
struct thin_name device_name(const struct pool *p, const struct device_row *dev);

/* --- thin_tenant.c --------------------------------------------------------------------------------------------------
 */

struct tenant {
	struct tenant *next;
	char id[TENANT_ID_MAX];
	pthread_mutex_t lock; /* names in the pool: who makes a chain, a golden, a product */
	bool is_open;
	bool was_up;                      /* as in struct store */
	atomic_uint users;                /* references; grows under the lock only */
	atomic_bool is_reaped;            /* the reaper has one of them */
	atomic_bool is_kept_off;          /* it is to end that, and not to come back */
	atomic_int_least64_t last_use_ms; /* CLOCK_MONOTONIC, when a reference was given back */
	struct device_row outer;          /* its thin volume */
	struct pool pool;
	int cache_fd;      /* owns: root of the cache */
	bool wants_repair; /* found at the start, left to a thread */
};

struct store {
	char dir[THIN_STATE_DIR_MAX]; /* STATE_DIR/dm */
	int dirfd, lock_fd;           /* own */
	int keys_fd, headers_fd;      /* own */
	int jail_fd;                  /* owns: the jails' directory, -1: none */
	unsigned fetch_uid;
	uint64_t cache_max_bytes, tenant_bytes, tenant_idle_ms;
	enum store_access access;
	bool was_up; /* LOOK: what a builderd left that was killed; it stays as it was */
	bool forbids_discards;
	pthread_mutex_t keys_lock; /* master and the key files; the last to be taken */
	char *master_path;         /* owns */
	bool has_verity;           /* a sealed rootfs gets a hash tree */
	struct master_key master;
	struct volumes_db *db; /* owns */
	struct pool outer;
	pthread_mutex_t lock; /* the list: it grows at its head, nothing leaves it before the end */
	struct tenant *tenants;

	bool has_idle_thread, is_closing;
	pthread_t idle_thread;
	pthread_mutex_t idle_lock; /* is_closing */
	pthread_cond_t idle_wake;
	char *data_device, *metadata_device, *loop_file; /* own; as configured, NULL: none */
	bool is_starting;                                /* repairs wait */
	struct watchdog *watchdog;                       /* own */
	struct reaper *reaper;
};

/* A reference to the tenant, opened; made if it does not exist and MAY_CREATE (else -ENOENT without a sentence). As
 * long as somebody has a reference its storage stays up. Give it back: tenant_put, or AUTO(tenant_cleanup). */
int tenant_get(struct store *s, const char *id, bool may_create, struct tenant **out, struct err *e);
void tenant_put(struct tenant *t);
static inline void tenant_cleanup(struct tenant **t)
{
	tenant_put(*t);
}

/* The tenant as it is, open or not, existing or not; no reference. */
struct tenant *tenant_find(struct store *s, const char *id);
/* For walks over those that were asked for since the start: lock each before looking. */
struct tenant *tenants_first(struct store *s);
/* Somebody has a lease on one of its rootfs (or nobody knows). */
bool tenant_is_leased(struct store *s, const char *id);

/* Open those that must be up. One that cannot be opened is logged, and the error met again by whoever asks for it. */
int tenants_open(struct store *s, struct err *e);
/* Take down what nobody uses and what is not leased. False: something stays up. */
bool tenants_close(struct store *s);

/* --- thin_open.c: under the tenant's lock, t->outer is read --------------------------------------------------------
 */

int stack_make(struct store *s, struct tenant *t, struct err *e);
int stack_open(struct store *s, struct tenant *t, struct err *e);
/* As far as nobody else uses it. 1: what is leased stays up. */
int stack_down(struct store *s, struct tenant *t, struct err *e);
/* The same for an open one, unless somebody has a lease, a device or the cache open: 1, all is as it was. */
int stack_let_go(struct store *s, struct tenant *t, struct err *e);
/* An open one whose volume has become bigger in t->outer. */
int stack_enlarge(struct store *s, struct tenant *t, struct err *e);
/* Half of a tenant that was being made: nothing is in it. */
int stack_wreck_remove(struct store *s, struct tenant *t, struct err *e);

/* --- thin_key.c ------------------------------------------------------------------------------------------------------
 */

#define MASTER_NEXT ".next" /* the master key that is to take the place of the one without it */

/* Under the tenant's lock, t->outer up, t->pool.row read: a new tenant's key and header; the volume decrypted as CRYPT,
 * its header restored from the backup if it must, a rekey that was interrupted ended; that alone. */
int tenant_key_first(struct store *s, struct tenant *t, const char *crypt, struct err *e);
int tenant_key_open(struct store *s, struct tenant *t, const char *crypt, struct err *e);
int tenant_key_adopt(struct store *s, struct tenant *t, struct err *e);

/* Another key opens the tenant's volume, the one before does no more. Builds go on meanwhile. GENERATION: today's. */
int tenant_rekey(struct store *s, const char *tenant, uint32_t *generation, struct err *e);

/* Seal all keys under another master key: NEW_FILE's, which from then on is to be configured (run it again if it was
 * interrupted), or one that is made and takes the place of the configured file (NULL). */
int store_master_rotate(struct store *s, const char *new_file, struct err *e);

/* Today's header backup into FD. The tenant need not be open. */
int tenant_header_backup(struct store *s, const char *tenant, int fd, struct err *e);
/* The backup in FD becomes the header. The tenant is closed for it: -EBUSY while builds or leases are there. -EUCLEAN:
 * it is no header, or another volume's; -EPERM: from before a rekey. */
int tenant_header_restore(struct store *s, const char *tenant, int fd, struct err *e);

/* Where the master key is: what is configured, what the service manager hands over (systemd.exec(5), LoadCredential=),
 * or a file of our own. The caller frees it. */
char *master_key_path(const struct store_options *o);

/* --- thin_destroy.c --------------------------------------------------------------------------------------------------
 */

#define TENANT_DYING "dying" /* the kind of its outer device, from then on that it is to be destroyed */

/* What was seen after each step. All of the booleans are true, or something is to be looked after by a person. */
struct tenant_destroyed {
	unsigned key_files, header_files; /* that there were */
	uint64_t freed_bytes;             /* of the host's pool, about */
	bool files_are_gone;              /* no key and no header backup of any generation */
	bool header_is_zero;              /* read back from the volume */
	bool key_opens_nothing;           /* its last key was tried on the volume */
	bool device_is_gone;              /* the pool has no such thin device */
	bool rows_are_gone;               /* nothing in volumes.db names the tenant */
};

/* Crypto-erase, for ever. -EBUSY: builds run or leases exist, they are named; nothing was done. Any other error: it is
 * begun, and a second call, the tenant's next use or the next start go on. The id may be used again. */
int tenant_destroy(struct store *s, const char *tenant, struct tenant_destroyed *out, struct err *e);
/* Under t->lock: one that was begun. 1: it is done now (D may be NULL); 0: there was none. */
int tenant_dying_finish(struct store *s, struct tenant *t, struct tenant_destroyed *d, struct err *e);

/* What the hexadecimal digits of a chain's device stand for. */
bool digest_from_hex(const char *hex, struct digest *d);

/* --- thin_inner.c, thin_repair.c: under the tenant's lock -----------------------------------------------------------
 */

/* What of the decrypted device is what. */
struct inner_split {
	uint64_t meta, data_offset, data; /* bytes; meta: of each of the two regions before the data */
};

/* META_BYTES as in pools.meta_bytes: 0 in rows of older versions. */
struct inner_split inner_split(uint64_t outer_bytes, uint64_t meta_bytes);
/* For a new tenant whose volume has OUTER_BYTES. */
uint64_t inner_meta_bytes(uint64_t outer_bytes);
/* How big a volume can become whose metadata regions are META_BYTES each. */
uint64_t inner_bytes_max(uint64_t meta_bytes);

/* The decrypted device is up: bring the pool up, make it if IS_NEW, repair it if it is damaged. */
int inner_up(struct store *s, struct tenant *t, bool is_new, struct err *e);
/* Parts of it: one metadata region as a linear device KIND, the pool on its two linear devices. */
int inner_meta_up(const struct store *s, struct tenant *t, const char *kind, unsigned region, struct err *e);
int inner_pool_up(struct tenant *t, struct err *e);

int inner_enlarge(struct store *s, struct tenant *t, struct err *e);

/* Make the tenant's storage BYTES big, at work. -EINVAL: it is as big already, or its metadata cannot map that much. A
 * crash half-way is finished when the tenant is opened again. */
int tenant_grow(struct store *s, const char *id, uint64_t bytes, struct err *e);

/* WHY: what is wrong with its metadata, NULL: nothing, only its volumes were not checked yet. At the start -EAGAIN, and
 * t->wants_repair. */
int inner_repair(struct store *s, struct tenant *t, const char *why, struct err *e);
bool pool_is_unchecked(const struct pool *p);

/* Check all volumes of a pool that is up, mark or drop those that are lost or damaged. */
struct losses_text {
	unsigned n;
	char text[96];
};
int pool_volumes_check(struct tenant *t, struct losses_text *out, struct err *e);

/* thin_check on metadata: 0, or 1 with what it said. */
struct tool_result;
int meta_check(int fd, bool clears_flag, struct tool_result *r, struct err *e);
/* thin_repair, what can be saved of FROM into TO, which is then whole and durable. FACTS are for metadata that has lost
 * its superblock. */
struct meta_facts {
	uint64_t tid, block_bytes, data_bytes;
};
int meta_repair(int from, int to, const struct meta_facts *facts, struct err *e);

/* --- thin_reconcile.c ------------------------------------------------------------------------------------------------
 */

struct reconcile {
	bool is_repair; /* else nothing is changed */
	void (*say)(void *arg, const char *text);
	void *say_arg;
	/* what was found */
	uint64_t kernel_tid, db_tid;
	unsigned orphans, missing; /* devices that only the pool has; rows whose device it does not have */
	unsigned damaged;          /* after a repair of a tenant's pool: volumes that are damaged or lost */
};

/* Compare a pool that is up with volumes.db. With IS_REPAIR the database becomes what the pool is, nothing is deleted
 * in the pool, and it can be written to again. -EUCLEAN: its metadata has to be repaired first. */
int pool_reconcile(struct pool *p, struct reconcile *r, struct err *e);
/* The same for a tenant's; a repair checks its volumes, too, and says of a tenant without damage that it is well. */
int tenant_reconcile(struct store *s, const char *id, struct reconcile *r, struct err *e);

/* --- thin_outer.c ----------------------------------------------------------------------------------------------------
 */

/* Set up or adopt the outer pool and bring it up. */
int outer_up(struct store *s, const struct store_options *o, struct err *e);
/* The operator's device or loop file may have become bigger: then the pool does, too, at work; writers that wait for
 * room go on. */
int outer_grow(struct store *s, struct err *e);
void outer_down(struct store *s);
/* A sentence about the configured device, which is only read. */
void outer_look(const struct store_options *o, char *out, size_t size);

/* Only the linear device of the pool's metadata; -EBUSY: the pool is up. */
int outer_meta_up(struct store *s, const struct store_options *o, struct meta_facts *facts, struct err *e);

/* thin_outer_repair.c. Check the host's pool while no builderd runs, and repair it if the report asks for that: a copy
 * of what was damaged is kept below STATE_DIR/dm. 0: R says what was found. */
#define OUTER_REPAIRED "repaired.meta"
struct outer_report {
	bool is_repair, is_damaged;
	char text[400];
};
int outer_repair(const struct store_options *o, struct outer_report *r, struct err *e);
int thin_host_repair(const struct store_options *o, bool is_repair, char text[400], struct err *e);

/* thin_store.c: a store with its directory, lock and database only; closed by thin_end, which takes NULL. */
int thin_begin(const struct store_options *o, struct store **out, struct err *e);
void thin_end(struct store *s);
bool outer_is_configured(const struct store_options *o);

/* --- watchdog.c, thin_reap.c -----------------------------------------------------------------------------------------
 */

int watchdog_start(struct store *s, struct err *e);
void watchdog_stop(struct store *s);

int reaper_start(struct store *s, struct err *e);
void reaper_stop(struct store *s);
/* There is a dead device. */
void reaper_poke(struct store *s);
/* Without T's lock: the reaper leaves T alone from now on; waits until it does. Then it may come back. */
void reaper_keep_off(struct tenant *t);
void reaper_resume(struct store *s, struct tenant *t);
/* Somebody needs the space: hurry, and return when no device is dead that can be deleted now, or after TIMEOUT_MS. */
void reaper_wait(struct store *s, int timeout_ms);

/* --- thin_volume.c ---------------------------------------------------------------------------------------------------
 */

struct volume {
	struct store *store;
	struct tenant *tenant; /* a reference */
	struct device_row dev;
	uint64_t chain_bytes; /* used_bytes of the chain it was last equal to */
	int root_fd;          /* owns, while mounted */
};

int thin_chain_find(
        struct store *s, const char *tenant, const struct digest *chain, struct chain_info *out, struct err *e);
int thin_create(struct store *s, const char *tenant, const char *build, const struct digest *parent,
        uint64_t size_bytes, uint64_t inodes, struct volume **out, struct err *e);
int thin_mount(struct volume *v, struct err *e);
int thin_unmount(struct volume *v, struct err *e);
int thin_grow(struct volume *v, int root_fd, uint64_t size_bytes, struct err *e);
uint64_t thin_size(const struct volume *v);
int thin_snapshot(struct volume *v, const struct digest *chain_id, const struct chain_info *info, struct err *e);
int thin_journal(struct volume *v, struct err *e);
int thin_check(struct volume *v, struct err *e);
int thin_open_raw(struct volume *v, struct err *e);
void thin_discard(struct volume *v);
void thin_volume_free(struct volume *v);
/* Forget the chain, delete its device. Under the tenant's lock. */
int thin_chain_delete(struct store *s, struct tenant *t, const struct digest *chain, struct err *e);

/* --- thin_rootfs.c ---------------------------------------------------------------------------------------------------
 */

int thin_seal(struct volume *v, const struct digest *product_key, const char *metadata, size_t metadata_len,
        struct rootfs_info *info, struct err *e);
int thin_share(struct store *s, const char *tenant, const char *build, const struct digest *product_key,
        struct rootfs_info *info, char **metadata, size_t *metadata_len, struct err *e);
int thin_rootfs_open(struct store *s, const char *tenant, const char *build, struct rootfs_info *info, struct err *e);
int thin_rootfs_delete(struct store *s, const char *tenant, const char *build, uint64_t *freed, struct err *e);
/* Of a tenant that no build uses yet: metadata.json that a seal or a deletion left when it was interrupted. */
void thin_metadata_sweep(struct tenant *t);

/* The hash tree of BUILD, read-only, if it has one: 1; 0: it has none. */
int thin_verity_up(struct tenant *t, const char *build, struct device_row *out, struct err *e);

/* What was written beside it at seal. The caller frees *OUT. */
int thin_metadata_read(struct tenant *t, const char *build, char **out, size_t *len, struct err *e);

/* --- thin_lease.c ----------------------------------------------------------------------------------------------------
 */

int thin_lease_acquire(
        struct store *s, const struct lease_request *q, struct lease *out, char **metadata, size_t *len, struct err *e);
int thin_lease_release(struct store *s, const char *id, struct err *e);
int thin_lease_list(struct store *s, const char *tenant, const char *build, const char *after, struct lease *out,
        size_t max, struct err *e);
/* When the tenant is opened, under its lock. What cannot come up is logged: the others do. */
void thin_leases_up(struct store *s, struct tenant *t, const struct lease_row *rows, size_t n);

/* --- thin_cache.c ----------------------------------------------------------------------------------------------------
 */

int thin_blob_dir(struct store *s, const char *tenant, struct err *e);
int thin_trim(struct store *s, uint64_t *freed, struct err *e);
/* Remember what the blobs of T take, which is about to be closed. */
void thin_blobs_note(struct tenant *t);

/* --- thin_meta.c: what a pool's metadata says, by the programs of thin-provisioning-tools --------------------------
 */

struct meta_device {
	uint32_t id;
	uint64_t mapped, exclusive, shared; /* bytes */
};

/* The pool goes on working meanwhile. One question at a time; the others wait. The functions are called when all has
 * been read. */

/* All thin devices in the order of their ids. The caller frees *OUT. */
int meta_devices(struct pool *p, struct meta_device **out, size_t *n, struct err *e);
const struct meta_device *meta_device_find(const struct meta_device *devices, size_t n, uint32_t id);

/* thin_check finds nothing; else -EIO with what it said. */
int meta_verify(struct pool *p, struct err *e);

/* Called for each run of mapped blocks. */
typedef int meta_mapping_fn(void *arg, uint32_t device, uint64_t origin, uint64_t data, uint64_t n, struct err *e);
/* Of DEVICE, or of all (0). */
int meta_mappings(struct pool *p, uint32_t device, meta_mapping_fn *fn, void *arg, struct err *e);

enum meta_change { META_CHANGED, META_GONE }; /* other blocks, or blocks where there were none; none any more */
typedef int meta_change_fn(void *arg, enum meta_change change, uint64_t origin, uint64_t n, struct err *e);
/* Where device TO differs from FROM. */
int meta_delta(struct pool *p, uint32_t from, uint32_t to, meta_change_fn *fn, void *arg, struct err *e);

/* --- thin_admin*.c ---------------------------------------------------------------------------------------------------
 */

#define META_BLOCK 4096 /* a block of pool metadata */

/* A tenant's pool, opened, and what kernel and database say of the devices in it. */
struct thin_look {
	struct store *s;
	const char *tenant;   /* borrowed */
	struct tenant *t;     /* a reference */
	uint64_t block_bytes; /* of its pool */
	struct pool_usage usage;
	struct device_row *rows; /* owns */
	size_t n_rows;
	struct meta_device *devices; /* owns */
	size_t n_devices;
};

/* -ENOENT with a sentence: there is no such tenant. */
int thin_look_begin(struct store *s, const char *tenant, struct thin_look *l, struct err *e);
void thin_look_end(struct thin_look *l);
const struct device_row *thin_row_find(const struct thin_look *l, uint32_t id);

struct thin_found {
	char tenant[TENANT_ID_MAX];
	struct device_row dev;
	unsigned n; /* that match as well */
	int match;
};

/* The volume called ID, or beginning so, of the tenant that C names or of any. */
int thin_volume_find(
        struct store *s, const struct admin_call *c, const char *id, struct thin_found *out, struct err *e);
/* Rows of the tenant that C names or of all, in the outer pool. The caller frees *OUT. */
int thin_tenants_asked(struct store *s, const struct admin_call *c, struct device_row **out, size_t *n, struct err *e);

admin_fn thin_admin, thin_why_full, thin_export, thin_volume_mount, thin_volume_umount, thin_orphans, thin_fsck;
admin_fn thin_admin_rekey, thin_admin_header_backup, thin_admin_header_restore, thin_admin_destroy;

#endif
