/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job store on SQLite; the only user of <sqlite3.h>.
 *
 * One process, one connection, one thread. locking_mode=EXCLUSIVE keeps the WAL index in memory and the files open, so
 * the process can lock itself out of the file system behind store_open, and a second process is refused instead of
 * surprised.
 *
 * Transactions: log lines open one and leave it open (is_open); whoever changes a job joins it through a savepoint and
 * commits. So a line is never on disk without the lines before it, and a failed change takes nothing else with it.
 */
#include "store/store.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sqlite3.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "store/columns.h"

#define SECRET_BYTES 32
#define APPLICATION_ID 0x62756c64 /* "buld" */

/* Never edited: a change is a new entry. user_version counts those that were applied. */
static const char *const migrations[] = {
        "CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
        "INSERT INTO secrets VALUES ('page-token', randomblob(32));"
        "CREATE TABLE jobs (build_id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, customer_id TEXT NOT NULL,"
        " idempotency_key TEXT NOT NULL, request_digest TEXT NOT NULL, created_ms INTEGER NOT NULL, source TEXT NOT "
        "NULL,"
        " config BLOB NOT NULL, had_credentials INTEGER NOT NULL, max_bytes INTEGER NOT NULL, max_inodes INTEGER NOT "
        "NULL,"
        " timeout_ms INTEGER NOT NULL, state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 9), started_ms INTEGER NOT "
        "NULL,"
        " completed_ms INTEGER NOT NULL, percent INTEGER NOT NULL, step TEXT NOT NULL, error_kind TEXT NOT NULL,"
        " error_message TEXT NOT NULL, rootfs_path TEXT NOT NULL, rootfs_checksum TEXT NOT NULL, image_digest TEXT NOT "
        "NULL,"
        " metadata_json TEXT NOT NULL, rootfs_bytes INTEGER NOT NULL, original_bytes INTEGER NOT NULL,"
        " downloaded_bytes INTEGER NOT NULL, disk_bytes INTEGER NOT NULL, inodes INTEGER NOT NULL,"
        " memory_peak_bytes INTEGER NOT NULL, layers_total INTEGER NOT NULL, layers_cached INTEGER NOT NULL,"
        " pull_ms INTEGER NOT NULL, extract_ms INTEGER NOT NULL, build_ms INTEGER NOT NULL, optimize_ms INTEGER NOT "
        "NULL,"
        " seal_ms INTEGER NOT NULL, total_ms INTEGER NOT NULL);"
        "CREATE INDEX jobs_by_tenant ON jobs (tenant_id, created_ms, build_id);"
        "CREATE INDEX jobs_unfinished ON jobs (created_ms, build_id) WHERE state IN (1,2,3,4,5,9);"
        "CREATE UNIQUE INDEX jobs_by_key ON jobs (tenant_id, idempotency_key) WHERE idempotency_key <> '';"
        "CREATE TABLE log_lines (build_id TEXT NOT NULL, seq INTEGER NOT NULL, time_ms INTEGER NOT NULL, level INTEGER "
        "NOT NULL,"
        " component TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (build_id, seq)) WITHOUT ROWID;",
};

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
	SQL_JOB_TOTALS,
	SQL_LOG_ADD,
	SQL_LOG_EACH,
	SQL_LOG_LAST,
	SQL_LOG_REMOVE,
	SQL_SECRET,
	SQL_COUNT
};

/* ?1 tenant, ?2 state bits or 0, ?3 from, ?4 to or 0 */
#define FILTER "tenant_id = ?1 AND (?2 = 0 OR (?2 >> state) & 1) AND created_ms >= ?3 AND (?4 = 0 OR created_ms < ?4)"

static const char *const texts[SQL_COUNT] = {
        [SQL_BEGIN] = "BEGIN",
        [SQL_COMMIT] = "COMMIT",
        [SQL_ROLLBACK] = "ROLLBACK",
        [SQL_SAVE] = "SAVEPOINT change",
        [SQL_RELEASE] = "RELEASE change",
        [SQL_UNDO] = "ROLLBACK TO change",
        [SQL_JOB_ADD] = "INSERT INTO jobs (" JOB_COLUMN_NAMES ") VALUES (" JOB_COLUMN_MARKS ")",
        [SQL_JOB_GET] = "SELECT " JOB_COLUMN_NAMES " FROM jobs WHERE build_id = ?1 AND (?2 IS NULL OR tenant_id = ?2)",
        [SQL_JOB_BY_KEY] =
                "SELECT " JOB_COLUMN_NAMES " FROM jobs WHERE tenant_id = ?1 AND idempotency_key = ?2 AND ?2 <> ''",
        [SQL_JOB_UPDATE] = "UPDATE jobs SET " JOB_COLUMN_SETS " WHERE build_id = ?1 AND state = ?100",
        [SQL_JOB_REMOVE] = "DELETE FROM jobs WHERE build_id = ?1",
        [SQL_JOB_EACH] = "SELECT " JOB_COLUMN_NAMES " FROM jobs WHERE " FILTER
                         " AND (?5 = '' OR (created_ms, build_id) < (?6, ?5))"
                         " ORDER BY created_ms DESC, build_id DESC LIMIT ?7 OFFSET ?8",
        [SQL_JOB_UNFINISHED] = "SELECT " JOB_COLUMN_NAMES " FROM jobs WHERE state IN (1,2,3,4,5,9)"
                               " ORDER BY created_ms, build_id",
        [SQL_JOB_TOTALS] = "SELECT count(*), total(state = 6), total(state = 7), total(state = 8), total(state = 1),"
                           " total(state BETWEEN 2 AND 5), total(CASE state WHEN 6 THEN total_ms END),"
                           " total(CASE state WHEN 6 THEN disk_bytes END), total(total_ms) FROM jobs WHERE " FILTER,
        [SQL_LOG_ADD] = "INSERT INTO log_lines SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4, ?5 FROM log_lines "
                        "WHERE build_id = ?1",
        [SQL_LOG_EACH] =
                "SELECT seq, time_ms, level, component, message FROM log_lines WHERE build_id = ?1 AND seq > ?2"
                " ORDER BY seq LIMIT ?3",
        [SQL_LOG_LAST] = "SELECT max(seq) FROM log_lines WHERE build_id = ?1",
        [SQL_LOG_REMOVE] = "DELETE FROM log_lines WHERE build_id = ?1",
        [SQL_SECRET] = "SELECT value FROM secrets WHERE name = 'page-token'",
};

struct store {
	sqlite3 *db;                         /* owns */
	sqlite3_stmt *statements[SQL_COUNT]; /* owns */
	bool is_open;                        /* a transaction holds collected log lines */
	uint8_t secret[SECRET_BYTES];
};

/* --- errors ---------------------------------------------------------------------------------------------------- */

static int code_of(int rc)
{
	static const struct {
		int rc, code;
	} codes[] = {
	        {SQLITE_FULL, -ENOSPC},
	        {SQLITE_BUSY, -EBUSY},
	        {SQLITE_CORRUPT, -EUCLEAN},
	        {SQLITE_NOTADB, -EUCLEAN},
	        {SQLITE_CONSTRAINT, -EEXIST},
	        {SQLITE_NOMEM, -ENOMEM},
	        {SQLITE_READONLY, -EROFS},
	        {SQLITE_CANTOPEN, -EACCES},
	        {SQLITE_PERM, -EACCES},
	};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (codes[i].rc == (rc & 0xff))
			return codes[i].code;
	return -EIO;
}

static int fail(struct store *s, int rc, const char *what, struct err *e)
{
	return err_set(e, code_of(rc), "job store: %s: %s", what, s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc));
}

/* --- statements ------------------------------------------------------------------------------------------------ */

static sqlite3_stmt *begin_statement(struct store *s, enum statement which)
{
	sqlite3_stmt *st = s->statements[which];

	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return st;
}

static void bind_text(sqlite3_stmt *st, int at, const char *text)
{
	sqlite3_bind_text(st, at, text ? text : "", -1, SQLITE_STATIC);
}

/* Run a statement that returns no rows. 0 or the SQLite code. */
static int run(struct store *s, enum statement which)
{
	sqlite3_stmt *st = s->statements[which];
	int rc = sqlite3_step(st);

	sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : rc;
}

/* --- transactions ---------------------------------------------------------------------------------------------- */

static int tx_begin(struct store *s, struct err *e)
{
	int rc = s->is_open ? 0 : run(s, SQL_BEGIN);

	if (rc)
		return fail(s, rc, "begin", e);
	s->is_open = true;
	return 0;
}

static int tx_commit(struct store *s, struct err *e)
{
	int rc = run(s, SQL_COMMIT);

	s->is_open = false;
	if (!rc)
		return 0;
	int code = fail(s, rc, "commit", e);
	if (!sqlite3_get_autocommit(s->db)) /* SQLite keeps some failed transactions open */
		run(s, SQL_ROLLBACK);
	return code;
}

static int change_begin(struct store *s, struct err *e)
{
	int rc = tx_begin(s, e);

	if (rc < 0)
		return rc;
	rc = run(s, SQL_SAVE);
	return rc ? fail(s, rc, "savepoint", e) : 0;
}

/* CODE < 0: take the change back; the lines collected before it are committed either way. Returns CODE, or what kept
 * it from getting to disk. */
static int change_end(struct store *s, int code, struct err *e)
{
	if (sqlite3_get_autocommit(s->db)) { /* rolled back by SQLite itself: disk full, I/O error */
		s->is_open = false;
		return code < 0 ? code : err_set(e, -EIO, "job store: the transaction was rolled back");
	}
	if (code < 0)
		run(s, SQL_UNDO);
	run(s, SQL_RELEASE);
	int rc = tx_commit(s, code < 0 ? NULL : e);
	return code < 0 ? code : rc;
}

/* --- rows ------------------------------------------------------------------------------------------------------ */

static void bind_column(sqlite3_stmt *st, int at, const struct job_column *c, const struct job *j)
{
	const char *member = (const char *)j + c->offset;
	const struct buf *blob;

	switch (c->type) {
	case COLUMN_ID:
		bind_text(st, at, member);
		break;
	case COLUMN_TEXT:
		bind_text(st, at, *(char *const *)(const void *)member);
		break;
	case COLUMN_INT:
		sqlite3_bind_int64(st, at, *(const int64_t *)(const void *)member);
		break;
	case COLUMN_BLOB:
		blob = (const void *)member;
		sqlite3_bind_blob64(st, at, blob->data ? blob->data : "", blob->len, SQLITE_STATIC);
		break;
	}
}

static void read_column(sqlite3_stmt *st, int at, const struct job_column *c, struct job *j)
{
	char *member = (char *)j + c->offset;
	const char *text = (const char *)sqlite3_column_text(st, at);

	switch (c->type) {
	case COLUMN_ID:
		snprintf(member, c->size, "%s", text ? text : "");
		break;
	case COLUMN_TEXT:
		*(char **)(void *)member = xstrdup(text ? text : "");
		break;
	case COLUMN_INT:
		*(int64_t *)(void *)member = sqlite3_column_int64(st, at);
		break;
	case COLUMN_BLOB:
		buf_append((void *)member, sqlite3_column_blob(st, at), (size_t)sqlite3_column_bytes(st, at));
		break;
	}
}

static void read_job(sqlite3_stmt *st, struct job *j)
{
	*j = (struct job){0};
	for (int i = 0; i < JOB_COLUMNS_COUNT; i++)
		read_column(st, i, &job_columns[i], j);
}

void job_clear(struct job *j)
{
	for (int i = 0; i < JOB_COLUMNS_COUNT; i++) {
		void *member = (char *)j + job_columns[i].offset;
		if (job_columns[i].type == COLUMN_TEXT)
			free(STEAL((char **)member));
		else if (job_columns[i].type == COLUMN_BLOB)
			buf_free(member);
	}
}

/* --- open ------------------------------------------------------------------------------------------------------ */

static int64_t pragma_number(struct store *s, const char *sql)
{
	sqlite3_stmt *st = NULL;
	int64_t n = -1;

	if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

static int exec(struct store *s, const char *sql, const char *what, struct err *e)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : fail(s, rc, what, e);
}

static int check_integrity(struct store *s, const char *path, struct err *e)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &st, NULL);
	int result = 0;

	rc = rc == SQLITE_OK ? sqlite3_step(st) : rc;
	const char *text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : sqlite3_errmsg(s->db);
	if (rc != SQLITE_ROW || strcmp(text ? text : "", "ok") != 0)
		result = err_set(e, rc == SQLITE_BUSY ? -EBUSY : -EUCLEAN,
		        "job store %s: %s%s; move the file away (a new one is made) or restore a copy", path,
		        rc == SQLITE_ROW ? "damaged: " : "", text ? text : "unreadable");
	sqlite3_finalize(st);
	return result;
}

static int migrate(struct store *s, const char *path, struct err *e)
{
	int64_t version = pragma_number(s, "PRAGMA user_version");
	int64_t known = (int64_t)ARRAY_LEN(migrations);
	int64_t app = pragma_number(s, "PRAGMA application_id");

	if (version < 0 || version > known || (version && app != APPLICATION_ID))
		return err_set(e, -EPROTO,
		        "job store %s: schema version %lld, application %llx: this program knows 0 to %lld", path,
		        (long long)version, (long long)app, (long long)known);
	for (; version < known; version++) {
		AUTO_FREE char *sql =
		        xasprintf("BEGIN; %s PRAGMA application_id = %d; PRAGMA user_version = %lld; COMMIT",
		                migrations[version], APPLICATION_ID, (long long)version + 1);
		int rc = exec(s, sql, "create the schema", e);
		if (rc < 0)
			return rc;
	}
	/* A write opens the WAL file while names can still be opened. */
	AUTO_FREE char *touch = xasprintf("BEGIN IMMEDIATE; PRAGMA user_version = %lld; COMMIT", (long long)known);
	return exec(s, touch, "first write", e);
}

static int prepare_all(struct store *s, struct err *e)
{
	for (int i = 0; i < SQL_COUNT; i++) {
		int rc = sqlite3_prepare_v3(s->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i], NULL);
		if (rc != SQLITE_OK)
			return fail(s, rc, texts[i], e);
	}
	return 0;
}

static int read_secret(struct store *s, struct err *e)
{
	sqlite3_stmt *st = begin_statement(s, SQL_SECRET);
	int rc = sqlite3_step(st), result = 0;

	if (rc == SQLITE_ROW && sqlite3_column_bytes(st, 0) == SECRET_BYTES)
		memcpy(s->secret, sqlite3_column_blob(st, 0), SECRET_BYTES);
	else
		result = err_set(e, -EUCLEAN, "job store: its secret is missing");
	sqlite3_reset(st);
	return result;
}

static int open_file(struct store *s, const char *path, struct err *e)
{
	mode_t saved = umask(077); /* SQLite gives the WAL file the mode of the data base */
	int rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);

	umask(saved);
	if (rc != SQLITE_OK)
		return err_set(
		        e, code_of(rc), "job store %s: %s", path, s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc));
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	/* EXCLUSIVE before WAL: then there is no -shm file. The caches bound the idle size of the process. */
	return exec(s,
	        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
	        "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -1024; PRAGMA journal_size_limit = 4194304;"
	        "PRAGMA cell_size_check = ON",
	        path, e);
}

int store_open(const char *dir, struct store **out, struct err *e)
{
	struct store *s = xcalloc(1, sizeof(*s));
	AUTO_FREE char *path = xasprintf("%s/jobs.db", dir);
	int rc = open_file(s, path, e);

	if (rc >= 0)
		rc = check_integrity(s, path, e);
	if (rc >= 0)
		rc = migrate(s, path, e);
	if (rc >= 0)
		rc = prepare_all(s, e);
	if (rc >= 0)
		rc = read_secret(s, e);
	if (rc < 0) {
		store_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	store_flush(s, NULL);
	for (int i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(s->statements[i]);
	sqlite3_close(s->db);
	explicit_bzero(s->secret, sizeof(s->secret));
	free(s);
}

const uint8_t *store_secret(const struct store *s)
{
	return s->secret;
}

/* --- log lines ------------------------------------------------------------------------------------------------- */

static int line_insert(struct store *s, const char *build_id, const struct log_line *l, struct err *e)
{
	sqlite3_stmt *st = begin_statement(s, SQL_LOG_ADD);

	bind_text(st, 1, build_id);
	sqlite3_bind_int64(st, 2, l->time_ms);
	sqlite3_bind_int64(st, 3, l->level);
	bind_text(st, 4, l->component);
	bind_text(st, 5, l->message);
	int rc = run(s, SQL_LOG_ADD);
	return rc ? fail(s, rc, "add a log line", e) : 0;
}

int store_log_append(struct store *s, const char *build_id, const struct log_line *line, struct err *e)
{
	int rc = tx_begin(s, e);

	if (rc >= 0)
		rc = line_insert(s, build_id, line, e);
	if (sqlite3_get_autocommit(s->db))
		s->is_open = false;
	return rc;
}

int store_log_each(struct store *s, const char *build_id, int64_t after_seq, int64_t limit, store_line_fn *fn,
        void *arg, struct err *e)
{
	sqlite3_stmt *st = begin_statement(s, SQL_LOG_EACH);
	int rc = SQLITE_DONE, result = 0;

	bind_text(st, 1, build_id);
	sqlite3_bind_int64(st, 2, after_seq);
	sqlite3_bind_int64(st, 3, limit);
	while (!result && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct log_line l = {
		        .seq = sqlite3_column_int64(st, 0),
		        .time_ms = sqlite3_column_int64(st, 1),
		        .level = sqlite3_column_int(st, 2),
		        .component = (const char *)sqlite3_column_text(st, 3),
		        .message = (const char *)sqlite3_column_text(st, 4),
		};
		result = fn(arg, &l);
	}
	if (!result && rc != SQLITE_DONE)
		result = fail(s, rc, "read log lines", e);
	sqlite3_reset(st);
	return result;
}

int64_t store_log_last(struct store *s, const char *build_id)
{
	sqlite3_stmt *st = begin_statement(s, SQL_LOG_LAST);

	bind_text(st, 1, build_id);
	int64_t last = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
	sqlite3_reset(st);
	return last;
}

int store_flush(struct store *s, struct err *e)
{
	return s->is_open ? tx_commit(s, e) : 0;
}

/* --- jobs ------------------------------------------------------------------------------------------------------ */

int store_job_add(struct store *s, const struct job *j, const struct log_line *line, struct err *e)
{
	int code = change_begin(s, e);

	if (code < 0)
		return code;
	sqlite3_stmt *st = begin_statement(s, SQL_JOB_ADD);
	for (int i = 0; i < JOB_COLUMNS_COUNT; i++)
		bind_column(st, i + 1, &job_columns[i], j);
	int rc = run(s, SQL_JOB_ADD);
	if (rc)
		code = fail(s, rc, "add a build", e);
	else if (line)
		code = line_insert(s, j->build_id, line, e);
	return change_end(s, code, e);
}

/* The one row of a prepared statement. */
static int job_fetch(struct store *s, enum statement which, struct job *out, struct err *e)
{
	sqlite3_stmt *st = s->statements[which];
	int rc = sqlite3_step(st), code = 0;

	if (rc == SQLITE_ROW)
		read_job(st, out);
	else
		code = rc == SQLITE_DONE ? err_set(e, -ENOENT, "no such build") : fail(s, rc, "read a build", e);
	sqlite3_reset(st);
	return code;
}

int store_job_get(struct store *s, const char *tenant_id, const char *build_id, struct job *out, struct err *e)
{
	sqlite3_stmt *st = begin_statement(s, SQL_JOB_GET);

	*out = (struct job){0};
	bind_text(st, 1, build_id);
	if (tenant_id)
		bind_text(st, 2, tenant_id);
	return job_fetch(s, SQL_JOB_GET, out, e);
}

int store_job_get_by_key(struct store *s, const char *tenant_id, const char *key, struct job *out, struct err *e)
{
	sqlite3_stmt *st = begin_statement(s, SQL_JOB_BY_KEY);

	*out = (struct job){0};
	bind_text(st, 1, tenant_id);
	bind_text(st, 2, key);
	return job_fetch(s, SQL_JOB_BY_KEY, out, e);
}

int store_job_update(struct store *s, const struct job *j, unsigned from, const struct log_line *line, struct err *e)
{
	int code = change_begin(s, e);

	if (code < 0)
		return code;
	sqlite3_stmt *st = begin_statement(s, SQL_JOB_UPDATE);
	bind_text(st, 1, j->build_id);
	for (int i = 0, at = 2; i < JOB_COLUMNS_COUNT; i++)
		if (job_columns[i].is_changeable)
			bind_column(st, at++, &job_columns[i], j);
	sqlite3_bind_int64(st, 100, from);
	int rc = run(s, SQL_JOB_UPDATE);
	if (rc)
		code = fail(s, rc, "change a build", e);
	else if (sqlite3_changes(s->db) != 1)
		code = err_set(e, -ESTALE, "job store: %s is not in state %u any more", j->build_id, from);
	else if (line)
		code = line_insert(s, j->build_id, line, e);
	return change_end(s, code, e);
}

int store_job_remove(struct store *s, const char *build_id, struct err *e)
{
	static const enum statement steps[] = {SQL_LOG_REMOVE, SQL_JOB_REMOVE};
	int code = change_begin(s, e);

	if (code < 0)
		return code;
	for (size_t i = 0; i < ARRAY_LEN(steps) && code >= 0; i++) {
		bind_text(begin_statement(s, steps[i]), 1, build_id);
		int rc = run(s, steps[i]);
		if (rc)
			code = fail(s, rc, "remove a build", e);
	}
	return change_end(s, code, e);
}

static void bind_filter(sqlite3_stmt *st, const struct job_filter *f)
{
	bind_text(st, 1, f->tenant_id);
	sqlite3_bind_int64(st, 2, f->states);
	sqlite3_bind_int64(st, 3, f->from_ms);
	sqlite3_bind_int64(st, 4, f->to_ms);
}

static int jobs_each(struct store *s, enum statement which, store_job_fn *fn, void *arg, struct err *e)
{
	sqlite3_stmt *st = s->statements[which];
	int rc = SQLITE_DONE, result = 0;

	while (!result && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		AUTO_JOB struct job j;
		read_job(st, &j);
		result = fn(arg, &j);
	}
	if (!result && rc != SQLITE_DONE)
		result = fail(s, rc, "list builds", e);
	sqlite3_reset(st);
	return result;
}

int store_job_each(struct store *s, const struct job_filter *f, store_job_fn *fn, void *arg, struct err *e)
{
	sqlite3_stmt *st = begin_statement(s, SQL_JOB_EACH);

	bind_filter(st, f);
	bind_text(st, 5, f->after_id);
	sqlite3_bind_int64(st, 6, f->after_ms);
	sqlite3_bind_int64(st, 7, f->limit ? f->limit : -1);
	sqlite3_bind_int64(st, 8, f->offset);
	return jobs_each(s, SQL_JOB_EACH, fn, arg, e);
}

int store_job_each_unfinished(struct store *s, store_job_fn *fn, void *arg, struct err *e)
{
	begin_statement(s, SQL_JOB_UNFINISHED);
	return jobs_each(s, SQL_JOB_UNFINISHED, fn, arg, e);
}

int store_job_totals(struct store *s, const struct job_filter *f, struct job_totals *out, struct err *e)
{
	sqlite3_stmt *st = begin_statement(s, SQL_JOB_TOTALS);
	int64_t *members[] = {&out->jobs, &out->completed, &out->failed, &out->cancelled, &out->queued, &out->running,
	        &out->total_ms, &out->disk_bytes, &out->compute_ms};
	int code = 0;

	bind_filter(st, f);
	int rc = sqlite3_step(st);
	if (rc != SQLITE_ROW)
		code = fail(s, rc, "count builds", e);
	for (int i = 0; rc == SQLITE_ROW && i < (int)ARRAY_LEN(members); i++)
		*members[i] = sqlite3_column_int64(st, i);
	sqlite3_reset(st);
	return code;
}
