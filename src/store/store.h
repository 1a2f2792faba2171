/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job store: builds, their log lines, what tenants used; the operator's records of tenants and tokens; one secret
 * for page tokens. This header is all the service knows of it; the implementation is sqlite*.c, another data base would
 * be a second set of these.
 *
 * Durability: when a function that changes a job returns 0, the change and its log line are on disk in one transaction
 * (WAL, synchronous=FULL). Plain log lines are collected: they are on disk after the next change or store_flush().
 * Times are milliseconds since the epoch, 0 = not yet. No credential ever reaches this interface.
 * Errors: -ENOENT no such row, -EEXIST the key is taken, -ESTALE the job was in another state, -ENOSPC, -EUCLEAN the
 * file is damaged, -EIO anything else; the sentence is in E.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "ipc/message.h"

struct store;

/* Plain strings are owned and may be NULL (""). Zero-initialise; free with job_clear. */
struct job {
	/* fixed when the job is added */
	char build_id[BUILD_ID_MAX], tenant_id[TENANT_ID_MAX];
	char *customer_id;
	char *idempotency_key; /* "" = none; unique within the tenant */
	char *request_digest;  /* of the request that brought the key */
	int64_t created_ms;
	char *source;            /* the image reference */
	struct buf config;       /* builder.v1.BuildConfig in protobuf form, credentials taken out */
	int64_t had_credentials; /* bool: they are in memory only, gone after a restart */
	int64_t max_bytes, max_inodes, timeout_ms;
	/* what store_job_update writes */
	int64_t state; /* enum build_state */
	int64_t started_ms, completed_ms;
	int64_t percent;
	char *step;
	char *error_kind, *error_message;
	char *rootfs_path, *rootfs_checksum, *image_digest, *metadata_json;
	int64_t rootfs_bytes, original_bytes, downloaded_bytes, disk_bytes, inodes, memory_peak_bytes;
	int64_t layers_total, layers_cached;
	int64_t pull_ms, extract_ms, build_ms, optimize_ms, seal_ms, total_ms;
	int64_t tries;    /* how often builderd was asked */
	int64_t retry_ms; /* PENDING: not before then */
};

void job_clear(struct job *j);
#define AUTO_JOB __attribute__((cleanup(job_clear)))

struct log_line {
	int64_t seq; /* 1, 2, ... within a build; set by the store */
	int64_t time_ms;
	int level; /* enum log_level */
	const char *component, *message;
};

struct job_filter {
	const char *tenant_id;
	uint32_t states;        /* bits 1 << state, 0: all */
	int64_t from_ms, to_ms; /* created in [from, to); to 0: no end */
	/* start behind this job in the order newest first; after_id "" = at the beginning */
	int64_t after_ms;
	char after_id[BUILD_ID_MAX];
	int64_t offset, limit; /* limit 0: none */
};

struct job_totals {
	int64_t jobs, completed, failed, cancelled, queued, running;
	int64_t total_ms;   /* sum over COMPLETED */
	int64_t disk_bytes; /* sum over COMPLETED: what is stored */
	int64_t compute_ms; /* sum over all that ran */
};

/* Return nonzero to stop; that is then the result. The job is freed behind the call. */
typedef int store_job_fn(void *arg, const struct job *j);
typedef int store_line_fn(void *arg, const struct log_line *l);

/* Open or create DIR/jobs.db (owner's eyes only), bring its schema up to date, check it. The files stay open: nothing
 * below DIR is opened by name afterwards. -EBUSY: another process has it. */
int store_open(const char *dir, struct store **out, struct err *e);
void store_close(struct store *s);

/* Days are UTC days since the epoch. */
#define STORE_DAY(ms) ((ms) / 86400000)

/* What a tenant used on one day; stored_bytes is of now. */
struct store_usage {
	int64_t builds;                       /* created */
	int64_t completed, failed, cancelled; /* ended */
	int64_t compute_ms, pulled_bytes;     /* of all tries that ended */
	int64_t stored_bytes;                 /* of all products there are */
};
int store_usage_get(struct store *s, const char *tenant_id, int64_t day, struct store_usage *out, struct err *e);

/* Checked in the transaction that would go beyond it, so that neither parallel requests nor a restart can. */
struct store_quota {
	int64_t daily_builds, storage_bytes;
};
/* -EDQUOT: which one, and by how much. */
struct store_excess {
	const char *quota; /* "max_daily_builds", "max_storage_bytes": not owned */
	int64_t current, limit;
};

/* Q NULL: no quota; else -EDQUOT with X when the tenant has no room for one more. Counts it. */
int store_job_add_within(struct store *s, const struct job *j, const struct log_line *line, const struct store_quota *q,
        struct store_excess *x, struct err *e);
static inline int store_job_add(struct store *s, const struct job *j, const struct log_line *line, struct err *e)
{
	return store_job_add_within(s, j, line, NULL, NULL, e);
}
/* TENANT_ID NULL: whoever's. OUT is overwritten, clear it either way. */
int store_job_get(struct store *s, const char *tenant_id, const char *build_id, struct job *out, struct err *e);
int store_job_get_by_key(struct store *s, const char *tenant_id, const char *key, struct job *out, struct err *e);
/* Write the changeable part of J if the stored state is FROM. LINE may be NULL. Q (may be NULL): -EDQUOT with X when J
 * is COMPLETED and its product has no room. */
int store_job_update_within(struct store *s, const struct job *j, unsigned from, const struct log_line *line,
        const struct store_quota *q, struct store_excess *x, struct err *e);
static inline int store_job_update(
        struct store *s, const struct job *j, unsigned from, const struct log_line *line, struct err *e)
{
	return store_job_update_within(s, j, from, line, NULL, NULL, e);
}
/* The job and its log lines. */
int store_job_remove(struct store *s, const char *build_id, struct err *e);
/* Newest first. The callback may not list through the same store. */
int store_job_each(struct store *s, const struct job_filter *f, store_job_fn *fn, void *arg, struct err *e);
/* All tenants' jobs that are not final, oldest first: for a start. The callback collects, it does not change them. */
int store_job_each_unfinished(struct store *s, store_job_fn *fn, void *arg, struct err *e);
/* All tenants' jobs that ended before that time, the oldest LIMIT of them, first ones first. */
int store_job_each_ended(struct store *s, int64_t before_ms, int64_t limit, store_job_fn *fn, void *arg, struct err *e);
/* Over the whole filter, without after, offset and limit. */
int store_job_totals(struct store *s, const struct job_filter *f, struct job_totals *out, struct err *e);

int store_log_append(struct store *s, const char *build_id, const struct log_line *line, struct err *e);
/* At most LIMIT lines behind AFTER_SEQ, in order. Lines that are not on disk yet are seen too. */
int store_log_each(struct store *s, const char *build_id, int64_t after_seq, int64_t limit, store_line_fn *fn,
        void *arg, struct err *e);
/* The last line's number, 0: none. */
int64_t store_log_last(struct store *s, const char *build_id);
/* Commit collected log lines. */
int store_flush(struct store *s, struct err *e);

/* --- what the operator says -------------------------------------------------------------------------------------- */

/* Zero-initialise; free with tenant_clear. */
struct tenant {
	char tenant_id[TENANT_ID_MAX];
	char *customer_id, *organization_id; /* owns; NULL: "" */
	int64_t tier;                        /* enum tenant_tier */
	char *limits;                        /* owns; in place of the tier's: tier_limits_set()'s form */
	int64_t needs_encryption;            /* bool: nothing of it is kept in clear text */
	int64_t is_disabled;                 /* bool: nothing is done for it */
	int64_t created_ms, updated_ms;
};
void tenant_clear(struct tenant *t);
#define AUTO_TENANT __attribute__((cleanup(tenant_clear)))

/* A bearer token; itself it is not kept. Free with token_clear. */
#define TOKEN_ID_MAX 24
struct token {
	uint8_t hash[32]; /* SHA-256 of its text */
	char token_id[TOKEN_ID_MAX];
	char tenant_id[TENANT_ID_MAX];              /* "": the operator's own */
	int64_t scope;                              /* of api/auth.h */
	char *description;                          /* owns */
	int64_t created_ms, expires_ms, revoked_ms; /* 0: never */
};
void token_clear(struct token *t);
#define AUTO_TOKEN __attribute__((cleanup(token_clear)))

/* Another number after each change of a tenant or token, so that copies of them can be told old. */
uint64_t store_records_version(const struct store *s);

typedef int store_tenant_fn(void *arg, const struct tenant *t);
typedef int store_token_fn(void *arg, const struct token *t);

/* Add it, or change all of it but created_ms. */
int store_tenant_put(struct store *s, const struct tenant *t, struct err *e);
int store_tenant_get(struct store *s, const char *tenant_id, struct tenant *out, struct err *e);
int store_tenant_each(struct store *s, store_tenant_fn *fn, void *arg, struct err *e); /* by id */
/* The record and its tokens. -EBUSY: it has builds. */
int store_tenant_remove(struct store *s, const char *tenant_id, struct err *e);

int store_token_add(struct store *s, const struct token *t, struct err *e);
int store_token_get(struct store *s, const uint8_t hash[32], struct token *out, struct err *e);
/* TENANT_ID "": all, the operator's too. By tenant and age. */
int store_token_each(struct store *s, const char *tenant_id, store_token_fn *fn, void *arg, struct err *e);
/* -ENOENT: there is none, or it is revoked already. */
int store_token_revoke(struct store *s, const char *token_id, int64_t at_ms, struct err *e);

/* The last line of the audit log, so that a cut-off end is seen. Set like a log line: on disk with the next change. */
struct audit_end {
	int64_t seq; /* 0: none */
	uint8_t hash[32];
};
int store_audit_end_get(struct store *s, struct audit_end *out, struct err *e);
int store_audit_end_set(struct store *s, const struct audit_end *end, struct err *e);

/* --- backup ------------------------------------------------------------------------------------------------------ */

/* A copy of the store as it is when the last step is done, while it is used; one at a time. */
struct store_backup;
int store_backup_begin(struct store *s, struct store_backup **out, struct err *e);
/* 1: there is more to copy, 0: all is. A few milliseconds each. */
int store_backup_step(struct store_backup *b, struct err *e);
/* The copy, checked: one file that store_open opens as jobs.db. A descriptor of the caller's. */
int store_backup_file(struct store_backup *b, struct err *e);
void store_backup_free(struct store_backup *b); /* takes NULL; before the store is closed */

/* 32 random bytes made with the data base. Borrowed. */
const uint8_t *store_secret(const struct store *s);

#endif
