/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The private root. What stays visible is taken as detached bind mounts first (open_tree), because the tmpfs may cover
 * it; then tmpfs, exceptions moved in, pivot_root, and the old root is detached: there is no path back to it.
 */
#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/mount.h>

#include "base/buf.h"
#include "base/cleanup.h"

/* Where the tmpfs is mounted for a moment; which directory does not matter, but one must exist. */
#define STAGE "/tmp"

#define ROOT_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define BINDS_MAX 16

struct bind {
	const char *path;
	int tree; /* owns: a detached copy of the mount at PATH */
};

struct binds {
	struct bind list[BINDS_MAX];
	size_t n;
};

static void binds_cleanup(struct binds *b)
{
	for (size_t i = 0; i < b->n; i++)
		cleanup_close(&b->list[i].tree);
}

/* A symbolic link is followed: what it leads to appears in its place (/etc/resolv.conf often is one). */
static int bind_take(struct binds *b, const char *path, bool is_writable, struct err *e)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};

	if (!is_writable)
		attr.attr_set |= MOUNT_ATTR_RDONLY;
	if (b->n == BINDS_MAX)
		return err_set(e, -E2BIG, "more than %d paths to keep in a private root", BINDS_MAX);
	AUTO_CLOSE int tree =
	        (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (tree < 0 && errno == ENOENT && !is_writable)
		return 0;
	if (tree < 0)
		return err_sys(e, -errno, "take %s into a private root", path);
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return err_sys(e, -errno, "restrict the mount of %s", path);
	b->list[b->n++] = (struct bind){.path = path, .tree = STEAL_FD(&tree)};
	return 0;
}

static int binds_take(struct binds *b, const struct root_plan *plan, struct err *e)
{
	int rc = 0;

	for (const char *const *p = plan->read_only; p && *p && rc == 0; p++)
		rc = bind_take(b, *p, false, e);
	if (plan->writable && rc == 0)
		rc = bind_take(b, plan->writable, true, e);
	return rc;
}

static int mkdir_or_there(const char *path, struct err *e)
{
	return mkdir(path, 0755) < 0 && errno != EEXIST ? err_sys(e, -errno, "make %s in a private root", path) : 0;
}

/* Make the parents of PATH (relative to the new root, the current directory), then PATH itself, as a directory or as a
 * file. */
static int target_make(char *path, bool is_dir, struct err *e)
{
	int rc = 0;

	for (char *slash = strchr(path, '/'); slash && rc == 0; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		rc = mkdir_or_there(path, e);
		*slash = '/';
	}
	if (rc < 0 || is_dir)
		return rc < 0 ? rc : mkdir_or_there(path, e);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0444);
	return fd < 0 ? err_sys(e, -errno, "make %s in a private root", path) : 0;
}

static int bind_put(const struct bind *b, struct err *e)
{
	struct stat st;
	AUTO_FREE char *path = xstrdup(b->path + strspn(b->path, "/"));

	if (fstat(b->tree, &st) < 0)
		return err_sys(e, -errno, "look at %s", b->path);
	int rc = target_make(path, S_ISDIR(st.st_mode), e);
	if (rc < 0)
		return rc;
	if (syscall(SYS_move_mount, b->tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(e, -errno, "mount %s in a private root", b->path);
	return 0;
}

/* hidepid=2, subset=pid: only processes one may trace, none of the system's files. */
static int proc_put(struct err *e)
{
	int rc = mkdir_or_there("proc", e);

	if (rc == 0 && mount("proc", "proc", "proc", ROOT_FLAGS | MS_RDONLY, "hidepid=2,subset=pid") < 0)
		rc = err_sys(e, -errno, "mount /proc in a private root");
	return rc;
}

static int root_switch(struct err *e)
{
	/* pivot_root(2), "pivot_root(".", ".")": the old root ends up mounted on the new one, and is then detached. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_sys(e, -errno, "make the private root the root");
	if (umount2(".", MNT_DETACH) < 0)
		return err_sys(e, -errno, "detach the host's root");
	if (chdir("/") < 0)
		return err_sys(e, -errno, "enter the private root");
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | ROOT_FLAGS, NULL) < 0)
		return err_sys(e, -errno, "make the private root read-only");
	return 0;
}

int root_enter(const struct root_plan *plan, struct err *e)
{
	__attribute__((cleanup(binds_cleanup))) struct binds binds = {0};

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(e, -errno, "cut the mounts off from the host's");
	int rc = binds_take(&binds, plan, e);
	if (rc < 0)
		return rc;
	if (mount("tmpfs", STAGE, "tmpfs", ROOT_FLAGS, "mode=0755,size=256k,nr_inodes=256") < 0)
		return err_sys(e, -errno, "mount a private root on " STAGE);
	if (chdir(STAGE) < 0)
		return err_sys(e, -errno, "enter " STAGE);
	for (size_t i = 0; i < binds.n && rc == 0; i++)
		rc = bind_put(&binds.list[i], e);
	if (rc == 0 && plan->has_proc)
		rc = proc_put(e);
	return rc < 0 ? rc : root_switch(e);
}
