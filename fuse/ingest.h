/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parser of the ingest stream (ipc/ingest.h): bytes in, cut anywhere; checked records out. It does no I/O and
 * knows no file system. Content is passed on as it comes and never kept; what comes before it is bounded.
 */
#ifndef FUSE_INGEST_H
#define FUSE_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "ipc/ingest.h"

#define INGEST_XATTR_MAX (1u << 20) /* bytes of one record's xattrs, whatever the limits say */

struct ingest_entry {
	struct ingest_record rec;
	const char *path, *link; /* NUL-terminated; a NUL inside was refused */
	const unsigned char *xattrs;
};

struct ingest_xattr {
	const char *name; /* not terminated */
	size_t name_len;
	const void *value;
	size_t value_len;
};

/* Each returns 0 or -errno with E filled; the first failure ends the stream. */
struct ingest_sink {
	/* A record, its content not yet there. The texts are valid until finish(). */
	int (*entry)(void *arg, const struct ingest_entry *en, struct err *e);
	int (*content)(void *arg, const void *data, size_t len, struct err *e);
	/* All of the record's content came; called for each record, right after entry() if it has none. */
	int (*finish)(void *arg, struct err *e);
	void *arg;
};

struct ingest {
	const struct ingest_sink *sink; /* borrowed */
	enum { INGEST_AT_RECORD, INGEST_AT_TEXTS, INGEST_AT_CONTENT, INGEST_BROKEN } state;
	struct ingest_entry entry;
	struct buf buf; /* record, or its texts, as far as they came */
	uint64_t left;  /* content still to come */
	struct ingest_status status;
};

void ingest_init(struct ingest *in, const struct ingest_sink *sink);
void ingest_free(struct ingest *in);
/* LEN bytes more. 0 or -errno: in->status.err tells, and every further call gives -EIO. */
int ingest_feed(struct ingest *in, const void *data, size_t len);

/* Take the next xattr of an entry; *POS starts at 0. False at the end. The form was checked with the record. */
bool ingest_xattr_next(const struct ingest_entry *en, size_t *pos, struct ingest_xattr *x);

#endif
