/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Overlay mode: a volume keeps layer N below INGEST_LAYERS, each a directory that the kernel's overlayfs can stack. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuse/overlay.h"
#include "ipc/ingest.h"

/* Open NAME in DIRFD, made if it is missing with what FROM (-1: root, 0755) has. */
static int dir_make(struct fs *fs, int dirfd, const char *name, int from)
{
	uint64_t reserved = fs_dir_growth(fs) + 2 * fs->block;
	struct stat was, st;
	int rc = fstat(dirfd, &was) < 0 ? -errno : ledger_reserve(&fs->ledger, reserved, 1, NULL);

	if (rc < 0)
		return rc;
	if (mkdirat(dirfd, name, 0755) < 0) {
		rc = errno == EEXIST ? 0 : -errno;
		ledger_credit(&fs->ledger, reserved, 1);
		return rc < 0 ? rc : openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	}
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (from >= 0)
		rc = copy_up_attrs(from, fd);
	else if (fchown(fd, 0, 0) < 0)
		rc = -errno;
	if (rc == 0)
		rc = fs_charge_fd(fs, fd, 2 * fs->block, 0, &st);
	if (rc == 0)
		rc = fs_charge_fd(fs, dirfd, fs_dir_growth(fs), stat_bytes(&was), &st);
	return rc < 0 ? rc : STEAL_FD(&fd);
}

int layers_open(struct fs *fs, unsigned layer, struct err *e)
{
	AUTO_CLOSE int all = dir_make(fs, fs->root_fd, INGEST_LAYERS, -1);
	int lower[INGEST_LAYERS_MAX], rc = 0;
	unsigned n = 0;
	char name[16];

	if (layer >= INGEST_LAYERS_MAX)
		return err_set(e, -E2BIG, "layer %u: %d are possible", layer, INGEST_LAYERS_MAX);
	if (all < 0)
		return err_sys(e, all, "make the directory of layers");
	while (rc == 0 && n < layer) {
		snprintf(name, sizeof(name), INGEST_LAYER_NAME, layer - 1 - n);
		lower[n] = openat(all, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (lower[n] < 0)
			rc = err_sys(e, -errno, "open layer %s", name);
		else
			n++;
	}
	snprintf(name, sizeof(name), INGEST_LAYER_NAME, layer);
	int upper = rc < 0 ? -1 : dir_make(fs, all, name, n ? lower[0] : -1);
	if (rc == 0 && upper < 0)
		rc = err_sys(e, upper, "make layer %s", name);
	if (rc == 0) {
		int volume = fs->root_fd;
		fs->root_fd = upper;
		rc = nodes_new(fs, e);
		if (rc == 0)
			rc = overlay_new(fs, lower, n, e);
		if (fs->ov)
			fs->ov->volume_fd = volume;
		else
			close(volume);
	}
	while (n)
		close(lower[--n]);
	return rc;
}

static int init_link(struct fs *fs, int from, int to)
{
	struct stat was, st;
	int rc = fstat(to, &was) < 0 ? -errno : ledger_reserve(&fs->ledger, fs_dir_growth(fs), 0, NULL);

	if (rc < 0)
		return rc;
	if (linkat(from, INGEST_INIT, to, INGEST_INIT, 0) < 0 && errno != EEXIST)
		rc = -errno;
	int charged = fs_charge_fd(fs, to, fs_dir_growth(fs), stat_bytes(&was), &st);
	return rc < 0 ? rc : charged;
}

int layers_close(struct fs *fs, struct err *e)
{
	AUTO_CLOSE int from = openat(fs->root_fd, INGEST_INIT_DIR, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (from < 0 || fstatat(from, INGEST_INIT, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return 0;
	AUTO_CLOSE int usr = dir_make(fs, fs->ov->volume_fd, "usr", -1);
	AUTO_CLOSE int bin = usr < 0 ? usr : dir_make(fs, usr, "bin", -1);
	int rc = bin < 0 ? bin : init_link(fs, from, bin);
	return rc < 0 ? err_sys(e, rc, "link the init to the volume's root") : 0;
}
