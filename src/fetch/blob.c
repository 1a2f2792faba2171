/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define MARK "user.builderd.boot"
#define SOURCE "user.builderd.source"
#define SOURCE_MAX 128
#define BLOCK_BYTES ((size_t)256 * 1024)

void blob_store_init(struct blob_store *s)
{
	AUTO_CLOSE int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	*s = (struct blob_store){.dir = -1};
	ssize_t n = fd < 0 ? 0 : fd_read_full(fd, s->boot_id, sizeof(s->boot_id) - 1);
	s->boot_id[n > 0 ? n : 0] = 0;
	s->boot_id[strcspn(s->boot_id, "\n")] = 0;
}

static void blob_name(const struct digest *d, char out[DIGEST_TEXT_MAX])
{
	digest_format(d, out);
	char *colon = strchr(out, ':');
	if (colon)
		*colon = '-';
}

/* A failed write on the tenant's volume. */
static int disk_error(struct err *e, int code, const char *what, const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];

	err_sys(e, code, "%s blob %s", what, digest_format(d, text));
	e->kind = code == -ENOSPC || code == -EDQUOT ? ERR_KIND_DISK_FULL : ERR_KIND_INTERNAL;
	return code;
}

static bool is_marked(const struct blob_store *s, int fd)
{
	char mark[sizeof(s->boot_id)];
	ssize_t n = fgetxattr(fd, MARK, mark, sizeof(mark));

	return s->boot_id[0] && n == (ssize_t)strlen(s->boot_id) && !memcmp(mark, s->boot_id, (size_t)n);
}

static void mark(const struct blob_store *s, int fd)
{
	/* Without the mark the blob is hashed again when it is next used: slower, not wrong. */
	if (s->boot_id[0] && fsetxattr(fd, MARK, s->boot_id, strlen(s->boot_id), 0) < 0)
		return;
}

int blob_lookup(struct blob_store *s, const struct digest *d, uint64_t size, struct err *e)
{
	char name[DIGEST_TEXT_MAX];
	struct digest have;
	struct stat st;

	blob_name(d, name);
	AUTO_CLOSE int fd = openat(s->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : disk_error(e, -errno, "open", d);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size) {
		if (is_marked(s, fd)) {
			futimens(fd, NULL);
			return STEAL_FD(&fd);
		}
		if (!hash_file(fd, 0, size, d->algorithm, &have) && digest_equal(&have, d)) {
			mark(s, fd);
			return STEAL_FD(&fd);
		}
	} else if (S_ISREG(st.st_mode) && !hash_file(fd, 0, (uint64_t)st.st_size, d->algorithm, &have) &&
	           digest_equal(&have, d)) {
		return err_kind_set(e, -EINVAL, ERR_KIND_SIZE_MISMATCH,
		        "blob %s has %lld bytes, its descriptor says %llu", digest_format(d, name),
		        (long long)st.st_size, (unsigned long long)size);
	}
	unlinkat(s->dir, name, 0);
	return -ENOENT;
}

bool blob_source_is(struct blob_store *s, const struct digest *d, const char *source)
{
	char name[DIGEST_TEXT_MAX], have[SOURCE_MAX];

	blob_name(d, name);
	AUTO_CLOSE int fd = openat(s->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : fgetxattr(fd, SOURCE, have, sizeof(have));
	return n == (ssize_t)strlen(source) && !memcmp(have, source, (size_t)n);
}

void blob_source_set(struct blob_store *s, const struct digest *d, const char *source)
{
	char name[DIGEST_TEXT_MAX];

	blob_name(d, name);
	AUTO_CLOSE int fd = openat(s->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && fsetxattr(fd, SOURCE, source, strlen(source), 0) < 0)
		return; /* hashed again next time */
}

int blob_writer_open(struct blob_writer *w, struct blob_store *s, const struct digest *d, uint64_t size, struct err *e)
{
	*w = (struct blob_writer){.store = s, .fd = -1, .digest = *d, .size = size};
	snprintf(w->name, sizeof(w->name), ".tmp-%s-%u", s->build_id, s->next++);
	unlinkat(s->dir, w->name, 0);
	w->fd = openat(s->dir, w->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc = w->fd < 0 ? disk_error(e, -errno, "create", d) : 0;
	w->block = malloc(BLOCK_BYTES);
	if (!rc && (!w->block || !(w->hash = hash_new(d->algorithm))))
		rc = disk_error(e, -ENOMEM, "hash", d);
	if (rc < 0)
		blob_writer_abort(w);
	return rc;
}

static int too_long(const struct blob_writer *w, struct err *e)
{
	char text[DIGEST_TEXT_MAX];

	return err_kind_set(e, -EFBIG, ERR_KIND_SIZE_MISMATCH,
	        "blob %s is longer than the %llu bytes of its descriptor", digest_format(&w->digest, text),
	        (unsigned long long)w->size);
}

static int flush(struct blob_writer *w, struct err *e)
{
	int rc = fd_pwrite_all(w->fd, w->block, w->pending, (off_t)(w->done - w->pending));

	if (rc < 0)
		return disk_error(e, rc, "write", &w->digest);
	hash_update(w->hash, w->block, w->pending);
	w->pending = 0;
	return 0;
}

int blob_writer_write(struct blob_writer *w, const void *data, size_t len, struct err *e)
{
	const char *p = data;

	if (len > w->size - w->done)
		return too_long(w, e);
	while (len) {
		size_t n = BLOCK_BYTES - w->pending < len ? BLOCK_BYTES - w->pending : len;
		memcpy(w->block + w->pending, p, n);
		w->pending += n;
		w->done += n;
		p += n;
		len -= n;
		if (w->pending < BLOCK_BYTES)
			break;
		int rc = flush(w, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int blob_writer_copy(struct blob_writer *w, int fd, off_t offset, uint64_t len, struct err *e)
{
	AUTO_FREE char *block = malloc(BLOCK_BYTES);

	if (!block)
		return disk_error(e, -ENOMEM, "copy", &w->digest);
	while (len) {
		ssize_t n = pread(fd, block, len < BLOCK_BYTES ? (size_t)len : BLOCK_BYTES, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return disk_error(e, -errno, "read", &w->digest);
		if (!n)
			break; /* finish says how much is missing */
		int rc = blob_writer_write(w, block, (size_t)n, e);
		if (rc < 0)
			return rc;
		offset += n;
		len -= (uint64_t)n;
	}
	return 0;
}

int blob_writer_restart(struct blob_writer *w, struct err *e)
{
	hash_free(w->hash);
	w->done = w->pending = 0;
	w->hash = hash_new(w->digest.algorithm);
	if (!w->hash)
		return disk_error(e, -ENOMEM, "hash", &w->digest);
	return ftruncate(w->fd, 0) < 0 ? disk_error(e, -errno, "truncate", &w->digest) : 0;
}

static int writer_check(struct blob_writer *w, struct err *e)
{
	char want[DIGEST_TEXT_MAX], have[DIGEST_TEXT_MAX];
	struct digest d;

	digest_format(&w->digest, want);
	if (w->done != w->size)
		return err_kind_set(e, -EINVAL, ERR_KIND_SIZE_MISMATCH,
		        "blob %s has %llu bytes, its descriptor says %llu", want, (unsigned long long)w->done,
		        (unsigned long long)w->size);
	hash_final(w->hash, &d);
	if (!digest_equal(&d, &w->digest))
		return err_kind_set(e, -EINVAL, ERR_KIND_DIGEST_MISMATCH, "blob %s has the digest %s", want,
		        digest_format(&d, have));
	return 0;
}

int blob_writer_finish(struct blob_writer *w, struct err *e)
{
	char name[DIGEST_TEXT_MAX];
	AUTO_CLOSE int fd = -1;
	int rc = flush(w, e);

	if (rc >= 0)
		rc = writer_check(w, e);
	if (rc < 0)
		goto undo;
	mark(w->store, w->fd);
	/* A description of its own: read-only, offset 0, of this very file. */
	fd = openat(w->store->dir, w->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	blob_name(&w->digest, name);
	if (fd < 0 || renameat(w->store->dir, w->name, w->store->dir, name) < 0) {
		rc = disk_error(e, -errno, "store", &w->digest);
		goto undo;
	}
	w->name[0] = 0;
	rc = STEAL_FD(&fd);
undo:
	blob_writer_abort(w);
	return rc;
}

void blob_writer_abort(struct blob_writer *w)
{
	if (!w->store)
		return;
	cleanup_close(&w->fd);
	if (w->name[0])
		unlinkat(w->store->dir, w->name, 0);
	hash_free(w->hash);
	free(w->block);
	*w = (struct blob_writer){.fd = -1};
}
