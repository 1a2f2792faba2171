/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The schema of the job store and every statement on it. Times and days are UTC; a day is created_ms / 86400000. */
#include "base/cleanup.h"
#include "store/columns.h"
#include "store/sqlite.h"

const char *const sqlite_migrations[] = {
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
        /* tenants, tokens, usage by day, tries of a build, the end of the audit log */
        "CREATE TABLE tenants (tenant_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, organization_id TEXT NOT NULL,"
        " tier INTEGER NOT NULL CHECK (tier BETWEEN 1 AND 4), limits TEXT NOT NULL, needs_encryption INTEGER NOT NULL,"
        " is_disabled INTEGER NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE tokens (hash BLOB PRIMARY KEY, token_id TEXT NOT NULL UNIQUE, tenant_id TEXT NOT NULL,"
        " scope INTEGER NOT NULL, description TEXT NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,"
        " revoked_ms INTEGER NOT NULL) WITHOUT ROWID;"
        "CREATE INDEX tokens_by_tenant ON tokens (tenant_id, created_ms, token_id);"
        "CREATE TABLE usage (tenant_id TEXT NOT NULL, day INTEGER NOT NULL, builds INTEGER NOT NULL,"
        " completed INTEGER NOT NULL, failed INTEGER NOT NULL, cancelled INTEGER NOT NULL, compute_ms INTEGER NOT NULL,"
        " pulled_bytes INTEGER NOT NULL, PRIMARY KEY (tenant_id, day)) WITHOUT ROWID;"
        "INSERT INTO usage SELECT tenant_id, created_ms / 86400000, count(*), sum(state = 6), sum(state = 7),"
        " sum(state = 8), sum(total_ms), sum(downloaded_bytes) FROM jobs GROUP BY 1, 2;"
        "ALTER TABLE jobs ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE jobs ADD COLUMN retry_ms INTEGER NOT NULL DEFAULT 0;"
        "CREATE INDEX jobs_stored ON jobs (tenant_id, disk_bytes) WHERE rootfs_checksum <> '';"
        "CREATE TABLE audit_end (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, hash BLOB NOT NULL);",
};

const int sqlite_migrations_count = (int)ARRAY_LEN(sqlite_migrations);

/* ?1 tenant, ?2 state bits or 0, ?3 from, ?4 to or 0 */
#define FILTER "tenant_id = ?1 AND (?2 = 0 OR (?2 >> state) & 1) AND created_ms >= ?3 AND (?4 = 0 OR created_ms < ?4)"

#define TENANT_NAMES                                                                                                   \
	"tenant_id, customer_id, organization_id, tier, limits, needs_encryption, is_disabled, created_ms, updated_ms"
#define TOKEN_NAMES "hash, token_id, tenant_id, scope, description, created_ms, expires_ms, revoked_ms"

const char *const sqlite_texts[SQL_COUNT] = {
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
        [SQL_JOB_ENDED] = "SELECT " JOB_COLUMN_NAMES " FROM jobs WHERE state IN (6,7,8) AND completed_ms < ?"
                          " ORDER BY completed_ms, build_id LIMIT ?",
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
        /* what has a product, whatever became of the build since */
        [SQL_STORED] = "SELECT coalesce(sum(disk_bytes), 0) FROM jobs WHERE tenant_id = ?1 AND rootfs_checksum <> ''",
        [SQL_USAGE_ADD] =
                "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                " ON CONFLICT (tenant_id, day) DO UPDATE SET builds = builds + ?3, completed = completed + ?4,"
                " failed = failed + ?5, cancelled = cancelled + ?6, compute_ms = compute_ms + ?7,"
                " pulled_bytes = pulled_bytes + ?8",
        [SQL_USAGE_GET] = "SELECT builds, completed, failed, cancelled, compute_ms, pulled_bytes FROM usage"
                          " WHERE tenant_id = ?1 AND day = ?2",
        [SQL_TENANT_PUT] = "INSERT INTO tenants VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
                           " ON CONFLICT (tenant_id) DO UPDATE SET customer_id = ?2, organization_id = ?3, tier = ?4,"
                           " limits = ?5, needs_encryption = ?6, is_disabled = ?7, updated_ms = ?9",
        [SQL_TENANT_GET] = "SELECT " TENANT_NAMES " FROM tenants WHERE tenant_id = ?1",
        [SQL_TENANT_EACH] = "SELECT " TENANT_NAMES " FROM tenants ORDER BY tenant_id",
        [SQL_TENANT_REMOVE] = "DELETE FROM tenants WHERE tenant_id = ?1",
        [SQL_TENANT_TOKENS_REMOVE] = "DELETE FROM tokens WHERE tenant_id = ?1",
        [SQL_TENANT_JOBS] = "SELECT count(*) FROM jobs WHERE tenant_id = ?1",
        [SQL_TOKEN_ADD] = "INSERT INTO tokens (" TOKEN_NAMES ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        [SQL_TOKEN_GET] = "SELECT " TOKEN_NAMES " FROM tokens WHERE hash = ?1",
        [SQL_TOKEN_EACH] = "SELECT " TOKEN_NAMES " FROM tokens WHERE ?1 = '' OR tenant_id = ?1"
                           " ORDER BY tenant_id, created_ms, token_id",
        [SQL_TOKEN_REVOKE] = "UPDATE tokens SET revoked_ms = ?2 WHERE token_id = ?1 AND revoked_ms = 0",
        [SQL_AUDIT_GET] = "SELECT seq, hash FROM audit_end",
        [SQL_AUDIT_SET] = "INSERT INTO audit_end VALUES (1, ?1, ?2)"
                          " ON CONFLICT (one) DO UPDATE SET seq = ?1, hash = ?2",
};
