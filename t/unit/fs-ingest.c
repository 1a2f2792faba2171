/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fuse/ingest.h"

/* A sink that writes down what it is told. */
static struct buf said;

static int on_entry(void *arg, const struct ingest_entry *en, struct err *e)
{
	struct ingest_xattr x;
	size_t pos = 0;

	buf_printf(&said, "[%u %s>%s", en->rec.type, en->path, en->link);
	while (ingest_xattr_next(en, &pos, &x))
		buf_printf(&said, " %.*s=%.*s", (int)x.name_len, x.name, (int)x.value_len, (const char *)x.value);
	buf_printf(&said, "|");
	return strcmp(en->path, "refuse") ? 0 : err_set(e, -ENOTDIR, "refused");
}

static int on_content(void *arg, const void *data, size_t len, struct err *e)
{
	buf_append(&said, data, len);
	return 0;
}

static int on_finish(void *arg, struct err *e)
{
	buf_printf(&said, "]");
	return 0;
}

static const struct ingest_sink sink = {.entry = on_entry, .content = on_content, .finish = on_finish};

static void put(struct buf *b, struct ingest_record r, const char *path, const char *link, const char *data)
{
	static const char xattr[] =
	        "\6\0\0\0\3\0\0\0user.avwx"; /* name 6, value 3; little endian as the test machine */

	r.magic = INGEST_MAGIC;
	r.path_len = (uint32_t)strlen(path);
	r.link_len = (uint32_t)strlen(link);
	r.size = strlen(data);
	buf_append(b, &r, sizeof(r));
	buf_puts(b, path);
	buf_puts(b, link);
	buf_append(b, xattr, r.xattr_len);
	buf_puts(b, data);
}

static struct buf sample(void)
{
	struct buf b = {0};

	put(&b, (struct ingest_record){.type = INGEST_BEGIN}, "", "", "");
	put(&b, (struct ingest_record){.type = INGEST_FILE, .xattr_len = 17}, "a/b", "", "hello");
	put(&b, (struct ingest_record){.type = INGEST_SYMLINK}, "l", "to/there", "");
	put(&b, (struct ingest_record){.type = INGEST_FILE}, "empty", "", "");
	put(&b, (struct ingest_record){.type = INGEST_END}, "", "", "");
	return b;
}
#define SAMPLE "[1 >|][3 a/b> user.a=vwx|hello][5 l>to/there|][3 empty>|][2 >|]"

Test(ingest, every_cut)
{
	AUTO_BUF struct buf b = sample();

	for (size_t first = 0; first <= b.len; first++)
		for (size_t step = 1; step <= b.len; step += first % 7 ? 61 : 1) {
			struct ingest in;
			ingest_init(&in, &sink);
			said.len = 0;
			cr_assert_eq(ingest_feed(&in, b.data, first), 0);
			for (size_t at = first; at < b.len; at += step)
				cr_assert_eq(ingest_feed(&in, b.data + at, at + step < b.len ? step : b.len - at), 0);
			cr_assert_str_eq(buf_cstr(&said), SAMPLE);
			cr_assert_eq(in.status.entries, 5);
			cr_assert_eq(in.status.bytes, 5);
			ingest_free(&in);
		}
	buf_free(&said);
}

static int feed_record(struct ingest_record r, size_t more, struct err *e)
{
	struct ingest in;
	AUTO_FREE char *tail = calloc(1, more + 1);

	r.magic = r.magic ? r.magic : INGEST_MAGIC;
	memset(tail, 'x', more);
	ingest_init(&in, &sink);
	int rc = ingest_feed(&in, &r, sizeof(r));
	if (rc == 0 && more)
		rc = ingest_feed(&in, tail, more);
	if (rc < 0)
		cr_assert_eq(ingest_feed(&in, "x", 1), -EIO, "broken for good");
	*e = in.status.err;
	ingest_free(&in);
	buf_free(&said);
	return rc;
}

Test(ingest, refused)
{
	static const struct {
		struct ingest_record r;
		int kind;
	} cases[] = {
	        {{.type = INGEST_FILE, .magic = 7}, ERR_KIND_BAD_ARCHIVE},
	        {{.type = 0}, ERR_KIND_BAD_ARCHIVE},
	        {{.type = INGEST_TYPE_COUNT}, ERR_KIND_BAD_ARCHIVE},
	        {{.type = INGEST_FILE, .flags = 0x8000}, ERR_KIND_BAD_ARCHIVE},
	        {{.type = INGEST_SYMLINK, .flags = INGEST_SPARSE}, ERR_KIND_BAD_ARCHIVE},
	        {{.type = INGEST_FILE, .mode = 0100644}, ERR_KIND_BAD_ARCHIVE},
	        {{.type = INGEST_FILE, .mtime_nsec = 1000000000}, ERR_KIND_BAD_ARCHIVE},
	        {{.type = INGEST_FILE, .path_len = INGEST_PATH_MAX + 1}, ERR_KIND_BAD_ARCHIVE},
	        {{.type = INGEST_FILE, .link_len = 1}, ERR_KIND_BAD_ARCHIVE},
	        {{.type = INGEST_BEGIN, .path_len = 1}, ERR_KIND_BAD_ARCHIVE},
	        {{.type = INGEST_DIR, .size = 1}, ERR_KIND_BAD_ARCHIVE},
	        {{.type = INGEST_FILE, .size = 1, .flags = INGEST_SPARSE}, ERR_KIND_BAD_ARCHIVE},
	        {{.type = INGEST_FILE, .reserved = 1}, ERR_KIND_BAD_ARCHIVE},
	        {{.type = INGEST_FILE, .xattr_len = UINT32_MAX}, ERR_KIND_LIMIT_XATTR},
	        {{.type = INGEST_FILE, .size = UINT64_MAX}, ERR_KIND_LIMIT_SIZE},
	        {{.type = INGEST_CONTENT, .size = INT64_MAX, .offset = 1}, ERR_KIND_LIMIT_SIZE},
	        {{.type = INGEST_FILE, .apparent = UINT64_MAX, .flags = INGEST_SPARSE}, ERR_KIND_LIMIT_SIZE},
	        {{.type = INGEST_FILE, .uid = UINT32_MAX}, ERR_KIND_BAD_ID},
	        {{.type = INGEST_FILE, .gid = UINT32_MAX}, ERR_KIND_BAD_ID},
	};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert_lt(feed_record(cases[i].r, 0, &e), 0, "case %zu", i);
		cr_assert_eq(e.kind, cases[i].kind, "case %zu: %s", i, e.msg);
		cr_assert(*e.msg);
	}
	/* "xxxx..." as xattrs: lengths that lie */
	cr_assert_lt(feed_record((struct ingest_record){.type = INGEST_FILE, .xattr_len = 40}, 40, &e), 0);
	cr_assert_eq(e.kind, ERR_KIND_BAD_XATTR);
	cr_assert_lt(feed_record((struct ingest_record){.type = INGEST_FILE, .xattr_len = 3}, 3, &e), 0);
	cr_assert_eq(e.kind, ERR_KIND_BAD_XATTR);
}

Test(ingest, the_sinks_error_is_kept)
{
	AUTO_BUF struct buf b = {0};
	struct ingest in;

	put(&b, (struct ingest_record){.type = INGEST_FILE}, "refuse", "", "content");
	ingest_init(&in, &sink);
	cr_assert_eq(ingest_feed(&in, b.data, b.len), -ENOTDIR);
	cr_assert_str_eq(in.status.err.msg, "refused");
	cr_assert_eq(in.status.entries, 0);
	cr_assert_eq(ingest_feed(&in, b.data, b.len), -EIO);
	ingest_free(&in);
	buf_free(&said);
}

/* Noise in every form must end in an error or be asked for more, never elsewhere. */
Test(ingest, noise)
{
	srand(1);
	for (int round = 0; round < 20000; round++) {
		AUTO_BUF struct buf b = sample();
		struct ingest in;
		for (int n = rand() % 4 + 1; n; n--)
			b.data[(size_t)rand() % b.len] = (char)rand();
		ingest_init(&in, &sink);
		said.len = 0;
		for (size_t at = 0, n; at < b.len; at += n) {
			n = (size_t)rand() % 200 + 1;
			n = n < b.len - at ? n : b.len - at;
			ingest_feed(&in, b.data + at, n);
		}
		ingest_free(&in);
	}
	buf_free(&said);
}
