/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One layer: blob -> inflate -> hash -> ring -> tar -> rules -> ingest stream.
 *
 * Two threads. The first reads the blob, inflates it and hashes every uncompressed byte; it ends by comparing the
 * diffID, and closes the ring with what was wrong, if anything. The second (the main thread) reads the archive out of
 * the ring and writes records. What it meets first, in the order of the bytes, is the layer's error, so an answer never
 * depends on which thread was faster. INGEST_END is written only after the ring ended without an error, that is, with
 * the right diffID.
 */
#include "unpack/job.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "base/cleanup.h"
#include "digest/hash.h"
#include "unpack/encode.h"
#include "unpack/inflate.h"
#include "unpack/names.h"
#include "unpack/ring.h"
#include "unpack/tar.h"
#include "unpack/xattr.h"

#define RATIO_FREE_BYTES (64u << 20)     /* before this much the ratio says nothing */
#define ENTRY_OVERHEAD_BYTES (16u << 10) /* headers, names and padding of one entry, generously */
#define TAIL_MAX_BYTES (64u << 20)       /* behind the end of the archive */
#define SYMLINK_TARGET_MAX 4095u         /* one ext4 block less the NUL; PATH_MAX too */

/* What ext4 with inodes of 256 bytes holds: 34 bits of seconds from -2^31 on. */
#define EXT4_TIME_MIN (-(INT64_C(1) << 31))
#define EXT4_TIME_MAX ((INT64_C(1) << 34) - (INT64_C(1) << 31) - 1)

struct source {
	const struct msg_unpack_layer *job; /* borrowed */
	struct inflate *inflate;            /* owns; the inflating thread's, but for its offset */
	struct ring *ring;                  /* owns */
	uint64_t bytes;                     /* uncompressed */
	struct digest digest;
	pthread_t thread;
	bool is_started;
};

/* --- first thread ---------------------------------------------------------------------------------------------------
 */

static int source_check(const struct source *s, struct err *e)
{
	const struct image_limits *l = &s->job->limits;
	uint64_t max = l->max_total + l->max_entries * ENTRY_OVERHEAD_BYTES;

	if (s->bytes > max)
		return err_kind_set(
		        e, -EFBIG, ERR_KIND_LIMIT_SIZE, "the layer has more than %" PRIu64 " bytes uncompressed", max);
	if (s->bytes > RATIO_FREE_BYTES && s->bytes / l->max_ratio > s->job->size)
		return err_kind_set(e, -EFBIG, ERR_KIND_LIMIT_SIZE,
		        "the layer grows to more than %" PRIu64 " times its size", l->max_ratio);
	return 0;
}

static int source_finish(struct source *s, struct hash *h, struct err *e)
{
	char want[DIGEST_TEXT_MAX], got[DIGEST_TEXT_MAX];

	hash_final(h, &s->digest);
	if (digest_equal(&s->digest, &s->job->diff_id))
		return 0;
	return err_kind_set(e, -EBADMSG, ERR_KIND_DIGEST_MISMATCH, "the layer's diffID is %s, the image says %s",
	        digest_format(&s->digest, got), digest_format(&s->job->diff_id, want));
}

static int source_pump(struct source *s, struct hash *h, struct err *e)
{
	unsigned char *p;

	while ((p = ring_reserve(s->ring))) {
		ssize_t n = inflate_read(s->inflate, p, RING_SLOT_BYTES, e);
		if (n < 0)
			return (int)n;
		if (!n)
			return source_finish(s, h, e);
		hash_update(h, p, (size_t)n);
		s->bytes += (uint64_t)n;
		int rc = source_check(s, e);
		if (rc < 0)
			return rc;
		ring_commit(s->ring, (size_t)n);
	}
	return err_set(e, -ECANCELED, "the layer was given up");
}

static void *source_run(void *arg)
{
	struct source *s = arg;
	AUTO(hash_cleanup) struct hash *h = hash_new((enum digest_algorithm)s->job->diff_id.algorithm);
	struct err e = ERR_INIT;

	if (!h)
		err_kind_set(&e, -EINVAL, ERR_KIND_UNSUPPORTED_DIGEST, "no hash for the diffID's algorithm");
	else
		source_pump(s, h, &e);
	ring_close(s->ring, e.code ? &e : NULL);
	return NULL;
}

static int source_open(struct source *s, const struct msg_unpack_layer *job, int blob, struct err *e)
{
	*s = (struct source){.job = job};
	s->inflate = inflate_new((enum compression)job->compression, blob, job->size, e);
	if (!s->inflate)
		return e->code;
	s->ring = ring_new();
	int rc = -pthread_create(&s->thread, NULL, source_run, s);
	if (rc < 0)
		return err_sys(e, rc, "start the inflating thread");
	s->is_started = true;
	return 0;
}

static void source_close(struct source *s)
{
	if (s->is_started) {
		ring_cancel(s->ring);
		pthread_join(s->thread, NULL);
	}
	ring_free(s->ring);
	inflate_free(s->inflate);
}

static ssize_t source_next(void *arg, const unsigned char **data, struct err *e)
{
	return ring_next(((struct source *)arg)->ring, data, e);
}

/* --- second thread --------------------------------------------------------------------------------------------------
 */

struct layer {
	const struct image_limits *limits; /* borrowed */
	struct source *source;             /* borrowed */
	struct tar *tar;                   /* owns */
	struct encoder out;
	struct buf path, link, xattrs; /* of the current entry */
	uint64_t entries, total_bytes, dropped_xattrs;
	struct progress progress;
};

static const uint16_t record_types[] = {
        [TAR_FILE] = INGEST_FILE,
        [TAR_HARDLINK] = INGEST_HARDLINK,
        [TAR_SYMLINK] = INGEST_SYMLINK,
        [TAR_CHR] = INGEST_CHR,
        [TAR_BLK] = INGEST_BLK,
        [TAR_DIR] = INGEST_DIR,
        [TAR_FIFO] = INGEST_FIFO,
};

static struct bytes buf_bytes(const struct buf *b)
{
	return (struct bytes){b->data ? b->data : "", b->len};
}

static int entry_name(struct layer *l, const struct tar_entry *en, struct err *e)
{
	int rc = name_clean(&l->path, en->name.data, en->name.len, l->limits, e);

	if (rc < 0)
		return rc;
	if (!l->path.len && en->type != TAR_DIR)
		return err_kind_set(
		        e, -EBADMSG, ERR_KIND_BAD_ARCHIVE, "an entry that would replace the root directory");
	if (en->type == TAR_FILE && en->has_trailing_slash)
		return err_kind_set(
		        e, -EBADMSG, ERR_KIND_BAD_ARCHIVE, "a file with content and a slash at the end of its name");
	return 0;
}

static int entry_link(struct layer *l, const struct tar_entry *en, struct err *e)
{
	l->link.len = 0;
	if (en->type == TAR_HARDLINK) {
		int rc = en->link.len ? name_clean(&l->link, en->link.data, en->link.len, l->limits, e) : 0;
		if (rc < 0)
			return err_wrap(e, "target of a hard link");
		return l->link.len ? 0
		                   : err_kind_set(e, -EBADMSG, ERR_KIND_BAD_HARDLINK,
		                             "a hard link to nothing or to the root");
	}
	if (en->type != TAR_SYMLINK)
		return 0;
	if (!en->link.len)
		return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_ARCHIVE, "a symbolic link without a target");
	if (en->link.len > SYMLINK_TARGET_MAX || en->link.len > l->limits->max_path)
		return err_kind_set(
		        e, -EBADMSG, ERR_KIND_LIMIT_PATH, "a symbolic link with a target of %zu bytes", en->link.len);
	buf_append(&l->link, en->link.data, en->link.len);
	return 0;
}

static int entry_limits(struct layer *l, const struct tar_entry *en, struct err *e)
{
	if (++l->entries > l->limits->max_entries)
		return err_kind_set(
		        e, -EBADMSG, ERR_KIND_LIMIT_ENTRIES, "more than %" PRIu64 " entries", l->limits->max_entries);
	if (en->type == TAR_FILE) {
		if (en->apparent > l->limits->max_file)
			return err_kind_set(
			        e, -EBADMSG, ERR_KIND_LIMIT_SIZE, "a file of %" PRIu64 " bytes", en->apparent);
		l->total_bytes += en->apparent;
	}
	if (l->total_bytes > l->limits->max_total)
		return err_kind_set(e, -EBADMSG, ERR_KIND_LIMIT_SIZE, "files of more than %" PRIu64 " bytes in all",
		        l->limits->max_total);
	if (en->type != TAR_HARDLINK &&
	        (en->uid < 0 || en->uid > UINT32_MAX - 1 || en->gid < 0 || en->gid > UINT32_MAX - 1))
		return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_ID,
		        "owner %" PRId64 ":%" PRId64 " does not exist on Linux", en->uid, en->gid);
	return 0;
}

static void record_fill(struct ingest_record *r, const struct tar_entry *en)
{
	*r = (struct ingest_record){.type = record_types[en->type],
	        .mode = en->mode,
	        .uid = (uint32_t)en->uid,
	        .gid = (uint32_t)en->gid,
	        .mtime_sec = en->mtime_sec,
	        .mtime_nsec = en->mtime_nsec,
	        .rdev_major = en->rdev_major,
	        .rdev_minor = en->rdev_minor};
	if (en->mtime_sec < EXT4_TIME_MIN || en->mtime_sec > EXT4_TIME_MAX) {
		r->mtime_sec = en->mtime_sec < 0 ? EXT4_TIME_MIN : EXT4_TIME_MAX;
		r->mtime_nsec = 0;
	}
	if (en->type == TAR_FILE && en->is_sparse) {
		r->flags = INGEST_SPARSE;
		r->apparent = en->apparent;
	} else if (en->type == TAR_FILE) {
		r->size = en->size;
	}
}

/* The next SIZE bytes of content. They may lie in the same piece as bytes behind them: REST keeps those. */
static int content_copy(struct layer *l, struct bytes *rest, uint64_t size, struct err *e)
{
	while (size) {
		if (!rest->len) {
			const unsigned char *p;
			ssize_t n = tar_data(l->tar, &p, e);
			if (n <= 0)
				return n ? (int)n : err_set(e, -EIO, "content ends before its size");
			*rest = (struct bytes){(const char *)p, (size_t)n};
			progress_tell(&l->progress, inflate_offset(l->source->inflate), l->entries);
		}
		size_t n = size < rest->len ? (size_t)size : rest->len;
		int rc = encode_content(&l->out, rest->data, n, e);
		if (rc < 0)
			return rc;
		rest->data += n;
		rest->len -= n;
		size -= n;
	}
	return 0;
}

static int entry_content(struct layer *l, const struct tar_entry *en, struct err *e)
{
	struct bytes rest = {0};
	int rc = 0;

	if (!en->is_sparse)
		return content_copy(l, &rest, en->size, e);
	for (size_t i = 0; rc >= 0 && i < en->n_segments; i++) {
		const struct tar_segment *s = &en->segments[i];
		const struct ingest_record r = {.type = INGEST_CONTENT, .size = s->length, .offset = s->offset};
		if (!s->length)
			continue;
		rc = encode_record(&l->out, &r, (struct bytes){0}, (struct bytes){0}, (struct bytes){0}, e);
		if (rc >= 0)
			rc = content_copy(l, &rest, s->length, e);
	}
	return rc;
}

static int entry_plain(struct layer *l, const struct tar_entry *en, struct err *e)
{
	struct ingest_record r;
	int rc = entry_link(l, en, e);

	if (rc >= 0)
		rc = xattr_collect(&l->xattrs, en, l->limits, &l->dropped_xattrs, e);
	if (rc < 0)
		return rc;
	record_fill(&r, en);
	rc = encode_record(&l->out, &r, buf_bytes(&l->path), buf_bytes(&l->link), buf_bytes(&l->xattrs), e);
	return rc >= 0 && en->type == TAR_FILE ? entry_content(l, en, e) : rc;
}

/* AUFS wrote its markers as files or as hard links between them; nothing else is one. */
static int entry_marker(struct layer *l, const struct tar_entry *en, enum name_role role, struct err *e)
{
	if (en->type != TAR_FILE && en->type != TAR_HARDLINK)
		return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_WHITEOUT, "a whiteout that is no regular file");
	return encode_mark(&l->out, role == NAME_OPAQUE ? INGEST_OPAQUE : INGEST_WHITEOUT, buf_bytes(&l->path), e);
}

static int entry_apply(struct layer *l, const struct tar_entry *en, struct err *e)
{
	struct bytes name = en->name;
	int rc = entry_limits(l, en, e);

	if (rc >= 0)
		rc = entry_name(l, en, e);
	if (rc >= 0)
		rc = name_role(&l->path, e);
	if (rc == NAME_PLAIN)
		rc = entry_plain(l, en, e);
	else if (rc == NAME_WHITEOUT || rc == NAME_OPAQUE)
		rc = entry_marker(l, en, (enum name_role)rc, e);
	if (rc < 0 && l->out.is_failed)
		return rc;
	return rc < 0 ? err_wrap(e, "\"%.*s\"", (int)(name.len < 150 ? name.len : 150), name.data) : 0;
}

static int layer_apply(struct layer *l, struct err *e)
{
	struct tar_entry en;
	int rc = encode_mark(&l->out, INGEST_BEGIN, (struct bytes){0}, e);

	while (rc >= 0 && (rc = tar_next(l->tar, &en, e)) > 0) {
		rc = entry_apply(l, &en, e);
		progress_tell(&l->progress, inflate_offset(l->source->inflate), l->entries);
	}
	if (rc >= 0)
		rc = tar_drain(l->tar, TAIL_MAX_BYTES, e);
	if (rc >= 0)
		rc = encode_mark(&l->out, INGEST_END, (struct bytes){0}, e);
	return rc < 0 ? rc : encode_flush(&l->out, e);
}

static void layer_free(struct layer *l)
{
	tar_free(l->tar);
	encode_free(&l->out);
	buf_free(&l->path);
	buf_free(&l->link);
	buf_free(&l->xattrs);
}

int job_layer(struct channel *c, struct message *m, struct msg_unpack_done *done, struct err *e)
{
	const struct msg_unpack_layer *job = (const void *)m->payload;
	struct layer l = {.limits = &job->limits, .progress = {.channel = c}};
	struct source s;
	int rc = source_open(&s, job, m->fds[0], e);

	if (rc >= 0) {
		l.source = &s;
		l.tar = tar_new(&(struct tar_source){source_next, &s}, l.limits);
		encode_init(&l.out, m->fds[1]);
		rc = layer_apply(&l, e);
		layer_free(&l);
	}
	source_close(&s);
	if (rc >= 0)
		*done = (struct msg_unpack_done){
		        .digest = s.digest, .entries = l.entries, .bytes = s.bytes, .dropped_xattrs = l.dropped_xattrs};
	return rc;
}
