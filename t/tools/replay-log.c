/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replay-log LOG DEVICE ENTRY: does to DEVICE what dm-log-writes wrote down in LOG, from entry ENTRY (0 is the first)
 * to the next one that made the disk keep what it had (a flush, or a write with FUA), and prints the number of the
 * entry after it; "end" when there is none. Marks on the way are printed before, one a line. The format: Linux
 * Documentation/admin-guide/device-mapper/log-writes.rst and drivers/md/dm-log-writes.c.
 */
#include <endian.h>
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/fs.h>

#define MAGIC 0x6a736677736872ull
#define FLAG_FLUSH 1u
#define FLAG_FUA 2u
#define FLAG_DISCARD 4u
#define FLAG_MARK 8u
#define CHUNK (1u << 20)

struct super {
	uint64_t magic, version, n_entries;
	uint32_t sector_size;
} __attribute__((packed));

struct entry {
	uint64_t sector, n_sectors, flags, data_len;
};

static int log_fd, device_fd;
static uint64_t sector_size;

static void read_at(void *to, size_t n, uint64_t at)
{
	if (pread(log_fd, to, n, (off_t)at) != (ssize_t)n)
		err(1, "read the log at %ju", (uintmax_t)at);
}

static void write_replay(uint64_t from, uint64_t to, uint64_t n)
{
	static char chunk[CHUNK];

	for (uint64_t done = 0; done < n;) {
		size_t step = n - done < CHUNK ? (size_t)(n - done) : CHUNK;
		read_at(chunk, step, from + done);
		if (pwrite(device_fd, chunk, step, (off_t)(to + done)) != (ssize_t)step)
			err(1, "write at %ju", (uintmax_t)(to + done));
		done += step;
	}
}

/* What a discard leaves behind is zeros, or anything: zeros here. */
static void discard_replay(uint64_t at, uint64_t n)
{
	uint64_t range[2] = {at, n};

	if (ioctl(device_fd, BLKZEROOUT, range) < 0)
		err(1, "zero %ju bytes at %ju", (uintmax_t)n, (uintmax_t)at);
}

/* ENTRY lies at *AT; afterwards *AT is the next one's place. Returns its flags. */
static uint64_t entry_replay(uint64_t *at, int is_wanted)
{
	struct entry e;

	read_at(&e, sizeof(e), *at);
	uint64_t flags = le64toh(e.flags), n = le64toh(e.n_sectors) * sector_size;
	uint64_t to = le64toh(e.sector) * sector_size, data = *at + sector_size;
	if (is_wanted && flags & FLAG_MARK) {
		char text[256] = {0};
		size_t len = le64toh(e.data_len);
		read_at(text, len < sizeof(text) ? len : sizeof(text) - 1, *at + sizeof(e));
		puts(text);
	} else if (is_wanted && flags & FLAG_DISCARD) {
		discard_replay(to, n);
	} else if (is_wanted && n) {
		write_replay(data, to, n);
	}
	*at = data + (flags & (FLAG_DISCARD | FLAG_MARK) ? 0 : n);
	return flags;
}

int main(int argc, char **argv)
{
	struct super s;

	if (argc != 4)
		errx(2, "usage: replay-log LOG DEVICE ENTRY");
	uint64_t first = strtoull(argv[3], NULL, 10);
	log_fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	device_fd = open(argv[2], O_RDWR | O_CLOEXEC);
	if (log_fd < 0 || device_fd < 0)
		err(1, "open %s, %s", argv[1], argv[2]);
	read_at(&s, sizeof(s), 0);
	if (le64toh(s.magic) != MAGIC || le64toh(s.version) != 1)
		errx(1, "%s is not a log", argv[1]);
	sector_size = le32toh(s.sector_size);
	uint64_t at = sector_size;
	for (uint64_t i = 0; i < le64toh(s.n_entries); i++) {
		uint64_t flags = entry_replay(&at, i >= first);
		if (i < first || !(flags & (FLAG_FLUSH | FLAG_FUA)))
			continue;
		if (fsync(device_fd) < 0)
			err(1, "sync");
		printf("%ju\n", (uintmax_t)i + 1);
		return 0;
	}
	puts("end");
	return fsync(device_fd) < 0;
}
