/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A detached FUSE mount: no mount point, so nothing to clean up and nobody to find it; it ends with its last
 * descriptor. Source: fsopen(2), fsmount(2), Documentation/filesystems/fuse.rst "Mount options". */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "monitor/build.h"

struct option {
	const char *key, *value; /* value NULL: a flag */
};

static int context_set(int fs_fd, const struct option *options, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		enum fsconfig_command how = options[i].value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
		if (fsconfig(fs_fd, how, options[i].key, options[i].value, 0) < 0)
			return -errno;
	}
	return fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ? -errno : 0;
}

int fuse_mount_detached(int *fuse_fd, struct err *e)
{
	AUTO_CLOSE int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	AUTO_CLOSE int fs = -1;
	char number[16];

	if (dev < 0)
		return err_sys(e, -errno, "open /dev/fuse");
	snprintf(number, sizeof(number), "%d", dev);
	const struct option options[] = {
	        {"source", "builderd"},
	        {"fd", number},
	        {"rootmode", "40000"},
	        {"user_id", "0"},
	        {"group_id", "0"},
	        {"allow_other", NULL},
	        {"default_permissions", NULL},
	};
	fs = fsopen("fuse", FSOPEN_CLOEXEC);
	if (fs < 0)
		return err_sys(e, -errno, "fsopen fuse");
	int rc = context_set(fs, options, ARRAY_LEN(options));
	if (rc < 0)
		return err_sys(e, rc, "configure a FUSE mount");
	int mount = fsmount(
	        fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME);
	if (mount < 0)
		return err_sys(e, -errno, "fsmount fuse");
	*fuse_fd = STEAL_FD(&dev);
	return mount;
}
