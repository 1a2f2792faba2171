/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: the metadata of the host's pool, checked and repaired while no builderd runs. There is no spare
 * region for it, so it goes through files below STATE_DIR/dm:
 *   1. thin_repair writes "repaired.tmp", and thin_check must find nothing in it
 *   2. the damaged metadata is kept as "damaged-<time>.meta"
 *   3. repaired.tmp becomes "repaired.meta": from here on a repair that stops half-way goes on with step 4
 *   4. it is copied over the damaged metadata, then removed
 * While there is a repaired.meta, builderd does not start.
 */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "tool.h"

#define COPY_BLOCK (1u << 20)
#define TMP "repaired.tmp"

static int copy(int from, int to, uint64_t bytes, bool keeps_holes, struct err *e)
{
	AUTO_FREE char *block = malloc(COPY_BLOCK);

	for (uint64_t at = 0; at < bytes; at += COPY_BLOCK) {
		size_t n = bytes - at < COPY_BLOCK ? (size_t)(bytes - at) : COPY_BLOCK;
		if (!block || pread(from, block, n, (off_t)at) != (ssize_t)n)
			return err_sys(e, -EIO, "read pool metadata");
		if (keeps_holes && !block[0] && !memcmp(block, block + 1, n - 1))
			continue;
		int rc = fd_pwrite_all(to, block, n, (off_t)at);
		if (rc < 0)
			return err_sys(e, rc, "write pool metadata");
	}
	return fsync(to) < 0 ? err_sys(e, -errno, "sync pool metadata") : 0;
}

static int file_make(const struct store *s, const char *name, uint64_t bytes, struct err *e)
{
	int fd = openat(s->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0) {
		int rc = err_sys(e, -errno, "make %s/%s", s->dir, name);
		cleanup_close(&fd);
		return rc;
	}
	return fd;
}

/* Steps 1 to 3. The programs run as nobody; the directory is closed to others. */
static int repaired_make(
        const struct store *s, int meta, uint64_t bytes, const struct meta_facts *facts, char kept[64], struct err *e)
{
	time_t now = time(NULL);
	struct tm tm;

	unlinkat(s->dirfd, TMP, 0);
	AUTO_CLOSE int tmp = file_make(s, TMP, bytes, e);
	int rc = tmp < 0                 ? tmp
	         : fchmod(tmp, 0666) < 0 ? err_sys(e, -errno, "open %s/" TMP " to its reader", s->dir)
	                                 : 0;
	if (rc == 0)
		rc = meta_repair(meta, tmp, facts, e);
	if (rc < 0)
		return rc;
	strftime(kept, 64, "damaged-%Y%m%d-%H%M%S.meta", gmtime_r(&now, &tm));
	AUTO_CLOSE int damaged = file_make(s, kept, bytes, e);
	rc = damaged < 0 ? damaged : copy(meta, damaged, bytes, true, e);
	if (rc == 0 && (fchmod(tmp, 0600) < 0 || fsync(tmp) < 0 ||
	                       renameat(s->dirfd, TMP, s->dirfd, OUTER_REPAIRED) < 0 || fsync(s->dirfd) < 0))
		rc = err_sys(e, -errno, "keep %s/" OUTER_REPAIRED, s->dir);
	return rc;
}

/* Step 4. */
static int repaired_use(const struct store *s, int meta, uint64_t bytes, struct err *e)
{
	AUTO_CLOSE int from = openat(s->dirfd, OUTER_REPAIRED, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int rc = from < 0 ? err_sys(e, -errno, "open %s/" OUTER_REPAIRED, s->dir) : copy(from, meta, bytes, false, e);

	if (rc == 0 && (unlinkat(s->dirfd, OUTER_REPAIRED, 0) < 0 || fsync(s->dirfd) < 0))
		rc = err_sys(e, -errno, "remove %s/" OUTER_REPAIRED, s->dir);
	return rc;
}

static int mend(const struct store *s, int meta, const struct meta_facts *facts, struct outer_report *r, struct err *e)
{
	struct tool_result said;
	char kept[64] = "";
	uint64_t bytes;

	if (ioctl(meta, BLKGETSIZE64, &bytes) < 0)
		return err_sys(e, -errno, "ask pool metadata for its size");
	bool goes_on = faccessat(s->dirfd, OUTER_REPAIRED, F_OK, 0) == 0;
	int rc = goes_on ? 1 : meta_check(meta, false, &said, e);
	if (rc < 0)
		return rc;
	r->is_damaged = rc > 0;
	snprintf(r->text, sizeof(r->text), "%s",
	        goes_on ? "a repair was stopped half-way"
	        : rc    ? said.text
	                : "thin_check finds nothing");
	if (!r->is_repair)
		return 0;
	if (rc == 0)
		return meta_check(meta, true, &said, e) ? err_set(e, -EUCLEAN, "clear a flag: %s", said.text) : 0;
	rc = goes_on ? 0 : repaired_make(s, meta, bytes, facts, kept, e);
	if (rc == 0)
		rc = repaired_use(s, meta, bytes, e);
	if (rc == 0)
		log_warn("the host's pool was repaired", KV("device", thin_name(&s->outer.row, "meta", 0).text),
		        KV("damaged_copy", &kept[0]));
	return rc;
}

int outer_repair(const struct store_options *o, struct outer_report *r, struct err *e)
{
	struct store *s = NULL;
	struct meta_facts facts;
	int rc = thin_begin(o, &s, e);

	if (rc == 0)
		rc = outer_meta_up(s, o, &facts, e);
	if (rc == 0) {
		AUTO_CLOSE int meta =
		        dm_open(thin_name(&s->outer.row, "meta", 0).text, r->is_repair ? O_RDWR : O_RDONLY, e);
		rc = meta < 0 ? meta : mend(s, meta, &facts, r, e);
	}
	thin_end(s);
	return rc;
}

int thin_host_repair(const struct store_options *o, bool is_repair, char text[400], struct err *e)
{
	struct outer_report r = {.is_repair = is_repair};

	dm_init();
	int rc = outer_repair(o, &r, e);
	memcpy(text, r.text, sizeof(r.text));
	if (rc == 0 && r.is_damaged && !is_repair)
		return err_kind_set(e, -EUCLEAN, ERR_KIND_INTERNAL, "the host's pool is damaged: %.300s", r.text);
	return rc < 0 ? rc : r.is_damaged;
}
