/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kept: user.* (files and directories: the kernel knows no others) and security.capability (files). Everything else
 * belongs to the host that unpacks or to one that packed: trusted.*, labels, measurements, ACLs, the overlay's marks.
 */
#include "unpack/xattr.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <string.h>

#include "base/cleanup.h"

#define CAPABILITY "security.capability"

struct xattr {
	struct bytes name, value;
};

static bool starts_with(struct bytes b, const char *prefix)
{
	size_t n = strlen(prefix);

	return b.len >= n && !memcmp(b.data, prefix, n);
}

static bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.len == b.len && !memcmp(a.data, b.data, a.len);
}

static bool is_capability(struct bytes name)
{
	return bytes_equal(name, (struct bytes){CAPABILITY, sizeof(CAPABILITY) - 1});
}

static bool xattr_is_kept(struct bytes name, enum tar_type type)
{
	if (is_capability(name))
		return type == TAR_FILE;
	return (type == TAR_FILE || type == TAR_DIR) && starts_with(name, "user.") && name.len > 5 &&
	       !starts_with(name, "user.overlay.");
}

/* struct vfs_cap_data of revision 2, or 3 with the root id behind it; the kernel takes no other. */
static bool capability_is_valid(struct bytes v)
{
	uint32_t magic;

	if (v.len < sizeof(magic))
		return false;
	memcpy(&magic, v.data, sizeof(magic));
	magic = le32toh(magic);
	if (magic & VFS_CAP_FLAGS_MASK & ~(uint32_t)VFS_CAP_FLAGS_EFFECTIVE)
		return false;
	magic &= VFS_CAP_REVISION_MASK;
	return (magic == VFS_CAP_REVISION_2 && v.len == XATTR_CAPS_SZ_2) ||
	       (magic == VFS_CAP_REVISION_3 && v.len == XATTR_CAPS_SZ_3);
}

static int hex_value(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? (c | 0x20) - 'a' + 10 : -1;
}

/* bsdtar's names: "%XX" stands for a byte. A percent sign without two digits is itself. */
static struct bytes percent_decode(struct buf *arena, struct bytes in)
{
	size_t start = arena->len;

	for (size_t i = 0; i < in.len; i++) {
		char c = in.data[i];
		if (c == '%' && in.len - i > 2 && hex_value(in.data[i + 1]) >= 0 && hex_value(in.data[i + 2]) >= 0) {
			c = (char)(hex_value(in.data[i + 1]) << 4 | hex_value(in.data[i + 2]));
			i += 2;
		}
		buf_append(arena, &c, 1);
	}
	return (struct bytes){arena->data + start, arena->len - start};
}

/* Base64 (RFC 4648), padded or not, as bsdtar writes it. */
static bool base64_decode(struct buf *arena, struct bytes in, struct bytes *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t start = arena->len;
	uint32_t v = 0;
	unsigned bits = 0;

	while (in.len && in.data[in.len - 1] == '=')
		in.len--;
	for (size_t i = 0; i < in.len; i++) {
		const char *d = in.data[i] ? strchr(digits, in.data[i]) : NULL;
		if (!d)
			return false;
		v = v << 6 | (uint32_t)(d - digits);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			char c = (char)(v >> bits);
			buf_append(arena, &c, 1);
		}
	}
	*out = (struct bytes){arena->data + start, arena->len - start};
	return bits < 6;
}

static int xattr_decode(struct xattr *x, const struct tar_xattr *in, struct buf *arena, struct err *e)
{
	*x = (struct xattr){in->name, in->value};
	if (in->form == TAR_XATTR_LIBARCHIVE) {
		x->name = percent_decode(arena, in->name);
		if (!base64_decode(arena, in->value, &x->value))
			return err_kind_set(
			        e, -EBADMSG, ERR_KIND_BAD_XATTR, "extended attribute with a value that is not base64");
	}
	if (x->name.len > XATTR_NAME_MAX || memchr(x->name.data, 0, x->name.len))
		return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_XATTR,
		        "extended attribute with a name of %zu bytes or a NUL byte in it", x->name.len);
	if (is_capability(x->name) && !capability_is_valid(x->value))
		return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_XATTR,
		        "file capabilities (%zu bytes) in no form that the kernel knows", x->value.len);
	return 0;
}

static void xattr_encode(struct buf *out, const struct xattr *x)
{
	uint16_t name_len[2] = {(uint16_t)x->name.len, 0};
	uint32_t value_len = (uint32_t)x->value.len;

	buf_append(out, name_len, sizeof(name_len));
	buf_append(out, &value_len, sizeof(value_len));
	buf_append(out, x->name.data, x->name.len);
	buf_append(out, x->value.data, x->value.len);
}

static bool is_given_again(const struct xattr *list, size_t i, size_t n)
{
	for (size_t j = i + 1; j < n; j++)
		if (bytes_equal(list[i].name, list[j].name))
			return true;
	return false;
}

int xattr_collect(
        struct buf *out, const struct tar_entry *en, const struct image_limits *l, uint64_t *dropped, struct err *e)
{
	AUTO_FREE struct xattr *list = NULL;
	AUTO_BUF struct buf arena = {0};
	const struct xattr *capability = NULL;
	uint64_t sum = 0;

	out->len = 0;
	if (!en->n_xattrs || en->type == TAR_HARDLINK)
		return 0;
	for (size_t i = 0; i < en->n_xattrs; i++) {
		sum += en->xattrs[i].name.len + en->xattrs[i].value.len;
		if (en->xattrs[i].value.len > XATTR_SIZE_MAX && en->xattrs[i].form == TAR_XATTR_SCHILY)
			sum = UINT64_MAX / 2;
	}
	if (sum > l->max_xattr_bytes)
		return err_kind_set(e, -EBADMSG, ERR_KIND_LIMIT_XATTR,
		        "extended attributes of more than %" PRIu64 " bytes on one entry",
		        l->max_xattr_bytes < XATTR_SIZE_MAX ? l->max_xattr_bytes : (uint64_t)XATTR_SIZE_MAX);
	buf_reserve(&arena, (size_t)sum + 1); /* decoding never makes longer: the pieces stay where they are */
	list = xcalloc(en->n_xattrs, sizeof(*list));
	for (size_t i = 0; i < en->n_xattrs; i++) {
		int rc = xattr_decode(&list[i], &en->xattrs[i], &arena, e);
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < en->n_xattrs; i++) {
		if (!xattr_is_kept(list[i].name, en->type))
			++*dropped;
		else if (is_given_again(list, i, en->n_xattrs))
			continue;
		else if (is_capability(list[i].name))
			capability = &list[i];
		else
			xattr_encode(out, &list[i]);
	}
	if (capability)
		xattr_encode(out, capability);
	return 0;
}
