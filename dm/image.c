/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an image is: ext4 without a journal (a build that does not finish is thrown away; one that does is checked and
 * synced; a product may get one at its end, for VMs), metadata checksums with a seed of their own, so that a later
 * change of uuid rewrites nothing but the superblock, and a fixed directory hash seed, so that the same tree gets the
 * same directories. No feature newer than Linux 4.4: guests mount it. `resize_inode` lets it grow;
 * `assume_storage_prezeroed` is true of a sparse file and leaves the inode tables unwritten. The uuid is that of a
 * volume's first ancestor, so it is not unique among products of one base.
 */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <endian.h>
#include <linux/fs.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "tool.h"

#define MKE2FS "/sbin/mke2fs"
#define E2FSCK "/sbin/e2fsck"
#define RESIZE2FS "/sbin/resize2fs"
#define TUNE2FS "/sbin/tune2fs"

#define FEATURES                                                                                                       \
	"none,ext_attr,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,"     \
	"64bit,metadata_csum,metadata_csum_seed,resize_inode"
#define HASH_SEED "6275696c-6465-7264-8000-6578743461e5"

#define COPY_CHUNK (1u << 20)
#define COPY_ALIGN 4096 /* of O_DIRECT: memory, offsets, lengths */
#define TOOL_TIMEOUT_MS 120000

/* Offsets into the superblock, Linux Documentation/filesystems/ext4/super.rst. */
enum { SB_AT = 1024, SB_SIZE = 1024, SB_INODES = 0x0, SB_FREE_INODES = 0x10, SB_MAGIC = 0x38, SB_UUID = 0x68 };
#define EXT4_MAGIC 0xef53

int image_error(struct err *e, int rc, const char *what)
{
	if (rc == -ENOSPC || rc == -EDQUOT)
		return err_kind_set(
		        e, -ENOSPC, ERR_KIND_DISK_FULL, "%s: the medium below the state directory is full", what);
	return err_sys(e, rc, "%s", what);
}

uint64_t image_size(uint64_t size_bytes, uint64_t inodes)
{
	uint64_t room = inodes > IMAGE_MAX_BYTES / IMAGE_MIN_BYTES_PER_INODE ? IMAGE_MAX_BYTES
	                                                                     : inodes * IMAGE_MIN_BYTES_PER_INODE;
	uint64_t size = size_bytes > room ? size_bytes : room;

	if (size < IMAGE_MIN_BYTES)
		size = IMAGE_MIN_BYTES;
	if (size > IMAGE_MAX_BYTES)
		size = IMAGE_MAX_BYTES;
	return (size + IMAGE_STEP - 1) / IMAGE_STEP * IMAGE_STEP;
}

/* A tool that fails for lack of space says so in words only. */
static int tool_failed(const char *what, const struct tool_result *r, struct err *e)
{
	if (strstr(r->text, "No space left"))
		return image_error(e, -ENOSPC, what);
	return err_kind_set(e, -EIO, ERR_KIND_INTERNAL, "%s: status 0x%x: %s", what, (unsigned)r->status, r->text);
}

/* mke2fs, for a device of SIZE bytes that reads as zeros. */
int image_format(int fd, uint64_t size_bytes, uint64_t inodes, bool has_journal, struct err *e)
{
	char inodes_text[24], blocks_text[24];
	const char *const argv[] = {MKE2FS, "-q", "-F", "-O", has_journal ? FEATURES ",has_journal" : FEATURES,
	        has_journal ? "-J" : "-q", has_journal ? "size=16" : "-q", "-b", "4096", "-I", "256", "-m", "0", "-N",
	        inodes_text, "-E",
	        "root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1,nodiscard,assume_storage_prezeroed=1,"
	        "hash_seed=" HASH_SEED,
	        TOOL_PATH, blocks_text, NULL};
	uint64_t by_size = size_bytes / IMAGE_BYTES_PER_INODE;
	struct tool_result r;

	snprintf(inodes_text, sizeof(inodes_text), "%" PRIu64, inodes > by_size ? inodes : by_size);
	snprintf(blocks_text, sizeof(blocks_text), "%" PRIu64, size_bytes / 4096);
	int rc = tool_run(argv, fd, TOOL_TIMEOUT_MS, &r, e);
	if (rc < 0)
		return rc;
	return tool_succeeded(&r) ? 0 : tool_failed("make an ext4 file system", &r, e);
}

int image_make(int fd, uint64_t size_bytes, uint64_t inodes, struct err *e)
{
	if (ftruncate(fd, (off_t)size_bytes) < 0)
		return image_error(e, -errno, "size an image");
	return image_format(fd, size_bytes, inodes, false, e);
}

/* Some file systems answer SEEK_HOLE with "all is data"; the copy is to be sparse all the same. */
static bool is_zero(const char *data, size_t n)
{
	return n && data[0] == 0 && !memcmp(data, data + 1, n - 1);
}

static int range_copy(int from, int to, char *chunk, off_t at, off_t end)
{
	while (at < end) {
		size_t want = end - at < (off_t)COPY_CHUNK ? (size_t)(end - at) : COPY_CHUNK;
		int rc = tool_stop_check(NULL);
		if (rc < 0)
			return rc;
		ssize_t n = pread(from, chunk, want, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		rc = is_zero(chunk, (size_t)n) ? 0 : fd_pwrite_all(to, chunk, (size_t)n, at);
		if (rc < 0)
			return rc;
		at += n;
	}
	return 0;
}

static int data_copy(int from, int to, char *chunk, off_t size)
{
	int rc = 0;

	for (off_t at = 0; at < size && rc == 0;) {
		off_t data = lseek(from, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			break; /* only a hole is left */
		off_t hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		/* The size is a multiple of the alignment, so rounding stays inside. */
		at = (hole + COPY_ALIGN - 1) / COPY_ALIGN * COPY_ALIGN;
		rc = range_copy(from, to, chunk, data / COPY_ALIGN * COPY_ALIGN, at);
	}
	return rc;
}

/*
 * Measured, 628 MB of data on ext4 without reflinks, in a virtual machine: through the page cache 0.24 s into memory
 * that was in use before, but 1.0 to 1.8 s into memory the host has to provide first, then 0.3 s to sync, whether by
 * read and write, copy_file_range, splice, or two threads; O_DIRECT writes 0.4 to 0.7 s, with nothing left to sync.
 */
int image_copy(int from, int to, bool keep_cached, struct err *e)
{
	AUTO_FREE char *chunk = NULL;
	struct stat st;

	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	if (fstat(from, &st) < 0 || ftruncate(to, st.st_size) < 0)
		return image_error(e, -errno, "size a copy of an image");
	chunk = aligned_alloc(COPY_ALIGN, COPY_CHUNK);
	if (!chunk)
		return err_sys(e, -ENOMEM, "copy an image");
	bool is_direct = !keep_cached && st.st_size % COPY_ALIGN == 0 && fcntl(to, F_SETFL, O_DIRECT) == 0;
	int rc = data_copy(from, to, chunk, st.st_size);
	if (is_direct && rc == -EINVAL) { /* a file system that takes the flag and not the writes */
		fcntl(to, F_SETFL, 0);
		rc = data_copy(from, to, chunk, st.st_size);
	}
	return rc < 0 ? image_error(e, rc, "copy an image") : 0;
}

bool image_can_clone(int dirfd)
{
	static const char block[4096];
	AUTO_CLOSE int from = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	AUTO_CLOSE int to = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return from >= 0 && to >= 0 && fd_write_all(from, block, sizeof(block)) == 0 && ioctl(to, FICLONE, from) == 0;
}

static int superblock_read(int fd, unsigned char sb[SB_SIZE], struct err *e)
{
	uint16_t magic;

	if (pread(fd, sb, SB_SIZE, SB_AT) != SB_SIZE)
		return err_sys(e, -EIO, "read an image's superblock");
	memcpy(&magic, sb + SB_MAGIC, sizeof(magic));
	if (le16toh(magic) != EXT4_MAGIC)
		return err_kind_set(e, -EUCLEAN, ERR_KIND_INTERNAL, "an image has no ext4 superblock");
	return 0;
}

int image_uuid(int fd, unsigned char out[16], struct err *e)
{
	unsigned char sb[SB_SIZE];
	int rc = superblock_read(fd, sb, e);

	if (rc == 0)
		memcpy(out, sb + SB_UUID, 16);
	return rc;
}

int image_inodes(int fd, uint64_t *total, uint64_t *free_inodes, struct err *e)
{
	unsigned char sb[SB_SIZE];
	uint32_t all, unused;
	int rc = superblock_read(fd, sb, e);

	if (rc < 0)
		return rc;
	memcpy(&all, sb + SB_INODES, sizeof(all));
	memcpy(&unused, sb + SB_FREE_INODES, sizeof(unused));
	*total = le32toh(all);
	*free_inodes = le32toh(unused);
	return 0;
}

int image_fill_device(int fd, struct err *e)
{
	/* -f: no "run e2fsck first"; the kernel has just unmounted it, and the product is checked anyway */
	const char *const argv[] = {RESIZE2FS, "-f", TOOL_PATH, NULL};
	struct tool_result r;
	int rc = tool_run(argv, fd, TOOL_TIMEOUT_MS, &r, e);

	if (rc < 0)
		return rc;
	return tool_succeeded(&r) ? 0 : tool_failed("enlarge an ext4 file system", &r, e);
}

int image_journal_add(int fd, struct err *e)
{
	const char *const argv[] = {TUNE2FS, "-O", "has_journal", "-J", "size=4", TOOL_PATH, NULL};
	struct tool_result r;
	int rc = tool_run(argv, fd, TOOL_TIMEOUT_MS, &r, e);

	if (rc < 0)
		return rc;
	return tool_succeeded(&r) ? 0 : tool_failed("give an ext4 file system a journal", &r, e);
}

int image_grow(int fd, uint64_t size_bytes, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "look at an image");
	if ((uint64_t)st.st_size >= size_bytes)
		return 0;
	if (ftruncate(fd, (off_t)size_bytes) < 0)
		return image_error(e, -errno, "enlarge an image");
	return image_fill_device(fd, e);
}

int image_check(int fd, struct err *e)
{
	const char *const argv[] = {E2FSCK, "-fn", TOOL_PATH, NULL};
	struct tool_result r;
	int rc = tool_run(argv, fd, TOOL_TIMEOUT_MS, &r, e);

	if (rc < 0)
		return rc;
	if (tool_succeeded(&r))
		return 0;
	return err_kind_set(e, -EUCLEAN, ERR_KIND_INTERNAL, "e2fsck finds errors in the volume (status 0x%x): %s",
	        (unsigned)r.status, r.text);
}

/* Exit codes 1 and 2: errors were corrected (e2fsck(8)). */
int image_mend(int fd, struct err *e)
{
	static const char *const how[] = {"-fp", "-fy"};
	struct tool_result r = {0};

	for (size_t i = 0; i < ARRAY_LEN(how); i++) {
		const char *const argv[] = {E2FSCK, how[i], TOOL_PATH, NULL};
		int rc = tool_run(argv, fd, TOOL_TIMEOUT_MS, &r, e);
		if (rc < 0)
			return rc;
		if (WIFEXITED(r.status) && WEXITSTATUS(r.status) < 4)
			return 0;
	}
	return err_kind_set(e, -EUCLEAN, ERR_KIND_INTERNAL, "e2fsck cannot repair the volume (status 0x%x): %s",
	        (unsigned)r.status, r.text);
}

int image_probe(struct err *e)
{
	const char *const tools[] = {MKE2FS, E2FSCK, RESIZE2FS, TUNE2FS};

	for (size_t i = 0; i < ARRAY_LEN(tools); i++)
		if (access(tools[i], X_OK) < 0)
			return err_sys(e, -errno, "the file backend needs %s (install e2fsprogs)", tools[i]);
	return 0;
}
