/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unpack/names.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ipc/ingest.h"

#define MARK ".wh."
#define MARK_LEN (sizeof(MARK) - 1)
#define META MARK MARK /* AUFS keeps its own files under this prefix */
#define META_LEN (sizeof(META) - 1)
#define OPAQUE META ".opq"

/* Names go into messages whole only if they are short. */
#define SHOW(p, n) (int)((n) < 120 ? (n) : 120), (p)

static int component_add(struct buf *out, const char *p, size_t n, const struct image_limits *l, struct err *e)
{
	if (n == 2 && p[0] == '.' && p[1] == '.')
		return err_kind_set(e, -EBADMSG, ERR_KIND_PATH_ESCAPE, "a name with a \"..\" component");
	if (n > l->max_name)
		return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_NAME,
		        "a name with a component of %zu bytes, %" PRIu64 " are allowed: \"%.*s\"", n, l->max_name,
		        SHOW(p, n));
	if (out->len)
		buf_append(out, "/", 1);
	buf_append(out, p, n);
	return 0;
}

int name_clean(struct buf *out, const char *raw, size_t len, const struct image_limits *l, struct err *e)
{
	uint64_t depth = 0;

	out->len = 0;
	if (!len)
		return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_NAME, "an entry with an empty name");
	if (memchr(raw, 0, len))
		return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_NAME, "a name with a NUL byte");
	while (len) {
		const char *slash = memchr(raw, '/', len);
		size_t n = slash ? (size_t)(slash - raw) : len;

		if (n && !(n == 1 && raw[0] == '.')) {
			int rc = component_add(out, raw, n, l, e);
			if (rc < 0)
				return rc;
			if (++depth > l->max_depth || out->len > l->max_path || out->len > INGEST_PATH_MAX)
				return err_kind_set(e, -EBADMSG, ERR_KIND_LIMIT_PATH,
				        "a path of more than %" PRIu64 " bytes or %" PRIu64 " components: \"%.*s...\"",
				        l->max_path, l->max_depth, SHOW(out->data, out->len));
		}
		n += slash != NULL;
		raw += n;
		len -= n;
	}
	return 0;
}

static bool has_prefix(const char *p, size_t len, const char *prefix, size_t prefix_len)
{
	return len >= prefix_len && !memcmp(p, prefix, prefix_len);
}

/* A directory component with the mark. */
static int parents_role(const struct buf *path, size_t parents, struct err *e)
{
	for (size_t at = 0; at < parents;) {
		const char *p = path->data + at, *slash = memchr(p, '/', path->len - at);
		size_t n = (size_t)(slash - p);

		if (has_prefix(p, n, META, META_LEN))
			return NAME_METADATA;
		if (has_prefix(p, n, MARK, MARK_LEN))
			return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_WHITEOUT, "a whiteout used as a directory");
		at += n + 1;
	}
	return NAME_PLAIN;
}

int name_role(struct buf *path, struct err *e)
{
	const char *slash = path->len ? memrchr(path->data, '/', path->len) : NULL;
	size_t parents = slash ? (size_t)(slash - path->data) + 1 : 0;
	int role = parents_role(path, parents, e);

	if (role != NAME_PLAIN || !path->len)
		return role;
	char *base = path->data + parents;
	size_t n = path->len - parents;
	if (!has_prefix(base, n, MARK, MARK_LEN))
		return NAME_PLAIN;
	if (n == sizeof(OPAQUE) - 1 && !memcmp(base, OPAQUE, n)) {
		path->len = parents ? parents - 1 : 0;
		return NAME_OPAQUE;
	}
	if (has_prefix(base, n, META, META_LEN))
		return NAME_METADATA;
	n -= MARK_LEN;
	const char *named = base + MARK_LEN;
	if (!n || (n <= 2 && !memcmp(named, "..", n)))
		return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_WHITEOUT, "a whiteout of nothing, \".\" or \"..\"");
	memmove(base, named, n);
	path->len -= MARK_LEN;
	return NAME_WHITEOUT;
}
