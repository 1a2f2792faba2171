/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "volumes_db.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define SCHEMA_VERSION 1

struct volumes_db {
	sqlite3 *db; /* owns */
	pthread_mutex_t lock;
};

static const char schema[] =
        "CREATE TABLE IF NOT EXISTS chains ("
        " tenant TEXT NOT NULL, chain TEXT NOT NULL, used_bytes INTEGER NOT NULL, used_inodes INTEGER NOT NULL,"
        " size_bytes INTEGER NOT NULL, last_use_ms INTEGER NOT NULL, is_durable INTEGER NOT NULL, boot_id TEXT NOT "
        "NULL,"
        " PRIMARY KEY (tenant, chain)) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS rootfs ("
        " id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, build TEXT NOT NULL, product_key TEXT NOT NULL,"
        " used_bytes INTEGER NOT NULL, used_inodes INTEGER NOT NULL, size_bytes INTEGER NOT NULL, checksum TEXT NOT "
        "NULL,"
        " UNIQUE (tenant, build));"
        "CREATE INDEX IF NOT EXISTS rootfs_by_key ON rootfs (tenant, product_key);"
        "CREATE TABLE IF NOT EXISTS pools ("
        " id INTEGER PRIMARY KEY, tenant TEXT NOT NULL UNIQUE, uuid TEXT NOT NULL, tid INTEGER NOT NULL,"
        " next_device INTEGER NOT NULL);"
        "CREATE TABLE IF NOT EXISTS devices ("
        " pool INTEGER NOT NULL, id INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,"
        " size_bytes INTEGER NOT NULL, own_bytes INTEGER NOT NULL, is_ready INTEGER NOT NULL,"
        " PRIMARY KEY (pool, id), UNIQUE (pool, kind, name)) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS intents ("
        " pool INTEGER PRIMARY KEY, tid INTEGER NOT NULL, op INTEGER NOT NULL, device INTEGER NOT NULL);";

/* --- statements ------------------------------------------------------------------------------------------------- */

static int db_error(struct volumes_db *db, struct err *e, const char *what)
{
	if (sqlite3_errcode(db->db) == SQLITE_FULL)
		return err_kind_set(e, -ENOSPC, ERR_KIND_DISK_FULL, "%s in volumes.db: the medium is full", what);
	return err_kind_set(e, -EIO, ERR_KIND_INTERNAL, "%s in volumes.db: %s", what, sqlite3_errmsg(db->db));
}

struct query {
	struct volumes_db *db;
	sqlite3_stmt *stmt; /* owns */
	int n_bound;
};

/* Holds the lock from query_begin to the end of Q's scope. */
static void query_end(struct query *q)
{
	sqlite3_finalize(q->stmt);
	pthread_mutex_unlock(&q->db->lock);
}
#define QUERY(q, database, sql) AUTO(query_end) struct query q = query_begin(database, sql)

static struct query query_begin(struct volumes_db *db, const char *sql)
{
	struct query q = {.db = db};

	pthread_mutex_lock(&db->lock);
	if (sqlite3_prepare_v2(db->db, sql, -1, &q.stmt, NULL) != SQLITE_OK)
		q.stmt = NULL; /* the step reports it */
	return q;
}

static void bind_text(struct query *q, const char *text)
{
	sqlite3_bind_text(q->stmt, ++q->n_bound, text, -1, SQLITE_TRANSIENT);
}

static void bind_number(struct query *q, uint64_t n)
{
	sqlite3_bind_int64(q->stmt, ++q->n_bound, (sqlite3_int64)n);
}

static void bind_digest(struct query *q, const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];

	bind_text(q, digest_is_valid(d) ? digest_format(d, text) : "");
}

/* 1: a row, 0: no more, -errno. */
static int query_step(struct query *q, struct err *e, const char *what)
{
	int rc = q->stmt ? sqlite3_step(q->stmt) : SQLITE_ERROR;

	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		return rc == SQLITE_ROW;
	return db_error(q->db, e, what);
}

static void column_text(struct query *q, int column, char *out, size_t size)
{
	const unsigned char *text = sqlite3_column_text(q->stmt, column);

	snprintf(out, size, "%s", text ? (const char *)text : "");
}

static uint64_t column_number(struct query *q, int column)
{
	return (uint64_t)sqlite3_column_int64(q->stmt, column);
}

/* A row whose digest does not parse is treated as if it named nothing: no file will match it. */
static void column_digest(struct query *q, int column, struct digest *out)
{
	char text[DIGEST_TEXT_MAX];

	*out = (struct digest){0};
	column_text(q, column, text, sizeof(text));
	digest_parse(out, text, strlen(text), NULL);
}

/* --- open ------------------------------------------------------------------------------------------------------- */

static int version_check(struct volumes_db *db, struct err *e)
{
	QUERY(q, db, "PRAGMA user_version");
	int rc = query_step(&q, e, "read the version");
	int version = rc > 0 ? (int)column_number(&q, 0) : 0;

	if (rc < 0)
		return rc;
	if (version > SCHEMA_VERSION)
		return err_set(e, -EPROTO,
		        "volumes.db has version %d, this builderd knows %d: it was written by a newer one", version,
		        SCHEMA_VERSION);
	return 0;
}

/* What cannot be read must not look like what is not there: recovery removes files that have no row. */
static int integrity_check(struct volumes_db *db, const char *path, struct err *e)
{
	QUERY(q, db, "PRAGMA quick_check(1)");
	char text[160] = "";
	int rc = query_step(&q, e, "check");

	if (rc > 0)
		column_text(&q, 0, text, sizeof(text));
	if (rc < 0)
		return err_wrap(e, "%s", path);
	for (char *line = text; (line = strchr(line, '\n'));)
		*line = ' ';
	return !strcmp(text, "ok")
	               ? 0
	               : err_kind_set(e, -EUCLEAN, ERR_KIND_INTERNAL,
	                         "%s is damaged: %s; restore it from a copy, nothing was removed", path, text);
}

int volumes_db_open(const char *path, struct volumes_db **out, struct err *e)
{
	static const char *const setup[] = {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
	        "PRAGMA busy_timeout=5000", schema, "PRAGMA user_version=1"};
	struct volumes_db *db = xcalloc(1, sizeof(*db));
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
	int rc = 0;

	pthread_mutex_init(&db->lock, NULL);
	if (sqlite3_open_v2(path, &db->db, flags, NULL) != SQLITE_OK)
		rc = db_error(db, e, "open");
	if (rc == 0)
		rc = version_check(db, e);
	if (rc == 0)
		rc = integrity_check(db, path, e);
	for (size_t i = 0; i < ARRAY_LEN(setup) && rc == 0; i++)
		if (sqlite3_exec(db->db, setup[i], NULL, NULL, NULL) != SQLITE_OK)
			rc = db_error(db, e, setup[i]);
	if (rc < 0) {
		volumes_db_close(db);
		return rc;
	}
	*out = db;
	return 0;
}

void volumes_db_close(struct volumes_db *db)
{
	if (!db)
		return;
	sqlite3_close(db->db);
	pthread_mutex_destroy(&db->lock);
	free(db);
}

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

#define ROOTFS_COLUMNS "tenant, build, product_key, used_bytes, used_inodes, size_bytes, checksum"

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
}

int volumes_db_rootfs_put(struct volumes_db *db, const struct rootfs_row *row, struct err *e)
{
	QUERY(q, db, "INSERT OR REPLACE INTO rootfs (" ROOTFS_COLUMNS ") VALUES (?,?,?,?,?,?,?)");
	bind_text(&q, row->tenant);
	bind_text(&q, row->build);
	bind_digest(&q, &row->product_key);
	bind_number(&q, row->info.used_bytes);
	bind_number(&q, row->info.used_inodes);
	bind_number(&q, row->info.size_bytes);
	bind_digest(&q, &row->info.checksum);
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

/* --- pools and devices ------------------------------------------------------------------------------------------- */

int volumes_db_pool_get(struct volumes_db *db, const char *tenant, struct pool_row *out, struct err *e)
{
	QUERY(q, db, "SELECT id, uuid, tenant, tid FROM pools WHERE tenant=?");
	bind_text(&q, tenant);
	int rc = query_step(&q, e, "look up a pool");

	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	*out = (struct pool_row){.id = (int64_t)column_number(&q, 0), .tid = column_number(&q, 3)};
	column_text(&q, 1, out->uuid, sizeof(out->uuid));
	column_text(&q, 2, out->tenant, sizeof(out->tenant));
	return 0;
}

static int pool_insert(struct volumes_db *db, const char *tenant, const char *uuid, struct err *e)
{
	QUERY(q, db, "INSERT INTO pools (tenant, uuid, tid, next_device) VALUES (?,?,0,1)");
	bind_text(&q, tenant);
	bind_text(&q, uuid);
	return query_step(&q, e, "record a pool");
}

int volumes_db_pool_add(
        struct volumes_db *db, const char *tenant, const char *uuid, struct pool_row *out, struct err *e)
{
	int rc = pool_insert(db, tenant, uuid, e);

	return rc < 0 ? rc : volumes_db_pool_get(db, tenant, out, e);
}

/* Several statements as one transaction; the numbers in FMT are ours, texts are quoted by %Q. */
static int transact(struct volumes_db *db, struct err *e, const char *what, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *body = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	char *sql = body ? sqlite3_mprintf("BEGIN IMMEDIATE; %s COMMIT;", body) : NULL;
	int rc = sql ? 0 : err_set(e, -ENOMEM, "%s in volumes.db: out of memory", what);
	pthread_mutex_lock(&db->lock);
	if (rc == 0 && sqlite3_exec(db->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
		rc = db_error(db, e, what);
		if (!sqlite3_get_autocommit(db->db))
			sqlite3_exec(db->db, "ROLLBACK", NULL, NULL, NULL);
	}
	pthread_mutex_unlock(&db->lock);
	sqlite3_free(sql);
	sqlite3_free(body);
	return rc;
}

int volumes_db_pool_delete(struct volumes_db *db, int64_t pool, struct err *e)
{
	return transact(db, e, "forget a pool",
	        "DELETE FROM intents WHERE pool=%lld; DELETE FROM devices WHERE pool=%lld;"
	        "DELETE FROM pools WHERE id=%lld;",
	        (long long)pool, (long long)pool, (long long)pool);
}

int volumes_db_create_begin(struct volumes_db *db, struct device_row *dev, struct err *e)
{
	long long pool = dev->pool;
	int rc = transact(db, e, "begin a device",
	        "INSERT INTO devices SELECT id, next_device, %Q, %Q, %llu, %llu, 0 FROM pools WHERE id=%lld;"
	        "INSERT INTO intents SELECT id, tid+1, %d, next_device FROM pools WHERE id=%lld;"
	        "UPDATE pools SET next_device=next_device+1 WHERE id=%lld;",
	        dev->kind, dev->name, (unsigned long long)dev->size_bytes, (unsigned long long)dev->own_bytes, pool,
	        INTENT_CREATE, pool, pool);
	struct intent_row intent;

	if (rc == 0)
		rc = volumes_db_intent_get(db, dev->pool, &intent, e);
	if (rc == 0)
		dev->id = intent.device;
	return rc;
}

int volumes_db_delete_begin(struct volumes_db *db, int64_t pool, uint32_t id, struct err *e)
{
	return transact(db, e, "begin a deletion",
	        "INSERT INTO intents SELECT id, tid+1, %d, %u FROM pools WHERE id=%lld;", INTENT_DELETE, id,
	        (long long)pool);
}

int volumes_db_intent_finish(struct volumes_db *db, int64_t pool, struct err *e)
{
	long long p = pool;

	return transact(db, e, "finish a transaction",
	        "UPDATE pools SET tid=(SELECT tid FROM intents WHERE pool=%lld) WHERE id=%lld;"
	        "DELETE FROM devices WHERE pool=%lld AND id=(SELECT device FROM intents WHERE pool=%lld AND op=%d);"
	        "DELETE FROM intents WHERE pool=%lld;",
	        p, p, p, p, INTENT_DELETE, p);
}

int volumes_db_intent_abort(struct volumes_db *db, int64_t pool, struct err *e)
{
	long long p = pool;

	return transact(db, e, "take a transaction back",
	        "DELETE FROM devices WHERE pool=%lld AND id=(SELECT device FROM intents WHERE pool=%lld AND op=%d);"
	        "DELETE FROM intents WHERE pool=%lld;",
	        p, p, INTENT_CREATE, p);
}

int volumes_db_intent_get(struct volumes_db *db, int64_t pool, struct intent_row *out, struct err *e)
{
	QUERY(q, db, "SELECT tid, op, device FROM intents WHERE pool=?");
	bind_number(&q, (uint64_t)pool);
	int rc = query_step(&q, e, "look up an intent");

	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	*out = (struct intent_row){
	        .tid = column_number(&q, 0), .op = (int)column_number(&q, 1), .device = (uint32_t)column_number(&q, 2)};
	return 0;
}

#define DEVICE_COLUMNS "pool, id, kind, name, size_bytes, own_bytes, is_ready"

static void device_read(struct query *q, struct device_row *row)
{
	*row = (struct device_row){.pool = (int64_t)column_number(q, 0),
	        .id = (uint32_t)column_number(q, 1),
	        .size_bytes = column_number(q, 4),
	        .own_bytes = column_number(q, 5),
	        .is_ready = column_number(q, 6) != 0};
	column_text(q, 2, row->kind, sizeof(row->kind));
	column_text(q, 3, row->name, sizeof(row->name));
}

int volumes_db_device_get(
        struct volumes_db *db, int64_t pool, const char *kind, const char *name, struct device_row *out, struct err *e)
{
	QUERY(q, db, "SELECT " DEVICE_COLUMNS " FROM devices WHERE pool=? AND kind=? AND name=?");
	bind_number(&q, (uint64_t)pool);
	bind_text(&q, kind);
	bind_text(&q, name);
	int rc = query_step(&q, e, "look up a device");
	if (rc > 0)
		device_read(&q, out);
	return rc > 0 ? 0 : rc < 0 ? rc : -ENOENT;
}

int volumes_db_device_update(struct volumes_db *db, const struct device_row *dev, struct err *e)
{
	QUERY(q, db, "UPDATE devices SET kind=?, name=?, size_bytes=?, own_bytes=?, is_ready=? WHERE pool=? AND id=?");
	bind_text(&q, dev->kind);
	bind_text(&q, dev->name);
	bind_number(&q, dev->size_bytes);
	bind_number(&q, dev->own_bytes);
	bind_number(&q, dev->is_ready);
	bind_number(&q, (uint64_t)dev->pool);
	bind_number(&q, dev->id);
	return query_step(&q, e, "update a device");
}

int volumes_db_device_list(struct volumes_db *db, int64_t pool, struct device_row **out, size_t *n, struct err *e)
{
	QUERY(q, db, "SELECT " DEVICE_COLUMNS " FROM devices WHERE pool=? ORDER BY id");
	int rc;

	*out = NULL;
	*n = 0;
	bind_number(&q, (uint64_t)pool);
	while ((rc = query_step(&q, e, "list the devices")) > 0) {
		*out = xrealloc(*out, (*n + 1) * sizeof(**out));
		device_read(&q, &(*out)[(*n)++]);
	}
	return rc;
}
