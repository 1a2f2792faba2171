/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tar reader: numbers, times, pax grammar; and that the cut of the source's pieces never matters. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "unpack/tar.h"
#include "unpack/tar_parse.h"
#include "unpack/xattr.h"

static const struct image_limits limits = {
        .max_file = 1 << 20, .max_pax = 8192, .max_sparse_segments = 4, .max_xattrs = 4, .max_xattr_bytes = 1024};

Test(tar, number)
{
	static const struct {
		char field[13];
		size_t len;
		bool ok;
		int64_t want;
	} cases[] = {
	        {"0000644", 8, true, 0644},
	        {"   644 ", 8, true, 0644},
	        {"644    ", 8, true, 0644},
	        {"77777777", 8, true, 077777777},
	        {"", 8, true, 0},
	        {"        ", 8, true, 0},
	        {"12345x", 8, false, 0},
	        {"8", 8, false, 0},
	        {"-1", 8, false, 0},
	        {"12 34", 8, false, 0},
	        {"\x80\0\0\0\xff\xff\xff\xff", 8, true, 0xffffffff},
	        {"\xff\xff\xff\xff\xff\xff\xff\xff", 8, true, -1},
	        {"\xff\xff\xff\xff\xff\xff\xff\xfe", 8, true, -2},
	        {"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12, true, INT64_MAX},
	        {"\x80\0\0\0\x80\0\0\0\0\0\0\0", 12, false, 0},
	        {"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", 12, true, INT64_MIN},
	        {"\x81\0\0\0\0\0\0\0\0\0\0\0", 12, false, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t v = 0;
		cr_expect_eq(header_number(cases[i].field, cases[i].len, &v), cases[i].ok, "case %zu", i);
		if (cases[i].ok)
			cr_expect_eq(v, cases[i].want, "case %zu: %lld", i, (long long)v);
	}
}

Test(tar, mtime)
{
	static const struct {
		const char *text;
		bool ok;
		int64_t sec;
		uint32_t nsec;
	} cases[] = {
	        {"0", true, 0, 0},
	        {"1700000000.5", true, 1700000000, 500000000},
	        {"1.123456789999", true, 1, 123456789},
	        {"-1", true, -1, 0},
	        {"-1.5", true, -2, 500000000},
	        {"-0.25", true, -1, 750000000},
	        {"-1.0000000001", true, -2, 999999999},
	        {"1.", true, 1, 0},
	        {"", false, 0, 0},
	        {".5", false, 0, 0},
	        {"nan", false, 0, 0},
	        {"1e9", false, 0, 0},
	        {"+1", false, 0, 0},
	        {"1 ", false, 0, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t s = 0;
		uint32_t ns = 0;
		cr_expect_eq(
		        mtime_parse(cases[i].text, strlen(cases[i].text), &s, &ns), cases[i].ok, "%s", cases[i].text);
		if (cases[i].ok)
			cr_expect(s == cases[i].sec && ns == cases[i].nsec, "%s: %lld.%09u", cases[i].text,
			        (long long)s, ns);
	}
	int64_t s;
	uint32_t ns;
	cr_expect(mtime_parse("99999999999999999999999999", 26, &s, &ns) && s > INT64_C(1) << 40);
	cr_expect(mtime_parse("-99999999999999999999999999", 27, &s, &ns) && s < -(INT64_C(1) << 40));
}

Test(tar, pax)
{
	static const struct {
		const char *text;
		int kind; /* 0: fine */
	} cases[] = {
	        {"", 0},
	        {"9 path=a\n", 0},
	        {"9 path=a\n9 path=b\n", 0},
	        {"8 path=\n", 0},
	        {"7 a.b=\n", 0},
	        {"11 path=a\n", ERR_KIND_BAD_ARCHIVE},
	        {"8 path=a\n", ERR_KIND_BAD_ARCHIVE},
	        {"0 path=a\n", ERR_KIND_BAD_ARCHIVE},
	        {"-9 path=a\n", ERR_KIND_BAD_ARCHIVE},
	        {"9path=a\n", ERR_KIND_BAD_ARCHIVE},
	        {"5 =a\n", ERR_KIND_BAD_ARCHIVE},
	        {"7 path\n", ERR_KIND_BAD_ARCHIVE},
	        {"3 \n", ERR_KIND_BAD_ARCHIVE},
	        {"99999999999999999999 path=a\n", ERR_KIND_BAD_ARCHIVE},
	        {"11 size=-1\n", ERR_KIND_BAD_ARCHIVE},
	        {"28 size=9223372036854775808\n", ERR_KIND_BAD_ARCHIVE},
	        {"27 GNU.sparse.map=0,1,2,3\n", ERR_KIND_BAD_ARCHIVE},
	        {"26 GNU.sparse.map=0,1,2,3\n", 0},
	        {"24 GNU.sparse.map=0,1,2\n", ERR_KIND_BAD_ARCHIVE},
	        {"25 GNU.sparse.map=0,1,,2\n", ERR_KIND_BAD_ARCHIVE},
	        {"38 GNU.sparse.map=0,0,1,0,2,0,3,0,4,0\n", ERR_KIND_LIMIT_SPARSE},
	        {"25 GNU.sparse.numbytes=1\n", ERR_KIND_BAD_ARCHIVE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tar_pax x = {0};
		struct err e = ERR_INIT;
		pax_clear(&x);
		int rc = pax_parse(&x, cases[i].text, strlen(cases[i].text), &limits, &e);
		cr_expect_eq(rc < 0, cases[i].kind != 0, "%s", cases[i].text);
		cr_expect_eq(e.kind, cases[i].kind, "%s: %s", cases[i].text, err_kind_name(e.kind));
		pax_free(&x);
	}
}

/* --- archives ------------------------------------------------------------------------------------------------------
 */

static void member_append(struct buf *b, char type, const char *name, const char *data, size_t len)
{
	union {
		struct tar_header h;
		unsigned char bytes[TAR_BLOCK];
	} u = {0};
	unsigned sum = 8 * ' ';

	memcpy(u.h.name, name, strlen(name));
	memcpy(u.h.mode, "0000644", 8);
	snprintf(u.h.size, sizeof(u.h.size), "%011zo", len);
	u.h.typeflag = type;
	memcpy(u.h.magic,
	        "ustar\0"
	        "00",
	        8);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += u.bytes[i];
	snprintf(u.h.checksum, sizeof(u.h.checksum), "%06o", sum);
	buf_append(b, u.bytes, TAR_BLOCK);
	buf_append(b, data, len);
	while (b->len % TAR_BLOCK)
		buf_append(b, "", 1);
}

struct pieces {
	const struct buf *b;
	size_t at, step;
};

static ssize_t pieces_next(void *arg, const unsigned char **data, struct err *e)
{
	struct pieces *p = arg;
	size_t n = p->b->len - p->at < p->step ? p->b->len - p->at : p->step;

	*data = (const unsigned char *)p->b->data + p->at;
	p->at += n;
	return (ssize_t)n;
}

/* Everything that the reader says about an archive, as text. */
static void describe(const struct buf *archive, size_t step, struct buf *out)
{
	struct pieces p = {archive, 0, step};
	struct tar *t = tar_new(&(struct tar_source){pieces_next, &p}, &limits);
	const unsigned char *data;
	struct tar_entry en;
	struct err e = ERR_INIT;
	ssize_t n;
	int rc;

	while ((rc = tar_next(t, &en, &e)) > 0) {
		buf_printf(out, "%d %.*s %zu:", (int)en.type, (int)en.name.len, en.name.data, (size_t)en.size);
		while ((n = tar_data(t, &data, &e)) > 0)
			buf_append(out, data, (size_t)n);
		buf_puts(out, "\n");
	}
	if (rc >= 0)
		rc = tar_drain(t, 1 << 20, &e);
	buf_printf(out, "%s\n", rc < 0 ? err_kind_name(e.kind) : "end");
	tar_free(t);
}

static void archive_fill(struct buf *b)
{
	static const char pax[] = "13 path=paxed\n";

	member_append(b, '5', "d/", "", 0);
	member_append(b, '0', "d/a", "hello", 5);
	member_append(b, 'g', "pax_global_header", "13 comment=x\n", 13);
	member_append(b, 'x', "PaxHeaders/b", pax, sizeof(pax) - 1);
	member_append(b, 'L', "././@LongLink", "long", 5);
	member_append(b, '0', "d/b", "world!", 6);
	member_append(b, '0', "old/", "", 0);
	for (int i = 0; i < 1024; i++)
		buf_append(b, "", 1);
}

Test(tar, every_cut_of_the_pieces)
{
	struct buf archive = {0}, want = {0};

	archive_fill(&archive);
	/* "13 path=paxed\n" is 14 bytes: wrong on purpose here, right below */
	describe(&archive, archive.len, &want);
	cr_expect_str_eq(buf_cstr(&want), "5 d/ 0:\n0 d/a 5:hello\nbad-archive\n");
	char *wrong = memmem(archive.data, archive.len, "13 path=", 8);
	memcpy(wrong, "14", 2);
	want.len = 0;
	describe(&archive, archive.len, &want);
	cr_assert_str_eq(buf_cstr(&want), "5 d/ 0:\n0 d/a 5:hello\n0 long 6:world!\n5 old/ 0:\nend\n");
	for (size_t step = 1; step < 1100; step++) {
		struct buf got = {0};
		describe(&archive, step, &got);
		cr_assert_str_eq(buf_cstr(&got), buf_cstr(&want), "pieces of %zu", step);
		buf_free(&got);
	}
	buf_free(&archive);
	buf_free(&want);
}

/* An extended header, then a member called "plain". */
static void expect_pair(char first, const char *first_data, char second, const char *second_data, const char *want)
{
	AUTO_BUF struct buf archive = {0}, got = {0};

	member_append(&archive, first, "extended", first_data, strlen(first_data));
	if (second)
		member_append(&archive, second, "extended", second_data, strlen(second_data));
	member_append(&archive, '0', "plain", "data", 4);
	describe(&archive, archive.len, &got);
	cr_expect_str_eq(buf_cstr(&got), want, "%c %s %c: %s", first, first_data, second, buf_cstr(&got));
}

/* Archives that Go's reader and others understand differently. */
Test(tar, readers_that_disagree)
{
	static const char sparse_name[] = "24 GNU.sparse.name=evil\n";

	expect_pair('x', sparse_name, 0, "", "bad-archive\n");
	expect_pair('x', "20 GNU.sparse.name=\n", 0, "", "0 plain 4:data\nend\n");
	expect_pair('x', "24 GNU.sparse.name=evil\n21 GNU.sparse.size=9\n22 GNU.sparse.map=0,4\n", 0, "",
	        "0 evil 4:data\nend\n");
	expect_pair('x', "14 path=other\n", 'g', "13 comment=x\n", "bad-archive\n");
	expect_pair('L', "other", 'g', "13 comment=x\n", "bad-archive\n");
	expect_pair('g', "13 comment=x\n", 'L', "other", "0 other 4:data\nend\n");
}

/* "ustar  " and what are times there: a prefix as old Go writers put it, or times. */
Test(tar, gnu_prefix)
{
	static const struct {
		const char *times, *want;
	} cases[] = {
	        {"some/directory", "some/directory/name"},
	        {"14371542621", "name"},
	        {"some/d\xc3\xa9", "name"},
	        {"", "name"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		AUTO_BUF struct buf out = {0};
		struct tar_header h = {.name = "name"};
		memcpy(h.magic, "ustar  ", 8);
		memcpy(h.prefix, cases[i].times, strlen(cases[i].times));
		header_name(&h, &out);
		cr_expect_str_eq(buf_cstr(&out), cases[i].want);
	}
}

/* An archive that was cut is whole at a member's end, and an error anywhere else. */
Test(tar, every_cut_of_the_archive)
{
	struct buf archive = {0};
	size_t whole = 0;

	member_append(&archive, '0', "a", "hello", 5);
	member_append(&archive, '0', "b", "world", 5);
	for (size_t cut = 0; cut < archive.len; cut++) {
		struct buf part = {archive.data, cut, cut}, got = {0};
		describe(&part, 4096, &got);
		bool is_end = strstr(buf_cstr(&got), "end\n");
		/* from the last byte of the content on only padding is missing */
		bool want = !cut || (cut >= 512 + 5 && cut <= 1024) || cut >= 1024 + 512 + 5;
		cr_expect_eq(is_end, want, "cut at %zu: %s", cut, buf_cstr(&got));
		whole += is_end;
		buf_free(&got);
	}
	cr_expect_gt(whole, 0u);
	buf_free(&archive);
}

Test(tar, xattrs)
{
	static const unsigned char cap[20] = {1, 0, 0, 2, 0, 4};
	const struct tar_xattr in[] = {
	        {TAR_XATTR_SCHILY, {"security.capability", 19}, {(const char *)cap, 20}},
	        {TAR_XATTR_SCHILY, {"user.a", 6}, {"1", 1}},
	        {TAR_XATTR_LIBARCHIVE, {"user.%61", 8}, {"Mg", 2}}, /* the same name again: wins */
	        {TAR_XATTR_SCHILY, {"trusted.overlay.opaque", 22}, {"y", 1}},
	};
	struct tar_entry en = {.type = TAR_FILE, .xattrs = in, .n_xattrs = 4};
	struct image_limits l = limits;
	struct err e = ERR_INIT;
	struct buf out = {0};
	uint64_t dropped = 0;

	cr_assert_eq(xattr_collect(&out, &en, &l, &dropped, &e), 0, "%s", e.msg);
	cr_expect_eq(dropped, 1);
	cr_expect_eq(out.len, 8u + 6 + 1 + 8 + 19 + 20);
	cr_expect(!memcmp(out.data + 8, "user.a2", 7));
	cr_expect(!memcmp(out.data + 15 + 8, "security.capability", 19), "the capability is last");
	en.type = TAR_SYMLINK;
	cr_expect_eq(xattr_collect(&out, &en, &l, &dropped, &e), 0);
	cr_expect_eq(out.len, 0u, "links have none of these");
	en.type = TAR_FILE;
	l.max_xattr_bytes = 10;
	cr_expect_lt(xattr_collect(&out, &en, &l, &dropped, &e), 0);
	cr_expect_eq(e.kind, ERR_KIND_LIMIT_XATTR);
	buf_free(&out);
}
