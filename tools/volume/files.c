/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/volume/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/mount.h> /* not with <sys/mount.h>: they disagree in glibc 2.36 */

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"

/* --- export --------------------------------------------------------------------------------------------------------
 */

int export_begin(const struct options *o, int *fd, struct err *e)
{
	*fd = open(o->args[1], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return *fd < 0 ? err_sys(e, -errno, "make the file %s", o->args[1]) : 0;
}

static int map_write(const char *file, const char *json, struct err *e)
{
	AUTO_FREE char *path = xasprintf("%s.json", file);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int rc = fd < 0 ? -errno : fd_write_all(fd, json, strlen(json));

	if (rc == 0)
		rc = fd_write_all(fd, "\n", 1);
	return rc < 0 ? err_sys(e, rc, "write the map %s", path) : 0;
}

int export_end(const struct options *o, int rc, int result_fd, const char *json, struct err *e)
{
	if (rc == 0 && o->delta)
		rc = map_write(o->args[1], json, e);
	if (rc < 0)
		unlink(o->args[1]);
	return rc;
}

/* --- header --------------------------------------------------------------------------------------------------------
 */

static bool is_restore(const struct options *o)
{
	return !strcmp(o->args[0], "restore");
}

int header_begin(const struct options *o, int *fd, struct err *e)
{
	int flags = is_restore(o) ? O_RDONLY : O_RDWR | O_CREAT | O_EXCL;

	*fd = open(o->args[2], flags | O_CLOEXEC, 0400);
	return *fd < 0 ? err_sys(e, -errno, "%s the file %s", is_restore(o) ? "open" : "make", o->args[2]) : 0;
}

int header_end(const struct options *o, int rc, int result_fd, const char *json, struct err *e)
{
	if (rc < 0 && !is_restore(o))
		unlink(o->args[2]);
	return rc;
}

/* --- mount ---------------------------------------------------------------------------------------------------------
 */

int mount_begin(const struct options *o, int *fd, struct err *e)
{
	AUTO_CLOSE int dir = open(o->args[1], O_PATH | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? err_sys(e, -errno, "open the directory %s", o->args[1]) : 0;
}

int mount_end(const struct options *o, int rc, int result_fd, const char *json, struct err *e)
{
	AUTO_CLOSE int dir = open(o->args[1], O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (rc < 0)
		return rc;
	if (dir < 0 ||
	        syscall(SYS_move_mount, result_fd, "", dir, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(e, -errno, "mount at %s", o->args[1]);
	return 0;
}

/* --- umount --------------------------------------------------------------------------------------------------------
 */

/* In mountinfo a blank is \040; a path of ours has none that matters here: others are compared as they are. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		unsigned code;
		if (*s == '\\' && sscanf(s + 1, "%3o", &code) == 1) {
			*out++ = (char)code;
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = 0;
}

/* The source of the newest mount at DIR (absolute). */
static int source_find(const char *dir, char source[PATH_MAX], struct err *e)
{
	AUTO_FILE FILE *f = fopen("/proc/self/mountinfo", "re");
	AUTO_FREE char *line = NULL;
	char at[PATH_MAX];
	size_t cap = 0;

	source[0] = 0;
	while (f && getline(&line, &cap, f) > 0) {
		const char *rest = strstr(line, " - ");
		if (!rest || sscanf(line, "%*s %*s %*s %*s %4095s", at) != 1)
			continue;
		unescape(at);
		if (strcmp(at, dir) != 0)
			continue;
		sscanf(rest, " - %*s %4095s", source);
	}
	return source[0] ? 0 : err_set(e, -EINVAL, "nothing is mounted at %s", dir);
}

/* SOURCE is a device of builderd's pools, or a loop device over one of its images. */
static bool source_is_ours(const char *source)
{
	AUTO_FREE char *path = xasprintf("/sys/block/%s/loop/backing_file", strrchr(source, '/') + 1);
	AUTO_FILE FILE *f = fopen(path, "re");
	char file[PATH_MAX] = "";

	if (!strncmp(source, "/dev/mapper/builderd-", strlen("/dev/mapper/builderd-")))
		return true;
	return f && fgets(file, sizeof(file), f) && strstr(file, "/tenants/") && strstr(file, ".ext4");
}

int umount_fill(const struct options *o, struct msg_admin_request *r, struct err *e)
{
	AUTO_FREE char *dir = realpath(o->args[0], NULL);
	char source[PATH_MAX];

	if (!dir)
		return err_sys(e, -errno, "find %s", o->args[0]);
	int rc = source_find(dir, source, e);
	if (rc < 0)
		return rc;
	if (source[0] != '/' || !source_is_ours(source))
		return err_set(e, -EINVAL, "%s was not mounted by builder-volume: it is %s", dir, source);
	if (syscall(SYS_umount2, dir, 0) < 0)
		return err_sys(e, -errno, "unmount %s", dir);
	snprintf(r->id, sizeof(r->id), "%.100s", strrchr(source, '/') + 1);
	return 0;
}
