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
#include "store/sqlite.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <sqlite3.h>

#include "base/cleanup.h"
#include "base/log.h"

#define SECRET_BYTES 32
#define APPLICATION_ID 0x62756c64 /* "buld" */

struct store {
	sqlite3 *db;                         /* owns */
	sqlite3_stmt *statements[SQL_COUNT]; /* owns */
	bool is_open;                        /* a transaction holds collected log lines */
	char *dir;                           /* owns */
	uint64_t records_version;
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

sqlite3_stmt *sql_use(struct store *s, enum statement which)
{
	sqlite3_stmt *st = s->statements[which];

	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return st;
}

void sql_bind_text(sqlite3_stmt *st, int at, const char *text)
{
	sqlite3_bind_text(st, at, text ? text : "", -1, SQLITE_STATIC);
}

void sql_bind_int(sqlite3_stmt *st, int at, int64_t n)
{
	sqlite3_bind_int64(st, at, n);
}

void sql_bind_blob(sqlite3_stmt *st, int at, const void *data, size_t len)
{
	sqlite3_bind_blob64(st, at, data ? data : "", len, SQLITE_STATIC);
}

int sql_step(struct store *s, sqlite3_stmt *st, const char *what, struct err *e)
{
	int rc = sqlite3_step(st);

	if (rc == SQLITE_ROW)
		return 1;
	int code = rc == SQLITE_DONE ? 0 : fail(s, rc, what, e);
	sqlite3_reset(st);
	return code;
}

void sql_reset(sqlite3_stmt *st)
{
	sqlite3_reset(st);
}

int sql_run(struct store *s, sqlite3_stmt *st, const char *what, struct err *e)
{
	int rc = sql_step(s, st, what, e);

	sqlite3_reset(st);
	return rc < 0 ? rc : sqlite3_changes(s->db);
}

const char *sql_text(sqlite3_stmt *st, int at)
{
	const char *text = (const char *)sqlite3_column_text(st, at);

	return text ? text : "";
}

int64_t sql_int(sqlite3_stmt *st, int at)
{
	return sqlite3_column_int64(st, at);
}

const void *sql_blob(sqlite3_stmt *st, int at, size_t *len)
{
	const void *data = sqlite3_column_blob(st, at);

	*len = (size_t)sqlite3_column_bytes(st, at);
	return data ? data : "";
}

/* --- transactions ---------------------------------------------------------------------------------------------- */

static int plain(struct store *s, enum statement which, const char *what, struct err *e)
{
	int rc = sql_run(s, s->statements[which], what, e);

	return rc < 0 ? rc : 0;
}

int sql_collect(struct store *s, struct err *e)
{
	int rc = s->is_open ? 0 : plain(s, SQL_BEGIN, "begin", e);

	if (rc >= 0)
		s->is_open = true;
	return rc;
}

void sql_collect_failed(struct store *s)
{
	if (sqlite3_get_autocommit(s->db))
		s->is_open = false;
}

static int commit(struct store *s, struct err *e)
{
	int rc = plain(s, SQL_COMMIT, "commit", e);

	s->is_open = false;
	if (rc < 0 && !sqlite3_get_autocommit(s->db)) /* SQLite keeps some failed transactions open */
		plain(s, SQL_ROLLBACK, "roll back", NULL);
	return rc;
}

int sql_change_begin(struct store *s, struct err *e)
{
	int rc = sql_collect(s, e);

	return rc < 0 ? rc : plain(s, SQL_SAVE, "savepoint", e);
}

int sql_change_end(struct store *s, int code, struct err *e)
{
	if (sqlite3_get_autocommit(s->db)) { /* rolled back by SQLite itself: disk full, I/O error */
		s->is_open = false;
		return code < 0 ? code : err_set(e, -EIO, "job store: the transaction was rolled back");
	}
	if (code < 0)
		plain(s, SQL_UNDO, "undo", NULL);
	plain(s, SQL_RELEASE, "release", NULL);
	int rc = commit(s, code < 0 ? NULL : e);
	return code < 0 ? code : rc;
}

int store_flush(struct store *s, struct err *e)
{
	return s->is_open ? commit(s, e) : 0;
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
	int64_t known = sqlite_migrations_count;
	int64_t app = pragma_number(s, "PRAGMA application_id");

	if (version < 0 || version > known || (version && app != APPLICATION_ID))
		return err_set(e, -EPROTO,
		        "job store %s: schema version %lld, application %llx: this program knows 0 to %lld", path,
		        (long long)version, (long long)app, (long long)known);
	for (; version < known; version++) {
		AUTO_FREE char *sql =
		        xasprintf("BEGIN; %s PRAGMA application_id = %d; PRAGMA user_version = %lld; COMMIT",
		                sqlite_migrations[version], APPLICATION_ID, (long long)version + 1);
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
		int rc = sqlite3_prepare_v3(
		        s->db, sqlite_texts[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i], NULL);
		if (rc != SQLITE_OK)
			return fail(s, rc, sqlite_texts[i], e);
	}
	return 0;
}

static int read_secret(struct store *s, struct err *e)
{
	sqlite3_stmt *st = sql_use(s, SQL_SECRET);
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

	s->dir = xstrdup(dir);
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
	free(s->dir);
	explicit_bzero(s->secret, sizeof(s->secret));
	free(s);
}

uint64_t store_records_version(const struct store *s)
{
	return s->records_version;
}

void sql_records_changed(struct store *s)
{
	s->records_version++;
}

const uint8_t *store_secret(const struct store *s)
{
	return s->secret;
}

/* --- backup ---------------------------------------------------------------------------------------------------- */

#define BACKUP_PAGES 256 /* copied in one step: 1 MiB, some milliseconds */

struct store_backup {
	struct store *from;   /* borrowed */
	struct store to;      /* only its data base; owns */
	sqlite3_backup *copy; /* owns */
	char *path;           /* owns */
};

void store_backup_free(struct store_backup *b)
{
	if (!b)
		return;
	sqlite3_backup_finish(b->copy);
	sqlite3_close(b->to.db);
	unlink(b->path);
	free(b->path);
	free(b);
}

int store_backup_begin(struct store *s, struct store_backup **out, struct err *e)
{
	struct store_backup *b = xcalloc(1, sizeof(*b));

	*b = (struct store_backup){.from = s, .path = xasprintf("%s/jobs.db.copy", s->dir)};
	unlink(b->path); /* of a process that died over it */
	mode_t saved = umask(077);
	int rc = sqlite3_open_v2(
	        b->path, &b->to.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	umask(saved);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(
		        b->to.db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = OFF", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		b->copy = sqlite3_backup_init(b->to.db, "main", s->db, "main");
	if (!b->copy) {
		int code = fail(&b->to, rc, "begin a copy", e);
		store_backup_free(b);
		return code;
	}
	*out = b;
	return 0;
}

int store_backup_step(struct store_backup *b, struct err *e)
{
	int rc = store_flush(b->from, e); /* SQLite does not read behind a write of the same connection */

	if (rc < 0)
		return rc;
	rc = sqlite3_backup_step(b->copy, BACKUP_PAGES);
	if (rc == SQLITE_DONE)
		return 0;
	return rc == SQLITE_OK ? 1 : fail(&b->to, rc, "copy", e);
}

int store_backup_file(struct store_backup *b, struct err *e)
{
	sqlite3_backup_finish(STEAL(&b->copy));
	/* One file, that any program opens. */
	int rc = exec(&b->to, "PRAGMA journal_mode = DELETE; PRAGMA wal_checkpoint", "finish a copy", e);
	if (rc >= 0)
		rc = check_integrity(&b->to, b->path, e);
	if (rc < 0)
		return rc;
	sqlite3_close(STEAL(&b->to.db));
	int fd = open(b->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_sys(e, -errno, "open the copy") : fd;
}
