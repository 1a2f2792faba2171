/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Protobuf's binary form, checked before protobuf-c sees it. protobuf-c recurses without a limit, cuts strings at a
 * NUL, does not look at UTF-8, and turns two bytes on the wire into a hundred in memory: wire_check walks the bytes
 * with the descriptors and refuses all that.
 */
#ifndef API_WIRE_H
#define API_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"
#include "base/err.h"

#define WIRE_DEPTH_MAX 100
#define WIRE_FIELDS_MAX 65536 /* in one message, all levels: bounds what decoding allocates */

/* A decoded message the caller frees with protobuf_c_message_free_unpacked, NULL: E says why (-EINVAL). */
ProtobufCMessage *wire_decode(const ProtobufCMessageDescriptor *d, const void *data, size_t len, struct err *e);
/* 0, or -EINVAL. */
int wire_check(const ProtobufCMessageDescriptor *d, const void *data, size_t len, struct err *e);
void wire_encode(struct buf *b, const ProtobufCMessage *m);

/* Length of the well-formed UTF-8 sequence at P (RFC 3629), 0: none. */
size_t wire_utf8_step(const unsigned char *p, size_t len);
bool wire_is_utf8(const void *s, size_t len);

#endif
