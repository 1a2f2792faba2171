/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * volumes.db: what the file backend knows of chains and rootfs. SQLite, WAL, synchronous=FULL: a row that was written
 * is durable. The only user of <sqlite3.h> here. Calls may come from any thread; a mutex makes them one at a time.
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
	struct rootfs_info info; /* without path */
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

#endif
