/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `file` backend, shared by its own files only.
 *
 * STATE_DIR/                          0700 root: what lies below is protected by this, whatever its own mode
 *   lock                              flock: one builderd at a time
 *   volumes.db                        chains, rootfs (volumes_db.h)
 *   tenants/<tenant>/blobs/           owned by the fetch uid, which gets it as a descriptor
 *   tenants/<tenant>/chains/<hex>.ext4
 *   tenants/<tenant>/builds/<build>.ext4                 while a build writes it; 0666, for e2fsprogs as nobody
 *   tenants/<tenant>/rootfs/<build>.ext4, <build>.metadata.json      0444
 *   tenants/<tenant>/vm/<lease>.ext4                     a VM's own clone; may have a second name in its jail
 *
 * What a crash leaves, and what open() makes of it (file_recover.c): a row is the last step of every operation and its
 * deletion the first of every removal, so a file without a row is garbage, and everything in builds/ is. That is so
 * only as long as the rows can be read: a damaged or missing volumes.db refuses the start and removes nothing.
 *
 * A chain is a cache. Its row is written when its file is complete in the page cache; a thread syncs it later, when no
 * build is busy, and marks it durable. Until then it is believed only by the boot of the kernel that wrote it: a power
 * cut loses it, and never gives a damaged one. A rootfs is synced before its row is written.
 */
#ifndef DM_FILE_H
#define DM_FILE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "dm/volume.h"
#include "ipc/message.h"
#include "loopdev.h"
#include "volumes_db.h"

#define FILE_STATE_DIR_MAX 120 /* rootfs_info.path holds it and the longest name */

struct syncer;

struct store {
	char dir[FILE_STATE_DIR_MAX];
	int dirfd, lock_fd;         /* own */
	int jail_fd;                /* owns: the jails' directory, -1: none */
	pthread_mutex_t lease_lock; /* leases, and that a rootfs has none when it goes */
	unsigned fetch_uid;
	uint64_t cache_max_bytes;
	char boot_id[BOOT_ID_MAX];
	bool has_reflink;            /* a snapshot costs nothing */
	struct volumes_db *db;       /* owns; locks itself */
	struct syncer *syncer;       /* owns; locks itself */
	_Atomic uint64_t used_bytes; /* what file_usage() found at used_at_ms; 0: not yet */
	_Atomic int64_t used_at_ms;
};

struct volume {
	struct store *store;
	char tenant[TENANT_ID_MAX], build[BUILD_ID_MAX];
	int fd; /* owns: the image */
	uint64_t size_bytes;
	uint64_t work_bytes; /* written by layers since the last chain */
	struct loopdev loop; /* while mounted */
	int root_fd;         /* owns, while mounted: keeps what syncfs() reports */
};

struct file_path {
	char text[320]; /* relative to the state directory */
};

/* tenants/TENANT/KIND/NAME+SUFFIX; NAME NULL: the directory. The ids are valid, so it always fits. */
struct file_path file_path(const char *tenant, const char *kind, const char *name, const char *suffix);
struct file_path file_chain_path(const char *tenant, const struct digest *chain, const char *suffix);

/* fsync the directory tenants/TENANT/KIND. */
int file_dir_sync(struct store *s, const char *tenant, const char *kind, struct err *e);

/* file_recover.c */
int file_recover(struct store *s, struct err *e);
/* Call FN for each file of TENANT that no row knows: NAME in the directory DIR, PATH below the state directory. What
 * builds write now is among them. */
typedef int file_orphan_fn(struct store *s, int dir, const char *path, const char *name, void *arg, struct err *e);
int file_orphans_each(struct store *s, const char *tenant, file_orphan_fn *fn, void *arg, struct err *e);
/* Before volumes.db is opened, which makes it: without its rows every rootfs would be a leftover. -EUCLEAN: it is gone
 * and there are some. */
int file_recover_precheck(struct store *s, struct err *e);
/* Call FN with each tenant's id; stops at the first FN < 0 and returns it. */
int file_tenants_each(struct store *s, int (*fn)(struct store *s, const char *tenant, void *arg, struct err *e),
        void *arg, struct err *e);

/* file_sync.c: the thread that gives the disk its work. */
struct syncer *file_syncer_new(struct store *s, struct err *e);
/* Syncs what is waiting, then ends the thread. Takes NULL. */
void file_syncer_free(struct syncer *y);
void file_syncer_add(struct syncer *y, const char *tenant, const struct digest *chain);
/* Begin writing what FD has in the page cache, now and in the background: the disk works while builds compute, and the
 * fsync at seal is short. */
void file_syncer_start(struct syncer *y, int fd);
/* Builds that are writing: +1, -1. The disk is theirs first. */
void file_syncer_busy(struct syncer *y, int change);

/* file_volume.c */
int file_chain_find(
        struct store *s, const char *tenant, const struct digest *chain, struct chain_info *out, struct err *e);
int file_create(struct store *s, const char *tenant, const char *build, const struct digest *parent,
        uint64_t size_bytes, uint64_t inodes, struct volume **out, struct err *e);
int file_mount(struct volume *v, struct err *e);
int file_unmount(struct volume *v, struct err *e);
int file_grow(struct volume *v, int root_fd, uint64_t size_bytes, struct err *e);
uint64_t file_size(const struct volume *v);
int file_snapshot(struct volume *v, const struct digest *chain_id, const struct chain_info *info, struct err *e);
int file_journal(struct volume *v, struct err *e);
int file_check(struct volume *v, struct err *e);
int file_open_raw(struct volume *v, struct err *e);
void file_discard(struct volume *v);

/* file_rootfs.c */
int file_seal(struct volume *v, const struct digest *product_key, const char *metadata, size_t metadata_len,
        struct rootfs_info *info, struct err *e);
int file_share(struct store *s, const char *tenant, const char *build, const struct digest *product_key,
        struct rootfs_info *info, char **metadata, size_t *metadata_len, struct err *e);
int file_rootfs_open(struct store *s, const char *tenant, const char *build, struct rootfs_info *info, struct err *e);
int file_rootfs_delete(struct store *s, const char *tenant, const char *build, uint64_t *freed, struct err *e);

int file_metadata_read(struct store *s, const char *tenant, const char *build, char **out, size_t *len, struct err *e);

/* file_lease.c */
int file_lease_acquire(
        struct store *s, const struct lease_request *q, struct lease *out, char **metadata, size_t *len, struct err *e);
int file_lease_release(struct store *s, const char *id, struct err *e);
int file_lease_list(struct store *s, const char *tenant, const char *build, const char *after, struct lease *out,
        size_t max, struct err *e);

/* file_cache.c */
int file_trim(struct store *s, uint64_t *freed, struct err *e);
int file_usage(struct store *s, struct store_usage *out, struct err *e);
/* Allocated by the tenant's files. */
int file_tenant_usage(struct store *s, const char *tenant, uint64_t *bytes, struct err *e);

/* file_admin.c, file_admin_remove.c */
int file_admin(struct store *s, struct admin_call *c, struct err *e);
int file_admin_orphans(struct store *s, struct admin_call *c, struct err *e);
int file_admin_destroy(struct store *s, struct admin_call *c, struct err *e);

#endif
