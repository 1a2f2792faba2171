/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `file` backend for administrators. It keeps no keys and no pools: much of what they may ask for is not there. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fiemap.h>
#include <linux/fs.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "dm/admin.h"
#include "image.h"
#include "mount.h"

/* --- files ---------------------------------------------------------------------------------------------------------
 */

#define EXTENTS 256 /* looked at in one call */

/* Bytes of FD that another file has as well, on a file system with reflinks. */
static uint64_t extents_shared(int fd)
{
	AUTO_FREE struct fiemap *map = calloc(1, sizeof(*map) + EXTENTS * sizeof(struct fiemap_extent));
	uint64_t shared = 0;

	if (!map)
		return 0;
	for (uint64_t at = 0;;) {
		map->fm_start = at;
		map->fm_length = FIEMAP_MAX_OFFSET - at;
		map->fm_extent_count = EXTENTS;
		if (ioctl(fd, FS_IOC_FIEMAP, map) < 0 || !map->fm_mapped_extents)
			return shared;
		for (uint32_t i = 0; i < map->fm_mapped_extents; i++) {
			const struct fiemap_extent *x = &map->fm_extents[i];
			if (x->fe_flags & FIEMAP_EXTENT_SHARED)
				shared += x->fe_length;
			if (x->fe_flags & FIEMAP_EXTENT_LAST)
				return shared;
			at = x->fe_logical + x->fe_length;
		}
	}
}

static void put_file(struct store *s, struct jsonw *w, const struct file_path *p)
{
	AUTO_CLOSE int fd = openat(s->dirfd, p->text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st = {0};

	if (fd < 0 || fstat(fd, &st) < 0) {
		jsonw_text(w, "state", "lost");
		return;
	}
	uint64_t all = (uint64_t)st.st_blocks * 512, shared = st.st_nlink > 1 ? all : extents_shared(fd);
	shared = shared > all ? all : shared;
	jsonw_number(w, "size_bytes", (uint64_t)st.st_size);
	jsonw_number(w, "mapped_bytes", all);
	jsonw_number(w, "exclusive_bytes", all - shared);
	jsonw_number(w, "shared_bytes", shared);
	jsonw_number(w, "created_ms", (uint64_t)st.st_ctim.tv_sec * 1000);
}

/* --- volumes -------------------------------------------------------------------------------------------------------
 */

/* One volume, as a walk meets it. */
struct seen {
	const char *tenant, *kind, *id;
	struct file_path path;
	const struct rootfs_row *rootfs; /* NULL: it is none */
	const struct chain_row *chain;
};

typedef int volume_fn(struct store *s, const struct seen *v, void *arg, struct err *e);

static int rootfs_each(struct store *s, const char *tenant, volume_fn *fn, void *arg, struct err *e)
{
	AUTO_FREE struct rootfs_row *rows = NULL;
	size_t n = 0;
	int rc = volumes_db_rootfs_list(s->db, &rows, &n, e);

	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct seen v = {.tenant = tenant,
		        .kind = "rootfs",
		        .id = rows[i].build,
		        .path = file_path(tenant, "rootfs", rows[i].build, ".ext4"),
		        .rootfs = &rows[i]};
		if (!strcmp(rows[i].tenant, tenant))
			rc = fn(s, &v, arg, e);
	}
	return rc;
}

static int chains_each(struct store *s, const char *tenant, volume_fn *fn, void *arg, struct err *e)
{
	AUTO_FREE struct chain_row *rows = NULL;
	char hex[DIGEST_TEXT_MAX];
	size_t n = 0;
	int rc = volumes_db_chain_list(s->db, &rows, &n, e);

	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct seen v = {.tenant = tenant,
		        .kind = "chain",
		        .id = digest_hex(&rows[i].chain, hex),
		        .path = file_chain_path(tenant, &rows[i].chain, ".ext4"),
		        .chain = &rows[i]};
		if (!strcmp(rows[i].tenant, tenant))
			rc = fn(s, &v, arg, e);
	}
	return rc;
}

/* What somebody writes to: the images in the directory DIR. */
static int written_each(
        struct store *s, const char *tenant, const char *dir, const char *kind, volume_fn *fn, void *arg, struct err *e)
{
	int fd = openat(s->dirfd, file_path(tenant, dir, NULL, "").text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char id[BUILD_ID_MAX];
	int rc = 0;

	if (!d)
		cleanup_close(&fd);
	for (struct dirent *entry; d && rc == 0 && (entry = readdir(d));) {
		size_t n = strlen(entry->d_name);
		if (n < 6 || n - 5 >= sizeof(id) || strcmp(entry->d_name + n - 5, ".ext4") != 0)
			continue;
		snprintf(id, sizeof(id), "%.*s", (int)(n - 5), entry->d_name);
		const struct seen v = {
		        .tenant = tenant, .kind = kind, .id = id, .path = file_path(tenant, dir, id, ".ext4")};
		rc = fn(s, &v, arg, e);
	}
	return rc;
}

static int volumes_each(struct store *s, const char *tenant, volume_fn *fn, void *arg, struct err *e)
{
	int rc = rootfs_each(s, tenant, fn, arg, e);

	if (rc == 0)
		rc = chains_each(s, tenant, fn, arg, e);
	if (rc == 0)
		rc = written_each(s, tenant, "builds", "build", fn, arg, e);
	return rc < 0 ? rc : written_each(s, tenant, "vm", "vm", fn, arg, e);
}

static int put_volume(struct store *s, const struct seen *v, struct jsonw *w, struct err *e)
{
	jsonw_text(w, "id", v->id);
	jsonw_text(w, "kind", v->kind);
	if (faccessat(s->dirfd, v->path.text, F_OK, 0) == 0)
		jsonw_text(w, "state",
		        !strcmp(v->kind, "build") ? "building"
		        : !strcmp(v->kind, "vm")  ? "leased"
		                                  : "ready");
	put_file(s, w, &v->path);
	return admin_put_leases(w, s->db, v->tenant, v->id, e);
}

/* --- ls, df --------------------------------------------------------------------------------------------------------
 */

static bool is_asked(const struct admin_call *c, const char *tenant)
{
	return !c->request->tenant[0] || !strcmp(c->request->tenant, tenant);
}

static int asked_exists(struct store *s, const struct admin_call *c, struct err *e)
{
	char path[16 + TENANT_ID_MAX];

	snprintf(path, sizeof(path), "tenants/%s", c->request->tenant);
	if (!c->request->tenant[0] || faccessat(s->dirfd, path, F_OK, 0) == 0)
		return 0;
	return err_kind_set(e, -ENOENT, ERR_KIND_NOT_FOUND, "there is no tenant %s", c->request->tenant);
}

static int ls_volume(struct store *s, const struct seen *v, void *arg, struct err *e)
{
	struct jsonw *w = arg;

	jsonw_begin(w, NULL, '{');
	int rc = put_volume(s, v, w, e);
	jsonw_end(w, '}');
	return rc;
}

static int put_tenant_state(struct store *s, const char *tenant, struct jsonw *w, struct err *e)
{
	uint64_t used = 0;
	int rc = file_tenant_usage(s, tenant, &used, e);

	jsonw_text(w, "tenant", tenant);
	jsonw_bool(w, "is_encrypted", false);
	jsonw_text(w, "state", "ok");
	jsonw_number(w, "used_bytes", used);
	return rc;
}

static int ls_tenant(struct store *s, const char *tenant, void *arg, struct err *e)
{
	struct admin_call *c = arg;

	if (!is_asked(c, tenant))
		return 0;
	jsonw_begin(c->json, NULL, '{');
	int rc = put_tenant_state(s, tenant, c->json, e);
	jsonw_begin(c->json, "volumes", '[');
	if (rc == 0)
		rc = volumes_each(s, tenant, ls_volume, c->json, e);
	jsonw_end(c->json, ']');
	jsonw_end(c->json, '}');
	return rc;
}

static int admin_ls(struct store *s, struct admin_call *c, struct err *e)
{
	int rc = asked_exists(s, c, e);

	jsonw_begin(c->json, "tenants", '[');
	if (rc == 0)
		rc = file_tenants_each(s, ls_tenant, c, e);
	jsonw_end(c->json, ']');
	return rc;
}

static int df_tenant(struct store *s, const char *tenant, void *arg, struct err *e)
{
	struct admin_call *c = arg;

	if (!is_asked(c, tenant))
		return 0;
	jsonw_begin(c->json, NULL, '{');
	int rc = put_tenant_state(s, tenant, c->json, e);
	jsonw_end(c->json, '}');
	return rc;
}

static int admin_df(struct store *s, struct admin_call *c, struct err *e)
{
	struct store_usage u = {0};
	int rc = asked_exists(s, c, e);

	if (rc == 0)
		rc = file_usage(s, &u, e);
	jsonw_begin(c->json, "host", '{');
	jsonw_text(c->json, "pool", s->dir);
	jsonw_text(c->json, "state", "ok");
	jsonw_number(c->json, "size_bytes", u.total_bytes);
	jsonw_number(c->json, "used_bytes", u.used_bytes);
	jsonw_number(c->json, "free_bytes", u.free_bytes);
	jsonw_end(c->json, '}');
	jsonw_begin(c->json, "tenants", '[');
	if (rc == 0)
		rc = file_tenants_each(s, df_tenant, c, e);
	jsonw_end(c->json, ']');
	return rc;
}

/* --- inspect -------------------------------------------------------------------------------------------------------
 */

/* The volume that is called ID, or begins so: counted, and the last one kept. */
struct wanted {
	const char *id;
	unsigned n;
	int match;
	char tenant[TENANT_ID_MAX], kind[16], found[2 * DIGEST_MAX_BYTES + 1];
	struct file_path path;
	struct rootfs_row rootfs;
	struct chain_row chain;
};

static int volume_match(struct store *s, const struct seen *v, void *arg, struct err *e)
{
	struct wanted *w = arg;
	int match = admin_match(v->id, w->id);

	if (!match || match < w->match)
		return 0;
	w->n = match > w->match ? 1 : w->n + 1;
	w->match = match;
	w->path = v->path;
	snprintf(w->tenant, sizeof(w->tenant), "%s", v->tenant);
	snprintf(w->kind, sizeof(w->kind), "%s", v->kind);
	snprintf(w->found, sizeof(w->found), "%s", v->id);
	if (v->rootfs)
		w->rootfs = *v->rootfs;
	if (v->chain)
		w->chain = *v->chain;
	return 0;
}

struct search {
	struct admin_call *call;
	struct wanted *wanted;
};

static int tenant_match(struct store *s, const char *tenant, void *arg, struct err *e)
{
	struct search *f = arg;

	return is_asked(f->call, tenant) ? volumes_each(s, tenant, volume_match, f->wanted, e) : 0;
}

static int volume_find(struct store *s, struct admin_call *c, const char *id, struct wanted *out, struct err *e)
{
	struct search f = {c, out};
	int rc = asked_exists(s, c, e);

	*out = (struct wanted){.id = id};
	if (rc == 0)
		rc = file_tenants_each(s, tenant_match, &f, e);
	if (rc < 0)
		return rc;
	return admin_match_check(id, out->n, out->match, e);
}

static void put_rootfs(struct jsonw *w, const struct rootfs_row *row)
{
	char text[DIGEST_TEXT_MAX];

	jsonw_text(w, "checksum", digest_format(&row->info.checksum, text));
	jsonw_text(w, "product_key", digest_format(&row->product_key, text));
	jsonw_number(w, "used_bytes", row->info.used_bytes);
	jsonw_number(w, "used_inodes", row->info.used_inodes);
}

static void put_chain(struct jsonw *w, const struct chain_row *row)
{
	jsonw_bool(w, "is_durable", row->is_durable);
	jsonw_number(w, "used_bytes", row->info.used_bytes);
	jsonw_number(w, "used_inodes", row->info.used_inodes);
	jsonw_number(w, "last_use_ms", (uint64_t)row->last_use_ms);
}

static int admin_inspect(struct store *s, struct admin_call *c, struct err *e)
{
	char path[FILE_STATE_DIR_MAX + sizeof(struct file_path)];
	struct wanted found;
	int rc = volume_find(s, c, c->request->id, &found, e);

	if (rc < 0)
		return rc;
	const struct seen v = {.tenant = found.tenant, .kind = found.kind, .id = found.found, .path = found.path};
	jsonw_begin(c->json, "tenant", '{');
	rc = put_tenant_state(s, v.tenant, c->json, e);
	jsonw_end(c->json, '}');
	jsonw_begin(c->json, "volume", '{');
	if (rc == 0)
		rc = put_volume(s, &v, c->json, e);
	snprintf(path, sizeof(path), "%s/%s", s->dir, found.path.text);
	jsonw_text(c->json, "path", path);
	if (!strcmp(v.kind, "rootfs"))
		put_rootfs(c->json, &found.rootfs);
	if (!strcmp(v.kind, "chain"))
		put_chain(c->json, &found.chain);
	jsonw_end(c->json, '}');
	return rc;
}

/* --- export, mount, trim -------------------------------------------------------------------------------------------
 */

/* A sealed one, opened for reading. */
static int sealed_open(struct store *s, struct admin_call *c, struct wanted *w, struct err *e)
{
	int rc = volume_find(s, c, c->request->id, w, e);

	if (rc < 0)
		return rc;
	if (!strcmp(w->kind, "build") || !strcmp(w->kind, "vm"))
		return err_set(e, -EBUSY, "volume %s is being written: it is no good to read now", w->found);
	int fd = openat(s->dirfd, w->path.text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, -errno, "open %s/%s", s->dir, w->path.text);
	jsonw_text(c->json, "tenant", w->tenant);
	jsonw_text(c->json, "id", w->found);
	return fd;
}

static int admin_export(struct store *s, struct admin_call *c, struct err *e)
{
	struct wanted w;
	struct stat st;

	if (c->request->parent[0])
		return err_set(e, -EOPNOTSUPP, "the file backend does not know in what two images differ");
	AUTO_CLOSE int fd = sealed_open(s, c, &w, e);
	if (fd < 0)
		return fd;
	if (fstat(c->fds[0], &st) < 0 || !S_ISREG(st.st_mode) || st.st_size)
		return err_set(e, -EINVAL, "an export goes into an empty file that can be written to");
	int rc = image_copy(fd, c->fds[0], true, e);
	if (rc == 0 && (fsync(c->fds[0]) < 0 || fstat(c->fds[0], &st) < 0))
		rc = err_sys(e, -errno, "finish the file");
	jsonw_number(c->json, "size_bytes", (uint64_t)st.st_size);
	jsonw_number(c->json, "written_bytes", (uint64_t)st.st_blocks * 512);
	return rc;
}

/* The loop device detaches itself with the last user of the mount. */
static int admin_mount(struct store *s, struct admin_call *c, struct err *e)
{
	struct loopdev loop = LOOPDEV_NONE;
	char path[LOOPDEV_PATH_MAX];
	struct wanted w;
	AUTO_CLOSE int fd = sealed_open(s, c, &w, e);
	int rc = fd < 0 ? fd : loopdev_attach(&loop, fd, w.found, e);

	if (rc < 0)
		return rc;
	c->result_fd = mount_look(loopdev_path(&loop, path), e);
	cleanup_close(&loop.fd);
	jsonw_text(c->json, "device_name", path);
	return c->result_fd < 0 ? c->result_fd : 0;
}

static int admin_umount(struct store *s, struct admin_call *c, struct err *e)
{
	jsonw_bool(c->json, "is_down", true);
	return 0;
}

static int admin_trim(struct store *s, struct admin_call *c, struct err *e)
{
	uint64_t freed = 0;
	int rc = file_trim(s, &freed, e);

	jsonw_number(c->json, "freed_bytes", freed);
	return rc;
}

/* ------------------------------------------------------------------------------------------------------------------ */

static admin_fn *const commands[ADMIN_COMMAND_COUNT] = {
        [ADMIN_LS] = admin_ls,
        [ADMIN_DF] = admin_df,
        [ADMIN_INSPECT] = admin_inspect,
        [ADMIN_EXPORT] = admin_export,
        [ADMIN_MOUNT] = admin_mount,
        [ADMIN_UMOUNT] = admin_umount,
        [ADMIN_TRIM] = admin_trim,
        [ADMIN_ORPHANS] = file_admin_orphans,
        [ADMIN_DESTROY] = file_admin_destroy,
};

int file_admin(struct store *s, struct admin_call *c, struct err *e)
{
	return admin_dispatch(
	        s, c, commands, "the file backend keeps image files: it has no pools, no keys and no headers", e);
}
