/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fail-at.so, for LD_PRELOAD: ends a program, or lets a call of it fail, at an exact place. It counts the calls by
 * which a program changes what outlives it: device-mapper and loop ioctls, discards, syncs, names made and removed,
 * mounts, child processes. In the environment: FAIL_AT=N     the N-th is not made FAIL_HOW      kill (default): the
 * process gets SIGKILL; else an errno that the call fails with: EIO, ENOSPC, ENOMEM, EBUSY; writes at an offset are
 * counted then, too, because they can fail FAIL_ARM=PATH counted only while this file exists FAIL_LOG=PATH "N CALL" is
 * written there at that place; at the program's end "- COUNT" if it was not reached Children are not counted:
 * LD_PRELOAD is taken out of the environment.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/mount.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long fail_at;
static int fail_errno; /* 0: kill */
static const char *arm_path, *log_path;
static pid_t self;
static atomic_long count;

static void log_line(const char *first, const char *second)
{
	int fd = log_path ? open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;

	if (fd < 0)
		return;
	dprintf(fd, "%s %s\n", first, second);
	close(fd);
}

static __attribute__((constructor)) void set_up(void)
{
	static const struct {
		const char *name;
		int code;
	} errors[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"ENOMEM", ENOMEM}, {"EBUSY", EBUSY}};
	const char *at = getenv("FAIL_AT"), *how = getenv("FAIL_HOW");

	self = getpid();
	fail_at = at ? atol(at) : 0;
	arm_path = getenv("FAIL_ARM");
	log_path = getenv("FAIL_LOG");
	for (size_t i = 0; how && i < sizeof(errors) / sizeof(errors[0]); i++)
		if (!strcmp(how, errors[i].name))
			fail_errno = errors[i].code;
	unsetenv("LD_PRELOAD");
}

static __attribute__((destructor)) void report(void)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", atomic_load(&count));
	if (getpid() == self && (!fail_at || atomic_load(&count) < fail_at))
		log_line("-", text);
}

/* A call is about to be made. True: it shall fail, errno is set. */
static bool step(const char *what, const char *object)
{
	char number[32], text[200];

	if (!fail_at || getpid() != self || (arm_path && access(arm_path, F_OK) < 0))
		return false;
	long n = atomic_fetch_add(&count, 1) + 1;
	if (n != fail_at)
		return false;
	snprintf(number, sizeof(number), "%ld", n);
	snprintf(text, sizeof(text), "%s %s", what, object);
	log_line(number, text);
	if (!fail_errno)
		raise(SIGKILL);
	errno = fail_errno;
	return true;
}

/* --- calls ---------------------------------------------------------------------------------------------------------
 */

/* What changes nothing is not a step. */
static const char *dm_name(unsigned long request)
{
	switch (_IOC_NR(request)) {
	case DM_DEV_CREATE_CMD:
		return "dm create";
	case DM_DEV_REMOVE_CMD:
		return "dm remove";
	case DM_DEV_SUSPEND_CMD:
		return "dm suspend/resume";
	case DM_TABLE_LOAD_CMD:
		return "dm load";
	case DM_TARGET_MSG_CMD:
		return "dm message";
	default:
		return NULL;
	}
}

static const char *request_name(unsigned long request)
{
	if (_IOC_TYPE(request) == DM_IOCTL)
		return dm_name(request);
	switch (request) {
	case BLKDISCARD:
		return "discard";
	case BLKZEROOUT:
		return "zero";
	case LOOP_CONFIGURE:
		return "loop configure";
	case LOOP_SET_CAPACITY:
		return "loop resize";
	case LOOP_CLR_FD:
		return "loop detach";
	case _IOW('f', 16, uint64_t):
		return "ext4 resize";
	default:
		return NULL;
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;

	va_start(ap, request);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	const char *what = request_name(request);
	const struct dm_ioctl *dm = arg;
	if (what && step(what, _IOC_TYPE(request) != DM_IOCTL ? "" : dm->name[0] ? dm->name : dm->uuid))
		return -1;
	return REAL(ioctl)(fd, request, arg);
}

long syscall(long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (size_t i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if ((number == SYS_fsconfig && a[1] == FSCONFIG_CMD_CREATE && step("mount", "")) ||
	        (number == SYS_clone3 && step("start a child", "")))
		return -1;
	return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int fsync(int fd)
{
	return step("fsync", "") ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
	return step("fdatasync", "") ? -1 : REAL(fdatasync)(fd);
}

int syncfs(int fd)
{
	return step("syncfs", "") ? -1 : REAL(syncfs)(fd);
}

int unlink(const char *path)
{
	return step("unlink", path) ? -1 : REAL(unlink)(path);
}

int unlinkat(int fd, const char *path, int flags)
{
	return step("unlinkat", path) ? -1 : REAL(unlinkat)(fd, path, flags);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	return step("rename", to) ? -1 : REAL(renameat2)(from_fd, from, to_fd, to, flags);
}

int rename(const char *from, const char *to)
{
	return step("rename", to) ? -1 : REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode)
{
	return step("mkdir", path) ? -1 : REAL(mkdir)(path, mode);
}

int mkdirat(int fd, const char *path, mode_t mode)
{
	return step("mkdirat", path) ? -1 : REAL(mkdirat)(fd, path, mode);
}

int mknod(const char *path, mode_t mode, dev_t dev)
{
	return step("mknod", path) ? -1 : REAL(mknod)(path, mode, dev);
}

int ftruncate64(int fd, off64_t size)
{
	return step("ftruncate", "") ? -1 : REAL(ftruncate64)(fd, size);
}

/* After a kill, a write that was made is as good as one that was not: the next sync is what counts. */
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t offset)
{
	return fail_errno && step("pwrite", "") ? -1 : REAL(pwrite64)(fd, data, n, offset);
}
