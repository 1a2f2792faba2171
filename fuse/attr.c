/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/attr.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuse/overlay.h"

#define CAPABILITY "security.capability"

int attr_sys(struct err *e, int rc, const char *path, const char *what)
{
	err_sys(e, rc, "%s: %s", path, what);
	if (rc == -ENOSPC)
		e->kind = ERR_KIND_DISK_FULL;
	return rc;
}

static bool is_mark(const struct fs *fs, const char *name, size_t len)
{
	return fs->ov && len >= strlen(OVERLAY_XATTR) && !memcmp(name, OVERLAY_XATTR, strlen(OVERLAY_XATTR));
}

int attr_xattrs_check(const struct fs *fs, const struct ingest_entry *en, struct err *e)
{
	struct ingest_xattr x;
	size_t pos = 0;
	uint64_t n = 0, bytes = 0;

	while (ingest_xattr_next(en, &pos, &x)) {
		n++;
		bytes += x.name_len + x.value_len;
		if (is_mark(fs, x.name, x.name_len))
			return err_kind_set(e, -EPERM, ERR_KIND_BAD_XATTR,
			        "%s: an xattr of the overlay's own where layers are preserved", en->path);
	}
	if (n <= fs->limits.max_xattrs && bytes <= fs->limits.max_xattr_bytes)
		return 0;
	return err_kind_set(e, -E2BIG, ERR_KIND_LIMIT_XATTR,
	        "%s: %llu xattrs with %llu bytes, the limits are %llu and %llu", en->path, (unsigned long long)n,
	        (unsigned long long)bytes, (unsigned long long)fs->limits.max_xattrs,
	        (unsigned long long)fs->limits.max_xattr_bytes);
}

/* Without a descriptor there is no call that takes (directory, name) before Linux 6.13: go there. */
static int target_enter(const struct attr_target *t)
{
	return t->fd < 0 && fchdir(t->dirfd) < 0 ? -errno : 0;
}

static int xattr_failed(struct err *e, int rc, const struct ingest_entry *en, const char *name)
{
	/* ENOSPC and ERANGE also mean that the inode's one block for xattrs is full */
	enum err_kind kind = rc == -ENOSPC || rc == -ERANGE || rc == -E2BIG ? ERR_KIND_LIMIT_XATTR : ERR_KIND_BAD_XATTR;

	err_sys(e, rc, "%s: set xattr %s", en->path, name);
	e->kind = kind;
	return rc;
}

static int xattr_set(
        const struct attr_target *t, const struct ingest_entry *en, const struct ingest_xattr *x, struct err *e)
{
	char name[256];

	memcpy(name, x->name, x->name_len);
	name[x->name_len] = 0;
	int rc = t->fd >= 0 ? fsetxattr(t->fd, name, x->value, x->value_len, 0)
	                    : lsetxattr(t->name, name, x->value, x->value_len, 0);
	return rc < 0 ? xattr_failed(e, -errno, en, name) : 0;
}

static bool is_capability(const struct ingest_xattr *x)
{
	return x->name_len == strlen(CAPABILITY) && !memcmp(x->name, CAPABILITY, x->name_len);
}

int attr_xattrs_set(struct fs *fs, const struct attr_target *t, const struct ingest_entry *en, struct err *e)
{
	if (!en->rec.xattr_len)
		return 0;
	int rc = target_enter(t);
	for (int pass = 0; pass < 2 && rc == 0; pass++) {
		struct ingest_xattr x;
		size_t pos = 0;
		while (rc == 0 && ingest_xattr_next(en, &pos, &x))
			if (is_capability(&x) == (pass == 1))
				rc = xattr_set(t, en, &x, e);
	}
	if (t->fd < 0 && fchdir(fs->root_fd) < 0 && rc == 0)
		rc = attr_sys(e, -errno, en->path, "leave its directory");
	return rc;
}

int attr_xattrs_clear(const struct fs *fs, int fd, const char *path, struct err *e)
{
	ssize_t n = flistxattr(fd, NULL, 0);

	if (n <= 0)
		return n < 0 && errno != ENOTSUP ? attr_sys(e, -errno, path, "list its xattrs") : 0;
	AUTO_FREE char *names = xcalloc(1, (size_t)n + 1);
	n = flistxattr(fd, names, (size_t)n);
	for (char *p = names; p < names + n; p += strlen(p) + 1)
		if (!is_mark(fs, p, strlen(p)) && fremovexattr(fd, p) < 0 && errno != ENODATA)
			return attr_sys(e, -errno, path, "remove its old xattrs");
	return 0;
}

static int target_chown(const struct attr_target *t, const struct ingest_record *r)
{
	return t->fd >= 0 ? fchown(t->fd, r->uid, r->gid)
	                  : fchownat(t->dirfd, t->name, r->uid, r->gid, AT_SYMLINK_NOFOLLOW);
}

int attr_apply(struct fs *fs, const struct attr_target *t, const struct ingest_entry *en, bool is_owned, struct err *e)
{
	const struct ingest_record *r = &en->rec;

	if (!is_owned && target_chown(t, r) < 0)
		return attr_sys(e, -errno, en->path, "set its owner");
	/* The mode was given at creation; what creation or chown may have changed is set again. NAME is no symlink. */
	if (r->type != INGEST_SYMLINK && (r->mode & 07000 || r->type == INGEST_DIR))
		if ((t->fd >= 0 ? fchmod(t->fd, r->mode) : fchmodat(t->dirfd, t->name, r->mode, 0)) < 0)
			return attr_sys(e, -errno, en->path, "set its mode");
	return attr_xattrs_set(fs, t, en, e);
}
