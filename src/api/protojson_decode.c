/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/protojson_internal.h"

#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <google/protobuf/timestamp.pb-c.h>

#include "json/json.h"

#define DEPTH_MAX 100
#define BIG_DIGITS 19 /* from this many digits on an integer may not fit into jansson's */

static int get_message(ProtobufCMessage *m, const struct json *j, struct err *e);

static ProtobufCMessage *message_new(const ProtobufCMessageDescriptor *d)
{
	ProtobufCMessage *m = xcalloc(1, d->sizeof_message);

	protobuf_c_message_init(d, m);
	return m;
}

static int bad(const ProtobufCFieldDescriptor *f, const struct json *j, const char *want, struct err *e)
{
	const char *text = json_as_string(j);

	if (text)
		return err_set(e, -EINVAL, "%s: \"%.64s\" is not %s", f->name, text, want);
	return err_set(e, -EINVAL, "%s: %s is not %s", f->name, json_kind_name(json_kind(j)), want);
}

/* An integer as proto3 lets it be written: 1, 1.0, 1e3 or any of them as a string. Negative values come in *V as their
 * two's complement with *IS_NEGATIVE. */
static bool integer_of(const struct json *j, uint64_t *v, bool *is_negative)
{
	const char *s = json_as_string(j);
	char *end = NULL;
	double d;

	if (json_kind(j) == JSON_KIND_INT) {
		*v = (uint64_t)json_as_int64(j);
		*is_negative = json_as_int64(j) < 0;
		return true;
	}
	if (s) {
		const char *first = s + (*s == '-');
		if (*first < '0' || *first > '9' || (*first == '0' && first[1] >= '0' && first[1] <= '9'))
			return false;
		*is_negative = *s == '-';
		errno = 0;
		*v = *is_negative ? (uint64_t)strtoll(s, &end, 10) : strtoull(s, &end, 10);
		if (!*end)
			return errno == 0;
		if (strspn(s, "0123456789+-.eE") != strlen(s))
			return false;
		d = strtod(s, &end);
		if (*end)
			return false;
	} else if (json_kind(j) == JSON_KIND_REAL) {
		d = json_as_real(j);
	} else {
		return false;
	}
	/* Beyond 2^53 a double has lost digits, but what it is now is still an integer. */
	if (!(d > -9223372036854775808.0 && d < 18446744073709551616.0) || d != floor(d))
		return false;
	*is_negative = d < 0;
	*v = d < 0 ? (uint64_t)(int64_t)d : (uint64_t)d;
	return true;
}

static int get_integer(const ProtobufCFieldDescriptor *f, void *p, const struct json *j, bool is_signed, struct err *e)
{
	size_t size = protojson_element_size(f);
	bool is_negative = false;
	uint64_t v = 0;

	if (!integer_of(j, &v, &is_negative))
		return bad(f, j, "an integer", e);
	uint64_t max = size == 4 ? (is_signed ? INT32_MAX : UINT32_MAX) : (is_signed ? INT64_MAX : UINT64_MAX);
	bool fits = is_negative ? is_signed && (int64_t)v >= (size == 4 ? INT32_MIN : INT64_MIN) : v <= max;
	if (!fits)
		return err_set(e, -EINVAL, "%s: the number is outside of %s%zu", f->name, is_signed ? "int" : "uint",
		        size * 8);
	if (size == 4)
		*(uint32_t *)p = (uint32_t)v;
	else
		*(uint64_t *)p = v;
	return 0;
}

static bool double_of(const struct json *j, double *d)
{
	const char *s = json_as_string(j);
	char *end;

	if (json_kind(j) == JSON_KIND_INT || json_kind(j) == JSON_KIND_REAL) {
		*d = json_as_real(j);
		return true;
	}
	if (!s)
		return false;
	if (!strcmp(s, "NaN") || !strcmp(s, "Infinity") || !strcmp(s, "-Infinity")) {
		*d = *s == 'N' ? (double)NAN : *s == 'I' ? (double)INFINITY : (double)-INFINITY;
		return true;
	}
	if (!*s || strspn(s, "0123456789+-.eE") != strlen(s) || *s == '+')
		return false;
	*d = strtod(s, &end);
	return !*end && !isinf(*d);
}

static int get_double(const ProtobufCFieldDescriptor *f, void *p, const struct json *j, struct err *e)
{
	double d;

	if (!double_of(j, &d))
		return bad(f, j, "a number", e);
	if (f->type == PROTOBUF_C_TYPE_DOUBLE) {
		*(double *)p = d;
		return 0;
	}
	if (!isinf(d) && fabs(d) > (double)FLT_MAX)
		return err_set(e, -EINVAL, "%s: the number is outside of float", f->name);
	*(float *)p = (float)d;
	return 0;
}

static int get_enum(const ProtobufCFieldDescriptor *f, void *p, const struct json *j, struct err *e)
{
	const char *name = json_as_string(j);
	const ProtobufCEnumDescriptor *d = f->descriptor;

	if (!name)
		return get_integer(f, p, j, true, e);
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value_by_name(d, name);
	if (!v)
		return err_set(e, -EINVAL, "%s: \"%.64s\" is no value of %s", f->name, name, d->name);
	*(int *)p = v->value;
	return 0;
}

static int get_bytes(const ProtobufCFieldDescriptor *f, ProtobufCBinaryData *p, const struct json *j, struct err *e)
{
	const char *text = json_as_string(j);
	struct buf b = {0};

	if (!text || !base64_get(&b, text, strlen(text))) {
		buf_free(&b);
		return bad(f, j, "base64", e);
	}
	*p = (ProtobufCBinaryData){.len = b.len, .data = (uint8_t *)b.data};
	return 0;
}

static int get_submessage(const ProtobufCFieldDescriptor *f, ProtobufCMessage **p, const struct json *j, struct err *e)
{
	*p = message_new(f->descriptor);
	int rc = get_message(*p, j, e);
	if (rc < 0)
		err_wrap(e, "%s", f->name);
	return rc;
}

/* One value of F into P, which holds no memory yet. Even on failure P can be freed with its message. */
static int get_value(const ProtobufCFieldDescriptor *f, void *p, const struct json *j, struct err *e)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return get_integer(f, p, j, true, e);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return get_integer(f, p, j, false, e);
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_DOUBLE:
		return get_double(f, p, j, e);
	case PROTOBUF_C_TYPE_BOOL:
		if (json_kind(j) != JSON_KIND_BOOL)
			return bad(f, j, "true or false", e);
		*(protobuf_c_boolean *)p = json_as_bool(j);
		return 0;
	case PROTOBUF_C_TYPE_ENUM:
		return get_enum(f, p, j, e);
	case PROTOBUF_C_TYPE_STRING:
		if (!json_as_string(j))
			return bad(f, j, "a string", e);
		*(char **)p = xstrdup(json_as_string(j));
		return 0;
	case PROTOBUF_C_TYPE_BYTES:
		return get_bytes(f, p, j, e);
	case PROTOBUF_C_TYPE_MESSAGE:
		return get_submessage(f, p, j, e);
	}
	return -EINVAL;
}

static int get_list(const ProtobufCFieldDescriptor *f, char **data, size_t *n, const struct json *j, struct err *e)
{
	size_t size = protojson_element_size(f), count = json_elements(j);
	int rc = 0;

	if (json_kind(j) != JSON_KIND_ARRAY)
		return bad(f, j, "an array", e);
	if (!count)
		return 0;
	*data = xcalloc(count, size);
	for (*n = 0; *n < count && rc == 0; (*n)++)
		rc = get_value(f, *data + *n * size, json_element(j, *n), e);
	return rc;
}

/* Keys are strings in JSON: those of other types are what the string says. */
static int get_key(const ProtobufCFieldDescriptor *f, void *p, const char *key, struct err *e)
{
	struct buf text AUTO_BUF = {0};
	bool is_string = f->type == PROTOBUF_C_TYPE_STRING, is_bool = f->type == PROTOBUF_C_TYPE_BOOL;

	if (is_string) {
		*(char **)p = xstrdup(key);
		return 0;
	}
	buf_puts(&text, "[");
	if (is_bool && (!strcmp(key, "true") || !strcmp(key, "false")))
		buf_puts(&text, key);
	else
		json_put_string(&text, key, strlen(key));
	buf_puts(&text, "]");
	struct json *j = json_load_strict(text.data, text.len, 1, e);
	int rc = j ? get_value(f, p, json_element(j, 0), e) : -EINVAL;
	json_release(j);
	return rc;
}

static int get_map(
        const ProtobufCFieldDescriptor *f, ProtobufCMessage ***data, size_t *n, const struct json *j, struct err *e)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;
	const struct json *value;
	const char *key;

	if (json_kind(j) != JSON_KIND_OBJECT)
		return bad(f, j, "an object", e);
	if (!json_members(j))
		return 0;
	*data = xcalloc(json_members(j), sizeof(**data));
	for (void *it = NULL; (it = json_next(j, it, &key, &value));) {
		ProtobufCMessage *entry = message_new(d);
		char *base = (char *)entry;
		(*data)[(*n)++] = entry;
		int rc = get_key(&d->fields[0], base + d->fields[0].offset, key, e);
		if (rc == 0)
			rc = get_value(&d->fields[1], base + d->fields[1].offset, value, e);
		if (rc < 0)
			return err_wrap(e, "%s[\"%.64s\"]", f->name, key);
	}
	return 0;
}

static int get_field(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, const struct json *j, struct err *e)
{
	char *base = (char *)m;
	void *p = base + f->offset;

	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		size_t *n = (size_t *)(base + f->quantifier_offset);
		return protojson_is_map(m->descriptor, f) ? get_map(f, p, n, j, e) : get_list(f, p, n, j, e);
	}
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		uint32_t *which = (uint32_t *)(base + f->quantifier_offset);
		if (*which)
			return err_set(e, -EINVAL, "%s: another member of the same oneof is set too", f->name);
		memset(p, 0, protojson_element_size(f));
		*which = f->id;
	} else if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_STRING &&
	           f->type != PROTOBUF_C_TYPE_MESSAGE) {
		*(protobuf_c_boolean *)(base + f->quantifier_offset) = 1;
	}
	return get_value(f, p, j, e);
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *d, const char *key)
{
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(d, key);
	char name[PROTOJSON_NAME_MAX];

	for (unsigned i = 0; !f && i < d->n_fields; i++)
		if (!strcmp(protojson_name(d->fields[i].name, name), key))
			f = &d->fields[i];
	return f;
}

static int get_members(ProtobufCMessage *m, const struct json *j, bool *seen, struct err *e)
{
	const struct json *value;
	const char *key;

	for (void *it = NULL; (it = json_next(j, it, &key, &value));) {
		const ProtobufCFieldDescriptor *f = find_field(m->descriptor, key);
		if (!f)
			continue;
		if (seen[f - m->descriptor->fields])
			return err_set(e, -EINVAL, "%s: given twice, in both spellings", f->name);
		seen[f - m->descriptor->fields] = true;
		int rc = json_kind(value) == JSON_KIND_NULL ? 0 : get_field(m, f, value, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int get_message(ProtobufCMessage *m, const struct json *j, struct err *e)
{
	if (protojson_is_timestamp(m->descriptor)) {
		Google__Protobuf__Timestamp *t = (Google__Protobuf__Timestamp *)m;
		const char *text = json_as_string(j);
		if (!text || !protojson_get_time(text, &t->seconds, &t->nanos))
			return err_set(e, -EINVAL, "%s%.64s%s is not an RFC 3339 time", text ? "\"" : "",
			        text ? text : json_kind_name(json_kind(j)), text ? "\"" : "");
		return 0;
	}
	if (json_kind(j) != JSON_KIND_OBJECT)
		return err_set(e, -EINVAL, "%s is not an object", json_kind_name(json_kind(j)));
	bool *seen = xcalloc(m->descriptor->n_fields, sizeof(*seen));
	int rc = get_members(m, j, seen, e);
	free(seen);
	return rc;
}

/* jansson refuses integers beyond int64, which uint64 fields and unknown fields may have. To every field a number and
 * the same number as a string are one, so long integers get quotes, unless they stand where only a string may. */
static bool quote_long_integers(const char *text, size_t len, struct buf *to)
{
	bool is_string = false, is_changed = false;
	size_t copied = 0;

	for (size_t i = 0; i < len; i++) {
		if (is_string || text[i] == '"') {
			if (is_string && text[i] == '\\')
				i++;
			else if (text[i] == '"')
				is_string = !is_string;
			continue;
		}
		if (text[i] < '0' || text[i] > '9')
			continue;
		size_t end = i, start = i && text[i - 1] == '-' ? i - 1 : i;
		while (end < len &&
		        ((text[end] >= '0' && text[end] <= '9') || (text[end] && strchr("+-.eE", text[end]))))
			end++;
		size_t next = end, n_digits = 0;
		while (n_digits < end - i && text[i + n_digits] >= '0' && text[i + n_digits] <= '9')
			n_digits++;
		while (next < len && text[next] && strchr(" \t\r\n", text[next]))
			next++;
		if (n_digits == end - i && n_digits >= BIG_DIGITS && text[i] != '0' &&
		        (next == len || text[next] != ':')) {
			buf_append(to, text + copied, start - copied);
			buf_printf(to, "\"%.*s\"", (int)(end - start), text + start);
			copied = end;
			is_changed = true;
		}
		i = end - 1;
	}
	if (is_changed)
		buf_append(to, text + copied, len - copied);
	return is_changed;
}

ProtobufCMessage *protojson_decode(const ProtobufCMessageDescriptor *d, const char *text, size_t len, struct err *e)
{
	struct buf quoted AUTO_BUF = {0};
	ProtobufCMessage *m = message_new(d);
	int rc = 0;

	if (len) {
		bool is_quoted = quote_long_integers(text, len, &quoted);
		struct json *j =
		        json_load_strict(is_quoted ? quoted.data : text, is_quoted ? quoted.len : len, DEPTH_MAX, e);
		rc = j ? get_message(m, j, e) : -EINVAL;
		json_release(j);
	}
	if (rc < 0) {
		protobuf_c_message_free_unpacked(m, NULL);
		return NULL;
	}
	return m;
}
