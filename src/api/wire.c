/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/wire.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/protojson_internal.h"
#include "base/cleanup.h"

size_t wire_utf8_step(const unsigned char *p, size_t len)
{
	if (!len)
		return 0;
	if (p[0] < 0x80)
		return 1;
	size_t n = p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
	if (!n || n > len)
		return 0;
	/* Second bytes that would be overlong, a surrogate, or above U+10FFFF. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	        (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool wire_is_utf8(const void *s, size_t len)
{
	const unsigned char *p = s;

	for (size_t i = 0, n; i < len; i += n) {
		n = wire_utf8_step(p + i, len - i);
		if (!n)
			return false;
	}
	return true;
}

struct walk {
	struct err *e;
	unsigned fields;
};

struct cursor {
	const uint8_t *p, *end;
};

static bool varint(struct cursor *c, uint64_t *out)
{
	*out = 0;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		if (c->p == c->end)
			return false;
		uint8_t byte = *c->p++;
		if (shift == 63 && byte > 1)
			return false;
		*out |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

static bool skip(struct cursor *c, size_t n)
{
	if ((size_t)(c->end - c->p) < n)
		return false;
	c->p += n;
	return true;
}

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static int walk(struct walk *w, const ProtobufCMessageDescriptor *d, struct cursor c, unsigned depth);

static int walk_bytes(struct walk *w, const ProtobufCFieldDescriptor *f, struct cursor sub, unsigned depth)
{
	size_t len = (size_t)(sub.end - sub.p);

	if (!f || (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE)) {
		/* Packed numbers take up to 8 bytes in memory for one on the wire. */
		if (f && f->type != PROTOBUF_C_TYPE_BYTES)
			w->fields += (unsigned)(len / 16);
		return 0;
	}
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return walk(w, f->descriptor, sub, depth + 1);
	if (memchr(sub.p, 0, len))
		return err_set(w->e, -EINVAL, "field %s has a NUL character", f->name);
	if (!wire_is_utf8(sub.p, len))
		return err_set(w->e, -EINVAL, "field %s is not valid UTF-8", f->name);
	return 0;
}

static int walk(struct walk *w, const ProtobufCMessageDescriptor *d, struct cursor c, unsigned depth)
{
	uint64_t tag, len;

	if (depth > WIRE_DEPTH_MAX)
		return err_set(w->e, -EINVAL, "nested deeper than %d levels", WIRE_DEPTH_MAX);
	while (c.p < c.end) {
		if (++w->fields > WIRE_FIELDS_MAX)
			return err_set(w->e, -EINVAL, "more than %d fields", WIRE_FIELDS_MAX);
		if (!varint(&c, &tag) || tag >> 3 == 0 || tag >> 32)
			return err_set(w->e, -EINVAL, "broken field tag in %s", d->name);
		const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
		bool ok = false;
		int rc = 0;
		switch (tag & 7) {
		case WIRE_VARINT:
			ok = varint(&c, &len);
			break;
		case WIRE_FIXED64:
			ok = skip(&c, 8);
			break;
		case WIRE_FIXED32:
			ok = skip(&c, 4);
			break;
		case WIRE_BYTES:
			ok = varint(&c, &len) && len <= (uint64_t)(c.end - c.p);
			if (ok) {
				rc = walk_bytes(w, f, (struct cursor){c.p, c.p + len}, depth);
				c.p += len;
			}
			break;
		}
		if (rc < 0)
			return rc;
		if (!ok)
			return err_set(w->e, -EINVAL, "field %u of %s is cut off or of an unknown wire type",
			        (unsigned)(tag >> 3), d->name);
	}
	return 0;
}

int wire_check(const ProtobufCMessageDescriptor *d, const void *data, size_t len, struct err *e)
{
	struct walk w = {.e = e};
	const uint8_t *p = data;

	return walk(&w, d, (struct cursor){p, p + len}, 1);
}

struct map_slot {
	ProtobufCMessage *entry;
	size_t at;
};

static int keys_compare(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
	const ProtobufCFieldDescriptor *f = a->descriptor->fields;
	const char *x = (const char *)a + f->offset, *y = (const char *)b + f->offset;

	if (f->type != PROTOBUF_C_TYPE_STRING)
		return memcmp(x, y, protojson_element_size(f));
	x = *(const char *const *)x;
	y = *(const char *const *)y;
	return strcmp(x ? x : "", y ? y : "");
}

static int slots_compare(const void *a, const void *b)
{
	const struct map_slot *x = a, *y = b;
	int c = keys_compare(x->entry, y->entry);

	return c ? c : (x->at > y->at) - (x->at < y->at);
}

/* Of a key that stands twice the last entry counts (protobuf.dev, "Maps"); protobuf-c keeps all. */
static void map_settle(ProtobufCMessage **entries, size_t *n)
{
	AUTO_FREE struct map_slot *slots = xcalloc(*n, sizeof(*slots));
	size_t kept = 0;

	for (size_t i = 0; i < *n; i++)
		slots[i] = (struct map_slot){entries[i], i};
	qsort(slots, *n, sizeof(*slots), slots_compare);
	for (size_t i = 0; i + 1 < *n; i++)
		if (!keys_compare(slots[i].entry, slots[i + 1].entry)) {
			entries[slots[i].at] = NULL;
			protobuf_c_message_free_unpacked(slots[i].entry, NULL);
		}
	for (size_t i = 0; i < *n; i++)
		if (entries[i])
			entries[kept++] = entries[i];
	*n = kept;
}

/* The maps of M and of all below it; the depth was checked. */
static void maps_settle(ProtobufCMessage *m)
{
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		char *base = (char *)m, *p = base + f->offset;
		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (f->label != PROTOBUF_C_LABEL_REPEATED) {
			bool is_other = f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
			                *(uint32_t *)(base + f->quantifier_offset) != f->id;
			if (!is_other && *(ProtobufCMessage **)p)
				maps_settle(*(ProtobufCMessage **)p);
			continue;
		}
		ProtobufCMessage **list = *(ProtobufCMessage ***)p;
		size_t *n = (size_t *)(base + f->quantifier_offset);
		if (*n > 1 && protojson_is_map(m->descriptor, f))
			map_settle(list, n);
		for (size_t k = 0; k < *n; k++)
			maps_settle(list[k]);
	}
}

ProtobufCMessage *wire_decode(const ProtobufCMessageDescriptor *d, const void *data, size_t len, struct err *e)
{
	if (wire_check(d, data, len, e) < 0)
		return NULL;
	ProtobufCMessage *m = protobuf_c_message_unpack(d, NULL, len, data);
	if (!m)
		err_set(e, -EINVAL, "not a %s message", d->name);
	else
		maps_settle(m);
	return m;
}

void wire_encode(struct buf *b, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	char *to = buf_reserve(b, len + 1);

	protobuf_c_message_pack(m, (uint8_t *)to);
	b->len += len;
}
