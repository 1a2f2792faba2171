/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "api/connect_gzip.h"
#include "api/envelope.h"
#include "api/wire.h"
#include "t/tools/echo.pb-c.h"

#define EVERYTHING &echo__v1__everything__descriptor

static bool is_taken(const void *data, size_t len)
{
	struct err e = ERR_INIT;
	ProtobufCMessage *m = wire_decode(EVERYTHING, data, len, &e);

	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
	else
		cr_assert(e.code == -EINVAL && *e.msg);
	return m != NULL;
}

#define TAKEN(s) cr_assert(is_taken(s, sizeof(s) - 1))
#define REFUSED(s) cr_assert(!is_taken(s, sizeof(s) - 1))

Test(api_wire, strings)
{
	TAKEN("");
	TAKEN("\x0a\x02hi");
	TAKEN("\x0a\x04\xf0\x9f\x98\x80");
	REFUSED("\x0a\x03\x61\x00\x62");     /* NUL: protobuf-c would cut the string */
	REFUSED("\x0a\x02\xc0\x80");         /* overlong */
	REFUSED("\x0a\x03\xed\xa0\x80");     /* surrogate */
	REFUSED("\x0a\x04\xf4\x90\x80\x80"); /* above U+10FFFF */
	REFUSED("\x0a\x01\xe2");             /* cut */
	TAKEN("\x5a\x02\xff\x00");           /* bytes may be anything */
	REFUSED("\x6a\x03\x0a\x01\xff");     /* in a child */
	REFUSED("\x9a\x01\x03\x0a\x01\xff"); /* in a map's key */
	TAKEN("\xfa\x07\x02\xff\xff");       /* unknown field 127: skipped as it is */
}

Test(api_wire, broken_bytes)
{
	REFUSED("\x0a");                                         /* no length */
	REFUSED("\x0a\x05hi");                                   /* too long */
	REFUSED("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"); /* huge */
	REFUSED("\x02\x00");                                     /* field 0 */
	REFUSED("\x0b\x0c");                                     /* groups */
	REFUSED("\x0e");                                         /* wire type 6 */
	REFUSED("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"); /* varint without an end */
	REFUSED("\x41\x00\x00");                                 /* half a double */
	TAKEN("\x7a\x03\x01\x02\x03");                           /* packed */
	TAKEN("\x78\x01\x78\x02");                               /* the same, not packed */
	REFUSED("\x7a\x02\x01\xff");                             /* packed and cut */
}

/* N messages inside each other. */
static struct buf nested(unsigned n)
{
	struct buf b = {0};

	for (unsigned i = 1; i < n; i++) {
		struct buf outer = {0};
		unsigned char head[4] = {0x6a, (unsigned char)(b.len | 0x80), (unsigned char)(b.len >> 7)};
		buf_append(&outer, head, 3);
		buf_append(&outer, b.data, b.len);
		buf_free(&b);
		b = outer;
	}
	return b;
}

Test(api_wire, depth)
{
	struct buf fits = nested(100), deep = nested(101), far = nested(3000);

	cr_assert(is_taken(fits.data, fits.len));
	cr_assert(!is_taken(deep.data, deep.len));
	cr_assert(!is_taken(far.data, far.len));
	buf_free(&fits);
	buf_free(&deep);
	buf_free(&far);
}

Test(api_wire, amplification)
{
	struct buf b AUTO_BUF = {0};

	for (unsigned i = 0; i < WIRE_FIELDS_MAX; i++)
		buf_append(&b, "\x8a\x01\x00", 3); /* an empty child each */
	cr_assert(is_taken(b.data, b.len));
	buf_append(&b, "\x8a\x01\x00", 3);
	cr_assert(!is_taken(b.data, b.len));
}

Test(api_envelope, every_cut)
{
	struct buf b AUTO_BUF = {0};
	struct envelope v;

	envelope_put(&b, ENVELOPE_END_STREAM, "hello", 5);
	envelope_put(&b, 0, "", 0);
	for (size_t i = 0; i < 10; i++)
		cr_assert_eq(envelope_read(&v, b.data, i, 5), 0);
	cr_assert_eq(envelope_read(&v, b.data, b.len, 5), 10);
	cr_assert(v.flags == ENVELOPE_END_STREAM && v.len == 5 && !memcmp(v.data, "hello", 5));
	cr_assert_eq(envelope_read(&v, b.data + 10, 5, 5), 5);
	cr_assert_eq(envelope_read(&v, b.data, 5, 4), -EMSGSIZE);
	cr_assert_eq(envelope_read(&v, "\0\xff\xff\xff\xff", 5, 4u << 20), -EMSGSIZE);
}

static struct buf gzip(const char *data, size_t len)
{
	struct buf b = {0};
	z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)len};

	cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_out = (Bytef *)buf_reserve(&b, 65536);
	z.avail_out = 65536;
	cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	b.len = 65536 - z.avail_out;
	deflateEnd(&z);
	return b;
}

Test(api_gzip, caps_and_refuses)
{
	static char zeros[1000000];
	struct buf in = gzip(zeros, sizeof(zeros)), out AUTO_BUF = {0};

	cr_assert_eq(connect_gunzip(&out, in.data, in.len, sizeof(zeros)), 0);
	cr_assert_eq(out.len, sizeof(zeros));
	out.len = 0;
	cr_assert_eq(connect_gunzip(&out, in.data, in.len, sizeof(zeros) - 1), -EMSGSIZE);
	out.len = 0;
	cr_assert_eq(connect_gunzip(&out, in.data, in.len - 1, sizeof(zeros)), -EBADMSG);
	out.len = 0;
	buf_append(&in, "x", 1);
	cr_assert_eq(connect_gunzip(&out, in.data, in.len, sizeof(zeros)), -EBADMSG);
	out.len = 0;
	cr_assert_eq(connect_gunzip(&out, "hello", 5, 100), -EBADMSG);
	buf_free(&in);
}

Test(api_wire, last_entry_of_a_key_counts)
{
	static const char bytes[] = "\x9a\x01\x06\x0a\x01k\x12\x01"
	                            "a\x9a\x01\x06\x0a\x01j\x12\x01x\x9a\x01\x06\x0a\x01k\x12\x01"
	                            "b";
	struct err e = ERR_INIT;
	Echo__V1__Everything *m = (Echo__V1__Everything *)wire_decode(EVERYTHING, bytes, sizeof(bytes) - 1, &e);

	cr_assert(m, "%s", e.msg);
	cr_assert_eq(m->n_labels, 2);
	cr_assert_str_eq(m->labels[0]->key, "j");
	cr_assert_str_eq(m->labels[1]->value, "b");
	protobuf_c_message_free_unpacked(&m->base, NULL);
}
