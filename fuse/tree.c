/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuse/hash64.h"
#include "fuse/node.h"
#include "fuse/overlay.h"

/* ext4: four extents in the inode, 340 in a block of the tree. */
#define INLINE_EXTENTS 4
#define BLOCK_EXTENTS 340

/* A new volume holds a root and perhaps lost+found: what is in the root is one level deep. */
static int fs_measure(struct fs *fs, struct err *e)
{
	AUTO_CLOSE int fd = openat(fs->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct stat st;
	struct dirent *de;

	if (!d || fstat(fs->root_fd, &st) < 0)
		return err_sys(e, -errno, "read the root of the volume");
	(void)STEAL_FD(&fd);
	fs->ledger.used_bytes = stat_bytes(&st);
	fs->ledger.used_inodes = 1;
	while ((de = readdir(d))) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (fstatat(fs->root_fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(e, -errno, "read %s in the root of the volume", de->d_name);
		fs->ledger.used_bytes += stat_bytes(&st);
		fs->ledger.used_inodes++;
	}
	return 0;
}

int fs_init(struct fs *fs, int root, const struct msg_fs_start *start, const struct ledger_ops *ops, struct err *e)
{
	struct statfs sfs;
	struct stat st;

	*fs = (struct fs){.root_fd = -1, .limits = start->limits, .own_uid = geteuid(), .own_gid = getegid()};
	int rc = hash64_setup();
	if (rc < 0)
		return err_sys(e, rc, "draw a hash key");
	fs->root_fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fs->root_fd < 0 || fstat(fs->root_fd, &st) < 0 || fstatfs(fs->root_fd, &sfs) < 0)
		return err_sys(e, -errno, "open the root of the volume");
	fs->block = sfs.f_bsize > 0 ? (uint64_t)sfs.f_bsize : 4096;
	ledger_init(&fs->ledger, start->max_bytes, start->max_inodes, ops);
	fs->ledger.used_bytes = start->used_bytes;
	fs->ledger.used_inodes = start->used_inodes;
	fs->ledger.grant_bytes = start->grant_bytes;
	if (!start->used_inodes) {
		rc = fs_measure(fs, e);
		if (rc < 0)
			return rc;
	}
	rc = start->layer ? layers_open(fs, (unsigned)start->layer - 1, e) : nodes_new(fs, e);
	if (rc == 0 && fstat(fs->root_fd, &st) == 0)
		fs->root_ino = st.st_ino;
	return rc;
}

void fs_free(struct fs *fs)
{
	nodes_free(fs);
	overlay_free(fs);
	itab_free(&fs->itab);
	marks_free(&fs->marks);
	if (fs->root_fd >= 0)
		close(fs->root_fd);
	fs->root_fd = -1;
}

uint64_t fs_content_worst(const struct fs *fs, uint64_t n)
{
	return (n + (n > INLINE_EXTENTS ? 1 + n / BLOCK_EXTENTS : 0)) * fs->block;
}

uint64_t fs_charge_of(const struct fs *fs, const struct stat *st)
{
	const struct itab_row *r = S_ISREG(st->st_mode) ? itab_find(&fs->itab, st->st_ino) : NULL;

	return r && r->flags & ITAB_CHARGE ? r->charge : stat_bytes(st);
}

int fs_charge_fd(struct fs *fs, int fd, uint64_t reserved, uint64_t was, struct stat *st)
{
	if (fstat(fd, st) < 0)
		return -errno;
	uint64_t is = stat_bytes(st);
	ledger_settle(&fs->ledger, reserved, was, is);
	if (!S_ISREG(st->st_mode))
		return 0;
	struct itab_row *r = itab_find(&fs->itab, st->st_ino);
	if (r && r->flags & ITAB_CHARGE) {
		r->charge = is;
		return 0;
	}
	if (is <= INLINE_EXTENTS * fs->block)
		return 0;
	struct handle h;
	int rc = handle_get(&h, fd, "");
	if (rc < 0)
		return rc;
	r = itab_add(&fs->itab, st->st_ino);
	r->handle = h;
	r->charge = is;
	r->flags |= ITAB_CHARGE;
	return 0;
}

static struct itab_row *time_row(struct fs *fs, int fd, const struct stat *st)
{
	struct itab_row *r = itab_find(&fs->itab, st->st_ino);
	struct handle h;

	if (r && r->flags & ITAB_TIME)
		return r;
	if (handle_get(&h, fd, "") < 0)
		return NULL;
	r = itab_add(&fs->itab, st->st_ino);
	r->handle = h;
	return r;
}

void fs_time_keep(struct fs *fs, int fd, const struct stat *st)
{
	struct itab_row *r = time_row(fs, fd, st);

	if (r && !(r->flags & ITAB_TIME)) {
		r->flags |= ITAB_TIME;
		r->mtime = st->st_mtim;
	}
}

void fs_time_state(struct fs *fs, int fd, const struct stat *st, const struct timespec *mtime)
{
	struct itab_row *r = time_row(fs, fd, st);

	if (r) {
		r->flags |= ITAB_TIME | ITAB_TIME_STATED;
		r->mtime = *mtime;
	}
}

void fs_times_apply(struct fs *fs)
{
	for (size_t i = 0; i < fs->itab.cap; i++) {
		struct itab_row *r = &fs->itab.rows[i];
		if (!r->ino || !(r->flags & ITAB_TIME))
			continue;
		const struct timespec ts[2] = {r->mtime, r->mtime};
		r->flags &= ~(ITAB_TIME | ITAB_TIME_STATED);
		AUTO_CLOSE int fd = handle_open(fs->root_fd, &r->handle, O_RDONLY | O_DIRECTORY);
		if (fd >= 0)
			futimens(fd, ts);
	}
}

int fs_recount(struct fs *fs, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < fs->itab.cap; i++) {
		struct itab_row *r = &fs->itab.rows[i];
		struct stat st;
		if (!r->ino || !(r->flags & ITAB_CHARGE))
			continue;
		AUTO_CLOSE int fd = handle_open(fs->root_fd, &r->handle, O_PATH);
		if (fd < 0 || fstat(fd, &st) < 0) {
			rc = err_sys(e, fd < 0 ? fd : -errno, "look at inode %llu again", (unsigned long long)r->ino);
			continue;
		}
		ledger_settle(&fs->ledger, 0, r->charge, stat_bytes(&st));
		r->charge = stat_bytes(&st);
	}
	return rc;
}

int fs_settle(struct fs *fs, struct err *e)
{
	nodes_close_orphans(fs);
	if (syncfs(fs->root_fd) < 0)
		return err_sys(e, -errno, "write the volume out");
	int rc = fs_recount(fs, e);
	itab_free(&fs->itab);
	return rc;
}

int tree_unlink(struct fs *fs, int dirfd, const char *name, const struct stat *st)
{
	bool is_dir = S_ISDIR(st->st_mode), is_last = is_dir || st->st_nlink == 1;
	struct node *n = NULL;

	if (is_last) {
		n = nodes_find_name(fs, dirfd, name);
		if (n)
			node_before_unlink(fs, n);
	}
	if (unlinkat(dirfd, name, is_dir ? AT_REMOVEDIR : 0) < 0)
		return -errno;
	if (!S_ISREG(st->st_mode))
		fs->serial++;
	if (!is_last)
		return 0;
	/* An open file stays charged until its last close. */
	if (n && node_orphan(fs, n))
		return 0;
	ledger_credit(&fs->ledger, fs_charge_of(fs, st), 1);
	itab_drop(&fs->itab, st->st_ino);
	return 0;
}
