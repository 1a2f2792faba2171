/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/openat2.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define ROOT_NAME "rootfs.ext4"
#define METADATA_NAME "metadata.json"
#define COPY_MODE 0444 /* of what root owns in there */

struct temp_name {
	char text[32];
};

static struct temp_name temp_name(void)
{
	struct temp_name n;
	uint64_t r = 0;

	while (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
		;
	snprintf(n.text, sizeof(n.text), ".builderd-%016llx", (unsigned long long)r);
	return n;
}

int jail_base_open(const char *dir, int *out, struct err *e)
{
	*out = -1;
	if (!dir || !*dir)
		return 0;
	*out = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *out < 0 ? err_sys(e, -errno, "open the jails' directory %s", dir) : 0;
}

static int jail_open(int base, const char *jail, struct err *e)
{
	const struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
	        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};

	if (base < 0)
		return err_set(e, -EOPNOTSUPP, "nothing is placed in jails: JAIL_DIR is not configured");
	long fd = syscall(SYS_openat2, base, jail, &how, sizeof(how));
	if (fd < 0 && (errno == ELOOP || errno == EXDEV))
		return err_set(e, -errno, "the jail \"%s\" leads out of the jails' directory, or over a link", jail);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return err_set(e, -ENOTDIR, "there is no jail \"%s\"", jail);
	return fd < 0 ? err_sys(e, -errno, "open the jail \"%s\"", jail) : (int)fd;
}

/* --- what is ours ------------------------------------------------------------------------------------------------ */

static bool is_roots_copy(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_uid == 0 && (st->st_mode & 07777) == COPY_MODE;
}

static bool is_our_root(const struct jail_root *root, const struct stat *st)
{
	struct stat file;

	if (root->dev)
		return S_ISBLK(st->st_mode);
	if (!root->is_private)
		return is_roots_copy(st);
	return fstat(root->fd, &file) == 0 && file.st_dev == st->st_dev && file.st_ino == st->st_ino;
}

/* TEMP gets NAME. The directory's owner may have put something else under TEMP meanwhile: that is then in his way, not
 * in ours. */
static int name_give(int dir, const char *temp, const char *name, bool may_replace, struct err *e)
{
	if (renameat2(dir, temp, dir, name, may_replace ? 0 : RENAME_NOREPLACE) == 0)
		return 0;
	int rc = -errno;
	unlinkat(dir, temp, 0);
	if (rc == -EEXIST)
		return err_set(e, -ENOTEMPTY, "%s exists in the jail", name);
	return err_sys(e, rc, "name %s in the jail", name);
}

/* --- rootfs.ext4 ------------------------------------------------------------------------------------------------- */

/* By descriptor: the name is in a directory that is not ours. */
static int owner_give(int fd, const struct stat *dir, mode_t mode)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fchownat(fd, "", dir->st_uid, dir->st_gid, AT_EMPTY_PATH) < 0 || chmod(path, mode) < 0)
		return -errno;
	return 0;
}

static int node_make(int dir, const struct jail_root *root, const struct stat *owner, const char *temp, struct err *e)
{
	struct stat st;

	if (mknodat(dir, temp, S_IFBLK, root->dev) < 0)
		return err_sys(e, -errno, "make a device node in the jail");
	AUTO_CLOSE int fd = openat(dir, temp, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int rc = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;
	if (rc == 0 && (!S_ISBLK(st.st_mode) || st.st_rdev != root->dev || st.st_nlink != 1))
		rc = -EBUSY; /* somebody is playing with the name */
	if (rc == 0)
		rc = owner_give(fd, owner, root->is_read_only ? 0400 : 0600);
	if (rc < 0)
		unlinkat(dir, temp, 0);
	return rc < 0 ? err_sys(e, rc, "give a device node to the jail's owner") : 0;
}

static int file_link(int dir, const struct jail_root *root, const struct stat *owner, const char *temp, struct err *e)
{
	char path[32];
	int rc = owner_give(root->fd, owner, root->is_read_only ? 0400 : 0600);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", root->fd);
	if (rc == 0 && linkat(AT_FDCWD, path, dir, temp, AT_SYMLINK_FOLLOW) < 0)
		rc = -errno;
	if (rc == -EXDEV)
		return err_set(e, -EOPNOTSUPP, "the jail is on another file system than the clone: it cannot have it");
	return rc < 0 ? err_sys(e, rc, "link the clone into the jail") : 0;
}

static int file_copy(int dir, const struct jail_root *root, const char *temp, struct err *e)
{
	AUTO_CLOSE int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);

	if (fd < 0)
		return err_sys(e, -errno, "make a file in the jail");
	if (ioctl(fd, FICLONE, root->fd) == 0 && fchmod(fd, COPY_MODE) == 0)
		return 0;
	int rc = -errno;
	unlinkat(dir, temp, 0);
	if (rc == -EOPNOTSUPP || rc == -EXDEV || rc == -EINVAL || rc == -ENOTTY)
		return err_set(e, -EOPNOTSUPP,
		        "the jail's file system cannot share blocks with the rootfs: open its path read-only, or take "
		        "a "
		        "COW lease");
	return err_sys(e, rc, "share the rootfs with the jail");
}

static int root_make(int dir, const struct jail_root *root, const char *temp, struct err *e)
{
	struct stat owner;

	if (fstat(dir, &owner) < 0)
		return err_sys(e, -errno, "look at the jail");
	if (root->dev)
		return node_make(dir, root, &owner, temp, e);
	return root->is_private ? file_link(dir, root, &owner, temp, e) : file_copy(dir, root, temp, e);
}

/* 1: there is one already, of this lease, and it is right. */
static int root_look(int dir, const struct jail_root *root, bool may_replace, struct err *e)
{
	struct stat st;

	if (fstatat(dir, ROOT_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "look at " ROOT_NAME " in the jail");
	if (!may_replace || !is_our_root(root, &st))
		return err_set(e, -ENOTEMPTY, ROOT_NAME " exists in the jail%s", may_replace ? " and is not ours" : "");
	return root->dev ? st.st_rdev == root->dev : 1;
}

static int root_place(int dir, const struct jail_root *root, bool may_replace, struct err *e)
{
	struct temp_name temp = temp_name();
	int rc = root_look(dir, root, may_replace, e);

	if (rc)
		return rc < 0 ? rc : 0;
	rc = root_make(dir, root, temp.text, e);
	return rc < 0 ? rc : name_give(dir, temp.text, ROOT_NAME, may_replace, e);
}

/* --- metadata.json ----------------------------------------------------------------------------------------------- */

static int metadata_place(int dir, const char *metadata, size_t len, bool may_replace, struct err *e)
{
	struct temp_name temp = temp_name();
	struct stat st;

	if (may_replace && fstatat(dir, METADATA_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 && !is_roots_copy(&st))
		return err_set(e, -ENOTEMPTY, METADATA_NAME " exists in the jail and is not ours");
	AUTO_CLOSE int fd = openat(dir, temp.text, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
	if (fd < 0)
		return err_sys(e, -errno, "make a file in the jail");
	int rc = fd_write_all(fd, metadata, len);
	if (rc == 0 && fchmod(fd, COPY_MODE) < 0)
		rc = -errno;
	if (rc < 0) {
		unlinkat(dir, temp.text, 0);
		return err_sys(e, rc, "write " METADATA_NAME " in the jail");
	}
	return name_give(dir, temp.text, METADATA_NAME, may_replace, e);
}

/* --- both -------------------------------------------------------------------------------------------------------- */

static void root_clear(int dir, const struct jail_root *root)
{
	struct stat st;

	if (fstatat(dir, ROOT_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_our_root(root, &st) &&
	        (!root->dev || st.st_rdev == root->dev))
		unlinkat(dir, ROOT_NAME, 0);
}

int jail_place(int base, const char *jail, const struct jail_root *root, const char *metadata, size_t len,
        bool may_replace, struct err *e)
{
	AUTO_CLOSE int dir = jail_open(base, jail, e);
	int rc = dir < 0 ? dir : root_place(dir, root, may_replace, e);

	if (rc < 0 || !metadata)
		return rc;
	rc = metadata_place(dir, metadata, len, may_replace, e);
	if (rc < 0)
		root_clear(dir, root);
	return rc;
}

int jail_clear(int base, const char *jail, const struct jail_root *root, struct err *e)
{
	AUTO_CLOSE int dir = jail_open(base, jail, e);
	struct stat st;

	if (dir < 0)
		return dir == -ENOTDIR ? 0 : dir;
	root_clear(dir, root);
	if (fstatat(dir, METADATA_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_roots_copy(&st))
		unlinkat(dir, METADATA_NAME, 0);
	return 0;
}
