/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "volumes_db.h"

#include <errno.h>
#include <stdio.h>

#include "base/buf.h"
#include "sql.h"

/* --- chains ------------------------------------------------------------------------------------------------------ */

#define CHAIN_COLUMNS "tenant, chain, used_bytes, used_inodes, size_bytes, last_use_ms, is_durable, boot_id"

static void chain_read(struct query *q, struct chain_row *row)
{
	*row = (struct chain_row){0};
	column_text(q, 0, row->tenant, sizeof(row->tenant));
	column_digest(q, 1, &row->chain);
	row->info.used_bytes = column_number(q, 2);
	row->info.used_inodes = column_number(q, 3);
	row->info.size_bytes = column_number(q, 4);
	row->last_use_ms = (int64_t)column_number(q, 5);
	row->is_durable = column_number(q, 6) != 0;
	column_text(q, 7, row->boot_id, sizeof(row->boot_id));
}

int volumes_db_chain_put(struct volumes_db *db, const struct chain_row *row, struct err *e)
{
	QUERY(q, db, "INSERT OR REPLACE INTO chains (" CHAIN_COLUMNS ") VALUES (?,?,?,?,?,?,?,?)");
	bind_text(&q, row->tenant);
	bind_digest(&q, &row->chain);
	bind_number(&q, row->info.used_bytes);
	bind_number(&q, row->info.used_inodes);
	bind_number(&q, row->info.size_bytes);
	bind_number(&q, (uint64_t)row->last_use_ms);
	bind_number(&q, row->is_durable);
	bind_text(&q, row->boot_id);
	return query_step(&q, e, "record a chain");
}

int volumes_db_chain_get(
        struct volumes_db *db, const char *tenant, const struct digest *chain, struct chain_row *out, struct err *e)
{
	QUERY(q, db, "SELECT " CHAIN_COLUMNS " FROM chains WHERE tenant=? AND chain=?");
	bind_text(&q, tenant);
	bind_digest(&q, chain);
	int rc = query_step(&q, e, "look up a chain");
	if (rc > 0)
		chain_read(&q, out);
	return rc > 0 ? 0 : rc < 0 ? rc : -ENOENT;
}

int volumes_db_chain_touch(
        struct volumes_db *db, const char *tenant, const struct digest *chain, int64_t now_ms, struct err *e)
{
	QUERY(q, db, "UPDATE chains SET last_use_ms=? WHERE tenant=? AND chain=?");
	bind_number(&q, (uint64_t)now_ms);
	bind_text(&q, tenant);
	bind_digest(&q, chain);
	return query_step(&q, e, "mark a chain used");
}

int volumes_db_chain_set_durable(struct volumes_db *db, const char *tenant, const struct digest *chain, struct err *e)
{
	QUERY(q, db, "UPDATE chains SET is_durable=1 WHERE tenant=? AND chain=?");
	bind_text(&q, tenant);
	bind_digest(&q, chain);
	return query_step(&q, e, "mark a chain durable");
}

int volumes_db_chain_delete(struct volumes_db *db, const char *tenant, const struct digest *chain, struct err *e)
{
	QUERY(q, db, "DELETE FROM chains WHERE tenant=? AND chain=?");
	bind_text(&q, tenant);
	bind_digest(&q, chain);
	return query_step(&q, e, "forget a chain");
}

int volumes_db_chain_list(struct volumes_db *db, struct chain_row **out, size_t *n, struct err *e)
{
	QUERY(q, db, "SELECT " CHAIN_COLUMNS " FROM chains ORDER BY last_use_ms");
	int rc;

	*out = NULL;
	*n = 0;
	while ((rc = query_step(&q, e, "list the chains")) > 0) {
		*out = xrealloc(*out, (*n + 1) * sizeof(**out));
		chain_read(&q, &(*out)[(*n)++]);
	}
	return rc;
}

/* --- rootfs ------------------------------------------------------------------------------------------------------ */

#define ROOTFS_COLUMNS "tenant, build, product_key, used_bytes, used_inodes, size_bytes, checksum, verity_root"

static void rootfs_read(struct query *q, struct rootfs_row *row)
{
	*row = (struct rootfs_row){0};
	column_text(q, 0, row->tenant, sizeof(row->tenant));
	column_text(q, 1, row->build, sizeof(row->build));
	column_digest(q, 2, &row->product_key);
	row->info.used_bytes = column_number(q, 3);
	row->info.used_inodes = column_number(q, 4);
	row->info.size_bytes = column_number(q, 5);
	column_digest(q, 6, &row->info.checksum);
	column_digest(q, 7, &row->verity_root);
}

int volumes_db_rootfs_put(struct volumes_db *db, const struct rootfs_row *row, struct err *e)
{
	QUERY(q, db, "INSERT OR REPLACE INTO rootfs (" ROOTFS_COLUMNS ") VALUES (?,?,?,?,?,?,?,?)");
	bind_text(&q, row->tenant);
	bind_text(&q, row->build);
	bind_digest(&q, &row->product_key);
	bind_number(&q, row->info.used_bytes);
	bind_number(&q, row->info.used_inodes);
	bind_number(&q, row->info.size_bytes);
	bind_digest(&q, &row->info.checksum);
	bind_digest(&q, &row->verity_root);
	return query_step(&q, e, "record a rootfs");
}

static int rootfs_one(struct query *q, struct rootfs_row *out, struct err *e)
{
	int rc = query_step(q, e, "look up a rootfs");

	if (rc > 0)
		rootfs_read(q, out);
	return rc > 0 ? 0 : rc < 0 ? rc : -ENOENT;
}

int volumes_db_rootfs_get(
        struct volumes_db *db, const char *tenant, const char *build, struct rootfs_row *out, struct err *e)
{
	QUERY(q, db, "SELECT " ROOTFS_COLUMNS " FROM rootfs WHERE tenant=? AND build=?");
	bind_text(&q, tenant);
	bind_text(&q, build);
	return rootfs_one(&q, out, e);
}

int volumes_db_rootfs_find(struct volumes_db *db, const char *tenant, const struct digest *product_key,
        struct rootfs_row *out, struct err *e)
{
	QUERY(q, db, "SELECT " ROOTFS_COLUMNS " FROM rootfs WHERE tenant=? AND product_key=? ORDER BY id DESC LIMIT 1");
	bind_text(&q, tenant);
	bind_digest(&q, product_key);
	return rootfs_one(&q, out, e);
}

int volumes_db_rootfs_delete(struct volumes_db *db, const char *tenant, const char *build, struct err *e)
{
	QUERY(q, db, "DELETE FROM rootfs WHERE tenant=? AND build=?");
	bind_text(&q, tenant);
	bind_text(&q, build);
	return query_step(&q, e, "forget a rootfs");
}

int volumes_db_rootfs_list(struct volumes_db *db, struct rootfs_row **out, size_t *n, struct err *e)
{
	QUERY(q, db, "SELECT " ROOTFS_COLUMNS " FROM rootfs ORDER BY id");
	int rc;

	*out = NULL;
	*n = 0;
	while ((rc = query_step(&q, e, "list the rootfs")) > 0) {
		*out = xrealloc(*out, (*n + 1) * sizeof(**out));
		rootfs_read(&q, &(*out)[(*n)++]);
	}
	return rc;
}
