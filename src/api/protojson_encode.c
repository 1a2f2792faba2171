/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/protojson_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <google/protobuf/timestamp.pb-c.h>

#include "json/json.h"

const char *protojson_name(const char *field_name, char out[PROTOJSON_NAME_MAX])
{
	size_t n = 0;
	bool is_upper = false;

	for (const char *p = field_name; *p && n < PROTOJSON_NAME_MAX - 1; p++) {
		if (*p == '_') {
			is_upper = true;
			continue;
		}
		out[n++] = is_upper && *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
		is_upper = false;
	}
	out[n] = 0;
	return out;
}

bool protojson_is_map(const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f)
{
	char name[PROTOJSON_NAME_MAX], want[PROTOJSON_NAME_MAX + 8];

	if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE)
		return false;
	const ProtobufCMessageDescriptor *entry = f->descriptor;
	size_t n = strlen(d->name);
	if (entry->n_fields != 2 || strcmp(entry->fields[0].name, "key") || strcmp(entry->fields[1].name, "value"))
		return false;
	protojson_name(f->name, name);
	snprintf(want, sizeof(want), "%sEntry", name);
	if (*want >= 'a' && *want <= 'z')
		*want = (char)(*want - 'a' + 'A');
	return !strncmp(entry->name, d->name, n) && entry->name[n] == '.' && !strcmp(entry->name + n + 1, want);
}

bool protojson_is_timestamp(const ProtobufCMessageDescriptor *d)
{
	return d == &google__protobuf__timestamp__descriptor;
}

size_t protojson_element_size(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 4;
	}
}

static void put_message(struct buf *b, const ProtobufCMessage *m);

static void put_double(struct buf *b, double v, int digits)
{
	if (isnan(v) || isinf(v))
		buf_puts(b, isnan(v) ? "\"NaN\"" : v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
	else
		buf_printf(b, "%.*g", digits, v);
}

static void put_enum(struct buf *b, const ProtobufCEnumDescriptor *d, int value)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, value);

	if (v)
		buf_printf(b, "\"%s\"", v->name);
	else
		buf_printf(b, "%d", value);
}

static void put_bytes(struct buf *b, const ProtobufCBinaryData *v)
{
	buf_puts(b, "\"");
	base64_put(b, v->data, v->len, true);
	buf_puts(b, "\"");
}

/* One element of F at P. */
static void put_value(struct buf *b, const ProtobufCFieldDescriptor *f, const void *p)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		buf_printf(b, "%d", *(const int32_t *)p);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		buf_printf(b, "%u", *(const uint32_t *)p);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		buf_printf(b, "\"%lld\"", (long long)*(const int64_t *)p);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		buf_printf(b, "\"%llu\"", (unsigned long long)*(const uint64_t *)p);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		put_double(b, (double)*(const float *)p, 9);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		put_double(b, *(const double *)p, 17);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		buf_puts(b, *(const protobuf_c_boolean *)p ? "true" : "false");
		break;
	case PROTOBUF_C_TYPE_ENUM:
		put_enum(b, f->descriptor, *(const int *)p);
		break;
	case PROTOBUF_C_TYPE_STRING: {
		const char *s = *(const char *const *)p;
		json_put_string(b, s ? s : "", s ? strlen(s) : 0);
		break;
	}
	case PROTOBUF_C_TYPE_BYTES:
		put_bytes(b, p);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		put_message(b, *(const ProtobufCMessage *const *)p);
		break;
	}
}

static void put_list(struct buf *b, const ProtobufCFieldDescriptor *f, const char *data, size_t n)
{
	size_t size = protojson_element_size(f);

	buf_puts(b, "[");
	for (size_t i = 0; i < n; i++) {
		buf_puts(b, i ? "," : "");
		put_value(b, f, data + i * size);
	}
	buf_puts(b, "]");
}

static void put_map(struct buf *b, ProtobufCMessage *const *entries, size_t n)
{
	buf_puts(b, "{");
	for (size_t i = 0; i < n; i++) {
		const ProtobufCFieldDescriptor *kv = entries[i]->descriptor->fields;
		const char *base = (const char *)entries[i];
		bool is_text = kv[0].type == PROTOBUF_C_TYPE_STRING || protojson_element_size(&kv[0]) == 8;
		buf_puts(b, i ? "," : "");
		buf_puts(b, is_text ? "" : "\"");
		put_value(b, &kv[0], base + kv[0].offset);
		buf_puts(b, is_text ? ":" : "\":");
		put_value(b, &kv[1], base + kv[1].offset);
	}
	buf_puts(b, "}");
}

static bool is_zero(const ProtobufCFieldDescriptor *f, const void *p)
{
	static const char zeros[16];

	if (f->type == PROTOBUF_C_TYPE_STRING)
		return !*(const char *const *)p || !**(const char *const *)p;
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return !((const ProtobufCBinaryData *)p)->len;
	return !memcmp(p, zeros, protojson_element_size(f));
}

static bool is_present(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	const char *base = (const char *)m, *p = base + f->offset;

	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)(base + f->quantifier_offset) != 0;
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		bool is_pointer = f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING;
		return *(const uint32_t *)(base + f->quantifier_offset) == f->id && (!is_pointer || *(void *const *)p);
	}
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(void *const *)p != NULL;
	if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_STRING)
		return *(const protobuf_c_boolean *)(base + f->quantifier_offset);
	return !is_zero(f, p);
}

static void put_field(struct buf *b, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	const char *base = (const char *)m, *p = base + f->offset;
	char name[PROTOJSON_NAME_MAX];

	buf_printf(b, "\"%s\":", protojson_name(f->name, name));
	if (f->label != PROTOBUF_C_LABEL_REPEATED) {
		put_value(b, f, p);
		return;
	}
	size_t n = *(const size_t *)(base + f->quantifier_offset);
	if (protojson_is_map(m->descriptor, f))
		put_map(b, *(ProtobufCMessage *const *const *)p, n);
	else
		put_list(b, f, *(const char *const *)p, n);
}

static void put_message(struct buf *b, const ProtobufCMessage *m)
{
	bool is_first = true;

	if (!m) { /* a map's value that is the default */
		buf_puts(b, "{}");
		return;
	}
	if (protojson_is_timestamp(m->descriptor)) {
		const Google__Protobuf__Timestamp *t = (const Google__Protobuf__Timestamp *)m;
		protojson_put_time(b, t->seconds, t->nanos);
		return;
	}
	buf_puts(b, "{");
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		if (!is_present(m, f))
			continue;
		buf_puts(b, is_first ? "" : ",");
		put_field(b, m, f);
		is_first = false;
	}
	buf_puts(b, "}");
}

void protojson_encode(struct buf *b, const ProtobufCMessage *m)
{
	put_message(b, m);
}
