/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "busy.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

struct names {
	char *out;
	size_t size, len;
};

static __attribute__((format(printf, 2, 3))) void name_add(struct names *n, const char *fmt, ...)
{
	va_list ap;

	if (n->len + 80 > n->size)
		return; /* enough for a sentence */
	if (n->len)
		n->len += (size_t)snprintf(n->out + n->len, n->size - n->len, ", ");
	va_start(ap, fmt);
	n->len += (size_t)vsnprintf(n->out + n->len, n->size - n->len, fmt, ap);
	va_end(ap);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode))
		return S_ISBLK(b->st_mode) && a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static DIR *dir_of(const char *fmt, ...)
{
	char path[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	return opendir(path);
}

static bool process_has(const char *pid, const struct stat *st)
{
	AUTO_DIR DIR *d = dir_of("/proc/%s/fd", pid);
	struct stat other;

	for (struct dirent *entry; d && (entry = readdir(d));)
		if (isdigit((unsigned char)entry->d_name[0]) && fstatat(dirfd(d), entry->d_name, &other, 0) == 0 &&
		        is_same(st, &other))
			return true;
	return false;
}

static void process_add(struct names *n, const char *pid)
{
	char path[300], comm[32] = "?";

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : fd_read_full(fd, comm, sizeof(comm) - 1);
	comm[len > 0 ? len : 1] = 0;
	comm[strcspn(comm, "\n")] = 0;
	name_add(n, "%s (pid %.10s)", comm, pid);
}

static void processes_add(struct names *n, const struct stat *st)
{
	AUTO_DIR DIR *d = opendir("/proc");

	for (struct dirent *entry; d && (entry = readdir(d));)
		if (isdigit((unsigned char)entry->d_name[0]) && atol(entry->d_name) != (long)getpid() &&
		        process_has(entry->d_name, st))
			process_add(n, entry->d_name);
}

/* Devices that are stacked on a block device. */
static void holders_add(struct names *n, const struct stat *st)
{
	AUTO_DIR DIR *d = dir_of("/sys/dev/block/%u:%u/holders", major(st->st_rdev), minor(st->st_rdev));

	for (struct dirent *entry; d && (entry = readdir(d));)
		if (entry->d_name[0] != '.')
			name_add(n, "%.40s", entry->d_name);
}

static void mounts_add(struct names *n, const struct stat *st)
{
	AUTO_FILE FILE *f = fopen("/proc/self/mountinfo", "re");
	AUTO_FREE char *line = NULL;
	char want[32], number[32], where[256];
	size_t cap = 0;

	snprintf(want, sizeof(want), "%u:%u", major(st->st_rdev), minor(st->st_rdev));
	while (f && getline(&line, &cap, f) > 0)
		if (sscanf(line, "%*s %*s %31s %*s %255s", number, where) == 2 && !strcmp(number, want))
			name_add(n, "mounted at %.60s", where);
}

/* A file is held by loop devices, too, which are no descriptors. */
static void loops_add(struct names *n, const struct stat *st)
{
	AUTO_DIR DIR *d = opendir("/sys/block");
	char path[300], file[256];
	struct stat other;

	for (struct dirent *entry; d && (entry = readdir(d));) {
		if (strncmp(entry->d_name, "loop", 4) != 0)
			continue;
		snprintf(path, sizeof(path), "/sys/block/%.40s/loop/backing_file", entry->d_name);
		AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t len = fd < 0 ? -1 : fd_read_full(fd, file, sizeof(file) - 1);
		if (len <= 0)
			continue;
		file[len] = 0;
		file[strcspn(file, "\n")] = 0;
		if (stat(file, &other) == 0 && is_same(st, &other))
			name_add(n, "%.40s", entry->d_name);
	}
}

bool busy_names(const struct stat *st, char *out, size_t size)
{
	struct names n = {.out = out, .size = size};

	out[0] = 0;
	processes_add(&n, st);
	if (S_ISBLK(st->st_mode)) {
		holders_add(&n, st);
		mounts_add(&n, st);
	} else {
		loops_add(&n, st);
	}
	return n.len > 0;
}
