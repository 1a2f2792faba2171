/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sql.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>

#include "base/buf.h"
#include "volumes_db.h"

#define SCHEMA_VERSION 3

/* Version 1; later versions are reached step by step, a new file as well as an old one. */
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

/* migrations[n] makes version n + 2 of version n + 1. */
static const char *const migrations[] = {
        "ALTER TABLE pools ADD COLUMN key_generation INTEGER NOT NULL DEFAULT 1;"
        "ALTER TABLE pools ADD COLUMN state TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE pools ADD COLUMN meta_region INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE pools ADD COLUMN last_check_ms INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE devices ADD COLUMN parent INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE devices ADD COLUMN created_ms INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE devices ADD COLUMN damage TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE rootfs ADD COLUMN verity_root TEXT NOT NULL DEFAULT '';"
        "CREATE TABLE leases ("
        " id TEXT PRIMARY KEY, tenant TEXT NOT NULL, build TEXT NOT NULL, mode INTEGER NOT NULL, holder TEXT NOT NULL,"
        " jail TEXT NOT NULL, device INTEGER NOT NULL, created_ms INTEGER NOT NULL);"
        "CREATE INDEX leases_by_build ON leases (tenant, build);",
        "ALTER TABLE pools ADD COLUMN meta_bytes INTEGER NOT NULL DEFAULT 0;",
};

/* --- statements ------------------------------------------------------------------------------------------------- */

static int db_error(struct volumes_db *db, struct err *e, const char *what)
{
	if (sqlite3_errcode(db->db) == SQLITE_FULL)
		return err_kind_set(e, -ENOSPC, ERR_KIND_DISK_FULL, "%s in volumes.db: the medium is full", what);
	return err_kind_set(e, -EIO, ERR_KIND_INTERNAL, "%s in volumes.db: %s", what, sqlite3_errmsg(db->db));
}

void query_end(struct query *q)
{
	sqlite3_finalize(q->stmt);
	pthread_mutex_unlock(&q->db->lock);
}

struct query query_begin(struct volumes_db *db, const char *sql)
{
	struct query q = {.db = db};

	pthread_mutex_lock(&db->lock);
	if (sqlite3_prepare_v2(db->db, sql, -1, &q.stmt, NULL) != SQLITE_OK)
		q.stmt = NULL; /* the step reports it */
	return q;
}

void bind_text(struct query *q, const char *text)
{
	sqlite3_bind_text(q->stmt, ++q->n_bound, text, -1, SQLITE_TRANSIENT);
}

void bind_number(struct query *q, uint64_t n)
{
	sqlite3_bind_int64(q->stmt, ++q->n_bound, (sqlite3_int64)n);
}

void bind_digest(struct query *q, const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];

	bind_text(q, digest_is_valid(d) ? digest_format(d, text) : "");
}

int query_step(struct query *q, struct err *e, const char *what)
{
	int rc = q->stmt ? sqlite3_step(q->stmt) : SQLITE_ERROR;

	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		return rc == SQLITE_ROW;
	return db_error(q->db, e, what);
}

int query_one(struct query *q, struct err *e, const char *what)
{
	int rc = query_step(q, e, what);

	return rc > 0 ? 0 : rc < 0 ? rc : -ENOENT;
}

void column_text(struct query *q, int column, char *out, size_t size)
{
	const unsigned char *text = sqlite3_column_text(q->stmt, column);

	snprintf(out, size, "%s", text ? (const char *)text : "");
}

uint64_t column_number(struct query *q, int column)
{
	return (uint64_t)sqlite3_column_int64(q->stmt, column);
}

void column_digest(struct query *q, int column, struct digest *out)
{
	char text[DIGEST_TEXT_MAX];

	*out = (struct digest){0};
	column_text(q, column, text, sizeof(text));
	digest_parse(out, text, strlen(text), NULL);
}

int transact(struct volumes_db *db, struct err *e, const char *what, const char *fmt, ...)
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

/* --- open ------------------------------------------------------------------------------------------------------- */

static int version_get(struct volumes_db *db, int *version, struct err *e)
{
	QUERY(q, db, "PRAGMA user_version");
	int rc = query_step(&q, e, "read the version");

	*version = rc > 0 ? (int)column_number(&q, 0) : 0;
	if (rc < 0)
		return rc;
	if (*version > SCHEMA_VERSION)
		return err_set(e, -EPROTO,
		        "volumes.db has version %d, this builderd knows %d: it was written by a newer one", *version,
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

static int schema_upgrade(struct volumes_db *db, int version, struct err *e)
{
	int rc = 0;

	if (!version)
		rc = transact(db, e, "make the tables", "%s PRAGMA user_version=1;", schema);
	for (int v = version ? version : 1; v < SCHEMA_VERSION && rc == 0; v++)
		rc = transact(db, e, "upgrade", "%s PRAGMA user_version=%d;", migrations[v - 1], v + 1);
	return rc;
}

int volumes_db_open(const char *path, struct volumes_db **out, struct err *e)
{
	static const char *const setup[] = {
	        "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA busy_timeout=5000"};
	struct volumes_db *db = xcalloc(1, sizeof(*db));
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
	int rc = 0, version = 0;

	pthread_mutex_init(&db->lock, NULL);
	if (sqlite3_open_v2(path, &db->db, flags, NULL) != SQLITE_OK)
		rc = db_error(db, e, "open");
	if (rc == 0)
		rc = version_get(db, &version, e);
	if (rc == 0)
		rc = integrity_check(db, path, e);
	for (size_t i = 0; i < ARRAY_LEN(setup) && rc == 0; i++)
		if (sqlite3_exec(db->db, setup[i], NULL, NULL, NULL) != SQLITE_OK)
			rc = db_error(db, e, setup[i]);
	if (rc == 0)
		rc = schema_upgrade(db, version, e);
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
