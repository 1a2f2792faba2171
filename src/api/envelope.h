/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Envelopes of Connect streams and gRPC: one byte of flags, four bytes of length in network order, the message. */
#ifndef API_ENVELOPE_H
#define API_ENVELOPE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

#define ENVELOPE_HEADER_BYTES 5u
enum {
	ENVELOPE_COMPRESSED = 0x01,
	ENVELOPE_END_STREAM = 0x02, /* Connect */
	ENVELOPE_TRAILERS = 0x80,   /* gRPC-Web */
};

struct envelope {
	uint8_t flags;
	uint32_t len;
	const char *data; /* borrowed */
};

/* Read one envelope. Returns the bytes it takes with its header, 0 when it is not whole, -EMSGSIZE when its message is
 * longer than MAX (known from the header alone). */
ssize_t envelope_read(struct envelope *v, const char *data, size_t len, size_t max);
void envelope_put(struct buf *b, uint8_t flags, const void *data, size_t len);

#endif
