/* SPDX-License-Identifier: GPL-2.0-or-later */
/* zstd (RFC 8878): frames and skippable frames, one after the other. The only user of <zstd.h>. */
#include "unpack/inflate.h"

#include <errno.h>
#include <string.h>

#include <zstd.h>
#include <zstd_errors.h>

#include "base/buf.h"

struct zstd {
	ZSTD_DCtx *ctx; /* owns */
	bool is_inside; /* a frame has begun and not ended */
};

static void zstd_close(void *state)
{
	struct zstd *z = state;

	ZSTD_freeDCtx(z->ctx);
	free(z);
}

static void *zstd_open(struct err *e)
{
	struct zstd *z = xcalloc(1, sizeof(*z));

	z->ctx = ZSTD_createDCtx();
	if (z->ctx && !ZSTD_isError(ZSTD_DCtx_setParameter(z->ctx, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX)))
		return z;
	zstd_close(z);
	err_set(e, -ENOMEM, "zstd gives no decompression context");
	return NULL;
}

static int zstd_fail(size_t code, struct err *e)
{
	if (ZSTD_getErrorCode(code) == ZSTD_error_frameParameter_windowTooLarge)
		return err_kind_set(e, -EBADMSG, ERR_KIND_LIMIT_WINDOW,
		        "a zstd frame asks for a window of more than %u MiB", 1u << (ZSTD_WINDOW_LOG_MAX - 20));
	return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_COMPRESSION, "zstd: %s", ZSTD_getErrorName(code));
}

/* Between frames: is another one there? 1, 0 at the end of the blob. */
static int frame_begin(struct zstd *z, struct input *in, struct err *e)
{
	ssize_t n = input_fill(in, 4, e);
	uint32_t magic = 0;

	if (n <= 0)
		return (int)n;
	for (unsigned i = 0; i < 4 && i < n; i++)
		magic |= (uint32_t)in->data[in->pos + i] << 8 * i;
	if (n < 4 || (magic != ZSTD_MAGICNUMBER && (magic & ZSTD_MAGIC_SKIPPABLE_MASK) != ZSTD_MAGIC_SKIPPABLE_START))
		return err_kind_set(e, -EBADMSG, ERR_KIND_TRAILING_GARBAGE, "bytes behind the last zstd frame");
	z->is_inside = true;
	return 1;
}

static ssize_t zstd_read(void *state, struct input *in, void *out, size_t len, struct err *e)
{
	struct zstd *z = state;
	ZSTD_outBuffer o = {out, len, 0};

	while (!o.pos) {
		int rc = z->is_inside ? 1 : frame_begin(z, in, e);
		if (rc <= 0)
			return rc;
		ssize_t n = input_fill(in, 1, e);
		if (n < 0)
			return n;
		ZSTD_inBuffer i = {in->data + in->pos, (size_t)n, 0};
		size_t code = ZSTD_decompressStream(z->ctx, &o, &i);
		if (ZSTD_isError(code))
			return zstd_fail(code, e);
		in->pos += i.pos;
		z->is_inside = code != 0;
		if (!n && !o.pos && code)
			return err_kind_set(e, -EBADMSG, ERR_KIND_TRUNCATED, "the layer ends inside a zstd frame");
	}
	return (ssize_t)o.pos;
}

const struct inflate_ops inflate_zstd = {"zstd", zstd_open, zstd_read, zstd_close};
