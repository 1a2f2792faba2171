/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the writer and the reader of the JSON mapping share. */
#ifndef API_PROTOJSON_INTERNAL_H
#define API_PROTOJSON_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "api/protojson.h"

/* The lowerCamelCase of a field's name, as protoc makes it; NAME_MAX bytes at most. */
#define PROTOJSON_NAME_MAX 128
const char *protojson_name(const char *field_name, char out[PROTOJSON_NAME_MAX]);
/* True if F of D is a map: protobuf-c keeps only the entries, named as protoc names them. */
bool protojson_is_map(const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f);
bool protojson_is_timestamp(const ProtobufCMessageDescriptor *d);
/* Bytes of one element of F in a message. */
size_t protojson_element_size(const ProtobufCFieldDescriptor *f);

/* google.protobuf.Timestamp as RFC 3339. */
void protojson_put_time(struct buf *b, int64_t seconds, int32_t nanos);
/* False: not RFC 3339, or outside of the years 1 to 9999. */
bool protojson_get_time(const char *text, int64_t *seconds, int32_t *nanos);

#endif
