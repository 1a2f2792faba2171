/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job store: builds, their log lines, one secret for page tokens. This header is all the service knows of it; the
 * implementation in sqlite.c is one file, another data base would be a second one.
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

int store_job_add(struct store *s, const struct job *j, const struct log_line *line, struct err *e);
/* TENANT_ID NULL: whoever's. OUT is overwritten, clear it either way. */
int store_job_get(struct store *s, const char *tenant_id, const char *build_id, struct job *out, struct err *e);
int store_job_get_by_key(struct store *s, const char *tenant_id, const char *key, struct job *out, struct err *e);
/* Write the changeable part of J if the stored state is FROM. LINE may be NULL. */
int store_job_update(struct store *s, const struct job *j, unsigned from, const struct log_line *line, struct err *e);
/* The job and its log lines. */
int store_job_remove(struct store *s, const char *build_id, struct err *e);
/* Newest first. The callback may not list through the same store. */
int store_job_each(struct store *s, const struct job_filter *f, store_job_fn *fn, void *arg, struct err *e);
/* All tenants' jobs that are not final, oldest first: for a start. The callback collects, it does not change them. */
int store_job_each_unfinished(struct store *s, store_job_fn *fn, void *arg, struct err *e);
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

/* 32 random bytes made with the data base. Borrowed. */
const uint8_t *store_secret(const struct store *s);

#endif
