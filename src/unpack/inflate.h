/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A layer blob as a stream of uncompressed bytes. The form is given (by the media type) and then checked: nothing is
 * guessed, nothing is stacked. Many gzip members and zstd frames are one stream; whatever else follows the last one is
 * an error.
 */
#ifndef UNPACK_INFLATE_H
#define UNPACK_INFLATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "ipc/message.h"

#define INPUT_BYTES (256u << 10)
#define ZSTD_WINDOW_LOG_MAX 27 /* 128 MiB: what the zstd tools accept without being asked */

/* The compressed bytes of a blob, by pread: a file that shrinks under us is an error and not a signal. */
struct input {
	int fd;                  /* borrowed */
	uint64_t size;           /* what the blob must have, exactly */
	_Atomic uint64_t offset; /* read so far; other threads look at it for progress */
	unsigned char *data;     /* owns: INPUT_BYTES */
	size_t pos, len;
};

/* Have WANT (<= INPUT_BYTES) bytes at data + pos, fewer only at the end. Returns how many there are, -errno. */
ssize_t input_fill(struct input *in, size_t want, struct err *e);

/* One driver per form. */
struct inflate_ops {
	const char *name;
	void *(*open)(struct err *e);
	/* Up to LEN bytes into OUT. Returns how many, 0 at the end of the stream, -errno. */
	ssize_t (*read)(void *state, struct input *in, void *out, size_t len, struct err *e);
	void (*close)(void *state);
};

extern const struct inflate_ops inflate_none, inflate_gzip, inflate_zstd;

struct inflate;

/* FD is borrowed. MEDIATYPE_MISMATCH: the blob is in another known form; BAD_COMPRESSION: in none. */
struct inflate *inflate_new(enum compression form, int fd, uint64_t size, struct err *e);
void inflate_free(struct inflate *i);

/* Fill OUT with LEN bytes, fewer only at the end of the stream. TRUNCATED, BAD_COMPRESSION, TRAILING_GARBAGE,
 * LIMIT_WINDOW, SIZE_MISMATCH. */
ssize_t inflate_read(struct inflate *i, void *out, size_t len, struct err *e);
/* Compressed bytes read so far; any thread. */
uint64_t inflate_offset(const struct inflate *i);

#endif
