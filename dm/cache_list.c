/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cache_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/loop.h"

void cache_list_free(struct cache_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i].blob);
	free(l->items);
}

static struct cached *add(struct cache_list *l, const char *tenant, uint64_t bytes, int64_t last_use_ms)
{
	l->items = xrealloc(l->items, (l->n + 1) * sizeof(*l->items));
	struct cached *c = &l->items[l->n++];

	*c = (struct cached){.bytes = bytes, .last_use_ms = last_use_ms};
	snprintf(c->tenant, sizeof(c->tenant), "%s", tenant);
	l->bytes += bytes;
	return c;
}

static void blob_add(struct cache_list *l, const char *tenant, const char *name, const struct stat *st)
{
	int64_t used_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;

	add(l, tenant, (uint64_t)st->st_blocks * 512, used_ms)->blob = xstrdup(name);
}

/* A blob directory belongs to the fetchers' uid, and one of them may have been taken over: what is there is judged by
 * its name, what is remembered has a bound. */
#define BLOBS_MAX 100000                 /* a tenant */
#define DOWNLOAD_MAX_MS (24 * 3600000ll) /* nothing is written to a download that died */
#define JUNK_DEPTH 16

bool cache_blob_name_is_valid(const char *name)
{
	size_t n = strlen(name);

	return (n == 7 + 64 && !strncmp(name, "sha256-", 7) && strspn(name + 7, "0123456789abcdef") == 64) ||
	       (n == 7 + 128 && !strncmp(name, "sha512-", 7) && strspn(name + 7, "0123456789abcdef") == 128);
}

static void junk_remove(int dir, const char *name, int depth)
{
	if (unlinkat(dir, name, 0) == 0 || errno != EISDIR || !depth)
		return;
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		cleanup_close(&fd);
		return;
	}
	for (struct dirent *entry; (entry = readdir(d));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			junk_remove(dirfd(d), entry->d_name, depth - 1);
	unlinkat(dir, name, AT_REMOVEDIR);
}

/* A download under way is somebody's work, not cache, as long as it is written to. */
static bool is_download(const char *name, const struct stat *st)
{
	return !strncmp(name, ".tmp-", 5) && S_ISREG(st->st_mode) &&
	       time_wall_ms() - (int64_t)st->st_mtim.tv_sec * 1000 < DOWNLOAD_MAX_MS;
}

void cache_list_blobs(struct cache_list *l, const char *tenant, int fd)
{
	AUTO_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	size_t n = 0;
	struct stat st;

	if (!d)
		cleanup_close(&fd);
	for (struct dirent *entry; d && (entry = readdir(d));) {
		const char *name = entry->d_name;
		if (!strcmp(name, ".") || !strcmp(name, "..") || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		        is_download(name, &st))
			continue;
		if (cache_blob_name_is_valid(name) && S_ISREG(st.st_mode) && n++ < BLOBS_MAX)
			blob_add(l, tenant, name, &st);
		else
			junk_remove(fd, name, JUNK_DEPTH);
	}
}

void cache_list_chain(struct cache_list *l, const struct chain_row *row, uint64_t bytes)
{
	struct cached *c = add(l, row->tenant, bytes, row->last_use_ms);

	c->is_chain = true;
	c->chain = row->chain;
}

static int oldest_first(const void *a, const void *b)
{
	const struct cached *x = a, *y = b;

	return (x->last_use_ms > y->last_use_ms) - (x->last_use_ms < y->last_use_ms);
}

int cache_list_trim(struct cache_list *l, uint64_t max_bytes,
        int (*drop)(void *arg, const struct cached *c, struct err *e), void *arg, uint64_t *freed, struct err *e)
{
	int rc = 0;

	*freed = 0;
	if (l->bytes <= max_bytes)
		return 0;
	qsort(l->items, l->n, sizeof(*l->items), oldest_first);
	for (size_t i = 0; i < l->n && l->bytes > max_bytes && rc == 0; i++) {
		rc = drop(arg, &l->items[i], e);
		if (rc == 0) {
			l->bytes -= l->items[i].bytes;
			*freed += l->items[i].bytes;
		}
	}
	return rc;
}
