/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/ingest.h"

#include <errno.h>
#include <string.h>

struct xattr_head {
	uint16_t name_len, zero;
	uint32_t value_len;
};

/* What a record of each type may carry. */
static const struct rule {
	bool has_path, has_link, has_xattrs, has_content;
	uint16_t flags;
} rules[INGEST_TYPE_COUNT] = {
        [INGEST_BEGIN] = {0},
        [INGEST_END] = {0},
        [INGEST_FILE] = {true, false, true, true, INGEST_IF_ABSENT | INGEST_SPARSE | INGEST_REPLACE},
        [INGEST_DIR] = {true, false, true, false, INGEST_IF_ABSENT | INGEST_KEEP_DIR | INGEST_REPLACE},
        [INGEST_SYMLINK] = {true, true, true, false, INGEST_IF_ABSENT | INGEST_REPLACE},
        [INGEST_HARDLINK] = {true, true, true, false, INGEST_IF_ABSENT | INGEST_REPLACE},
        [INGEST_CHR] = {true, false, true, false, INGEST_IF_ABSENT | INGEST_REPLACE},
        [INGEST_BLK] = {true, false, true, false, INGEST_IF_ABSENT | INGEST_REPLACE},
        [INGEST_FIFO] = {true, false, true, false, INGEST_IF_ABSENT | INGEST_REPLACE},
        [INGEST_SOCKET] = {true, false, true, false, INGEST_IF_ABSENT | INGEST_REPLACE},
        [INGEST_CONTENT] = {false, false, false, true, 0},
        [INGEST_WHITEOUT] = {true, false, false, false, 0},
        [INGEST_OPAQUE] = {true, false, false, false, 0},
};

void ingest_init(struct ingest *in, const struct ingest_sink *sink)
{
	*in = (struct ingest){.sink = sink};
}

void ingest_free(struct ingest *in)
{
	buf_free(&in->buf);
}

static int record_bad(struct err *e, const char *what, uint64_t value)
{
	return err_kind_set(e, -EINVAL, ERR_KIND_BAD_ARCHIVE, "ingest record with a wrong %s: %llu", what,
	        (unsigned long long)value);
}

static int record_check(const struct ingest_record *r, struct err *e)
{
	if (r->magic != INGEST_MAGIC)
		return record_bad(e, "magic number", r->magic);
	if (!r->type || r->type >= INGEST_TYPE_COUNT)
		return record_bad(e, "type", r->type);
	const struct rule *rule = &rules[r->type];
	if (r->flags & ~rule->flags)
		return record_bad(e, "flag", r->flags);
	if (r->mode & ~07777u)
		return record_bad(e, "mode", r->mode);
	if (r->mtime_nsec > 999999999)
		return record_bad(e, "time", r->mtime_nsec);
	if (r->path_len > (rule->has_path ? INGEST_PATH_MAX : 0))
		return record_bad(e, "path length", r->path_len);
	if (r->link_len > (rule->has_link ? INGEST_PATH_MAX : 0))
		return record_bad(e, "link length", r->link_len);
	if (r->xattr_len > (rule->has_xattrs ? INGEST_XATTR_MAX : 0))
		return err_kind_set(
		        e, -E2BIG, ERR_KIND_LIMIT_XATTR, "ingest record with %u bytes of xattrs", r->xattr_len);
	if (r->size && (!rule->has_content || r->flags & INGEST_SPARSE))
		return record_bad(e, "size", r->size);
	if (r->size > INT64_MAX || r->offset > INT64_MAX || r->size + r->offset > INT64_MAX || r->apparent > INT64_MAX)
		return err_kind_set(e, -EFBIG, ERR_KIND_LIMIT_SIZE, "ingest record with %llu bytes at %llu, size %llu",
		        (unsigned long long)r->size, (unsigned long long)r->offset, (unsigned long long)r->apparent);
	if (r->uid == UINT32_MAX || r->gid == UINT32_MAX)
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_ID, "ingest record with owner %u:%u", r->uid, r->gid);
	return r->reserved ? record_bad(e, "reserved field", r->reserved) : 0;
}

bool ingest_xattr_next(const struct ingest_entry *en, size_t *pos, struct ingest_xattr *x)
{
	struct xattr_head h;
	size_t left = en->rec.xattr_len - *pos;
	const unsigned char *p = en->xattrs + *pos;

	if (left < sizeof(h))
		return false;
	memcpy(&h, p, sizeof(h));
	left -= sizeof(h);
	if (h.name_len > left || h.value_len > left - h.name_len)
		return false;
	*x = (struct ingest_xattr){(const char *)p + sizeof(h), h.name_len, p + sizeof(h) + h.name_len, h.value_len};
	*pos += sizeof(h) + h.name_len + h.value_len;
	return true;
}

static int texts_check(const struct ingest_entry *en, struct err *e)
{
	struct ingest_xattr x;
	size_t pos = 0;

	if (strlen(en->path) != en->rec.path_len || strlen(en->link) != en->rec.link_len)
		return err_kind_set(
		        e, -EINVAL, ERR_KIND_BAD_NAME, "%s: a NUL byte in its name or link target", en->path);
	while (ingest_xattr_next(en, &pos, &x))
		if (!x.name_len || x.name_len > 255 || memchr(x.name, 0, x.name_len))
			return err_kind_set(e, -EINVAL, ERR_KIND_BAD_XATTR, "%s: a malformed xattr name", en->path);
	if (pos != en->rec.xattr_len)
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_XATTR, "%s: malformed xattrs", en->path);
	return 0;
}

/* Append to the buffer until it holds WANT bytes; true when it does. */
static bool gather(struct ingest *in, size_t want, const unsigned char **data, size_t *len)
{
	size_t n = want - in->buf.len < *len ? want - in->buf.len : *len;

	buf_append(&in->buf, *data, n);
	*data += n;
	*len -= n;
	return in->buf.len == want;
}

static size_t texts_len(const struct ingest_record *r)
{
	return (size_t)r->path_len + r->link_len + r->xattr_len;
}

static int record_done(struct ingest *in, struct err *e)
{
	int rc = in->sink->finish(in->sink->arg, e);

	in->status.entries += !rc;
	in->buf.len = 0;
	in->state = INGEST_AT_RECORD;
	return rc;
}

/* The texts lie in the buffer one behind the other: move them apart for their NUL bytes. */
static int texts_done(struct ingest *in, struct err *e)
{
	struct ingest_entry *en = &in->entry;
	size_t path = en->rec.path_len, link = en->rec.link_len;

	buf_reserve(&in->buf, 2);
	char *d = in->buf.data;
	memmove(d + path + link + 2, d + path + link, en->rec.xattr_len);
	memmove(d + path + 1, d + path, link);
	d[path] = d[path + 1 + link] = 0;
	en->path = d;
	en->link = d + path + 1;
	en->xattrs = (const unsigned char *)d + path + link + 2;
	int rc = texts_check(en, e);
	if (!rc)
		rc = in->sink->entry(in->sink->arg, en, e);
	if (rc)
		return rc;
	in->left = en->rec.size;
	in->state = INGEST_AT_CONTENT;
	return in->left ? 0 : record_done(in, e);
}

static int content_feed(struct ingest *in, const unsigned char **data, size_t *len, struct err *e)
{
	size_t n = *len < in->left ? *len : (size_t)in->left;
	int rc = in->sink->content(in->sink->arg, *data, n, e);

	if (rc)
		return rc;
	*data += n;
	*len -= n;
	in->left -= n;
	in->status.bytes += n;
	return in->left ? 0 : record_done(in, e);
}

static int feed_step(struct ingest *in, const unsigned char **data, size_t *len, struct err *e)
{
	switch (in->state) {
	case INGEST_AT_RECORD:
		if (!gather(in, sizeof(struct ingest_record), data, len))
			return 0;
		memcpy(&in->entry.rec, in->buf.data, sizeof(struct ingest_record));
		in->buf.len = 0;
		int rc = record_check(&in->entry.rec, e);
		in->state = INGEST_AT_TEXTS;
		return rc || texts_len(&in->entry.rec) ? rc : texts_done(in, e);
	case INGEST_AT_TEXTS:
		return gather(in, texts_len(&in->entry.rec), data, len) ? texts_done(in, e) : 0;
	default:
		return content_feed(in, data, len, e);
	}
}

int ingest_feed(struct ingest *in, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len) {
		if (in->state == INGEST_BROKEN)
			return -EIO;
		int rc = feed_step(in, &p, &len, &in->status.err);
		if (rc < 0) {
			in->state = INGEST_BROKEN;
			return rc;
		}
	}
	return 0;
}
