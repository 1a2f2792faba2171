/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into drive-volume by t/vm/dm-lease.sh: kills it before the Nth step that leaves a trace (CRASH_AT):
 * device-mapper's ioctls, syncs, new nodes and names. Steps count while the file CRASH_FLAG exists. CRASH_COUNT is a
 * file that gets "ioctls steps" at each of them.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DM_IOCTL_TYPE 0xfd

static long steps, ioctls;

static int is_on(void)
{
	const char *flag = getenv("CRASH_FLAG");

	return flag && access(flag, F_OK) == 0;
}

static void tell(void)
{
	const char *path = getenv("CRASH_COUNT");
	char text[64];
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;

	if (fd < 0)
		return;
	int n = snprintf(text, sizeof(text), "%ld %ld\n", ioctls, steps);
	if (write(fd, text, (size_t)n) < 0)
		abort();
	close(fd);
}

static void step(void)
{
	const char *at = getenv("CRASH_AT");
	long n = at ? atol(at) : 0;

	if (!is_on())
		return;
	steps++;
	tell();
	if (steps == n)
		kill(getpid(), SIGKILL);
}

int ioctl(int fd, unsigned long request, ...)
{
	static int (*next)(int, unsigned long, ...);
	va_list ap;

	va_start(ap, request);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "ioctl");
	if (_IOC_TYPE(request) != DM_IOCTL_TYPE)
		return next(fd, request, arg);
	ioctls += is_on();
	step();
	return next(fd, request, arg);
}

#define WRAP(name, params, args)                                                                                       \
	int name params                                                                                                \
	{                                                                                                              \
		static int(*next) params;                                                                              \
		if (!next)                                                                                             \
			*(void **)&next = dlsym(RTLD_NEXT, #name);                                                     \
		step();                                                                                                \
		return next args;                                                                                      \
	}

WRAP(fsync, (int fd), (fd))
WRAP(fdatasync, (int fd), (fd))
WRAP(mknodat, (int dir, const char *path, mode_t mode, dev_t dev), (dir, path, mode, dev))
WRAP(renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags))
