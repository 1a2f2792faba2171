/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "loopdev.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include <linux/loop.h>

#include "base/cleanup.h"
#include "base/loop.h"

#define CONTROL "/dev/loop-control"
#define ATTEMPTS 100

const char *loopdev_path(const struct loopdev *l, char out[LOOPDEV_PATH_MAX])
{
	snprintf(out, LOOPDEV_PATH_MAX, "/dev/loop%d", l->number);
	return out;
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* In a container /dev is no devtmpfs, and the node of a new device is missing. */
static int node_open(const struct loopdev *l, struct err *e)
{
	char path[LOOPDEV_PATH_MAX];

	loopdev_path(l, path);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT &&
	        (mknod(path, S_IFBLK | 0600, makedev(7, (unsigned)l->number)) == 0 || errno == EEXIST))
		fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? err_sys(e, -errno, "open %s", path) : fd;
}

int loopdev_attach(struct loopdev *l, int fd, const char *name, struct err *e)
{
	/* Not direct I/O: the copy into a chain and the checksum that follow an unmount then read from memory. */
	struct loop_config config = {.fd = (unsigned)fd, .block_size = 4096, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
	AUTO_CLOSE int control = open(CONTROL, O_RDWR | O_CLOEXEC);

	if (control < 0)
		return err_sys(e, -errno, "open " CONTROL);
	snprintf((char *)config.info.lo_file_name, sizeof(config.info.lo_file_name), "%s", name);
	for (int i = 0; i < ATTEMPTS; i++) {
		struct loopdev got = {.fd = -1, .number = ioctl(control, LOOP_CTL_GET_FREE)};
		if (got.number < 0)
			return err_sys(e, -errno, "get a free loop device");
		AUTO_CLOSE int device = node_open(&got, e);
		if (device < 0)
			return device;
		if (ioctl(device, LOOP_CONFIGURE, &config) == 0) {
			l->number = got.number;
			l->fd = STEAL_FD(&device);
			return 0;
		}
		if (errno != EBUSY) /* EBUSY: somebody was faster */
			return err_sys(e, -errno, "attach an image to /dev/loop%d", got.number);
		sleep_ms(i < 10 ? 0 : 10);
	}
	return err_set(e, -EBUSY, "every free loop device was taken by somebody else, %d times", ATTEMPTS);
}

int loopdev_resize(const struct loopdev *l, struct err *e)
{
	if (ioctl(l->fd, LOOP_SET_CAPACITY, 0) < 0)
		return err_sys(e, -errno, "enlarge /dev/loop%d", l->number);
	return 0;
}

/* Is the device still attached to the file that INFO describes? Opening it may make ours the last close: autoclear. */
static bool is_attached(const struct loopdev *l, const struct loop_info64 *info)
{
	char path[LOOPDEV_PATH_MAX];
	struct loop_info64 now;
	AUTO_CLOSE int fd = open(loopdev_path(l, path), O_RDONLY | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, LOOP_GET_STATUS64, &now) < 0)
		return false;
	return now.lo_device == info->lo_device && now.lo_inode == info->lo_inode;
}

int loopdev_release(struct loopdev *l, int timeout_ms, struct err *e)
{
	int64_t deadline = time_mono_ms() + timeout_ms;
	struct loop_info64 info;

	if (l->fd < 0)
		return 0;
	int rc = ioctl(l->fd, LOOP_GET_STATUS64, &info) < 0 ? -errno : 0;
	cleanup_close(&l->fd);
	if (rc == -ENXIO) /* somebody detached it by hand */
		return 0;
	if (rc < 0)
		return err_sys(e, rc, "ask /dev/loop%d", l->number);
	for (long wait = 1; is_attached(l, &info); wait = wait < 20 ? wait * 2 : 20) {
		if (time_mono_ms() > deadline)
			return err_set(e, -EBUSY, "/dev/loop%d is still in use after %d ms", l->number, timeout_ms);
		sleep_ms(wait);
	}
	return 0;
}

int loopdev_probe(struct err *e)
{
	AUTO_CLOSE int control = open(CONTROL, O_RDWR | O_CLOEXEC);

	if (control < 0)
		return err_sys(e, -errno,
		        "the file backend needs loop devices: open " CONTROL " (modprobe loop; in a container, "
		        "let it have the device)");
	return 0;
}
