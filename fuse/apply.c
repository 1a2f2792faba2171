/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fuse/attr.h"
#include "fuse/overlay.h"

#define LINK_TARGET_MAX 4095 /* ext4: one block less the NUL */

/* Where an entry goes. */
struct place {
	struct path_dir *dir;
	const char *name;
	struct stat dir_was;
	uint64_t reserved;
	struct ov_cover cover; /* overlay mode: what lower layers have there */
	bool is_unwanted;      /* overlay mode: INGEST_IF_ABSENT, and a lower layer has it */
};

/* --- making one name ------------------------------------------------------------------------------------------ */

/* Overlay mode: what stands there is in a lower layer, or hidden by a whiteout. A directory over a directory merges
 * with it; anything else covers it by being there. */
static int place_prepare(struct apply *a, const struct ingest_entry *en, struct place *p, struct err *e)
{
	struct fs *fs = a->fs;
	struct ov_found f;
	int rc = ov_find(fs, p->dir->fd, &p->dir->below, p->name, &f);
	bool is_lower = f.exists && !f.is_upper, is_dir = S_ISDIR(f.st.st_mode);

	p->cover = (struct ov_cover){.covers = f.covers};
	p->is_unwanted = is_lower && en->rec.flags & INGEST_IF_ABSENT;
	if (rc == 0 && f.is_hidden)
		rc = tree_unlink(fs, p->dir->fd, p->name, &f.st);
	else if (rc == 0 && is_lower && is_dir && !p->is_unwanted && en->rec.type == INGEST_DIR)
		rc = copy_up(fs, p->dir->fd, p->name, &f.real, 0);
	else if (rc == 0 && is_lower && is_dir && !p->is_unwanted && en->rec.flags & INGEST_REPLACE)
		rc = err_kind_set(
		        e, -EISDIR, ERR_KIND_BAD_LAYOUT, "%s: a directory is in the place of this file", en->path);
	ov_found_free(&f);
	return rc < 0 && !e->code ? attr_sys(e, rc, en->path, "look at what lower layers have there") : rc;
}

static int place_find(struct apply *a, const struct ingest_entry *en, struct place *p, struct err *e)
{
	*p = (struct place){0};
	if (!en->rec.path_len)
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_ARCHIVE, "an entry for the root that is not a directory");
	size_t len = path_split(en->path, en->rec.path_len, &p->name);
	p->dir = path_dir_get(a->fs, &a->paths, en->path, len, true, e);
	if (!p->dir)
		return e->code;
	if (p->dir->ino == a->fs->root_ino && !strcmp(p->name, INGEST_NAME))
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_NAME, "%s: this name is reserved", en->path);
	return a->fs->ov ? place_prepare(a, en, p, e) : 0;
}

/* Reserve a name, an inode and EXTRA bytes. */
static int place_reserve(
        struct apply *a, const struct ingest_entry *en, struct place *p, uint64_t extra, uint64_t inodes, struct err *e)
{
	if (fstat(p->dir->fd, &p->dir_was) < 0)
		return attr_sys(e, -errno, en->path, "look at its directory");
	p->reserved = fs_dir_growth(a->fs) + extra;
	int rc = ledger_reserve(&a->fs->ledger, p->reserved, inodes, e);
	return rc < 0 ? err_wrap(e, "%s", en->path) : 0;
}

/* The name was made and marked as written: keep OWN of the reservation for the new inode, settle the directory's
 * growth. */
static int place_settle(struct apply *a, const struct ingest_entry *en, struct place *p, uint64_t own, struct err *e)
{
	struct stat st;

	mark_add(&a->fs->marks, p->dir->ino, p->name);
	int rc = fs_charge_fd(a->fs, p->dir->fd, p->reserved - own, stat_bytes(&p->dir_was), &st);
	if (rc == 0 && a->fs->ov)
		rc = ov_covered(a->fs, p->dir->fd, p->name, en->rec.type == INGEST_DIR ? S_IFDIR : S_IFREG, &p->cover);
	return rc < 0 ? attr_sys(e, rc, en->path, "look at its directory") : 0;
}

/* Something stands in the way. 0: removed, 1: the entry is not wanted, or -errno. */
static int place_clear(struct apply *a, const struct ingest_entry *en, struct place *p, struct err *e)
{
	struct stat st;

	if (en->rec.flags & INGEST_IF_ABSENT)
		return 1;
	if (fstatat(p->dir->fd, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return attr_sys(e, -errno, en->path, "look at what is in its place");
	if (S_ISDIR(st.st_mode) && en->rec.flags & INGEST_REPLACE)
		return err_kind_set(
		        e, -EISDIR, ERR_KIND_BAD_LAYOUT, "%s: a directory is in the place of this file", en->path);
	int rc = tree_remove(a->fs, p->dir->fd, p->name);
	return rc < 0 ? attr_sys(e, rc, en->path, "remove what is in its place") : 0;
}

/* Make with MAKE() what is not there; once more after the way was cleared. 0, 1: not wanted, or -errno. The reservation
 * stays only with 0. MAKE returns 0 (or a descriptor, into *FD) or -errno. */
typedef int make_fn(struct apply *a, const struct ingest_entry *en, struct place *p);

static int place_make(struct apply *a, const struct ingest_entry *en, struct place *p, make_fn *make, uint64_t extra,
        uint64_t inodes, int *fd, struct err *e)
{
	if (p->is_unwanted)
		return 1;
	for (int try = 0;; try++) {
		int rc = place_reserve(a, en, p, extra, inodes, e);
		if (rc < 0)
			return rc;
		rc = make(a, en, p);
		if (rc >= 0) {
			if (fd)
				*fd = rc;
			return 0;
		}
		ledger_credit(&a->fs->ledger, p->reserved, inodes);
		if (rc != -EEXIST || try)
			return attr_sys(e, rc, en->path, "make it");
		rc = place_clear(a, en, p, e);
		if (rc)
			return rc;
	}
}

static bool is_owned(const struct apply *a, const struct ingest_record *r, mode_t dir_mode)
{
	return r->uid == a->fs->own_uid && r->gid == a->fs->own_gid && !(dir_mode & S_ISGID);
}

/* --- files ----------------------------------------------------------------------------------------------------- */

static int file_make(struct apply *a, const struct ingest_entry *en, struct place *p)
{
	int fd = openat(p->dir->fd, p->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, en->rec.mode & 0777);

	return fd < 0 ? -errno : fd;
}

static int file_close(struct apply *a, struct err *e)
{
	const struct ingest_entry *en = &a->file.entry;
	const struct attr_target t = {.fd = a->file.fd};
	const struct timespec mtime = {en->rec.mtime_sec, en->rec.mtime_nsec}, ts[2] = {mtime, mtime};
	struct stat st;

	int rc = attr_apply(a->fs, &t, en, is_owned(a, &en->rec, a->file.is_setgid_dir ? S_ISGID : 0), e);
	int charged = fs_charge_fd(a->fs, a->file.fd, a->file.reserved, 0, &st);
	if (!rc && charged < 0)
		rc = attr_sys(e, charged, en->path, "look at it");
	/* A default ACL of the directory may have narrowed the mode at creation. */
	if (!rc && (st.st_mode & 07777) != en->rec.mode && fchmod(a->file.fd, en->rec.mode) < 0)
		rc = attr_sys(e, -errno, en->path, "set its mode");
	if (!rc && futimens(a->file.fd, ts) < 0)
		rc = attr_sys(e, -errno, en->path, "set its time");
	cleanup_close(&a->file.fd);
	return rc;
}

static int size_check(struct apply *a, const struct ingest_entry *en, uint64_t size, struct err *e)
{
	const struct image_limits *l = &a->fs->limits;

	if (size > l->max_file)
		return err_kind_set(e, -EFBIG, ERR_KIND_LIMIT_SIZE, "%s: %llu bytes, the limit of one file is %llu",
		        en->path, (unsigned long long)size, (unsigned long long)l->max_file);
	a->total += size;
	if (a->total > l->max_total)
		return err_kind_set(e, -EFBIG, ERR_KIND_LIMIT_SIZE, "%s: more than %llu bytes in one layer", en->path,
		        (unsigned long long)l->max_total);
	return 0;
}

/* A sparse file stays open behind its record, whose texts are the parser's: take copies. */
static void file_hold(struct apply *a)
{
	struct ingest_entry *en = &a->file.entry;
	size_t path = en->rec.path_len + 1u, xattrs = en->rec.xattr_len;

	a->held.len = 0;
	buf_append(&a->held, en->path, path);
	buf_append(&a->held, en->xattrs, xattrs);
	en->path = a->held.data;
	en->link = "";
	en->xattrs = (unsigned char *)a->held.data + path;
}

static int apply_file(struct apply *a, const struct ingest_entry *en, struct err *e)
{
	bool is_sparse = en->rec.flags & INGEST_SPARSE;
	uint64_t xattr_room = en->rec.xattr_len ? a->fs->block : 0;
	struct place p;

	int rc = size_check(a, en, is_sparse ? en->rec.apparent : en->rec.size, e);
	if (!rc)
		rc = place_find(a, en, &p, e);
	if (!rc)
		rc = place_make(a, en, &p, file_make, xattr_room, 1, &a->file.fd, e);
	a->is_skipping = rc == 1;
	if (rc)
		return rc < 0 ? rc : 0;
	a->file.entry = *en;
	a->file.is_setgid_dir = p.dir_was.st_mode & S_ISGID;
	a->file.reserved = xattr_room;
	a->file.blocks = a->file.segments = a->file.offset = 0;
	rc = place_settle(a, en, &p, xattr_room, e);
	if (!rc && is_sparse) {
		file_hold(a);
		if (ftruncate(a->file.fd, (off_t)en->rec.apparent) < 0)
			rc = attr_sys(e, -errno, en->path, "set its size");
	}
	return rc;
}

/* A piece of a sparse file. */
static int apply_segment(struct apply *a, const struct ingest_entry *en, struct err *e)
{
	if (a->is_skipping)
		return 0;
	if (a->file.fd < 0 || !(a->file.entry.rec.flags & INGEST_SPARSE))
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_ARCHIVE, "content without a sparse file in front of it");
	const struct ingest_record *f = &a->file.entry.rec;
	if (en->rec.offset > f->apparent || en->rec.size > f->apparent - en->rec.offset)
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_ARCHIVE, "%s: %llu bytes at %llu are past its end at %llu",
		        a->file.entry.path, (unsigned long long)en->rec.size, (unsigned long long)en->rec.offset,
		        (unsigned long long)f->apparent);
	if (++a->file.segments > a->fs->limits.max_sparse_segments)
		return err_kind_set(e, -EINVAL, ERR_KIND_LIMIT_SPARSE, "%s: more than %llu segments",
		        a->file.entry.path, (unsigned long long)a->fs->limits.max_sparse_segments);
	a->file.offset = en->rec.offset;
	return 0;
}

/* Reserve what LEN bytes at the current offset can take. Pieces that share a block are counted twice until the file is
 * closed. */
static int content_reserve(struct apply *a, size_t len, struct err *e)
{
	struct fs *fs = a->fs;
	uint64_t first = a->file.offset / fs->block, end = (a->file.offset + len + fs->block - 1) / fs->block;
	bool is_sparse = a->file.entry.rec.flags & INGEST_SPARSE;
	uint64_t blocks = is_sparse ? a->file.blocks + end - first : end;
	uint64_t want = fs_content_worst(fs, blocks) + (a->file.entry.rec.xattr_len ? fs->block : 0);

	a->file.blocks = blocks;
	if (want <= a->file.reserved)
		return 0;
	int rc = ledger_reserve(&fs->ledger, want - a->file.reserved, 0, e);
	if (rc < 0)
		return err_wrap(e, "%s", a->file.entry.path);
	a->file.reserved = want;
	return 0;
}

static int on_content(void *arg, const void *data, size_t len, struct err *e)
{
	struct apply *a = arg;
	const char *p = data;

	if (a->is_skipping)
		return 0;
	int rc = content_reserve(a, len, e);
	while (!rc && len) {
		ssize_t n = pwrite(a->file.fd, p, len, (off_t)a->file.offset);
		if (n <= 0)
			return attr_sys(e, n < 0 ? -errno : -EIO, a->file.entry.path, "write its content");
		p += n;
		len -= (size_t)n;
		a->file.offset += (uint64_t)n;
	}
	return rc;
}

/* --- directories ----------------------------------------------------------------------------------------------- */

static int dir_make(struct apply *a, const struct ingest_entry *en, struct place *p)
{
	return mkdirat(p->dir->fd, p->name, en->rec.mode & 0777) < 0 ? -errno : 0;
}

/* Give the directory FD the entry's attributes; RESERVED bytes are for it, WAS is what it is charged. */
static int dir_attrs(struct apply *a, const struct ingest_entry *en, int fd, bool is_new, uint64_t reserved,
        uint64_t was, struct err *e)
{
	const struct attr_target t = {.fd = fd};
	const struct timespec mtime = {en->rec.mtime_sec, en->rec.mtime_nsec};
	struct stat st;

	int rc = is_new ? 0 : attr_xattrs_clear(a->fs, fd, en->path, e);
	if (!rc)
		rc = attr_apply(a->fs, &t, en, false, e);
	int charged = fs_charge_fd(a->fs, fd, reserved, was, &st);
	if (!rc && charged < 0)
		rc = attr_sys(e, charged, en->path, "look at it");
	if (!rc)
		fs_time_state(a->fs, fd, &st, &mtime);
	return rc;
}

static int dir_update(struct apply *a, const struct ingest_entry *en, int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return attr_sys(e, -errno, en->path, "look at it");
	uint64_t reserved = en->rec.xattr_len ? a->fs->block : 0;
	int rc = ledger_reserve(&a->fs->ledger, reserved, 0, e);
	return rc < 0 ? err_wrap(e, "%s", en->path) : dir_attrs(a, en, fd, false, reserved, stat_bytes(&st), e);
}

/* An existing directory at the entry's own name, open; -1: none. */
static int dir_existing(const struct place *p)
{
	return openat(p->dir->fd, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int apply_root(struct apply *a, const struct ingest_entry *en, struct err *e)
{
	return en->rec.flags & (INGEST_KEEP_DIR | INGEST_IF_ABSENT) ? 0 : dir_update(a, en, a->fs->root_fd, e);
}

static int apply_dir(struct apply *a, const struct ingest_entry *en, struct err *e)
{
	uint64_t own = a->fs->block * (en->rec.xattr_len ? 2 : 1);
	struct err ignored = ERR_INIT;
	struct place p;

	if (!en->rec.path_len)
		return apply_root(a, en, e);
	if (en->rec.flags & INGEST_KEEP_DIR &&
	        path_dir_get(a->fs, &a->paths, en->path, en->rec.path_len, false, &ignored))
		return 0;
	int rc = place_find(a, en, &p, e);
	if (rc)
		return rc;
	AUTO_CLOSE int fd = dir_existing(&p);
	if (fd >= 0) {
		mark_add(&a->fs->marks, p.dir->ino, p.name);
		return en->rec.flags & INGEST_IF_ABSENT ? 0 : dir_update(a, en, fd, e);
	}
	rc = place_make(a, en, &p, dir_make, own, 1, NULL, e);
	if (rc)
		return rc < 0 ? rc : 0;
	rc = place_settle(a, en, &p, own, e);
	if (rc)
		return rc;
	fd = dir_existing(&p);
	return fd < 0 ? attr_sys(e, -errno, en->path, "open it") : dir_attrs(a, en, fd, true, own, 0, e);
}

/* --- the rest -------------------------------------------------------------------------------------------------- */

static int special_make(struct apply *a, const struct ingest_entry *en, struct place *p)
{
	static const mode_t types[INGEST_TYPE_COUNT] = {
	        [INGEST_CHR] = S_IFCHR, [INGEST_BLK] = S_IFBLK, [INGEST_FIFO] = S_IFIFO, [INGEST_SOCKET] = S_IFSOCK};
	const struct ingest_record *r = &en->rec;
	bool is_device = r->type == INGEST_CHR || r->type == INGEST_BLK;
	int rc;

	if (r->type == INGEST_SYMLINK)
		rc = symlinkat(en->link, p->dir->fd, p->name);
	else
		rc = mknodat(p->dir->fd, p->name, types[r->type] | (r->mode & 0777),
		        is_device ? makedev(r->rdev_major, r->rdev_minor) : 0);
	return rc < 0 ? -errno : 0;
}

static int special_check(const struct apply *a, const struct ingest_entry *en, struct err *e)
{
	const struct ingest_record *r = &en->rec;

	if (a->fs->ov && r->type == INGEST_CHR && !r->rdev_major && !r->rdev_minor)
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_WHITEOUT,
		        "%s: a character device 0:0 is a whiteout where layers are preserved", en->path);
	if (r->type == INGEST_SYMLINK && !r->link_len)
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_ARCHIVE, "%s: a symbolic link without a target", en->path);
	if (r->link_len > LINK_TARGET_MAX)
		return err_kind_set(e, -ENAMETOOLONG, ERR_KIND_LIMIT_PATH,
		        "%s: a link target of %u bytes, %d are possible", en->path, r->link_len, LINK_TARGET_MAX);
	/* ext4 keeps 12 bits of a major and 20 of a minor number */
	if (r->rdev_major > 0xfff || r->rdev_minor > 0xfffff)
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_ARCHIVE, "%s: device numbers %u:%u", en->path,
		        r->rdev_major, r->rdev_minor);
	return 0;
}

static int apply_special(struct apply *a, const struct ingest_entry *en, struct err *e)
{
	uint64_t own = a->fs->block * ((en->rec.type == INGEST_SYMLINK) + (en->rec.xattr_len ? 1u : 0u));
	const struct timespec mtime = {en->rec.mtime_sec, en->rec.mtime_nsec}, ts[2] = {mtime, mtime};
	struct place p;
	struct stat st;

	int rc = special_check(a, en, e);
	if (!rc)
		rc = place_find(a, en, &p, e);
	if (!rc)
		rc = place_make(a, en, &p, special_make, own, 1, NULL, e);
	if (rc)
		return rc < 0 ? rc : 0;
	rc = place_settle(a, en, &p, own, e);
	if (rc)
		return rc;
	const struct attr_target t = {.fd = -1, .dirfd = p.dir->fd, .name = p.name};
	rc = attr_apply(a->fs, &t, en, is_owned(a, &en->rec, p.dir_was.st_mode), e);
	if (!rc && utimensat(p.dir->fd, p.name, ts, AT_SYMLINK_NOFOLLOW) < 0)
		rc = attr_sys(e, -errno, en->path, "set its time");
	if (fstatat(p.dir->fd, p.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return rc ? rc : attr_sys(e, -errno, en->path, "look at it");
	ledger_settle(&a->fs->ledger, own, 0, stat_bytes(&st));
	return rc;
}

struct link_source {
	int fd; /* borrowed */
	const char *name;
	uint64_t dir_ino;
};

/* Overlay mode: what is linked to has to be in the upper directory. */
static int link_up(struct apply *a, const struct path_dir *d, const char *name)
{
	struct ov_found f;
	int rc = ov_find(a->fs, d->fd, &d->below, name, &f);

	if (rc == 0 && !f.exists)
		rc = -ENOENT;
	if (rc == 0 && !f.is_upper && !S_ISDIR(f.st.st_mode))
		rc = copy_up(a->fs, d->fd, name, &f.real, UINT64_MAX);
	ov_found_free(&f);
	return rc;
}

/* The target of a hard link: a name inside the root, itself not followed. */
static int link_find(struct apply *a, const struct ingest_entry *en, struct link_source *s, struct err *e)
{
	struct stat st;
	int rc = path_check(a->fs, en->link, en->rec.link_len, e);

	if (rc < 0 && e->kind == ERR_KIND_PATH_ESCAPE)
		return err_wrap(e, "%s: hard link", en->path);
	if (rc < 0 || !en->rec.link_len)
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_HARDLINK, "%s: a hard link to \"%s\"", en->path, en->link);
	size_t len = path_split(en->link, en->rec.link_len, &s->name);
	const struct path_dir *d = path_dir_get(a->fs, &a->paths, en->link, len, false, e);
	if (!d && e->kind == ERR_KIND_PATH_LOOP)
		return e->code;
	rc = d && a->fs->ov ? link_up(a, d, s->name) : 0;
	if (rc < 0 && rc != -ENOENT)
		return attr_sys(e, rc, en->link, "copy the target of a hard link up");
	if (!d || rc < 0 || fstatat(d->fd, s->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_kind_set(e, -ENOENT, ERR_KIND_BAD_HARDLINK, "%s: a hard link to %s, which does not exist",
		        en->path, en->link);
	if (S_ISDIR(st.st_mode))
		return err_kind_set(
		        e, -EPERM, ERR_KIND_BAD_HARDLINK, "%s: a hard link to the directory %s", en->path, en->link);
	if (st.st_nlink >= a->fs->limits.max_links)
		return err_kind_set(e, -EMLINK, ERR_KIND_BAD_HARDLINK, "%s: %s has %llu names, that is the limit",
		        en->path, en->link, (unsigned long long)st.st_nlink);
	s->fd = d->fd;
	s->dir_ino = d->ino;
	return 0;
}

static int link_make(struct apply *a, const struct ingest_entry *en, struct place *p)
{
	struct link_source s;
	struct err e = ERR_INIT;

	/* Found again: clearing the way may have removed it. */
	if (link_find(a, en, &s, &e) < 0)
		return -ENOENT;
	return linkat(s.fd, s.name, p->dir->fd, p->name, 0) < 0 ? -errno : 0;
}

static int apply_hardlink(struct apply *a, const struct ingest_entry *en, struct err *e)
{
	struct link_source s;
	struct place p;

	int rc = link_find(a, en, &s, e);
	if (!rc)
		rc = place_find(a, en, &p, e);
	if (!rc && s.dir_ino == p.dir->ino && !strcmp(s.name, p.name))
		rc = err_kind_set(e, -EINVAL, ERR_KIND_BAD_HARDLINK, "%s: a hard link to itself", en->path);
	if (!rc)
		rc = place_make(a, en, &p, link_make, 0, 0, NULL, e);
	if (rc < 0 && (rc == -ENOENT || rc == -EMLINK))
		e->kind = ERR_KIND_BAD_HARDLINK;
	if (rc)
		return rc < 0 ? rc : 0;
	return place_settle(a, en, &p, 0, e);
}

static int apply_whiteout(struct apply *a, const struct ingest_entry *en, struct err *e)
{
	struct err why = ERR_INIT;
	const char *name;

	if (!en->rec.path_len)
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_WHITEOUT, "a whiteout of the root");
	size_t len = path_split(en->path, en->rec.path_len, &name);
	const struct path_dir *d = path_dir_get(a->fs, &a->paths, en->path, len, false, &why);
	if (!d) {
		*e = why.code == -ENOENT ? (struct err)ERR_INIT : why;
		return e->code;
	}
	int rc =
	        a->fs->ov ? ov_hide(a->fs, d->fd, d->ino, &d->below, name) : whiteout_apply(a->fs, d->fd, d->ino, name);
	return rc < 0 ? attr_sys(e, rc, en->path, "remove it for a whiteout") : 0;
}

static int apply_opaque(struct apply *a, const struct ingest_entry *en, struct err *e)
{
	struct err why = ERR_INIT;
	const struct path_dir *d = path_dir_get(a->fs, &a->paths, en->path, en->rec.path_len, false, &why);

	if (!d) {
		*e = why.code == -ENOENT ? (struct err)ERR_INIT : why;
		return e->code;
	}
	int rc = a->fs->ov ? ov_hide_all(a->fs, d->fd, &d->below) : whiteout_opaque(a->fs, d->fd);
	return rc < 0 ? attr_sys(e, rc, en->path, "remove what an opaque whiteout hides") : 0;
}

/* --- the stream ------------------------------------------------------------------------------------------------ */

static int apply_begin(struct apply *a, const struct ingest_entry *en, struct err *e)
{
	if (a->is_begun)
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_ARCHIVE, "a layer within a layer");
	marks_free(&a->fs->marks);
	path_cache_free(&a->paths);
	a->is_begun = true;
	a->entries = a->total = 0;
	return 0;
}

static int apply_end(struct apply *a, const struct ingest_entry *en, struct err *e)
{
	fs_times_apply(a->fs);
	a->is_begun = false;
	return 0;
}

static int on_entry(void *arg, const struct ingest_entry *en, struct err *e)
{
	static int (*const handlers[INGEST_TYPE_COUNT])(struct apply *, const struct ingest_entry *, struct err *) = {
	        [INGEST_BEGIN] = apply_begin,
	        [INGEST_END] = apply_end,
	        [INGEST_FILE] = apply_file,
	        [INGEST_DIR] = apply_dir,
	        [INGEST_SYMLINK] = apply_special,
	        [INGEST_HARDLINK] = apply_hardlink,
	        [INGEST_CHR] = apply_special,
	        [INGEST_BLK] = apply_special,
	        [INGEST_FIFO] = apply_special,
	        [INGEST_SOCKET] = apply_special,
	        [INGEST_CONTENT] = apply_segment,
	        [INGEST_WHITEOUT] = apply_whiteout,
	        [INGEST_OPAQUE] = apply_opaque,
	};
	struct apply *a = arg;
	int rc = 0;

	if (en->rec.type == INGEST_CONTENT)
		return apply_segment(a, en, e);
	if (a->file.fd >= 0)
		rc = file_close(a, e);
	a->is_skipping = false;
	if (!rc && !a->is_begun && en->rec.type != INGEST_BEGIN)
		rc = err_kind_set(e, -EINVAL, ERR_KIND_BAD_ARCHIVE, "%s: an entry outside of a layer", en->path);
	if (!rc && en->rec.type > INGEST_END && ++a->entries > a->fs->limits.max_entries)
		rc = err_kind_set(e, -EINVAL, ERR_KIND_LIMIT_ENTRIES, "%s: more than %llu entries in one layer",
		        en->path, (unsigned long long)a->fs->limits.max_entries);
	if (!rc)
		rc = path_check(a->fs, en->path, en->rec.path_len, e);
	/* what a whiteout names is never stored: a name that cannot be is a bad whiteout */
	if (rc && en->rec.type == INGEST_WHITEOUT && (e->kind == ERR_KIND_BAD_NAME || e->kind == ERR_KIND_PATH_ESCAPE))
		e->kind = ERR_KIND_BAD_WHITEOUT;
	if (!rc)
		rc = attr_xattrs_check(a->fs, en, e);
	return rc ? rc : handlers[en->rec.type](a, en, e);
}

static int on_finish(void *arg, struct err *e)
{
	struct apply *a = arg;

	return a->file.fd >= 0 && !(a->file.entry.rec.flags & INGEST_SPARSE) ? file_close(a, e) : 0;
}

void apply_init(struct apply *a, struct fs *fs)
{
	*a = (struct apply){.fs = fs, .file.fd = -1};
	a->sink = (struct ingest_sink){.entry = on_entry, .content = on_content, .finish = on_finish, .arg = a};
	path_cache_init(&a->paths);
}

void apply_free(struct apply *a)
{
	struct stat st;

	if (a->file.fd >= 0)
		fs_charge_fd(a->fs, a->file.fd, a->file.reserved, 0, &st);
	cleanup_close(&a->file.fd);
	path_cache_free(&a->paths);
	buf_free(&a->held);
}
