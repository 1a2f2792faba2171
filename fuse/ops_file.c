/* SPDX-License-Identifier: GPL-2.0-or-later */
/* POSIX operations on open files. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

#include "fuse/ops.h"
#include "fuse/overlay.h"

int op_open_flags(int flags)
{
	/* O_APPEND: the kernel gives the offset. O_TRUNC: comes as a setattr of its own. Direct I/O is the mount's
	 * business. */
	return (flags & (O_ACCMODE | O_SYNC | O_DSYNC | O_DIRECTORY)) | O_NONBLOCK | O_NOFOLLOW;
}

int op_open(struct fs *fs, struct node *n, int flags)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY;
	int rc = fs->ov && writes ? ov_node_up(fs, n, UINT64_MAX) : 0;
	int fd = rc < 0 ? rc : node_open(fs, n, op_open_flags(flags));

	if (fd < 0)
		return fd;
	node_opened(n, fd);
	if (fs->ov && !n->place->is_upper)
		node_reads_lower(n, fd);
	return fd;
}

void op_release(struct fs *fs, struct node *n, int fd)
{
	node_closed(fs, n, fd);
}

static uint64_t blocks_of(const struct fs *fs, uint64_t off, uint64_t len)
{
	return (off + len + fs->block - 1) / fs->block - off / fs->block;
}

/* How much of [OFF, OFF+LEN) can be written without the quota: what lies on blocks the file has. */
static uint64_t owned_len(int fd, off_t off, uint64_t len)
{
	off_t data = lseek(fd, off, SEEK_DATA), hole = data == off ? lseek(fd, off, SEEK_HOLE) : off;

	return hole <= off ? 0 : (uint64_t)(hole - off) < len ? (uint64_t)(hole - off) : len;
}

/* Reserve for as much of the write as fits; *SIZE may shrink. The reservation or -errno. */
static int64_t write_reserve(struct fs *fs, int fd, size_t *size, off_t off)
{
	uint64_t worst = fs_content_worst(fs, blocks_of(fs, (uint64_t)off, *size));
	int rc = ledger_reserve(&fs->ledger, worst, 0, NULL);

	if (rc != -EDQUOT)
		return rc < 0 ? rc : (int64_t)worst;
	uint64_t n = ledger_left(&fs->ledger) / fs->block;
	while (n && fs_content_worst(fs, n) > ledger_left(&fs->ledger))
		n--;
	uint64_t head = fs->block - (uint64_t)off % fs->block, fits = n ? head + (n - 1) * fs->block : 0;
	uint64_t owned = owned_len(fd, off, *size);
	if (owned >= fits) {
		*size = (size_t)owned;
		return owned ? 0 : -EDQUOT;
	}
	*size = (size_t)(fits < *size ? fits : *size);
	worst = fs_content_worst(fs, n);
	rc = ledger_reserve(&fs->ledger, worst, 0, NULL);
	return rc < 0 ? rc : (int64_t)worst;
}

int op_kill_set_id(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	mode_t mode = st.st_mode & 07777, left = mode & ~(mode_t)S_ISUID;
	if (mode & S_IXGRP)
		left &= ~(mode_t)S_ISGID;
	return left != mode && fchmod(fd, left) < 0 ? -errno : 0;
}

ssize_t op_write(struct fs *fs, struct node *n, int fd, bool kills_set_id, const void *data, size_t size, off_t off)
{
	struct stat st;

	if (off < 0 || (uint64_t)off >= fs->limits.max_file)
		return size ? -EFBIG : 0;
	if (size > fs->limits.max_file - (uint64_t)off)
		size = (size_t)(fs->limits.max_file - (uint64_t)off);
	if (!size)
		return 0;
	int rc = kills_set_id ? op_kill_set_id(fd) : 0;
	if (rc < 0 || fstat(fd, &st) < 0)
		return rc < 0 ? rc : -errno;
	uint64_t was = fs_charge_of(fs, &st);
	int64_t reserved = write_reserve(fs, fd, &size, off);
	if (reserved < 0)
		return reserved;
	ssize_t done = pwrite(fd, data, size, off);
	if (done < 0)
		done = -errno;
	rc = fs_charge_fd(fs, fd, (uint64_t)reserved, was, &st);
	return done < 0 || rc == 0 ? done : rc;
}

int op_fallocate(struct fs *fs, struct node *n, int fd, int mode, off_t off, off_t len)
{
	const int frees = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE;
	struct stat st;

	if (off < 0 || len <= 0 || (uint64_t)len > INT64_MAX - (uint64_t)off)
		return -EINVAL;
	if (!(mode & frees) && (uint64_t)off + (uint64_t)len > fs->limits.max_file)
		return -EFBIG;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (mode & FALLOC_FL_INSERT_RANGE && (uint64_t)st.st_size + (uint64_t)len > fs->limits.max_file)
		return -EFBIG;
	/* Splitting extents takes tree blocks even where data is freed. */
	uint64_t blocks = mode & frees ? 0 : blocks_of(fs, (uint64_t)off, (uint64_t)len);
	uint64_t was = fs_charge_of(fs, &st),
	         reserved = fs_content_worst(fs, blocks) + (mode & frees ? 0 : 2 * fs->block);
	int rc = ledger_reserve(&fs->ledger, reserved, 0, NULL);
	if (rc < 0)
		return rc;
	if (fallocate(fd, mode, off, len) < 0)
		rc = -errno;
	int charged = fs_charge_fd(fs, fd, reserved, was, &st);
	return rc < 0 ? rc : charged;
}
