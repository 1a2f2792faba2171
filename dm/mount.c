/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file of its own because <linux/mount.h> and <sys/mount.h> disagree in glibc 2.36: only the former is used here. */
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/mount.h>

#include "base/cleanup.h"

struct setting {
	const char *key, *value; /* value NULL: a flag */
};

enum how { HOW_BUILD, HOW_DURABLE, HOW_LOOK };

static const struct {
	struct setting setting;
	unsigned hows; /* bits */
} settings[] = {
        {{"nobarrier", NULL}, 1 << HOW_BUILD}, /* a build is made durable once, at seal */
        /* the tables of a sparse file, of a new thin device are zero */
        {{"noinit_itable", NULL}, 1 << HOW_BUILD | 1 << HOW_DURABLE},
        {{"errors", "remount-ro"}, 1 << HOW_BUILD | 1 << HOW_DURABLE},
        {{"ro", NULL}, 1 << HOW_LOOK},
        {{"noload", NULL}, 1 << HOW_LOOK},
};

/* What the file system had to say about the failure: "e ext4: ..." lines behind the fsopen descriptor. */
static int fs_error(struct err *e, int fs, const char *what, const char *device)
{
	int code = -errno;
	char text[200];
	ssize_t n = read(fs, text, sizeof(text) - 1);

	if (n <= 0)
		return err_sys(e, code, "%s %s", what, device);
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	return err_sys(e, code, "%s %s: %s", what, device, text);
}

static int fs_set(int fs, const struct setting *s)
{
	return (int)syscall(SYS_fsconfig, fs, s->value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, s->key, s->value, 0);
}

/* Returns the mount, attached nowhere. */
static int mount_ext4(const char *device, enum how how, struct err *e)
{
	const struct setting source = {"source", device};
	AUTO_CLOSE int fs = (int)syscall(SYS_fsopen, "ext4", FSOPEN_CLOEXEC);

	if (fs < 0)
		return err_sys(e, -errno, "start mounting an ext4");
	if (fs_set(fs, &source) < 0)
		return fs_error(e, fs, "name the device", device);
	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if (settings[i].hows & 1u << how && fs_set(fs, &settings[i].setting) < 0)
			return fs_error(e, fs, settings[i].setting.key, device);
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fs_error(e, fs, "mount", device);
	int mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
	        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME |
	                (how == HOW_LOOK ? MOUNT_ATTR_RDONLY : 0));
	return mnt < 0 ? fs_error(e, fs, "mount", device) : mnt;
}

static int mount_root(const char *device, enum how how, struct err *e)
{
	AUTO_CLOSE int mnt = mount_ext4(device, how, e);

	if (mnt < 0)
		return mnt;
	/* Closing mnt takes the mount out of its own namespace; the root's descriptor keeps it alive and usable. */
	int root = openat(mnt, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return root < 0 ? err_sys(e, -errno, "open the root of %s", device) : root;
}

int mount_detached(const char *device, struct err *e)
{
	return mount_root(device, HOW_BUILD, e);
}

int mount_detached_durable(const char *device, struct err *e)
{
	return mount_root(device, HOW_DURABLE, e);
}

int mount_detached_look(const char *device, struct err *e)
{
	return mount_root(device, HOW_LOOK, e);
}

int mount_look(const char *device, struct err *e)
{
	return mount_ext4(device, HOW_LOOK, e);
}

static bool has_filesystem(const char *want)
{
	AUTO_FILE FILE *f = fopen("/proc/filesystems", "re");
	char line[128], name[64];

	while (f && fgets(line, sizeof(line), f))
		if ((sscanf(line, "nodev %63s", name) == 1 || sscanf(line, " %63s", name) == 1) && !strcmp(name, want))
			return true;
	return false;
}

/* fsopen() loads the module if there is one. */
static int filesystem_probe(const char *name, struct err *e)
{
	AUTO_CLOSE int fs = (int)syscall(SYS_fsopen, name, FSOPEN_CLOEXEC);

	if (fs >= 0 || has_filesystem(name))
		return 0;
	return err_sys(e, -errno, "the kernel has no %s: load or build its module", name);
}

int mount_probe(struct err *e)
{
	int rc = filesystem_probe("ext4", e);

	return rc < 0 ? rc : filesystem_probe("fuse", e);
}
