/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between the files of the SQLite store: sqlite.c owns the library, sqlite_schema.c the SQL, the others turn rows into
 * the structs of store.h. Codes of the library stay behind this header: everything here returns 0 or -errno.
 */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H

#include "store/store.h"

/* One prepared statement each; the texts are in sqlite_schema.c. */
enum statement {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_SAVE,
	SQL_RELEASE,
	SQL_UNDO,
	SQL_JOB_ADD,
	SQL_JOB_GET,
	SQL_JOB_BY_KEY,
	SQL_JOB_UPDATE,
	SQL_JOB_REMOVE,
	SQL_JOB_EACH,
	SQL_JOB_UNFINISHED,
	SQL_JOB_ENDED,
	SQL_JOB_TOTALS,
	SQL_LOG_ADD,
	SQL_LOG_EACH,
	SQL_LOG_LAST,
	SQL_LOG_REMOVE,
	SQL_SECRET,
	SQL_STORED,
	SQL_USAGE_ADD,
	SQL_USAGE_GET,
	SQL_TENANT_PUT,
	SQL_TENANT_GET,
	SQL_TENANT_EACH,
	SQL_TENANT_REMOVE,
	SQL_TENANT_TOKENS_REMOVE,
	SQL_TENANT_JOBS,
	SQL_TOKEN_ADD,
	SQL_TOKEN_GET,
	SQL_TOKEN_EACH,
	SQL_TOKEN_REVOKE,
	SQL_AUDIT_GET,
	SQL_AUDIT_SET,
	SQL_COUNT
};

extern const char *const sqlite_texts[SQL_COUNT];
/* Never edited: a change is a new entry. user_version counts those that were applied. */
extern const char *const sqlite_migrations[];
extern const int sqlite_migrations_count;

struct sqlite3_stmt;

/* The statement, reset, nothing bound. Parameters and columns are counted from 1 and from 0, as in SQLite. */
struct sqlite3_stmt *sql_use(struct store *s, enum statement which);
/* Texts and blobs are borrowed until the statement is used again. NULL is "". */
void sql_bind_text(struct sqlite3_stmt *st, int at, const char *text);
void sql_bind_int(struct sqlite3_stmt *st, int at, int64_t n);
void sql_bind_blob(struct sqlite3_stmt *st, int at, const void *data, size_t len);
/* 1: a row, 0: no more (the statement is reset), -errno: WHAT failed. */
int sql_step(struct store *s, struct sqlite3_stmt *st, const char *what, struct err *e);
void sql_reset(struct sqlite3_stmt *st);
/* A statement without rows. Returns the number of changed ones. */
int sql_run(struct store *s, struct sqlite3_stmt *st, const char *what, struct err *e);

const char *sql_text(struct sqlite3_stmt *st, int at); /* never NULL; until the next step */
int64_t sql_int(struct sqlite3_stmt *st, int at);
const void *sql_blob(struct sqlite3_stmt *st, int at, size_t *len);

void sql_records_changed(struct store *s);

/* Join or open the transaction that collects log lines; it stays open. */
int sql_collect(struct store *s, struct err *e);
/* After a failure: SQLite may have rolled everything back. */
void sql_collect_failed(struct store *s);
/* A change of its own inside it ... */
int sql_change_begin(struct store *s, struct err *e);
/* ... which is on disk when this returns 0. CODE < 0: take the change back; the lines collected before it are committed
 * either way. Returns CODE, or what kept it from getting to disk. */
int sql_change_end(struct store *s, int code, struct err *e);

#endif
