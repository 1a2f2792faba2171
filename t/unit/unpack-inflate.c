/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inflating drivers: every way to cut or extend a stream of two members or frames. Built twice, so that the gzip
 * engine that this build does not use is tested as well (INFLATE_WITH_ZLIB).
 */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "unpack/inflate.h"

static char plain[3000];

static void plain_fill(void)
{
	uint32_t x = 1;

	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (char)((x = x * 1103515245 + 12345) >> (i % 7 ? 29 : 16)); /* neither noise nor zeros */
}

static void gzip_append(struct buf *b, const char *data, size_t len, const char *name)
{
	z_stream z = {0};
	gz_header h = {.name = (Bytef *)(uintptr_t)name, .os = 3};

	cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	if (name)
		deflateSetHeader(&z, &h);
	z.next_in = (Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)len;
	z.avail_out = 8192 + (name ? (uInt)strlen(name) : 0);
	z.next_out = (Bytef *)buf_reserve(b, z.avail_out);
	cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	b->len += z.total_out;
	deflateEnd(&z);
}

static void zstd_append(struct buf *b, const char *data, size_t len)
{
	size_t n = ZSTD_compress(buf_reserve(b, 8192), 8192, data, len, 3);

	cr_assert(!ZSTD_isError(n));
	b->len += n;
}

/* Inflate BLOB with output pieces of STEP bytes. Returns what came, or -1 with the kind. */
static ssize_t run(enum compression form, const void *blob, size_t len, size_t step, char *out, size_t max, int *kind)
{
	int fd = fd_memfile("blob", blob, len);
	struct err e = ERR_INIT;
	struct inflate *i = inflate_new(form, fd, len, &e);
	ssize_t n = i ? 1 : -1;
	size_t sum = 0;

	while (n > 0 && (n = inflate_read(i, out + sum, step < max - sum ? step : max - sum, &e)) > 0)
		sum += (size_t)n;
	inflate_free(i);
	close(fd);
	*kind = e.kind;
	return n < 0 ? -1 : (ssize_t)sum;
}

static void expect_plain(enum compression form, const struct buf *b, size_t want, size_t step)
{
	char out[2 * sizeof(plain) + 1];
	int kind;
	ssize_t n = run(form, b->data, b->len, step, out, sizeof(out), &kind);

	cr_assert_eq(n, (ssize_t)want, "form %d step %zu: %zd, kind %s", form, step, n, err_kind_name(kind));
	for (size_t at = 0; at < want; at += sizeof(plain))
		cr_assert(!memcmp(out + at, plain, sizeof(plain)));
}

/* Every proper prefix: an error, except at the member's end. */
static void expect_cuts(enum compression form, const struct buf *b, size_t first_end)
{
	char out[2 * sizeof(plain) + 1];
	int kind;

	for (size_t cut = 1; cut < b->len; cut++) {
		ssize_t n = run(form, b->data, cut, 1000, out, sizeof(out), &kind);
		if (cut == first_end)
			cr_assert_eq(n, (ssize_t)sizeof(plain));
		else
			cr_assert(n < 0 && (kind == ERR_KIND_TRUNCATED || cut < 4 ||
			                           (cut > first_end && cut < first_end + 4)),
			        "cut %zu: %zd %s", cut, n, err_kind_name(kind));
	}
}

/* Every single bit flip: an error, or (in fields that say nothing) the same bytes. */
static void expect_flips(enum compression form, struct buf *b)
{
	char out[2 * sizeof(plain) + 4096];
	int kind;

	for (size_t bit = 0; bit < 8 * b->len; bit++) {
		b->data[bit / 8] ^= (char)(1 << bit % 8);
		ssize_t n = run(form, b->data, b->len, 4096, out, sizeof(out), &kind);
		cr_assert(n < 0 || (n == 2 * (ssize_t)sizeof(plain) && !memcmp(out, plain, sizeof(plain))),
		        "bit %zu: %zd", bit, n);
		b->data[bit / 8] ^= (char)(1 << bit % 8);
	}
}

Test(inflate, gzip)
{
	struct buf b = {0};
	char out[2 * sizeof(plain) + 1];
	int kind;

	plain_fill();
	gzip_append(&b, plain, sizeof(plain), NULL);
	size_t first = b.len;
	gzip_append(&b, plain, sizeof(plain), "name");
	for (size_t step = 1; step < 40; step++)
		expect_plain(COMPRESSION_GZIP, &b, 2 * sizeof(plain), step * step * 7);
	expect_cuts(COMPRESSION_GZIP, &b, first);
	expect_flips(COMPRESSION_GZIP, &b);
	gzip_append(&b, "", 0, NULL);
	expect_plain(COMPRESSION_GZIP, &b, 2 * sizeof(plain), 4096);
	buf_append(&b, "\0", 1);
	cr_expect_lt(run(COMPRESSION_GZIP, b.data, b.len, 4096, out, sizeof(out), &kind), 0);
	cr_expect_eq(kind, ERR_KIND_TRAILING_GARBAGE);
	buf_free(&b);
}

/* Headers longer than the input buffer: state must outlive a refill. */
Test(inflate, gzip_long_header)
{
	struct buf b = {0};
	char *name = malloc(3 * INPUT_BYTES);

	plain_fill();
	memset(name, 'n', 3 * INPUT_BYTES);
	name[3 * INPUT_BYTES - 1] = 0;
	gzip_append(&b, plain, sizeof(plain), name);
	gzip_append(&b, plain, sizeof(plain), name);
	expect_plain(COMPRESSION_GZIP, &b, 2 * sizeof(plain), 4096);
	free(name);
	buf_free(&b);
}

Test(inflate, zstd)
{
	static const unsigned char skippable[] = {0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'};
	struct buf b = {0};
	char out[2 * sizeof(plain) + 1];
	int kind;

	plain_fill();
	zstd_append(&b, plain, sizeof(plain));
	size_t first = b.len;
	zstd_append(&b, plain, sizeof(plain));
	for (size_t step = 1; step < 40; step++)
		expect_plain(COMPRESSION_ZSTD, &b, 2 * sizeof(plain), step * step * 7);
	expect_cuts(COMPRESSION_ZSTD, &b, first);
	buf_append(&b, skippable, sizeof(skippable));
	expect_plain(COMPRESSION_ZSTD, &b, 2 * sizeof(plain), 4096);
	buf_append(&b, "(\xb5\x2f\xfc", 4);
	cr_expect_lt(run(COMPRESSION_ZSTD, b.data, b.len, 4096, out, sizeof(out), &kind), 0);
	cr_expect_eq(kind, ERR_KIND_TRAILING_GARBAGE);
	buf_free(&b);
}

Test(inflate, form)
{
	static const struct {
		enum compression form;
		const char *blob;
		size_t len;
		int kind;
	} cases[] = {
	        {COMPRESSION_GZIP, "", 0, ERR_KIND_TRUNCATED},
	        {COMPRESSION_GZIP, "\x28\xb5\x2f\xfd", 4, ERR_KIND_MEDIATYPE_MISMATCH},
	        {COMPRESSION_GZIP, "hello", 5, ERR_KIND_BAD_COMPRESSION},
	        {COMPRESSION_ZSTD, "\x1f\x8b\x08\0", 4, ERR_KIND_MEDIATYPE_MISMATCH},
	        {COMPRESSION_NONE,
	                "\xfd"
	                "7zXZ\0",
	                6, ERR_KIND_MEDIATYPE_MISMATCH},
	        {COMPRESSION_NONE, "hello", 5, ERR_KIND_NONE},
	        {COMPRESSION_COUNT, "hello", 5, ERR_KIND_UNSUPPORTED_MEDIATYPE},
	};
	char out[64];
	int kind;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ssize_t n = run(cases[i].form, cases[i].blob, cases[i].len, sizeof(out), out, sizeof(out), &kind);
		cr_expect_eq(kind, cases[i].kind, "%zu: %s", i, err_kind_name(kind));
		cr_expect_eq(n < 0, cases[i].kind != ERR_KIND_NONE);
	}
}

Test(inflate, size)
{
	int fd = fd_memfile("blob", "hello", 5);
	struct err e = ERR_INIT;

	cr_expect_null(inflate_new(COMPRESSION_NONE, fd, 6, &e));
	cr_expect_eq(e.kind, ERR_KIND_SIZE_MISMATCH);
	e = (struct err)ERR_INIT;
	cr_expect_null(inflate_new(COMPRESSION_NONE, fd, 4, &e));
	cr_expect_eq(e.kind, ERR_KIND_SIZE_MISMATCH);
	close(fd);
}
