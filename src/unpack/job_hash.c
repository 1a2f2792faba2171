/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SHA-256 of a whole file. Two threads: one reads (or finds a hole and hands out zeros without reading), one hashes,
 * which is what takes the time.
 */
#include "unpack/job.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "digest/hash.h"
#include "unpack/ring.h"

struct reader {
	int fd;
	uint64_t size;
	struct ring *ring;
};

/* Where data begins at or after AT; file systems that do not know say: here. */
static uint64_t data_begin(const struct reader *r, uint64_t at)
{
	off_t p = lseek(r->fd, (off_t)at, SEEK_DATA);

	if (p < 0)
		return errno == ENXIO ? r->size : at;
	return (uint64_t)p < r->size ? (uint64_t)p : r->size;
}

static uint64_t data_end(const struct reader *r, uint64_t at)
{
	off_t p = lseek(r->fd, (off_t)at, SEEK_HOLE);

	return p < 0 || (uint64_t)p > r->size ? r->size : (uint64_t)p;
}

static int extent_read(const struct reader *r, unsigned char *p, size_t len, uint64_t at, struct err *e)
{
	while (len) {
		ssize_t n = pread(r->fd, p, len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? err_sys(e, -errno, "read the volume at byte %" PRIu64, at)
			         : err_set(e, -EIO, "the volume ends at byte %" PRIu64 " of %" PRIu64, at, r->size);
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Fill one buffer from data and holes. */
static int slot_fill(const struct reader *r, unsigned char *p, size_t len, uint64_t at, uint64_t *data, uint64_t *hole,
        struct err *e)
{
	while (len) {
		if (at >= *hole) {
			*data = data_begin(r, at);
			*hole = *data < r->size ? data_end(r, *data) : r->size;
		}
		uint64_t end = at < *data ? *data : *hole;
		size_t n = end - at < len ? (size_t)(end - at) : len;
		if (!n)
			return err_set(e, -EIO, "the volume's map of holes makes no sense at byte %" PRIu64, at);
		if (at < *data)
			memset(p, 0, n);
		else if (extent_read(r, p, n, at, e) < 0)
			return e->code;
		p += n;
		at += n;
		len -= n;
	}
	return 0;
}

static void *reader_run(void *arg)
{
	const struct reader *r = arg;
	struct err e = ERR_INIT;
	uint64_t data = 0, hole = 0;

	for (uint64_t at = 0; at < r->size;) {
		unsigned char *p = ring_reserve(r->ring);
		size_t n = r->size - at < RING_SLOT_BYTES ? (size_t)(r->size - at) : RING_SLOT_BYTES;
		if (!p || slot_fill(r, p, n, at, &data, &hole, &e) < 0)
			break;
		ring_commit(r->ring, n);
		at += n;
	}
	ring_close(r->ring, e.code ? &e : NULL);
	return NULL;
}

int job_hash(struct channel *c, struct message *m, struct msg_unpack_done *done, struct err *e)
{
	const struct msg_unpack_hash *job = (const void *)m->payload;
	struct reader r = {.fd = m->fds[0], .size = job->size, .ring = ring_new()};
	struct progress progress = {.channel = c};
	AUTO(hash_cleanup) struct hash *h = hash_new(DIGEST_SHA256);
	const unsigned char *p;
	pthread_t thread;
	ssize_t n;

	int rc = h ? -pthread_create(&thread, NULL, reader_run, &r) : -ENOMEM;
	if (rc < 0) {
		ring_free(r.ring);
		return err_sys(e, rc, "start hashing");
	}
	while ((n = ring_next(r.ring, &p, e)) > 0) {
		hash_update(h, p, (size_t)n);
		done->bytes += (uint64_t)n;
		progress_tell(&progress, done->bytes, 0);
	}
	pthread_join(thread, NULL);
	ring_free(r.ring);
	if (n >= 0)
		hash_final(h, &done->digest);
	return (int)n;
}
