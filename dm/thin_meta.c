/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: what is in a pool's metadata. The programs of thin-provisioning-tools read it as nobody. A pool at
 * work keeps a snapshot of its metadata for them (thin-provisioning.rst, "reserve_metadata_snap"); of one that is not
 * written to, they read the device itself, through a linear device, because they want to be alone on it.
 */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/fs.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "tool.h"

#define META_TIMEOUT_MS (10 * 60000)
#define META_TEXT_MAX (512 << 20)
#define META_DEVICES_MAX (1u << 24) /* a thin device's id has 24 bits */

struct view {
	const struct pool *pool; /* borrowed; NULL: closed */
	int fd;                  /* owns: the metadata */
	bool has_snapshot;       /* of the metadata, in the pool; else the pool does not change */
};

/* A pool has one metadata snapshot, and one linear device to look through. */
static pthread_mutex_t view_lock = PTHREAD_MUTEX_INITIALIZER;

/* One that is there already was left by a builderd that was killed. */
static int snapshot_reserve(const struct pool *p, struct err *e)
{
	struct thin_name pool = thin_name(&p->row, "pool", 0);
	int rc = dm_message(pool.text, "reserve_metadata_snap", e);

	if (rc != -EBUSY)
		return rc;
	rc = dm_message(pool.text, "release_metadata_snap", e);
	return rc < 0 ? rc : dm_message(pool.text, "reserve_metadata_snap", e);
}

static int look_open(const struct pool *p, struct err *e)
{
	struct thin_name meta = thin_name(&p->row, "meta", 0), look = thin_name(&p->row, "look", 0);
	AUTO_CLOSE int fd = dm_open(meta.text, O_RDONLY, e);
	uint64_t bytes;
	char path[128];

	if (fd < 0)
		return fd;
	if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		return err_sys(e, -errno, "ask %s for its size", meta.text);
	snprintf(path, sizeof(path), DM_DIR "%s", meta.text);
	int rc = thin_linear(&p->row, "look", path, 0, bytes, e);
	if (rc < 0)
		return rc;
	rc = dm_open(look.text, O_RDONLY, e);
	if (rc < 0)
		thin_deactivate(&p->row, "look", 0, 0, NULL);
	return rc;
}

static int view_begin(const struct pool *p, struct view *v, struct err *e)
{
	struct pool_usage u;
	int rc = pool_usage_get(p, &u, e);

	if (rc < 0)
		return rc;
	if (p->refusal[0] || u.is_read_only || u.needs_check || u.has_failed)
		return look_open(p, e);
	rc = snapshot_reserve(p, e);
	v->has_snapshot = rc == 0;
	return rc < 0 ? rc : dm_open(thin_name(&p->row, "meta", 0).text, O_RDONLY, e);
}

static void view_close(struct view *v)
{
	if (!v->pool)
		return;
	cleanup_close(&v->fd);
	if (v->has_snapshot)
		dm_message(thin_name(&v->pool->row, "pool", 0).text, "release_metadata_snap", NULL);
	else
		thin_deactivate(&v->pool->row, "look", 0, 1000, NULL);
	pthread_mutex_unlock(&view_lock);
}

static int view_open(const struct pool *p, struct view *v, struct err *e)
{
	pthread_mutex_lock(&view_lock);
	*v = (struct view){.pool = p};
	v->fd = view_begin(p, v, e);
	return v->fd < 0 ? err_wrap(e, "read the metadata of pool %s", thin_name(&p->row, "pool", 0).text) : 0;
}

typedef int line_fn(void *arg, const char *line, struct err *e);

/* Call FN with each line of TEXT, which is taken apart. */
static int lines_each(char *text, line_fn *fn, void *arg, struct err *e)
{
	int rc = 0;

	for (char *end; rc == 0 && text && *text; text = end + 1) {
		end = strchr(text, '\n');
		if (!end)
			break;
		*end = 0;
		rc = fn(arg, text, e);
	}
	return rc;
}

/* Run ARGV, which has room behind its N words for those that say where the metadata is. The caller frees *SAID. */
static int view_ask(const struct pool *p, const char **argv, size_t n, char **said, struct err *e)
{
	AUTO(view_close) struct view v = {0};
	struct tool_result r;
	int rc = view_open(p, &v, e);

	if (rc < 0)
		return rc;
	if (v.has_snapshot)
		argv[n++] = "--metadata-snap";
	argv[n++] = TOOL_PATH;
	argv[n] = NULL;
	rc = tool_run_2(argv, v.fd, -1, META_TIMEOUT_MS, META_TEXT_MAX, said, &r, e);
	if (rc < 0)
		return rc;
	if (!tool_succeeded(&r))
		return err_set(e, -EIO, "%s failed: %s", argv[0], r.text);
	if (*said && strlen(*said) == META_TEXT_MAX)
		return err_set(e, -EFBIG, "%s said more than %d MiB", argv[0], META_TEXT_MAX >> 20);
	return 0;
}

static int view_run(const struct pool *p, const char **argv, size_t n, line_fn *fn, void *arg, struct err *e)
{
	AUTO_FREE char *said = NULL;
	int rc = view_ask(p, argv, n, &said, e);

	return rc < 0 ? rc : lines_each(said, fn, arg, e);
}

/* --- thin_ls ----------------------------------------------------------------------------------------------------- */

struct device_list {
	struct meta_device *items; /* owns */
	size_t n;
};

static int device_line(void *arg, const char *line, struct err *e)
{
	struct device_list *l = arg;
	struct meta_device d;

	if (sscanf(line, "%" SCNu32 " %" SCNu64 " %" SCNu64 " %" SCNu64, &d.id, &d.mapped, &d.exclusive, &d.shared) !=
	                4 ||
	        l->n >= META_DEVICES_MAX)
		return err_set(e, -EIO, "thin_ls said \"%.60s\", which is not understood", line);
	if (l->n % 64 == 0)
		l->items = xrealloc(l->items, (l->n + 64) * sizeof(*l->items));
	l->items[l->n++] = d;
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct meta_device *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

int meta_devices(struct pool *p, struct meta_device **out, size_t *n, struct err *e)
{
	const char *argv[8] = {
	        "/usr/sbin/thin_ls", "--no-headers", "--format", "DEV,MAPPED_BYTES,EXCLUSIVE_BYTES,SHARED_BYTES"};
	struct device_list l = {0};
	int rc = view_run(p, argv, 4, device_line, &l, e);

	if (rc < 0) {
		free(l.items);
		return rc;
	}
	if (l.n)
		qsort(l.items, l.n, sizeof(*l.items), by_id);
	*out = l.items;
	*n = l.n;
	return 0;
}

const struct meta_device *meta_device_find(const struct meta_device *devices, size_t n, uint32_t id)
{
	const struct meta_device key = {.id = id};

	return n ? bsearch(&key, devices, n, sizeof(*devices), by_id) : NULL;
}

/* --- thin_check ----------------------------------------------------------------------------------------------------
 */

int meta_verify(struct pool *p, struct err *e)
{
	AUTO_FREE char *said = NULL;
	const char *argv[4] = {"/usr/sbin/thin_check"};

	return view_ask(p, argv, 1, &said, e);
}

/* --- thin_dump, thin_delta ------------------------------------------------------------------------------------------
 */

/* Both write XML, an element a line. */
static bool is_element(const char *line, const char *name)
{
	size_t n = strlen(name);

	line += strspn(line, " ");
	return line[0] == '<' && !strncmp(line + 1, name, n) && line[1 + n] == ' ';
}

static int attribute(const char *line, const char *name, uint64_t *out, struct err *e)
{
	char want[40];
	int n = snprintf(want, sizeof(want), " %s=\"", name);
	const char *at = strstr(line, want);

	if (!at || sscanf(at + n, "%" SCNu64 "\"", out) != 1)
		return err_set(e, -EIO, "metadata: \"%.80s\" has no %s", line, name);
	return 0;
}

struct mapping_walk {
	meta_mapping_fn *fn;
	void *arg;
	uint32_t device;
};

static int mapping_line(void *arg, const char *line, struct err *e)
{
	struct mapping_walk *w = arg;
	uint64_t device, origin, data, n = 1;
	int rc;

	if (is_element(line, "device")) {
		rc = attribute(line, "dev_id", &device, e);
		w->device = (uint32_t)device;
		return rc;
	}
	bool is_range = is_element(line, "range_mapping");
	if (!is_range && !is_element(line, "single_mapping"))
		return 0;
	rc = attribute(line, is_range ? "origin_begin" : "origin_block", &origin, e);
	if (rc == 0)
		rc = attribute(line, is_range ? "data_begin" : "data_block", &data, e);
	if (rc == 0 && is_range)
		rc = attribute(line, "length", &n, e);
	return rc < 0 ? rc : w->fn(w->arg, w->device, origin, data, n, e);
}

int meta_mappings(struct pool *p, uint32_t device, meta_mapping_fn *fn, void *arg, struct err *e)
{
	struct mapping_walk w = {.fn = fn, .arg = arg};
	char id[16];
	const char *argv[9] = {"/usr/sbin/thin_dump", "--format", "xml", "--dev-id", id};

	snprintf(id, sizeof(id), "%" PRIu32, device);
	return view_run(p, argv, device ? 5 : 3, mapping_line, &w, e);
}

struct delta_walk {
	meta_change_fn *fn;
	void *arg;
};

static int delta_line(void *arg, const char *line, struct err *e)
{
	struct delta_walk *w = arg;
	uint64_t begin, n;
	bool is_gone = is_element(line, "left_only");

	if (!is_gone && !is_element(line, "right_only") && !is_element(line, "different"))
		return 0;
	int rc = attribute(line, "begin", &begin, e);
	if (rc == 0)
		rc = attribute(line, "length", &n, e);
	return rc < 0 ? rc : w->fn(w->arg, is_gone ? META_GONE : META_CHANGED, begin, n, e);
}

int meta_delta(struct pool *p, uint32_t from, uint32_t to, meta_change_fn *fn, void *arg, struct err *e)
{
	struct delta_walk w = {fn, arg};
	char a[16], b[16];
	const char *argv[9] = {"/usr/sbin/thin_delta", "--thin1", a, "--thin2", b};

	snprintf(a, sizeof(a), "%" PRIu32, from);
	snprintf(b, sizeof(b), "%" PRIu32, to);
	return view_run(p, argv, 5, delta_line, &w, e);
}
