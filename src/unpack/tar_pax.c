/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records of pax extended headers: "LENGTH KEY=VALUE\n", where LENGTH counts the whole record (POSIX.1-2017, pax, "pax
 * Extended Header"). A later record of a key replaces an earlier one. An empty value takes an override back; an empty
 * path or linkpath deletes the name itself, which leaves the member without one.
 */
#include "unpack/tar_parse.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

void pax_clear(struct tar_pax *x)
{
	struct tar_xattr *xattrs = x->xattrs;
	size_t cap = x->cap_xattrs;
	struct sparse_map map = x->map;

	sparse_clear(&map);
	*x = (struct tar_pax){.sparse_major = -1, .sparse_minor = -1, .map = map, .xattrs = xattrs, .cap_xattrs = cap};
}

void pax_free(struct tar_pax *x)
{
	free(x->xattrs);
	sparse_free(&x->map);
	*x = (struct tar_pax){0};
}

bool decimal_parse(const char *s, size_t len, int64_t *out)
{
	int64_t v = 0;

	if (!len)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, s[i] - '0', &v))
			return false;
	}
	*out = v;
	return true;
}

bool mtime_parse(const char *s, size_t len, int64_t *sec, uint32_t *nsec)
{
	bool is_negative = len && *s == '-', is_inexact = false;
	uint32_t scale = 100000000, ns = 0;
	int64_t v = 0;

	if (is_negative)
		s++, len--;
	if (!len || *s < '0' || *s > '9')
		return false;
	for (; len && *s >= '0' && *s <= '9'; s++, len--)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *s - '0', &v))
			v = INT64_MAX / 16; /* stays out of every file system's range, whatever follows */
	if (len && *s == '.')
		for (s++, len--; len && *s >= '0' && *s <= '9'; s++, len--) {
			ns += scale * (uint32_t)(*s - '0');
			is_inexact |= !scale && *s != '0';
			scale /= 10;
		}
	if (len)
		return false;
	if (is_negative) { /* floor: -1.5 is 0.5 s after -2 */
		ns += is_inexact;
		v = -v - (ns != 0);
		ns = ns ? 1000000000 - ns : 0;
		if (ns == 1000000000)
			v++, ns = 0;
	}
	*sec = v;
	*nsec = ns;
	return true;
}

static int bad_value(struct err *e, const char *key, struct bytes v)
{
	return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_ARCHIVE, "pax record %s has the value \"%.*s\"", key,
	        (int)(v.len < 80 ? v.len : 80), v.data);
}

static int pax_text(const char *key, struct bytes v, struct bytes *out, bool *has, struct err *e)
{
	if (memchr(v.data, 0, v.len))
		return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_ARCHIVE, "pax record %s holds a NUL byte", key);
	*out = v;
	*has = true;
	return 0;
}

/* Sizes: never negative. */
static int pax_number(const char *key, struct bytes v, int64_t *out, bool *has, struct err *e)
{
	*has = v.len != 0;
	return !v.len || decimal_parse(v.data, v.len, out) ? 0 : bad_value(e, key, v);
}

/* Ids: a sign is a number all the same, and out of range; so is one that does not fit. */
static int pax_id(const char *key, struct bytes v, int64_t *out, bool *has, struct err *e)
{
	bool is_negative = v.len && *v.data == '-';
	size_t i = is_negative;

	*has = v.len != 0;
	if (!v.len)
		return 0;
	if (i == v.len)
		return bad_value(e, key, v);
	for (; i < v.len; i++)
		if (v.data[i] < '0' || v.data[i] > '9')
			return bad_value(e, key, v);
	if (is_negative)
		*out = -1;
	else if (!decimal_parse(v.data, v.len, out))
		*out = INT64_MAX;
	return 0;
}

static int pax_mtime(struct tar_pax *x, struct bytes v, struct err *e)
{
	x->has_mtime = v.len != 0;
	if (v.len && !mtime_parse(v.data, v.len, &x->mtime_sec, &x->mtime_nsec))
		return bad_value(e, "mtime", v);
	return 0;
}

/* Format 0.1: "offset,length,offset,length...". */
static int pax_sparse_map(struct tar_pax *x, struct bytes v, const struct image_limits *l, struct err *e)
{
	int64_t pair[2];
	unsigned n = 0;

	sparse_clear(&x->map);
	x->has_map = true;
	while (v.len) {
		const char *comma = memchr(v.data, ',', v.len);
		size_t len = comma ? (size_t)(comma - v.data) : v.len;

		if (!decimal_parse(v.data, len, &pair[n]) || (comma && len + 1 == v.len))
			return bad_value(e, "GNU.sparse.map", v);
		n ^= 1;
		if (!n) {
			int rc = sparse_add(&x->map, (uint64_t)pair[0], (uint64_t)pair[1], l, e);
			if (rc < 0)
				return rc;
		}
		len += comma != NULL;
		v.data += len;
		v.len -= len;
	}
	if (n)
		return err_kind_set(
		        e, -EBADMSG, ERR_KIND_BAD_ARCHIVE, "pax record GNU.sparse.map has an odd number of values");
	return 0;
}

/* Format 0.0: the pair is spread over two records, and both repeat. */
static int pax_sparse_pair(
        struct tar_pax *x, bool is_offset, struct bytes v, const struct image_limits *l, struct err *e)
{
	int64_t n;

	x->has_map = true;
	if (!decimal_parse(v.data, v.len, &n) || is_offset == x->map.has_half)
		return bad_value(e, is_offset ? "GNU.sparse.offset" : "GNU.sparse.numbytes", v);
	x->map.has_half = is_offset;
	if (is_offset)
		return sparse_add(&x->map, (uint64_t)n, 0, l, e);
	x->map.segments[x->map.n - 1].length = (uint64_t)n;
	return 0;
}

static int pax_xattr(struct tar_pax *x, enum tar_xattr_form form, struct bytes name, struct bytes value,
        const struct image_limits *l, struct err *e)
{
	if (x->n_xattrs >= l->max_xattrs)
		return err_kind_set(e, -EBADMSG, ERR_KIND_LIMIT_XATTR,
		        "more than %" PRIu64 " extended attributes on one entry", l->max_xattrs);
	if (x->n_xattrs == x->cap_xattrs) {
		x->cap_xattrs = x->cap_xattrs ? 2 * x->cap_xattrs : 8;
		x->xattrs = xrealloc(x->xattrs, x->cap_xattrs * sizeof(*x->xattrs));
	}
	x->xattrs[x->n_xattrs++] = (struct tar_xattr){form, name, value};
	return 0;
}

enum pax_key {
	PAX_PATH,
	PAX_LINKPATH,
	PAX_SIZE,
	PAX_UID,
	PAX_GID,
	PAX_MTIME,
	PAX_SPARSE_MAJOR,
	PAX_SPARSE_MINOR,
	PAX_SPARSE_NAME,
	PAX_SPARSE_SIZE,
	PAX_SPARSE_MAP,
	PAX_SPARSE_OFFSET,
	PAX_SPARSE_NUMBYTES,
	PAX_XATTR_SCHILY,
	PAX_XATTR_LIBARCHIVE,
};

static const struct {
	const char *key;
	enum pax_key id;
	bool is_prefix;
} pax_keys[] = {
        {"path", PAX_PATH, false},
        {"linkpath", PAX_LINKPATH, false},
        {"size", PAX_SIZE, false},
        {"uid", PAX_UID, false},
        {"gid", PAX_GID, false},
        {"mtime", PAX_MTIME, false},
        {"GNU.sparse.major", PAX_SPARSE_MAJOR, false},
        {"GNU.sparse.minor", PAX_SPARSE_MINOR, false},
        {"GNU.sparse.name", PAX_SPARSE_NAME, false},
        {"GNU.sparse.size", PAX_SPARSE_SIZE, false},
        {"GNU.sparse.realsize", PAX_SPARSE_SIZE, false},
        {"GNU.sparse.map", PAX_SPARSE_MAP, false},
        {"GNU.sparse.offset", PAX_SPARSE_OFFSET, false},
        {"GNU.sparse.numbytes", PAX_SPARSE_NUMBYTES, false},
        {"SCHILY.xattr.", PAX_XATTR_SCHILY, true},
        {"LIBARCHIVE.xattr.", PAX_XATTR_LIBARCHIVE, true},
};

static int pax_apply(struct tar_pax *x, enum pax_key id, const char *key, struct bytes rest, struct bytes v,
        const struct image_limits *l, struct err *e)
{
	bool ignored;
	int rc;

	switch (id) {
	case PAX_PATH:
		return pax_text(key, v, &x->path, &x->has_path, e);
	case PAX_LINKPATH:
		return pax_text(key, v, &x->link, &x->has_link, e);
	case PAX_SIZE:
		return pax_number(key, v, &x->size, &x->has_size, e);
	case PAX_UID:
		return pax_id(key, v, &x->uid, &x->has_uid, e);
	case PAX_GID:
		return pax_id(key, v, &x->gid, &x->has_gid, e);
	case PAX_MTIME:
		return pax_mtime(x, v, e);
	case PAX_SPARSE_MAJOR:
		return pax_number(key, v, &x->sparse_major, &ignored, e);
	case PAX_SPARSE_MINOR:
		return pax_number(key, v, &x->sparse_minor, &ignored, e);
	case PAX_SPARSE_NAME:
		rc = pax_text(key, v, &x->sparse_name, &ignored, e);
		x->has_sparse_name = v.len != 0;
		return rc;
	case PAX_SPARSE_SIZE:
		return pax_number(key, v, &x->sparse_size, &x->has_sparse_size, e);
	case PAX_SPARSE_MAP:
		return pax_sparse_map(x, v, l, e);
	case PAX_SPARSE_OFFSET:
	case PAX_SPARSE_NUMBYTES:
		return pax_sparse_pair(x, id == PAX_SPARSE_OFFSET, v, l, e);
	case PAX_XATTR_SCHILY:
		return pax_xattr(x, TAR_XATTR_SCHILY, rest, v, l, e);
	case PAX_XATTR_LIBARCHIVE:
		return pax_xattr(x, TAR_XATTR_LIBARCHIVE, rest, v, l, e);
	}
	return 0;
}

static int pax_record(struct tar_pax *x, struct bytes key, struct bytes v, const struct image_limits *l, struct err *e)
{
	if (!key.len || memchr(key.data, 0, key.len))
		return err_kind_set(
		        e, -EBADMSG, ERR_KIND_BAD_ARCHIVE, "pax record with an empty key or a NUL byte in it");
	for (size_t i = 0; i < sizeof(pax_keys) / sizeof(pax_keys[0]); i++) {
		size_t n = strlen(pax_keys[i].key);
		if (key.len < n || memcmp(key.data, pax_keys[i].key, n) || (key.len > n && !pax_keys[i].is_prefix))
			continue;
		return pax_apply(
		        x, pax_keys[i].id, pax_keys[i].key, (struct bytes){key.data + n, key.len - n}, v, l, e);
	}
	return 0;
}

int pax_parse(struct tar_pax *x, const char *text, size_t len, const struct image_limits *l, struct err *e)
{
	while (len) {
		const char *space = memchr(text, ' ', len < 20 ? len : 20), *equals;
		int64_t n;

		if (!space || !decimal_parse(text, (size_t)(space - text), &n) || (uint64_t)n > len ||
		        n <= space - text + 1 || text[n - 1] != '\n')
			return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_ARCHIVE,
			        "pax record with a wrong length: \"%.*s\"", (int)(len < 40 ? len : 40), text);
		const char *key = space + 1, *end = text + n - 1;
		equals = memchr(key, '=', (size_t)(end - key));
		if (!equals)
			return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_ARCHIVE, "pax record without \"=\": \"%.*s\"",
			        (int)(end - key < 40 ? end - key : 40), key);
		int rc = pax_record(x, (struct bytes){key, (size_t)(equals - key)},
		        (struct bytes){equals + 1, (size_t)(end - equals - 1)}, l, e);
		if (rc < 0)
			return rc;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}
