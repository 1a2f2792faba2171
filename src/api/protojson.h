/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The JSON mapping of proto3 over protobuf-c's descriptors.
 * Source: protobuf.dev/programming-guides/json and the conformance tests' meaning of it.
 *
 * Out: lowerCamelCase names, fields at their default left out (those with presence are written when present), 64-bit
 * integers as strings, enums by name (by number if the name is unknown), bytes as base64, Timestamp as RFC 3339, maps
 * as objects. In: both spellings of names, numbers as numbers or strings, enums by name or number, null as absent,
 * unknown fields skipped; refused are a field or a oneof given twice, an unknown enum name, numbers out of range, more
 * than 100 levels, and what json.h refuses.
 */
#ifndef API_PROTOJSON_H
#define API_PROTOJSON_H

#include <stdbool.h>
#include <stddef.h>
#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"
#include "base/err.h"

void protojson_encode(struct buf *b, const ProtobufCMessage *m);

/* An empty text is an empty message. The caller frees the message with protobuf_c_message_free_unpacked; NULL: E names
 * the member and what is wrong with it. */
ProtobufCMessage *protojson_decode(const ProtobufCMessageDescriptor *d, const char *text, size_t len, struct err *e);

/* Standard base64 with padding; without it for PADDED false. */
void base64_put(struct buf *b, const void *data, size_t len, bool padded);
/* Standard and URL alphabets, padded or not. False: neither. */
bool base64_get(struct buf *b, const char *text, size_t len);

#endif
