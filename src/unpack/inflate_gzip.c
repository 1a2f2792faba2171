/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gzip (RFC 1952): members, one after the other; checksum and length of each are verified. Inflating is ISA-L's where
 * the build has it (twice as fast), else zlib's: engine_* is all that differs. The only user of <igzip_lib.h>, and here
 * of <zlib.h>.
 */
#include "unpack/inflate.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

/* A step of an engine: it moves the pointers on. */
struct step {
	unsigned char *in, *out;
	uint32_t in_len, out_len;
	bool is_end; /* of the member, trailer verified */
};

#if defined(HAVE_ISAL) && !defined(INFLATE_WITH_ZLIB)
#include <isa-l/igzip_lib.h>

struct engine {
	struct inflate_state z;
	struct isal_gzip_header header; /* must outlive a header that comes in pieces */
	bool has_header;
};

static bool engine_open(struct engine *g)
{
	isal_inflate_init(&g->z);
	return true;
}

static void engine_begin(struct engine *g)
{
	isal_inflate_reset(&g->z);
	g->z.crc_flag = ISAL_GZIP_NO_HDR_VER;
	isal_gzip_header_init(&g->header);
	g->has_header = false;
}

/* NULL, or what is wrong. */
static const char *engine_step(struct engine *g, struct step *s)
{
	int rc;

	g->z.next_in = s->in;
	g->z.avail_in = s->in_len;
	g->z.next_out = s->out;
	g->z.avail_out = s->out_len;
	if (g->has_header) {
		rc = isal_inflate(&g->z);
		s->is_end = g->z.block_state == ISAL_BLOCK_FINISH;
	} else {
		rc = isal_read_gzip_header(&g->z, &g->header);
		g->has_header = rc == ISAL_DECOMP_OK;
	}
	s->in = g->z.next_in;
	s->in_len = g->z.avail_in;
	s->out = g->z.next_out;
	s->out_len = g->z.avail_out;
	return rc == ISAL_INCORRECT_CHECKSUM ? "wrong checksum or length" : rc < 0 ? "damaged data" : NULL;
}

static void engine_close(struct engine *g)
{
}

#else
#include <zlib.h>

struct engine {
	z_stream z;
};

static bool engine_open(struct engine *g)
{
	return inflateInit2(&g->z, 16 + MAX_WBITS) == Z_OK; /* 16: gzip wrapper */
}

static void engine_begin(struct engine *g)
{
	inflateReset(&g->z);
}

static const char *engine_step(struct engine *g, struct step *s)
{
	g->z.next_in = s->in;
	g->z.avail_in = s->in_len;
	g->z.next_out = s->out;
	g->z.avail_out = s->out_len;
	int rc = inflate(&g->z, Z_NO_FLUSH);
	s->is_end = rc == Z_STREAM_END;
	s->in = g->z.next_in;
	s->in_len = g->z.avail_in;
	s->out = g->z.next_out;
	s->out_len = g->z.avail_out;
	return rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR ? NULL : g->z.msg ? g->z.msg : "damaged data";
}

static void engine_close(struct engine *g)
{
	inflateEnd(&g->z);
}
#endif

struct gzip {
	struct engine engine;
	uint64_t members;
	bool is_inside;
};

static void *gzip_open(struct err *e)
{
	struct gzip *g = xcalloc(1, sizeof(*g));

	if (engine_open(&g->engine))
		return g;
	free(g);
	err_set(e, -ENOMEM, "no memory to inflate gzip");
	return NULL;
}

static void gzip_close(void *state)
{
	struct gzip *g = state;

	engine_close(&g->engine);
	free(g);
}

/* Between members: is another one there? 1, 0 at the end of the blob. */
static int member_begin(struct gzip *g, struct input *in, struct err *e)
{
	ssize_t n = input_fill(in, 2, e);
	const unsigned char *p = in->data + in->pos;

	if (n <= 0)
		return (int)n;
	if (g->members && (n < 2 || p[0] != 0x1f || p[1] != 0x8b))
		return err_kind_set(e, -EBADMSG, ERR_KIND_TRAILING_GARBAGE, "bytes behind the last gzip member");
	engine_begin(&g->engine);
	g->is_inside = true;
	return 1;
}

static ssize_t gzip_read(void *state, struct input *in, void *out, size_t len, struct err *e)
{
	struct gzip *g = state;

	for (;;) {
		int rc = g->is_inside ? 1 : member_begin(g, in, e);
		if (rc <= 0)
			return rc;
		ssize_t n = input_fill(in, 1, e);
		if (n < 0)
			return n;
		struct step s = {
		        in->data + in->pos, out, (uint32_t)n, (uint32_t)(len < INT32_MAX ? len : INT32_MAX), false};
		const char *why = engine_step(&g->engine, &s);
		if (why)
			return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_COMPRESSION, "gzip: %s", why);
		in->pos = (size_t)(s.in - in->data);
		if (s.is_end) {
			g->is_inside = false;
			g->members++;
		}
		if (s.out != out)
			return s.out - (unsigned char *)out;
		if (!n && !s.is_end)
			return err_kind_set(e, -EBADMSG, ERR_KIND_TRUNCATED, "the layer ends inside a gzip member");
		if (s.in_len == (uint32_t)n && !s.is_end)
			return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_COMPRESSION, "gzip: damaged data");
	}
}

const struct inflate_ops inflate_gzip = {"gzip", gzip_open, gzip_read, gzip_close};
