/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Builds and their log lines in the SQLite store; what a tenant uses is counted in the transaction that changes it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "build/states.h"
#include "store/columns.h"
#include "store/sqlite.h"

/* --- rows ------------------------------------------------------------------------------------------------------ */

static void bind_column(struct sqlite3_stmt *st, int at, const struct job_column *c, const struct job *j)
{
	const char *member = (const char *)j + c->offset;
	const struct buf *blob;

	switch (c->type) {
	case COLUMN_ID:
		sql_bind_text(st, at, member);
		break;
	case COLUMN_TEXT:
		sql_bind_text(st, at, *(char *const *)(const void *)member);
		break;
	case COLUMN_INT:
		sql_bind_int(st, at, *(const int64_t *)(const void *)member);
		break;
	case COLUMN_BLOB:
		blob = (const void *)member;
		sql_bind_blob(st, at, blob->data, blob->len);
		break;
	}
}

static void read_column(struct sqlite3_stmt *st, int at, const struct job_column *c, struct job *j)
{
	char *member = (char *)j + c->offset;
	const void *blob;
	size_t len;

	switch (c->type) {
	case COLUMN_ID:
		snprintf(member, c->size, "%s", sql_text(st, at));
		break;
	case COLUMN_TEXT:
		*(char **)(void *)member = xstrdup(sql_text(st, at));
		break;
	case COLUMN_INT:
		*(int64_t *)(void *)member = sql_int(st, at);
		break;
	case COLUMN_BLOB:
		blob = sql_blob(st, at, &len);
		buf_append((void *)member, blob, len);
		break;
	}
}

static void read_job(struct sqlite3_stmt *st, struct job *j)
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

/* --- log lines ------------------------------------------------------------------------------------------------- */

static int line_insert(struct store *s, const char *build_id, const struct log_line *l, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_LOG_ADD);

	sql_bind_text(st, 1, build_id);
	sql_bind_int(st, 2, l->time_ms);
	sql_bind_int(st, 3, l->level);
	sql_bind_text(st, 4, l->component);
	sql_bind_text(st, 5, l->message);
	int rc = sql_run(s, st, "add a log line", e);
	return rc < 0 ? rc : 0;
}

int store_log_append(struct store *s, const char *build_id, const struct log_line *line, struct err *e)
{
	int rc = sql_collect(s, e);

	if (rc >= 0)
		rc = line_insert(s, build_id, line, e);
	if (rc < 0)
		sql_collect_failed(s);
	return rc;
}

int store_log_each(struct store *s, const char *build_id, int64_t after_seq, int64_t limit, store_line_fn *fn,
        void *arg, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_LOG_EACH);
	int rc = 0, result = 0;

	sql_bind_text(st, 1, build_id);
	sql_bind_int(st, 2, after_seq);
	sql_bind_int(st, 3, limit);
	while (!result && (rc = sql_step(s, st, "read log lines", e)) > 0) {
		struct log_line l = {
		        .seq = sql_int(st, 0),
		        .time_ms = sql_int(st, 1),
		        .level = (int)sql_int(st, 2),
		        .component = sql_text(st, 3),
		        .message = sql_text(st, 4),
		};
		result = fn(arg, &l);
	}
	sql_reset(st);
	return result ? result : rc;
}

int64_t store_log_last(struct store *s, const char *build_id)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_LOG_LAST);

	sql_bind_text(st, 1, build_id);
	int64_t last = sql_step(s, st, "read log lines", NULL) > 0 ? sql_int(st, 0) : 0;
	sql_reset(st);
	return last;
}

/* --- usage and quotas ------------------------------------------------------------------------------------------ */

static int usage_add(
        struct store *s, const char *tenant_id, int64_t time_ms, const struct store_usage *u, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_USAGE_ADD);
	const int64_t counts[] = {u->builds, u->completed, u->failed, u->cancelled, u->compute_ms, u->pulled_bytes};

	sql_bind_text(st, 1, tenant_id);
	sql_bind_int(st, 2, STORE_DAY(time_ms));
	for (int i = 0; i < (int)ARRAY_LEN(counts); i++)
		sql_bind_int(st, 3 + i, counts[i]);
	int rc = sql_run(s, st, "count usage", e);
	return rc < 0 ? rc : 0;
}

int store_usage_get(struct store *s, const char *tenant_id, int64_t day, struct store_usage *out, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_USAGE_GET);
	int64_t *members[] = {
	        &out->builds, &out->completed, &out->failed, &out->cancelled, &out->compute_ms, &out->pulled_bytes};

	*out = (struct store_usage){0};
	sql_bind_text(st, 1, tenant_id);
	sql_bind_int(st, 2, day);
	int rc = sql_step(s, st, "read usage", e);
	for (int i = 0; rc > 0 && i < (int)ARRAY_LEN(members); i++)
		*members[i] = sql_int(st, i);
	sql_reset(st);
	if (rc < 0)
		return rc;
	st = sql_use(s, SQL_STORED);
	sql_bind_text(st, 1, tenant_id);
	rc = sql_step(s, st, "sum up products", e);
	if (rc > 0)
		out->stored_bytes = sql_int(st, 0);
	sql_reset(st);
	return rc < 0 ? rc : 0;
}

static int exceeded(struct store_excess *x, const char *quota, int64_t current, int64_t limit, struct err *e)
{
	*x = (struct store_excess){quota, current, limit};
	return err_set(e, -EDQUOT, "%s", quota);
}

/* May the tenant queue one more? */
static int quota_check_new(
        struct store *s, const struct job *j, const struct store_quota *q, struct store_excess *x, struct err *e)
{
	struct store_usage u;
	int rc = store_usage_get(s, j->tenant_id, STORE_DAY(j->created_ms), &u, e);

	if (rc < 0)
		return rc;
	if (u.builds >= q->daily_builds)
		return exceeded(x, "max_daily_builds", u.builds, q->daily_builds, e);
	if (u.stored_bytes >= q->storage_bytes)
		return exceeded(x, "max_storage_bytes", u.stored_bytes, q->storage_bytes, e);
	return 0;
}

/* May its product stay? */
static int quota_check_product(
        struct store *s, const struct job *j, const struct store_quota *q, struct store_excess *x, struct err *e)
{
	struct store_usage u;
	int rc = store_usage_get(s, j->tenant_id, 0, &u, e);

	if (rc < 0 || j->disk_bytes <= q->storage_bytes - u.stored_bytes)
		return rc;
	return exceeded(x, "max_storage_bytes", u.stored_bytes + j->disk_bytes, q->storage_bytes, e);
}

/* A try is over, and maybe the build. One that ends while it waits has been counted before. */
static int usage_add_try(struct store *s, const struct job *j, unsigned from, struct err *e)
{
	bool has_run = from != BUILD_PENDING;
	struct store_usage u = {.completed = j->state == BUILD_COMPLETED,
	        .failed = j->state == BUILD_FAILED,
	        .cancelled = j->state == BUILD_CANCELLED,
	        .compute_ms = has_run ? j->total_ms : 0,
	        .pulled_bytes = has_run ? j->downloaded_bytes : 0};
	int64_t end = j->completed_ms ? j->completed_ms : j->retry_ms; /* a try's end, give or take the wait */

	return usage_add(s, j->tenant_id, end, &u, e);
}

/* --- jobs ------------------------------------------------------------------------------------------------------ */

int store_job_add_within(struct store *s, const struct job *j, const struct log_line *line, const struct store_quota *q,
        struct store_excess *x, struct err *e)
{
	const struct store_usage one = {.builds = 1};
	int code = sql_change_begin(s, e);

	if (code < 0)
		return code;
	if (q)
		code = quota_check_new(s, j, q, x, e);
	if (code >= 0) {
		struct sqlite3_stmt *st = sql_use(s, SQL_JOB_ADD);
		for (int i = 0; i < JOB_COLUMNS_COUNT; i++)
			bind_column(st, i + 1, &job_columns[i], j);
		code = sql_run(s, st, "add a build", e);
	}
	if (code >= 0)
		code = usage_add(s, j->tenant_id, j->created_ms, &one, e);
	if (code >= 0 && line)
		code = line_insert(s, j->build_id, line, e);
	return sql_change_end(s, code, e);
}

/* The one row of a prepared statement. */
static int job_fetch(struct store *s, struct sqlite3_stmt *st, struct job *out, struct err *e)
{
	int rc = sql_step(s, st, "read a build", e);

	if (rc > 0)
		read_job(st, out);
	sql_reset(st);
	return rc > 0 ? 0 : rc < 0 ? rc : err_set(e, -ENOENT, "no such build");
}

int store_job_get(struct store *s, const char *tenant_id, const char *build_id, struct job *out, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_JOB_GET);

	*out = (struct job){0};
	sql_bind_text(st, 1, build_id);
	if (tenant_id)
		sql_bind_text(st, 2, tenant_id);
	return job_fetch(s, st, out, e);
}

int store_job_get_by_key(struct store *s, const char *tenant_id, const char *key, struct job *out, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_JOB_BY_KEY);

	*out = (struct job){0};
	sql_bind_text(st, 1, tenant_id);
	sql_bind_text(st, 2, key);
	return job_fetch(s, st, out, e);
}

static int job_write(struct store *s, const struct job *j, unsigned from, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_JOB_UPDATE);

	sql_bind_text(st, 1, j->build_id);
	for (int i = 0, at = 2; i < JOB_COLUMNS_COUNT; i++)
		if (job_columns[i].is_changeable)
			bind_column(st, at++, &job_columns[i], j);
	sql_bind_int(st, 100, from);
	int rc = sql_run(s, st, "change a build", e);
	return rc < 0 || rc == 1 ? rc
	                         : err_set(e, -ESTALE, "job store: %s is not in state %u any more", j->build_id, from);
}

int store_job_update_within(struct store *s, const struct job *j, unsigned from, const struct log_line *line,
        const struct store_quota *q, struct store_excess *x, struct err *e)
{
	/* From CLEANING back: its deletion was refused, it had ended before. */
	bool is_try_over = from != BUILD_CLEANING &&
	                   (state_is_final((unsigned)j->state) || (j->state == BUILD_PENDING && from != BUILD_PENDING));
	int code = sql_change_begin(s, e);

	if (code < 0)
		return code;
	if (q && j->state == BUILD_COMPLETED)
		code = quota_check_product(s, j, q, x, e);
	if (code >= 0)
		code = job_write(s, j, from, e);
	if (code >= 0 && is_try_over)
		code = usage_add_try(s, j, from, e);
	if (code >= 0 && line)
		code = line_insert(s, j->build_id, line, e);
	return sql_change_end(s, code, e);
}

int store_job_remove(struct store *s, const char *build_id, struct err *e)
{
	static const enum statement steps[] = {SQL_LOG_REMOVE, SQL_JOB_REMOVE};
	int code = sql_change_begin(s, e);

	if (code < 0)
		return code;
	for (size_t i = 0; i < ARRAY_LEN(steps) && code >= 0; i++) {
		struct sqlite3_stmt *st = sql_use(s, steps[i]);
		sql_bind_text(st, 1, build_id);
		code = sql_run(s, st, "remove a build", e);
	}
	return sql_change_end(s, code < 0 ? code : 0, e);
}

static void bind_filter(struct sqlite3_stmt *st, const struct job_filter *f)
{
	sql_bind_text(st, 1, f->tenant_id);
	sql_bind_int(st, 2, f->states);
	sql_bind_int(st, 3, f->from_ms);
	sql_bind_int(st, 4, f->to_ms);
}

static int jobs_each(struct store *s, struct sqlite3_stmt *st, store_job_fn *fn, void *arg, struct err *e)
{
	int rc = 0, result = 0;

	while (!result && (rc = sql_step(s, st, "list builds", e)) > 0) {
		AUTO_JOB struct job j;
		read_job(st, &j);
		result = fn(arg, &j);
	}
	sql_reset(st);
	return result ? result : rc;
}

int store_job_each(struct store *s, const struct job_filter *f, store_job_fn *fn, void *arg, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_JOB_EACH);

	bind_filter(st, f);
	sql_bind_text(st, 5, f->after_id);
	sql_bind_int(st, 6, f->after_ms);
	sql_bind_int(st, 7, f->limit ? f->limit : -1);
	sql_bind_int(st, 8, f->offset);
	return jobs_each(s, st, fn, arg, e);
}

int store_job_each_unfinished(struct store *s, store_job_fn *fn, void *arg, struct err *e)
{
	return jobs_each(s, sql_use(s, SQL_JOB_UNFINISHED), fn, arg, e);
}

int store_job_each_ended(struct store *s, int64_t before_ms, int64_t limit, store_job_fn *fn, void *arg, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_JOB_ENDED);

	sql_bind_int(st, 1, before_ms);
	sql_bind_int(st, 2, limit);
	return jobs_each(s, st, fn, arg, e);
}

int store_job_totals(struct store *s, const struct job_filter *f, struct job_totals *out, struct err *e)
{
	struct sqlite3_stmt *st = sql_use(s, SQL_JOB_TOTALS);
	int64_t *members[] = {&out->jobs, &out->completed, &out->failed, &out->cancelled, &out->queued, &out->running,
	        &out->total_ms, &out->disk_bytes, &out->compute_ms};

	bind_filter(st, f);
	int rc = sql_step(s, st, "count builds", e);
	for (int i = 0; rc > 0 && i < (int)ARRAY_LEN(members); i++)
		*members[i] = sql_int(st, i);
	sql_reset(st);
	return rc < 0 ? rc : 0;
}
