/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "artifact": the rootfs of a build as a sparse file, checked against its checksum.
 *
 * Bytes go to PATH.part, in order; blocks of zeros become holes. Its length is how far it came (a hole at its end is
 * written out as length), so that a later run goes on there with Range, on condition (If-Range) that it is the same
 * artifact. Only a file whose SHA-256 is the job's gets the name PATH.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/fd.h"
#include "digest/hash.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/display.h"
#include "tools/ctl/job.h"

#define HOLE 4096
#define READ_SIZE (256 << 10)

struct artifact {
	struct client *client;
	struct http_answer answer;
	struct display display;
	char *part;           /* owns */
	int fd;               /* owns */
	struct hash *hash;    /* owns; of bytes 0 to offset */
	int64_t offset, size; /* bytes */
	bool is_begun;
};

static bool is_zero(const char *p, size_t n)
{
	return !*p && !memcmp(p, p + 1, n - 1);
}

static int write_sparse(struct artifact *a, const char *p, size_t len, struct err *e)
{
	while (len) {
		/* To the next multiple of HOLE: blocks of the file, not of the network. */
		size_t n = HOLE - (size_t)(a->offset % HOLE);
		if (n > len)
			n = len;
		int r = is_zero(p, n) ? 0 : fd_pwrite_all(a->fd, p, n, a->offset);
		if (r < 0)
			return err_sys(e, r, "cannot write %s", a->part);
		p += n;
		len -= n;
		a->offset += (int64_t)n;
	}
	return 0;
}

static void show(struct artifact *a)
{
	const struct display_state s = {.step = "downloading",
	        .percent = a->size ? (int)(a->offset * 100 / a->size) : -1,
	        .bytes_done = a->offset,
	        .bytes_total = a->size};

	display_update(&a->display, &s);
}

static int restart(struct artifact *a, struct err *e)
{
	hash_free(a->hash);
	a->hash = hash_new(DIGEST_SHA256);
	a->offset = 0;
	if (!a->hash || ftruncate(a->fd, 0) < 0)
		return err_sys(e, -errno, "cannot write %s", a->part);
	return 0;
}

static int on_data(void *arg, const void *data, size_t len, struct err *e)
{
	struct artifact *a = arg;

	/* 200 to a request with Range: all of it, from the beginning. */
	if (!a->is_begun && a->answer.status == 200 && a->offset && restart(a, e) < 0)
		return e->code;
	a->is_begun = true;
	if ((int64_t)len > a->size - a->offset)
		return err_set(e, -EPROTO, "the artifact is longer than the %" PRId64 " bytes of its build", a->size);
	hash_update(a->hash, data, len);
	show(a);
	return write_sparse(a, data, len, e);
}

static bool on_tick(void *arg)
{
	show(arg);
	return client_is_interrupted();
}

/* Take what is there of PATH.part into the hash. */
static int resume(struct artifact *a, struct err *e)
{
	AUTO_FREE char *block = malloc(READ_SIZE);
	ssize_t n;

	if (!block)
		return err_set(e, -ENOMEM, "out of memory");
	while ((n = fd_read_full(a->fd, block, READ_SIZE)) > 0) {
		hash_update(a->hash, block, (size_t)n);
		a->offset += n;
	}
	if (n < 0)
		return err_sys(e, (int)n, "cannot read %s", a->part);
	return a->offset > a->size ? restart(a, e) : 0;
}

static int verify(struct artifact *a, const char *checksum, struct err *e)
{
	char text[DIGEST_TEXT_MAX];
	struct digest is, want;

	if (a->offset != a->size)
		return err_set(e, -EIO,
		        "the download broke off at %" PRId64 " of %" PRId64 " bytes; the same command goes on there",
		        a->offset, a->size);
	if (digest_parse(&want, checksum, strlen(checksum), e) < 0)
		return err_wrap(e, "the build's checksum");
	hash_final(a->hash, &is);
	if (digest_equal(&is, &want))
		return 0;
	unlink(a->part);
	return err_set(e, -EBADMSG, "the download has the wrong checksum: %s instead of %s; it is deleted",
	        digest_format(&is, text), checksum);
}

static int transfer(struct artifact *a, const char *id, const char *checksum, struct err *e)
{
	AUTO_FREE char *path = xasprintf("GetBuildArtifact/%s", id);
	AUTO_FREE char *range = xasprintf("Range: bytes=%" PRId64 "-", a->offset);
	AUTO_FREE char *condition = xasprintf("If-Range: \"%s\"", checksum);
	const char *const headers[] = {a->offset ? range : NULL, condition, NULL};
	int r;

	if (a->offset == a->size)
		return 0;
	r = client_download(a->client, path, headers, on_data, a, on_tick, &a->answer, e);
	buf_free(&a->answer.body);
	/* So that a hole at the end counts as received. */
	if (ftruncate(a->fd, a->offset) < 0 && r == 0)
		r = err_sys(e, -errno, "cannot write %s", a->part);
	return r;
}

static int download(struct artifact *a, const struct job *j, const char *path, struct err *e)
{
	int r;

	if (!job_is_completed(j))
		return err_set(e, -EINVAL, "%s is %s: there is no artifact", j->id, j->state);
	a->size = j->rootfs_bytes;
	a->part = xasprintf("%s.part", path);
	a->fd = open(a->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (a->fd < 0)
		return err_sys(e, -errno, "cannot open %s", a->part);
	a->hash = hash_new(DIGEST_SHA256);
	if (!a->hash)
		return err_set(e, -ENOMEM, "out of memory");
	r = resume(a, e);
	if (r == 0)
		r = transfer(a, j->id, j->checksum, e);
	if (r == 0)
		r = verify(a, j->checksum, e);
	if (r == 0 && rename(a->part, path) < 0)
		r = err_sys(e, -errno, "cannot rename %s", a->part);
	return r;
}

int artifact_download(struct client *c, const char *id, const char *path)
{
	struct artifact a = {.client = c, .fd = -1};
	struct err e = ERR_INIT;
	struct job j;
	int r = job_get(c, id, &j, &e);

	display_begin(&a.display);
	if (r == 0)
		r = download(&a, &j, path, &e);
	display_clear(&a.display);
	cleanup_close(&a.fd);
	hash_free(a.hash);
	free(a.part);
	if (r == 0 && !c->options->is_json)
		printf("%-9s %s\n", "artifact", path);
	else if (r == 0)
		fprintf(stderr, "%s\n", path);
	job_free(&j);
	return r < 0 ? client_fail(c, r, &e) : EXIT_DONE;
}

int command_artifact(const struct options *o)
{
	AUTO_FREE char *path = o->output ? xstrdup(o->output) : xasprintf("%s.ext4", o->args.v[0]);
	struct err e = ERR_INIT;
	struct client c;
	int r = client_init(&c, o, &e), code;

	client_catch_interrupts();
	if (r < 0)
		code = (client_fail(&c, r, &e), EXIT_USAGE);
	else
		code = artifact_download(&c, o->args.v[0], path);
	client_close(&c);
	return code;
}
