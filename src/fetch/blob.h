/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tenant's blobs: one directory, "sha256-<hex>" or "sha512-<hex>" is a blob that was verified, ".tmp-<build>-<n>"
 * one that is on its way. A blob gets its final name by rename after size and hash matched, so a name is a promise; it
 * is kept through a power cut by an extended attribute with the boot id: a blob verified under another boot (or on a
 * file system without user attributes) is hashed again before it is handed out, as its data may never have reached the
 * disk.
 */
#ifndef FETCH_BLOB_H
#define FETCH_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/digest.h"
#include "base/err.h"
#include "digest/hash.h"
#include "ipc/message.h"

struct blob_store {
	int dir; /* borrowed */
	char build_id[BUILD_ID_MAX];
	char boot_id[64]; /* "": nothing is taken on trust */
	unsigned next;    /* number of the next temporary file */
};

struct blob_writer {
	struct blob_store *store; /* NULL: closed */
	int fd;                   /* owns */
	char name[BUILD_ID_MAX + 24];
	struct hash *hash; /* owns */
	char *block;       /* owns: libcurl hands out 16 KiB at a time, the file gets BLOCK_BYTES */
	size_t pending;    /* bytes in block */
	struct digest digest;
	uint64_t size, done; /* done: block included */
};

/* Reads the boot id: call before the sandbox. DIR may be set later. */
void blob_store_init(struct blob_store *s);

/* A read-only fd of the blob at offset 0, -ENOENT when there is none (a damaged one is removed), other -errno. */
int blob_lookup(struct blob_store *s, const struct digest *d, uint64_t size, struct err *e);

/* SOURCE names a file of the operator's and its state (see member_identity): was the stored blob D last compared with
 * just that? */
bool blob_source_is(struct blob_store *s, const struct digest *d, const char *source);
/* Remember it, if D is stored. */
void blob_source_set(struct blob_store *s, const struct digest *d, const char *source);

/* Start to write the blob D of SIZE bytes. Errors: DISK_FULL, INTERNAL kinds. Ends with finish or abort. */
int blob_writer_open(struct blob_writer *w, struct blob_store *s, const struct digest *d, uint64_t size, struct err *e);
/* -EFBIG, SIZE_MISMATCH as soon as it is longer than SIZE. */
int blob_writer_write(struct blob_writer *w, const void *data, size_t len, struct err *e);
/* Copy LEN bytes of FD from OFFSET. End of file before that: SIZE_MISMATCH. */
int blob_writer_copy(struct blob_writer *w, int fd, off_t offset, uint64_t len, struct err *e);
/* Forget what was written. */
int blob_writer_restart(struct blob_writer *w, struct err *e);
/* Check size and hash, give the blob its name; returns a read-only fd at offset 0. The writer is closed either way.
 * Errors: SIZE_MISMATCH, DIGEST_MISMATCH. */
int blob_writer_finish(struct blob_writer *w, struct err *e);
/* Remove the temporary file; harmless on a closed one. */
void blob_writer_abort(struct blob_writer *w);

#endif
