/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unpack/tar.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/cleanup.h"
#include "unpack/tar_parse.h"

struct tar {
	struct tar_source source;
	const struct image_limits *limits; /* borrowed */
	const unsigned char *piece;        /* what is left of the source's current piece */
	size_t left;
	uint64_t offset;                           /* of the next byte, for messages */
	unsigned char block[TAR_BLOCK];            /* a block that lies across two pieces */
	uint64_t data_left, pad_left;              /* of the current member */
	struct buf name, link;                     /* own: of the current member */
	struct buf pax_text, long_name, long_link; /* own: extended headers of the current member */
	bool has_pax, has_long_name, has_long_link;
	uint64_t extended_bytes; /* of the current member's extended headers */
	struct tar_pax pax, pax_global;
	struct sparse_map map; /* of the formats that keep it outside the pax records */
	bool is_ended;
};

struct tar *tar_new(const struct tar_source *s, const struct image_limits *limits)
{
	struct tar *t = xcalloc(1, sizeof(*t));

	t->source = *s;
	t->limits = limits;
	return t;
}

void tar_free(struct tar *t)
{
	if (!t)
		return;
	buf_free(&t->name);
	buf_free(&t->link);
	buf_free(&t->pax_text);
	buf_free(&t->long_name);
	buf_free(&t->long_link);
	pax_free(&t->pax);
	pax_free(&t->pax_global);
	sparse_free(&t->map);
	free(t);
}

/* A sentence about the place in the archive. */
__attribute__((format(printf, 4, 5))) static int tar_fail(
        const struct tar *t, struct err *e, enum err_kind kind, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_kind_set(e, -EBADMSG, kind, "%s (before byte %" PRIu64 " of the archive)", text, t->offset);
}

/* Up to WANT bytes from the current piece. 0 at the end of the source. */
static ssize_t tar_take(struct tar *t, uint64_t want, const unsigned char **data, struct err *e)
{
	while (!t->left) {
		ssize_t n = t->source.next(t->source.arg, &t->piece, e);
		if (n <= 0)
			return n;
		t->left = (size_t)n;
	}
	size_t n = want < t->left ? (size_t)want : t->left;
	*data = t->piece;
	t->piece += n;
	t->left -= n;
	t->offset += n;
	return (ssize_t)n;
}

/* What has not even one header is no archive that was cut. */
static int block_cut(const struct tar *t, struct err *e)
{
	if (t->offset < TAR_BLOCK)
		return tar_fail(t, e, ERR_KIND_BAD_ARCHIVE, "this is no tar archive");
	return tar_fail(t, e, ERR_KIND_TRUNCATED, "the archive ends inside a header");
}

/* The next block. 1, 0 at the end of the source, TRUNCATED inside a block. */
static int tar_block(struct tar *t, const unsigned char **block, struct err *e)
{
	size_t have = 0;

	do {
		const unsigned char *p;
		ssize_t n = tar_take(t, TAR_BLOCK - have, &p, e);

		if (n < 0)
			return (int)n;
		if (!n)
			return have ? block_cut(t, e) : 0;
		if (n == TAR_BLOCK) {
			*block = p;
			return 1;
		}
		memcpy(t->block + have, p, (size_t)n);
		have += (size_t)n;
	} while (have < TAR_BLOCK);
	*block = t->block;
	return 1;
}

static void tar_set_data(struct tar *t, uint64_t size)
{
	t->data_left = size;
	t->pad_left = -size & (TAR_BLOCK - 1);
}

ssize_t tar_data(struct tar *t, const unsigned char **data, struct err *e)
{
	if (!t->data_left)
		return 0;
	ssize_t n = tar_take(t, t->data_left, data, e);
	if (n < 0)
		return n;
	if (!n)
		return tar_fail(t, e, ERR_KIND_TRUNCATED, "the archive ends %" PRIu64 " bytes before the end of a file",
		        t->data_left);
	t->data_left -= (uint64_t)n;
	return n;
}

/* Pass over the rest of the current member. Its padding may be missing at the very end: some writers leave it out. */
static int tar_skip(struct tar *t, struct err *e)
{
	const unsigned char *p;
	ssize_t n;

	while (t->data_left) {
		n = tar_data(t, &p, e);
		if (n < 0)
			return (int)n;
	}
	while (t->pad_left) {
		n = tar_take(t, t->pad_left, &p, e);
		if (n < 0)
			return (int)n;
		t->pad_left = n ? t->pad_left - (uint64_t)n : 0;
	}
	return 0;
}

/* The content of an extended header into B. */
static int extended_read(struct tar *t, uint64_t size, struct buf *b, enum err_kind too_big, struct err *e)
{
	b->len = 0;
	if (size > t->limits->max_pax || t->extended_bytes > t->limits->max_pax - size)
		return tar_fail(t, e, too_big, "the extended headers of one entry have more than %" PRIu64 " bytes",
		        t->limits->max_pax);
	t->extended_bytes += size;
	tar_set_data(t, size);
	while (t->data_left) {
		const unsigned char *p = NULL;
		ssize_t n = tar_data(t, &p, e);
		if (n < 0)
			return (int)n;
		buf_append(b, p, (size_t)n);
	}
	return tar_skip(t, e);
}

static int header_size(struct tar *t, const struct tar_header *h, uint64_t *size, struct err *e)
{
	int64_t v;

	if (!header_number(h->size, sizeof(h->size), &v) || v < 0)
		return tar_fail(t, e, ERR_KIND_BAD_ARCHIVE, "a header with a size that is no number or negative");
	*size = (uint64_t)v;
	return 0;
}

static int pax_header(struct tar *t, uint64_t size, struct tar_pax *x, struct buf *text, struct err *e)
{
	int rc = extended_read(t, size, text, ERR_KIND_LIMIT_PAX, e);

	if (rc < 0)
		return rc;
	pax_clear(x);
	rc = pax_parse(x, buf_cstr(text), text->len, t->limits, e);
	return rc < 0 ? err_wrap(e, "byte %" PRIu64 " of the archive", t->offset) : 0;
}

/* GNU long names end at their NUL. */
static int long_name(struct tar *t, uint64_t size, struct buf *b, bool *has, struct err *e)
{
	int rc = extended_read(t, size, b, ERR_KIND_LIMIT_PATH, e);

	if (rc < 0)
		return rc;
	b->len = strlen(buf_cstr(b));
	*has = b->len != 0;
	return 0;
}

static const char extended_flags[] = "gxLK"; /* global and local pax header, GNU long name and link */
#define EXTENDED_GLOBAL 1u                   /* the first one's bit */

/* 1: H was an extended header and is digested; 0: it is a member. */
static int tar_extended(struct tar *t, const struct tar_header *h, unsigned *seen, struct err *e)
{
	const char *flag = h->typeflag ? strchr(extended_flags, h->typeflag) : NULL;
	uint64_t size = 0;
	int rc;

	if (!flag)
		return 0;
	unsigned bit = 1u << (flag - extended_flags);
	if (*seen & bit)
		return tar_fail(
		        t, e, ERR_KIND_BAD_ARCHIVE, "two extended headers of type '%c' before one entry", *flag);
	/* Go's reader forgets what stands before a global header, others do not. */
	if (bit == EXTENDED_GLOBAL && *seen)
		return tar_fail(t, e, ERR_KIND_BAD_ARCHIVE, "a global header between an extended header and its entry");
	*seen |= bit;
	rc = header_size(t, h, &size, e);
	if (rc < 0)
		return rc;
	switch (*flag) {
	case 'x':
		t->has_pax = true;
		rc = pax_header(t, size, &t->pax, &t->pax_text, e);
		break;
	case 'g': { /* nothing of it is kept: containers read their layers with readers that do not either */
		AUTO_BUF struct buf text = {0};
		rc = pax_header(t, size, &t->pax_global, &text, e);
		break;
	}
	case 'L':
		rc = long_name(t, size, &t->long_name, &t->has_long_name, e);
		break;
	default:
		rc = long_name(t, size, &t->long_link, &t->has_long_link, e);
	}
	return rc < 0 ? rc : 1;
}

static const struct tar_kind {
	char flag;
	enum tar_type type;
	bool has_content;
} tar_kinds[] = {
        {'0', TAR_FILE, true},
        {'\0', TAR_FILE, true},
        {'7', TAR_FILE, true}, /* contiguous: a hint */
        {'S', TAR_FILE, true}, /* old GNU sparse */
        {'1', TAR_HARDLINK, false},
        {'2', TAR_SYMLINK, false},
        {'3', TAR_CHR, false},
        {'4', TAR_BLK, false},
        {'5', TAR_DIR, false},
        {'6', TAR_FIFO, false},
};

static const struct tar_kind *tar_kind_find(char flag)
{
	for (size_t i = 0; i < ARRAY_LEN(tar_kinds); i++)
		if (tar_kinds[i].flag == flag)
			return &tar_kinds[i];
	return NULL;
}

static int entry_numbers(struct tar *t, const struct tar_header *h, struct tar_entry *out, struct err *e)
{
	int64_t mode, major = 0, minor = 0;

	if (!header_number(h->mode, sizeof(h->mode), &mode) || !header_number(h->uid, sizeof(h->uid), &out->uid) ||
	        !header_number(h->gid, sizeof(h->gid), &out->gid) ||
	        !header_number(h->mtime, sizeof(h->mtime), &out->mtime_sec))
		return tar_fail(t, e, ERR_KIND_BAD_ARCHIVE, "a header with a mode, owner or time that is no number");
	out->mode = (uint32_t)mode & 07777;
	if (t->pax.has_uid)
		out->uid = t->pax.uid;
	if (t->pax.has_gid)
		out->gid = t->pax.gid;
	if (t->pax.has_mtime) {
		out->mtime_sec = t->pax.mtime_sec;
		out->mtime_nsec = t->pax.mtime_nsec;
	}
	if (out->type == TAR_CHR || out->type == TAR_BLK) {
		if (!header_number(h->devmajor, sizeof(h->devmajor), &major) ||
		        !header_number(h->devminor, sizeof(h->devminor), &minor) || major < 0 || major >= 1 << 12 ||
		        minor < 0 || minor >= 1 << 20) /* what the kernel's dev_t holds */
			return tar_fail(t, e, ERR_KIND_BAD_ARCHIVE, "a device with a number that does not exist");
		out->rdev_major = (uint32_t)major;
		out->rdev_minor = (uint32_t)minor;
	}
	return 0;
}

static struct bytes bytes_of(const struct buf *b)
{
	return (struct bytes){b->data ? b->data : "", b->len};
}

static void entry_names(struct tar *t, const struct tar_header *h, struct tar_entry *out)
{
	header_name(h, &t->name);
	t->link.len = 0;
	buf_append(&t->link, h->linkname, strnlen(h->linkname, sizeof(h->linkname)));
	out->name = t->has_long_name ? bytes_of(&t->long_name) : t->pax.has_path ? t->pax.path : bytes_of(&t->name);
	if (t->pax.has_sparse_name)
		out->name = t->pax.sparse_name;
	out->link = t->has_long_link ? bytes_of(&t->long_link) : t->pax.has_link ? t->pax.link : bytes_of(&t->link);
	out->has_trailing_slash = out->name.len && out->name.data[out->name.len - 1] == '/';
}

/* The old GNU format: four segments in the header, more in blocks of 21. H may live in t->block: it is read first. */
static int sparse_gnu(struct tar *t, const struct tar_header *h, struct tar_entry *out, struct err *e)
{
	const char *raw = (const char *)h;
	bool is_extended = raw[482] != 0;
	int64_t apparent;
	int rc;

	if (header_dialect(h) != TAR_GNU || !header_number(raw + 483, 12, &apparent) || apparent < 0)
		return tar_fail(t, e, ERR_KIND_BAD_ARCHIVE, "a GNU sparse file without a valid size");
	out->apparent = (uint64_t)apparent;
	rc = sparse_add_gnu(&t->map, raw + 386, 4, t->limits, e);
	while (rc >= 0 && is_extended) {
		const unsigned char *block;

		rc = tar_block(t, &block, e);
		if (rc <= 0)
			return rc ? rc : tar_fail(t, e, ERR_KIND_TRUNCATED, "the archive ends inside a sparse map");
		is_extended = block[504] != 0;
		rc = sparse_add_gnu(&t->map, (const char *)block, 21, t->limits, e);
		if (!rc)
			return tar_fail(t, e, ERR_KIND_BAD_ARCHIVE, "an empty extension of a sparse map");
	}
	return rc < 0 ? rc : 0;
}

/* One number of the map in front of a 1.0 sparse file's content: digits and a newline. */
struct map_reader {
	struct tar *t;
	const unsigned char *p;
	size_t left;
	bool is_first;
};

static int map_number(struct map_reader *r, uint64_t *out, struct err *e)
{
	char digits[20];

	for (size_t n = 0; n < sizeof(digits);) {
		if (!r->left) {
			if (r->t->data_left < TAR_BLOCK)
				break;
			int rc = tar_block(r->t, &r->p, e);
			if (rc <= 0)
				return rc ? rc
				          : tar_fail(r->t, e, ERR_KIND_TRUNCATED,
				                    "the archive ends inside a sparse map");
			r->t->data_left -= TAR_BLOCK;
			r->left = TAR_BLOCK;
		}
		char c = (char)*r->p++;
		r->left--;
		if (c != '\n') {
			digits[n++] = c;
			continue;
		}
		int64_t v;
		if (!decimal_parse(digits, n, &v))
			break;
		*out = (uint64_t)v;
		return 0;
	}
	return tar_fail(r->t, e, ERR_KIND_BAD_ARCHIVE, "a sparse map with something that is no number");
}

/* Format 1.0: the map stands in front of the content, padded to a block. */
static int sparse_pax_10(struct tar *t, struct err *e)
{
	struct map_reader r = {.t = t};
	uint64_t n, pair[2];
	int rc = map_number(&r, &n, e);

	if (rc >= 0 && n > (t->data_left + TAR_BLOCK) / 4) /* "0\n0\n" each, at least */
		return tar_fail(t, e, ERR_KIND_BAD_ARCHIVE, "a sparse map of %" PRIu64 " segments in %" PRIu64 " bytes",
		        n, t->data_left);
	if (rc >= 0 && n > t->limits->max_sparse_segments)
		return tar_fail(t, e, ERR_KIND_LIMIT_SPARSE, "a sparse file of %" PRIu64 " segments", n);
	for (; rc >= 0 && n; n--) {
		rc = map_number(&r, &pair[0], e);
		if (rc >= 0)
			rc = map_number(&r, &pair[1], e);
		if (rc >= 0)
			rc = sparse_add(&t->map, pair[0], pair[1], t->limits, e);
	}
	return rc;
}

static bool pax_is_sparse(const struct tar_pax *x)
{
	return x->has_map || (x->sparse_major == 1 && x->sparse_minor == 0);
}

/* Which sparse format it is, if any; the map is complete afterwards. */
static int entry_sparse(struct tar *t, const struct tar_header *h, struct tar_entry *out, struct err *e)
{
	const struct tar_pax *x = &t->pax;
	bool is_pax_10 = x->sparse_major == 1 && x->sparse_minor == 0, is_gnu = h->typeflag == 'S';
	const struct sparse_map *map = x->has_map ? &x->map : &t->map;
	int rc = 0;

	out->apparent = out->size;
	if (!is_gnu && !is_pax_10 && !x->has_map && x->sparse_major <= 0)
		return 0;
	if (is_gnu + is_pax_10 + x->has_map != 1 || (!is_gnu && !x->has_sparse_size))
		return tar_fail(t, e, ERR_KIND_BAD_ARCHIVE, "a sparse file of no known format");
	sparse_clear(&t->map);
	if (is_gnu)
		rc = sparse_gnu(t, h, out, e);
	else
		out->apparent = (uint64_t)x->sparse_size;
	tar_set_data(t, out->size);
	if (is_pax_10)
		rc = sparse_pax_10(t, e);
	if (rc < 0)
		return rc;
	/* a size that no limit allows is a cause of its own */
	if (out->apparent > t->limits->max_file)
		return tar_fail(t, e, ERR_KIND_LIMIT_SIZE, "a sparse file of %" PRIu64 " bytes", out->apparent);
	out->size = t->data_left;
	out->is_sparse = true;
	out->segments = map->segments;
	out->n_segments = map->n;
	rc = sparse_check(map, out->apparent, out->size, e);
	return rc < 0 ? err_wrap(e, "byte %" PRIu64 " of the archive", t->offset) : 0;
}

/* A member: header H and the extended headers before it. */
static int tar_member(struct tar *t, const struct tar_header *h, struct tar_entry *out, struct err *e)
{
	const struct tar_kind *kind = tar_kind_find(h->typeflag);
	int rc;

	*out = (struct tar_entry){0};
	if (!kind)
		return tar_fail(t, e, ERR_KIND_UNSUPPORTED_TYPE, "an entry of the unknown type 0x%02x",
		        (unsigned char)h->typeflag);
	out->type = kind->type;
	entry_names(t, h, out);
	rc = entry_numbers(t, h, out, e);
	if (rc >= 0)
		rc = header_size(t, h, &out->size, e);
	if (rc < 0)
		return rc;
	/* GNU tar and Python would take the name all the same, Go not. */
	if (t->pax.has_sparse_name && (out->type != TAR_FILE || h->typeflag == 'S' || !pax_is_sparse(&t->pax)))
		return tar_fail(t, e, ERR_KIND_BAD_ARCHIVE, "the name of a sparse file on an entry that is none");
	if (t->pax.has_size)
		out->size = (uint64_t)t->pax.size;
	/* Before directories had a type they were files with a slash at the end. */
	if (out->type == TAR_FILE && out->has_trailing_slash && (!h->typeflag || !out->size)) {
		out->type = TAR_DIR;
		out->size = 0;
	}
	if (!kind->has_content)
		out->size = 0;
	if (out->size > t->limits->max_file && out->type == TAR_FILE)
		return tar_fail(t, e, ERR_KIND_LIMIT_SIZE, "a file of %" PRIu64 " bytes, the limit is %" PRIu64,
		        out->size, t->limits->max_file);
	tar_set_data(t, out->size);
	out->xattrs = t->pax.xattrs;
	out->n_xattrs = t->pax.n_xattrs;
	return out->type == TAR_FILE ? entry_sparse(t, h, out, e) : 0;
}

static bool block_is_zero(const unsigned char *p)
{
	return !p[0] && !memcmp(p, p + 1, TAR_BLOCK - 1);
}

/* The end: of the bytes, or by a zero block, behind which another one or the end of the bytes must follow. */
static int tar_end(struct tar *t, bool is_eof, unsigned seen, struct err *e)
{
	const unsigned char *block;
	int rc = is_eof ? 0 : tar_block(t, &block, e);

	t->is_ended = true;
	if (rc < 0)
		return rc;
	if (rc && !block_is_zero(block))
		return tar_fail(t, e, ERR_KIND_BAD_ARCHIVE, "a single zero block inside the archive");
	if (seen & ~EXTENDED_GLOBAL)
		return tar_fail(t, e, ERR_KIND_BAD_ARCHIVE, "an extended header with no entry behind it");
	return 0;
}

int tar_next(struct tar *t, struct tar_entry *out, struct err *e)
{
	unsigned seen = 0;
	const unsigned char *block;
	int rc = tar_skip(t, e);

	if (rc < 0 || t->is_ended)
		return rc;
	t->has_pax = t->has_long_name = t->has_long_link = false;
	t->extended_bytes = 0;
	pax_clear(&t->pax);
	sparse_clear(&t->map);
	do {
		rc = tar_block(t, &block, e);
		if (rc < 0)
			return rc;
		if (!rc || block_is_zero(block))
			return tar_end(t, !rc, seen, e);
		if (!header_checksum_is_right((const struct tar_header *)block))
			return tar_fail(t, e, ERR_KIND_BAD_ARCHIVE, "a header whose checksum is wrong");
		rc = tar_extended(t, (const struct tar_header *)block, &seen, e);
		if (rc < 0)
			return rc;
	} while (rc);
	rc = tar_member(t, (const struct tar_header *)block, out, e);
	return rc < 0 ? rc : 1;
}

int tar_drain(struct tar *t, uint64_t max, struct err *e)
{
	const unsigned char *p;
	uint64_t sum = 0;
	ssize_t n;

	while ((n = tar_take(t, UINT64_MAX, &p, e)) > 0) {
		sum += (uint64_t)n;
		if (sum > max)
			return tar_fail(t, e, ERR_KIND_LIMIT_SIZE,
			        "more than %" PRIu64 " bytes behind the end of the archive", max);
	}
	return (int)n;
}
