/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unpack/inflate.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"

struct inflate {
	struct input in;
	const struct inflate_ops *ops;
	void *state; /* owns: the driver's */
	bool is_ended;
};

ssize_t input_fill(struct input *in, size_t want, struct err *e)
{
	if (in->len - in->pos >= want)
		return (ssize_t)(in->len - in->pos);
	memmove(in->data, in->data + in->pos, in->len - in->pos);
	in->len -= in->pos;
	in->pos = 0;
	while (in->len < want) {
		ssize_t n = pread(in->fd, in->data + in->len, INPUT_BYTES - in->len, (off_t)in->offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, -errno, "read the layer blob at byte %" PRIu64, (uint64_t)in->offset);
		if (!n && in->offset != in->size)
			return err_kind_set(e, -EIO, ERR_KIND_SIZE_MISMATCH,
			        "the layer blob has %" PRIu64 " bytes instead of %" PRIu64, (uint64_t)in->offset,
			        in->size);
		if (!n)
			break;
		in->offset += (uint64_t)n;
		in->len += (size_t)n;
		if (in->offset > in->size)
			return err_kind_set(e, -EIO, ERR_KIND_SIZE_MISMATCH,
			        "the layer blob has more than %" PRIu64 " bytes", in->size);
	}
	return (ssize_t)in->len;
}

static void *none_open(struct err *e)
{
	return (void *)(uintptr_t)&inflate_none; /* no state */
}

static ssize_t none_read(void *state, struct input *in, void *out, size_t len, struct err *e)
{
	ssize_t n = input_fill(in, 1, e);

	if (n <= 0)
		return n;
	if ((size_t)n > len)
		n = (ssize_t)len;
	memcpy(out, in->data + in->pos, (size_t)n);
	in->pos += (size_t)n;
	return n;
}

static void none_close(void *state)
{
}

const struct inflate_ops inflate_none = {"tar", none_open, none_read, none_close};

static const struct inflate_ops *const drivers[COMPRESSION_COUNT] = {
        [COMPRESSION_NONE] = &inflate_none,
        [COMPRESSION_GZIP] = &inflate_gzip,
        [COMPRESSION_ZSTD] = &inflate_zstd,
};

static const struct {
	const char *name;
	size_t at, len;
	const char *magic;
	int form; /* enum compression, -1: none of ours */
} magics[] = {
        {"an uncompressed tar archive", 257, 5, "ustar", COMPRESSION_NONE},
        {"gzip", 0, 3, "\x1f\x8b\x08", COMPRESSION_GZIP},
        {"zstd", 0, 4, "\x28\xb5\x2f\xfd", COMPRESSION_ZSTD},
        {"xz", 0, 6, "\xfd\x37zXZ\0", -1},
};

/* A skippable frame, RFC 8878 section 3.1.2: 0x184D2A50 to 0x184D2A5F. */
static bool is_skippable(const unsigned char *p, size_t len)
{
	return len >= 4 && (p[0] & 0xf0) == 0x50 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18;
}

static bool magic_matches(size_t k, const unsigned char *p, size_t len)
{
	return len >= magics[k].at + magics[k].len && !memcmp(p + magics[k].at, magics[k].magic, magics[k].len);
}

static int form_check(struct inflate *i, enum compression form, struct err *e)
{
	ssize_t n = input_fill(&i->in, 512, e);
	const unsigned char *p = i->in.data;
	const char *other = NULL;

	if (n < 0)
		return (int)n;
	if (form == COMPRESSION_ZSTD && is_skippable(p, (size_t)n))
		return 0;
	for (size_t k = 0; k < ARRAY_LEN(magics); k++) {
		if (!magic_matches(k, p, (size_t)n))
			continue;
		if (magics[k].form == (int)form)
			return 0;
		other = magics[k].name;
	}
	if (other)
		return err_kind_set(e, -EBADMSG, ERR_KIND_MEDIATYPE_MISMATCH, "the media type says %s, the layer is %s",
		        i->ops->name, other);
	if (form == COMPRESSION_NONE) /* a tar need not have a magic: the reader decides */
		return 0;
	if (!n)
		return err_kind_set(
		        e, -EBADMSG, ERR_KIND_TRUNCATED, "the layer is empty, the media type says %s", i->ops->name);
	return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_COMPRESSION,
	        "the media type says %s, the layer is in no known form", i->ops->name);
}

struct inflate *inflate_new(enum compression form, int fd, uint64_t size, struct err *e)
{
	if ((unsigned)form >= COMPRESSION_COUNT) {
		err_kind_set(e, -EINVAL, ERR_KIND_UNSUPPORTED_MEDIATYPE, "compression %d is not known", (int)form);
		return NULL;
	}
	struct inflate *i = xcalloc(1, sizeof(*i));
	i->ops = drivers[form];
	i->in.fd = fd;
	i->in.size = size;
	i->in.data = xcalloc(1, INPUT_BYTES);
	if (form_check(i, form, e) >= 0)
		i->state = i->ops->open(e);
	if (i->state)
		return i;
	inflate_free(i);
	return NULL;
}

void inflate_free(struct inflate *i)
{
	if (!i)
		return;
	if (i->state)
		i->ops->close(i->state);
	free(i->in.data);
	free(i);
}

ssize_t inflate_read(struct inflate *i, void *out, size_t len, struct err *e)
{
	size_t have = 0;

	while (have < len && !i->is_ended) {
		ssize_t n = i->ops->read(i->state, &i->in, (char *)out + have, len - have, e);
		if (n < 0)
			return n;
		i->is_ended = !n;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

uint64_t inflate_offset(const struct inflate *i)
{
	return i->in.offset;
}
