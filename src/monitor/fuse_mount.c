/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A detached FUSE mount: no mount point, so nothing to clean up and nobody to find it; it ends with its last
 * descriptor. Source: fsopen(2), fsmount(2), Documentation/filesystems/fuse.rst "Mount options". */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/openat2.h>

#include "base/cleanup.h"
#include "ipc/ingest.h"
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
	int mount = fsmount(fs, FSMOUNT_CLOEXEC,
	        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME | MOUNT_ATTR_NOSYMFOLLOW);
	if (mount < 0)
		return err_sys(e, -errno, "fsmount fuse");
	*fuse_fd = STEAL_FD(&dev);
	return mount;
}

/* builderd-fs answers these look-ups and may be anybody's by now: it must not lead root to a file of the host. */
int fuse_mount_ingest_open(int mount_fd, struct err *e)
{
	struct open_how how = {.flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW,
	        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
	AUTO_CLOSE int fd = (int)syscall(SYS_openat2, mount_fd, INGEST_NAME, &how, sizeof(how));
	struct stat st;

	if (fd < 0)
		return err_sys(e, -errno, "open the ingest file");
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "look at the ingest file");
	if (!S_ISREG(st.st_mode))
		return err_kind_set(e, -EPROTO, ERR_KIND_INTERNAL, "builderd-fs offers an ingest file that is none");
	return STEAL_FD(&fd);
}
