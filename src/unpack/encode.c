/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unpack/encode.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"

void encode_init(struct encoder *w, int fd)
{
	*w = (struct encoder){.fd = fd, .data = xcalloc(1, INGEST_WRITE_MAX)};
}

void encode_free(struct encoder *w)
{
	free(w->data);
	*w = (struct encoder){.fd = -1};
}

/* Ask the reader of the stream what was wrong; a pipe in its place only has the errno. */
static int encode_why(struct encoder *w, int code, struct err *e)
{
	struct ingest_status s;

	w->is_failed = true;
	if (pread(w->fd, &s, sizeof(s), 0) != (ssize_t)sizeof(s) || !s.err.code)
		return err_sys(e, code, "write the ingest stream");
	*e = s.err;
	err_sanitize(e);
	return e->code;
}

int encode_flush(struct encoder *w, struct err *e)
{
	size_t len = w->len;

	w->len = 0;
	if (!len)
		return 0;
	int rc = fd_write_all(w->fd, w->data, len);
	return rc < 0 ? encode_why(w, rc, e) : 0;
}

int encode_content(struct encoder *w, const void *data, size_t len, struct err *e)
{
	while (len) {
		size_t n = INGEST_WRITE_MAX - w->len;

		if (n > len)
			n = len;
		memcpy(w->data + w->len, data, n);
		w->len += n;
		data = (const char *)data + n;
		len -= n;
		if (w->len == INGEST_WRITE_MAX) {
			int rc = encode_flush(w, e);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

int encode_record(struct encoder *w, const struct ingest_record *r, struct bytes path, struct bytes link,
        struct bytes xattrs, struct err *e)
{
	struct ingest_record out = *r;
	size_t total = sizeof(out) + path.len + link.len + xattrs.len;
	int rc = 0;

	if (total > INGEST_WRITE_MAX || path.len > INGEST_PATH_MAX)
		return err_set(e, -E2BIG, "an entry with %zu bytes of names and attributes", total);
	out.magic = INGEST_MAGIC;
	out.path_len = (uint32_t)path.len;
	out.link_len = (uint32_t)link.len;
	out.xattr_len = (uint32_t)xattrs.len;
	if (total > INGEST_WRITE_MAX - w->len) /* keep it in one piece: cheaper to read */
		rc = encode_flush(w, e);
	if (rc >= 0)
		rc = encode_content(w, &out, sizeof(out), e);
	if (rc >= 0)
		rc = encode_content(w, path.data, path.len, e);
	if (rc >= 0)
		rc = encode_content(w, link.data, link.len, e);
	if (rc >= 0)
		rc = encode_content(w, xattrs.data, xattrs.len, e);
	return rc;
}

int encode_mark(struct encoder *w, enum ingest_type type, struct bytes path, struct err *e)
{
	const struct ingest_record r = {.type = (uint16_t)type};

	return encode_record(w, &r, path, (struct bytes){0}, (struct bytes){0}, e);
}
