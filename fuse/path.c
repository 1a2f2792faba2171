/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fuse/overlay.h"

void path_cache_init(struct path_cache *c)
{
	*c = (struct path_cache){0};
	for (int i = 0; i < PATH_CACHE; i++)
		c->dirs[i].fd = -1;
}

static void dir_clear(struct path_dir *d)
{
	if (d->fd >= 0)
		close(d->fd);
	free(d->path);
	stack_free(&d->below);
	*d = (struct path_dir){.fd = -1};
}

void path_cache_free(struct path_cache *c)
{
	for (int i = 0; i < PATH_CACHE; i++)
		dir_clear(&c->dirs[i]);
}

static int name_check(const struct fs *fs, const char *name, size_t len, const char *path, struct err *e)
{
	if (!len || (len == 1 && *name == '.'))
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_NAME, "%s: an empty name or \".\" within a path", path);
	if (len == 2 && name[0] == '.' && name[1] == '.')
		return err_kind_set(e, -EXDEV, ERR_KIND_PATH_ESCAPE, "%s: the path contains \"..\"", path);
	if (len > fs->limits.max_name || len > NAME_MAX)
		return err_kind_set(e, -ENAMETOOLONG, ERR_KIND_BAD_NAME, "%.200s: a name of %zu bytes, %d are possible",
		        path, len, NAME_MAX);
	if (len >= 4 && !memcmp(name, TREE_WHITEOUT, 4))
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_WHITEOUT,
		        "%s: a name with the whiteout prefix cannot be stored", path);
	return 0;
}

int path_check(const struct fs *fs, const char *path, size_t len, struct err *e)
{
	uint64_t depth = 0;

	if (len > fs->limits.max_path)
		return err_kind_set(e, -ENAMETOOLONG, ERR_KIND_LIMIT_PATH,
		        "%.200s...: a path of %zu bytes, the limit is %llu", path, len,
		        (unsigned long long)fs->limits.max_path);
	if (memchr(path, 0, len))
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_NAME, "%s: a path with a NUL byte", path);
	for (const char *p = path, *end = path + len; len;) {
		const char *slash = memchr(p, '/', (size_t)(end - p));
		int rc = name_check(fs, p, (size_t)((slash ? slash : end) - p), path, e);
		if (rc < 0)
			return rc;
		if (!slash)
			break;
		p = slash + 1;
		if (++depth > fs->limits.max_depth)
			return err_kind_set(e, -ENAMETOOLONG, ERR_KIND_LIMIT_PATH,
			        "%.200s...: more than %llu directories deep", path,
			        (unsigned long long)fs->limits.max_depth);
	}
	return 0;
}

size_t path_split(const char *path, size_t len, const char **name)
{
	const char *slash = memrchr(path, '/', len);

	*name = slash ? slash + 1 : path;
	return slash ? (size_t)(slash - path) : 0;
}

/* State of a walk by components: what is still to go is text, because symlinks add to its front. */
struct walk {
	struct fs *fs;
	const char *path; /* for messages */
	int fd;           /* owns; O_PATH */
	uint64_t ino;
	char *rest;        /* owns */
	struct ov_dir at;  /* overlay mode: where fd is */
	struct buf so_far; /* overlay mode: the path of it, for ".." */
	unsigned links;
	bool make;
};

static int walk_to(struct walk *w, int fd)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (w->fd >= 0)
		close(w->fd);
	w->fd = fd;
	w->ino = st.st_ino;
	return 0;
}

static int walk_root(struct walk *w)
{
	w->so_far.len = 0;
	if (w->fs->ov) {
		ov_dir_free(&w->at);
		int rc = ov_dir_root(w->fs, &w->at);
		if (rc < 0)
			return rc;
	}
	return walk_to(w, openat(w->fs->root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

static int make_parent(struct walk *w, const char *name, struct err *e)
{
	struct fs *fs = w->fs;
	uint64_t reserved = fs_dir_growth(fs) + fs->block;
	struct stat was, st;

	if (fstat(w->fd, &was) < 0)
		return err_sys(e, -errno, "%s: look at a parent directory", w->path);
	int rc = ledger_reserve(&fs->ledger, reserved, 1, e);
	if (rc < 0)
		return err_wrap(e, "%s", w->path);
	if (mkdirat(w->fd, name, 0755) < 0) {
		rc = -errno;
		ledger_credit(&fs->ledger, reserved, 1);
		return err_sys(e, rc, "%s: make the missing parent %s", w->path, name);
	}
	mark_add(&fs->marks, w->ino, name);
	if (fs->own_uid || fs->own_gid || was.st_mode & S_ISGID)
		if (fchownat(w->fd, name, 0, 0, AT_SYMLINK_NOFOLLOW) < 0 || fchmodat(w->fd, name, 0755, 0) < 0)
			return err_sys(e, -errno, "%s: set owner and mode of the missing parent %s", w->path, name);
	if (fstatat(w->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, -errno, "%s: look at the new parent %s", w->path, name);
	uint64_t own = stat_bytes(&st);
	rc = fs_charge_fd(fs, w->fd, reserved - own, stat_bytes(&was), &st);
	return rc < 0 ? err_sys(e, rc, "%s: look at a parent directory", w->path) : 0;
}

/* The link NAME in DIRFD. */
static int walk_link(struct walk *w, int dirfd, const char *name, struct err *e)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);

	if (n < 0 && (errno == EINVAL || (errno == ENOENT && !*name)))
		return err_kind_set(
		        e, -ENOTDIR, ERR_KIND_NOT_A_DIRECTORY, "%s: %s in its path is not a directory", w->path, name);
	if (n < 0)
		return err_sys(e, -errno, "%s: read the link %s in its path", w->path, name);
	if (++w->links > PATH_SYMLINKS_MAX)
		return err_kind_set(e, -ELOOP, ERR_KIND_PATH_LOOP, "%s: more than %d symbolic links in its path",
		        w->path, PATH_SYMLINKS_MAX);
	target[n] = 0;
	char *rest = xasprintf("%s/%s", target, w->rest);
	free(w->rest);
	w->rest = rest;
	if (*target == '/' && walk_root(w) < 0)
		return err_sys(e, -errno, "open the root of the volume");
	return 0;
}

static int walk_step(struct walk *w, const char *name, struct err *e)
{
	const int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

	if (!strcmp(name, "..") && w->ino == w->fs->root_ino)
		return 0;
	if (strlen(name) > NAME_MAX)
		return err_kind_set(e, -ENAMETOOLONG, ERR_KIND_BAD_NAME,
		        "%s: a link in its path has a name above 255 bytes", w->path);
	int fd = openat(w->fd, name, flags);
	if (fd < 0 && errno == ENOENT && !w->make)
		return err_set(e, -ENOENT, "%s: %s in its path does not exist", w->path, name);
	if (fd < 0 && errno == ENOENT) {
		int rc = make_parent(w, name, e);
		if (rc < 0)
			return rc;
		fd = openat(w->fd, name, flags);
	}
	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
		return walk_link(w, w->fd, name, e);
	return walk_to(w, fd) < 0 ? err_sys(e, -errno, "%s: open %s in its path", w->path, name) : 0;
}

/* Overlay mode. Every directory on the way is copied up: something will be written into it, or hidden in it. */
static int over_down(struct walk *w, const char *name, struct ov_found *f, struct err *e)
{
	int rc = ov_dir_down(w->fs, &w->at, name, f, true);

	if (rc < 0)
		err_sys(e, rc, "%s: copy %s in its path up", w->path, name);
	if (rc == -ENOSPC)
		e->kind = ERR_KIND_DISK_FULL;
	if (rc == -EDQUOT)
		e->kind = ERR_KIND_QUOTA_BYTES;
	if (rc < 0)
		return rc;
	buf_printf(&w->so_far, "%s/", name);
	return walk_to(w, openat(w->at.upper, ".", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0
	               ? err_sys(e, -errno, "%s: open %s in its path", w->path, name)
	               : 0;
}

static int over_up(struct walk *w, struct err *e)
{
	size_t len = w->so_far.len ? w->so_far.len - 1 : 0;

	while (len && w->so_far.data[len - 1] != '/')
		len--;
	w->so_far.len = len;
	ov_dir_free(&w->at);
	int rc = ov_dir_walk(w->fs, len ? w->so_far.data : "", len, true, &w->at);
	if (rc == 0)
		rc = walk_to(w, openat(w->at.upper, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
	return rc < 0 ? err_sys(e, rc, "%s: go up in its path", w->path) : 0;
}

static int over_link(struct walk *w, const struct ov_found *f, const char *name, struct err *e)
{
	AUTO_CLOSE int fd = handle_open(w->fs->root_fd, &f->real, O_PATH | O_NOFOLLOW);

	return fd < 0 ? err_sys(e, fd, "%s: open %s in its path", w->path, name) : walk_link(w, fd, "", e);
}

static int over_make(struct walk *w, const char *name, struct err *e)
{
	struct ov_cover cover;
	int rc = ov_uncover(w->fs, w->fd, &w->at.below, name, &cover);

	if (rc < 0)
		return err_sys(e, rc, "%s: make the missing parent %s", w->path, name);
	rc = make_parent(w, name, e);
	if (rc == 0 && ov_covered(w->fs, w->fd, name, S_IFDIR, &cover) < 0)
		rc = err_sys(e, -errno, "%s: make the missing parent %s opaque", w->path, name);
	return rc;
}

static int over_step(struct walk *w, const char *name, struct err *e)
{
	struct ov_found f = {0};
	int rc = 0;

	if (!strcmp(name, ".."))
		return over_up(w, e);
	if (strlen(name) > NAME_MAX)
		return err_kind_set(e, -ENAMETOOLONG, ERR_KIND_BAD_NAME,
		        "%s: a link in its path has a name above 255 bytes", w->path);
	for (int try = 0; try < 2 && rc == 0; try++) {
		ov_found_free(&f);
		rc = ov_find(w->fs, w->fd, &w->at.below, name, &f);
		if (rc < 0)
			err_sys(e, rc, "%s: look for %s in its path", w->path, name);
		else if (!f.exists && !w->make)
			rc = err_set(e, -ENOENT, "%s: %s in its path does not exist", w->path, name);
		else if (!f.exists)
			rc = over_make(w, name, e);
		else
			break;
	}
	if (rc == 0)
		rc = S_ISDIR(f.st.st_mode)   ? over_down(w, name, &f, e)
		     : S_ISLNK(f.st.st_mode) ? over_link(w, &f, name, e)
		                             : err_kind_set(e, -ENOTDIR, ERR_KIND_NOT_A_DIRECTORY,
		                                       "%s: %s in its path is not a directory", w->path, name);
	ov_found_free(&f);
	return rc;
}

/* Component by component. Returns a new descriptor. */
static int resolve_walk(struct fs *fs, const char *path, size_t len, bool make, struct stack *below, struct err *e)
{
	struct walk w = {.fs = fs,
	        .path = path,
	        .fd = -1,
	        .make = make,
	        .rest = xasprintf("%.*s", (int)len, path),
	        .at.upper = -1};
	int rc = walk_root(&w);

	if (rc < 0)
		err_sys(e, rc, "open the root of the volume");
	while (rc >= 0) {
		char *p = w.rest + strspn(w.rest, "/"), *end = strchrnul(p, '/');
		if (!*p)
			break;
		AUTO_FREE char *name = strndup(p, (size_t)(end - p));
		memmove(w.rest, end, strlen(end) + 1);
		if (!name)
			rc = err_sys(e, -ENOMEM, "%s", path);
		else if (strcmp(name, "."))
			rc = fs->ov ? over_step(&w, name, e) : walk_step(&w, name, e);
	}
	*below = w.at.below;
	w.at.below = (struct stack){0};
	ov_dir_free(&w.at);
	buf_free(&w.so_far);
	free(w.rest);
	if (rc < 0)
		cleanup_close(&w.fd);
	return rc < 0 ? rc : w.fd;
}

/* One call where the kernel can do it: everything exists and the path is not too long for it. -errno tells nothing
 * certain. */
static int resolve_fast(struct fs *fs, const char *path, size_t len)
{
	struct open_how how = {
	        .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	char text[PATH_MAX];

	if (fs->ov || len >= sizeof(text))
		return -ENAMETOOLONG;
	memcpy(text, len ? path : ".", len ? len : 1);
	text[len ? len : 1] = 0;
	int fd = (int)syscall(SYS_openat2, fs->root_fd, text, &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

static struct path_dir *cache_find(struct fs *fs, struct path_cache *c, const char *path, size_t len)
{
	if (c->serial != fs->serial) {
		path_cache_free(c);
		c->serial = fs->serial;
	}
	for (int i = 0; i < PATH_CACHE; i++)
		if (c->dirs[i].fd >= 0 && c->dirs[i].len == len && !memcmp(c->dirs[i].path, path, len))
			return &c->dirs[i];
	return NULL;
}

static struct path_dir *cache_victim(struct path_cache *c)
{
	struct path_dir *v = &c->dirs[0];

	for (int i = 1; i < PATH_CACHE; i++)
		if (c->dirs[i].used < v->used)
			v = &c->dirs[i];
	dir_clear(v);
	return v;
}

static struct path_dir *dir_use(struct fs *fs, struct path_cache *c, struct path_dir *d, bool make)
{
	d->used = ++c->clock;
	if (make && !d->is_written)
		mark_add(&fs->marks, d->ino, "");
	d->is_written |= make;
	return d;
}

struct path_dir *path_dir_get(
        struct fs *fs, struct path_cache *c, const char *path, size_t len, bool make, struct err *e)
{
	struct path_dir *d = cache_find(fs, c, path, len);
	struct stat st;

	if (d)
		return dir_use(fs, c, d, make);
	struct stack below = {0};
	AUTO_CLOSE int fd = resolve_fast(fs, path, len);
	if (fd < 0)
		fd = resolve_walk(fs, path, len, make, &below, e);
	if (fd < 0 || fstat(fd, &st) < 0) {
		if (fd >= 0)
			err_sys(e, -errno, "%s: look at its directory", path);
		stack_free(&below);
		return NULL;
	}
	fs_time_keep(fs, fd, &st);
	d = cache_victim(c);
	*d = (struct path_dir){.fd = STEAL_FD(&fd), .ino = st.st_ino, .len = len, .below = below};
	d->path = xasprintf("%.*s", (int)len, path);
	return dir_use(fs, c, d, make);
}
