/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The columns of a job, once: SQL lists, binding and reading are made from this table. */
#ifndef STORE_COLUMNS_H
#define STORE_COLUMNS_H

#include <stddef.h>

#include "store/store.h"

/* column name = member name. FIXED is written once, CHANGE by each update as well. The key, build_id, comes before
 * them. */
#define JOB_COLUMNS(FIXED, CHANGE)                                                                                     \
	FIXED(tenant_id, ID)                                                                                           \
	FIXED(customer_id, TEXT)                                                                                       \
	FIXED(idempotency_key, TEXT)                                                                                   \
	FIXED(request_digest, TEXT)                                                                                    \
	FIXED(created_ms, INT)                                                                                         \
	FIXED(source, TEXT)                                                                                            \
	FIXED(config, BLOB)                                                                                            \
	FIXED(had_credentials, INT)                                                                                    \
	FIXED(max_bytes, INT)                                                                                          \
	FIXED(max_inodes, INT)                                                                                         \
	FIXED(timeout_ms, INT)                                                                                         \
	CHANGE(state, INT)                                                                                             \
	CHANGE(started_ms, INT)                                                                                        \
	CHANGE(completed_ms, INT)                                                                                      \
	CHANGE(percent, INT)                                                                                           \
	CHANGE(step, TEXT)                                                                                             \
	CHANGE(error_kind, TEXT)                                                                                       \
	CHANGE(error_message, TEXT)                                                                                    \
	CHANGE(rootfs_path, TEXT)                                                                                      \
	CHANGE(rootfs_checksum, TEXT)                                                                                  \
	CHANGE(image_digest, TEXT)                                                                                     \
	CHANGE(metadata_json, TEXT)                                                                                    \
	CHANGE(rootfs_bytes, INT)                                                                                      \
	CHANGE(original_bytes, INT)                                                                                    \
	CHANGE(downloaded_bytes, INT)                                                                                  \
	CHANGE(disk_bytes, INT)                                                                                        \
	CHANGE(inodes, INT)                                                                                            \
	CHANGE(memory_peak_bytes, INT)                                                                                 \
	CHANGE(layers_total, INT)                                                                                      \
	CHANGE(layers_cached, INT)                                                                                     \
	CHANGE(pull_ms, INT)                                                                                           \
	CHANGE(extract_ms, INT)                                                                                        \
	CHANGE(build_ms, INT)                                                                                          \
	CHANGE(optimize_ms, INT)                                                                                       \
	CHANGE(seal_ms, INT)                                                                                           \
	CHANGE(total_ms, INT)                                                                                          \
	CHANGE(tries, INT)                                                                                             \
	CHANGE(retry_ms, INT)

enum column_type {
	COLUMN_ID /* char array */,
	COLUMN_TEXT /* char * */,
	COLUMN_INT /* int64_t */,
	COLUMN_BLOB /* struct buf */
};

struct job_column {
	const char *name;
	enum column_type type;
	size_t offset, size;
	bool is_changeable;
};

#define COLUMN_ROW(n, t, c) {#n, COLUMN_##t, offsetof(struct job, n), sizeof(((struct job *)0)->n), c},
#define COLUMN_FIXED(n, t) COLUMN_ROW(n, t, false)
#define COLUMN_CHANGE(n, t) COLUMN_ROW(n, t, true)
static const struct job_column job_columns[] = {COLUMN_FIXED(build_id, ID) JOB_COLUMNS(COLUMN_FIXED, COLUMN_CHANGE)};
#define JOB_COLUMNS_COUNT ((int)(sizeof(job_columns) / sizeof(job_columns[0])))

/* "build_id, tenant_id ...", "?, ? ...", "state = ?, started_ms = ? ..." */
#define COLUMN_NAME(n, t) ", " #n
#define COLUMN_MARK(n, t) ", ?"
#define COLUMN_SET(n, t) ", " #n " = ?"
#define COLUMN_SKIP(n, t)
#define JOB_COLUMN_NAMES "build_id" JOB_COLUMNS(COLUMN_NAME, COLUMN_NAME)
#define JOB_COLUMN_MARKS "?" JOB_COLUMNS(COLUMN_MARK, COLUMN_MARK)
#define JOB_COLUMN_SETS "build_id = ?1" JOB_COLUMNS(COLUMN_SKIP, COLUMN_SET)

#endif
