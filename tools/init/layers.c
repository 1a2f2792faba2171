/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/init/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "ipc/ingest.h"
#include "tools/init/say.h"

#define LAYERS "/" INGEST_LAYERS
#define GUEST LAYERS "/guest"

static int device_fd = -1; /* the root below */

/* "/layers/002:/layers/001:/layers/000", empty if there is none. */
static unsigned layers_list(struct buf *list)
{
	unsigned n = 0;
	struct stat st;

	for (; n < INGEST_LAYERS_MAX; n++) {
		char path[64];
		snprintf(path, sizeof(path), LAYERS "/" INGEST_LAYER_NAME, n);
		if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
			break;
	}
	for (unsigned i = n; i > 0; i--)
		buf_printf(list, "%s" LAYERS "/" INGEST_LAYER_NAME, i < n ? ":" : "", i - 1);
	return n;
}

static int dir_make(const char *path)
{
	return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/* The guest's own layer has the attributes of the topmost, which are those of the root. */
static int guest_make(unsigned n)
{
	char top[64];
	struct stat st;
	int rc = dir_make(GUEST);

	if (rc == 0)
		rc = dir_make(GUEST "/work");
	if (rc < 0 || access(GUEST "/upper", F_OK) == 0)
		return rc;
	snprintf(top, sizeof(top), LAYERS "/" INGEST_LAYER_NAME, n - 1);
	rc = dir_make(GUEST "/upper");
	if (rc == 0 && (stat(top, &st) < 0 || chown(GUEST "/upper", st.st_uid, st.st_gid) < 0 ||
	                       chmod(GUEST "/upper", st.st_mode & 07777) < 0))
		rc = -errno;
	return rc;
}

void layers_mount(void)
{
	AUTO_BUF struct buf list = {0};
	unsigned n = layers_list(&list);

	if (!n)
		return;
	int rc = guest_make(n);
	if (rc < 0) {
		say("the root is read-only: %s", strerror(-rc));
		if (n == 1) /* overlayfs wants two */
			buf_puts(&list, ":" LAYERS);
	}
	AUTO_FREE char *options = xasprintf("userxattr,lowerdir=%s%s", buf_cstr(&list),
	        rc < 0 ? "" : ",upperdir=" GUEST "/upper,workdir=" GUEST "/work");
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Over the directory that it is made of: overlayfs holds the layers itself. */
	if (mount("overlay", LAYERS, "overlay", 0, options) < 0 || chdir(LAYERS) < 0 ||
	        mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		say("cannot put the layers together: %s", strerror(errno));
	else
		device_fd = root;
}

void layers_end(void)
{
	char path[32];

	if (device_fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", device_fd);
	mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL);
}
