/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Statements on one SQLite file, for volumes_db*.c; sql.c is the only user of <sqlite3.h> here. WAL and
 * synchronous=FULL: what was written is durable. A mutex makes the calls of several threads one at a time.
 */
#ifndef DM_SQL_H
#define DM_SQL_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"

struct volumes_db {
	struct sqlite3 *db; /* owns */
	pthread_mutex_t lock;
};

struct query {
	struct volumes_db *db;
	struct sqlite3_stmt *stmt; /* owns */
	int n_bound;
};

/* Holds the lock from query_begin to the end of Q's scope. Parameters are bound in the order of the calls. */
#define QUERY(q, database, sql) AUTO(query_end) struct query q = query_begin(database, sql)
struct query query_begin(struct volumes_db *db, const char *sql);
void query_end(struct query *q);

void bind_text(struct query *q, const char *text);
void bind_number(struct query *q, uint64_t n);
void bind_digest(struct query *q, const struct digest *d); /* an invalid one as "" */

/* 1: a row, 0: no more, -errno: "WHAT in volumes.db: ..." in E. */
int query_step(struct query *q, struct err *e, const char *what);
/* For a look-up: 0, or -ENOENT without a sentence when there is no row. */
int query_one(struct query *q, struct err *e, const char *what);

void column_text(struct query *q, int column, char *out, size_t size);
uint64_t column_number(struct query *q, int column);
/* One that does not parse is zero: it names nothing. */
void column_digest(struct query *q, int column, struct digest *out);

/* Several statements as one transaction, FMT as for sqlite3_mprintf: numbers are ours, texts are quoted by %Q. */
int transact(struct volumes_db *db, struct err *e, const char *what, const char *fmt, ...);

#endif
