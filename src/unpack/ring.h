/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bounded queue of buffers between one producing and one consuming thread. */
#ifndef UNPACK_RING_H
#define UNPACK_RING_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define RING_SLOTS 8u
#define RING_SLOT_BYTES (256u << 10)

struct ring;

struct ring *ring_new(void);
void ring_free(struct ring *r);

/* Producer: a buffer of RING_SLOT_BYTES to fill, waiting for one; NULL: the consumer gave up. */
unsigned char *ring_reserve(struct ring *r);
/* Producer: hand over LEN bytes of the buffer reserved last. */
void ring_commit(struct ring *r, size_t len);
/* Producer: no more comes. With a WHY (code not 0) the consumer meets that error behind the last byte. */
void ring_close(struct ring *r, const struct err *why);

/* Consumer: the next buffer, valid until the next call. Returns its length, 0 at the end, the producer's error. */
ssize_t ring_next(struct ring *r, const unsigned char **data, struct err *e);
/* Consumer: give up; the producer gets NULL from now on. */
void ring_cancel(struct ring *r);

#endif
