/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loop devices over image files. A device clears itself at its last close (autoclear): a crash leaves none. */
#ifndef DM_LOOPDEV_H
#define DM_LOOPDEV_H

#include "base/err.h"

struct loopdev {
	int fd;     /* owns; -1: none */
	int number; /* /dev/loopN */
};

#define LOOPDEV_NONE ((struct loopdev){-1, -1})
#define LOOPDEV_PATH_MAX 32

/* Attach the file FD, opened for reading and writing. NAME is shown by losetup. */
int loopdev_attach(struct loopdev *l, int fd, const char *name, struct err *e);

/* The file behind it has grown. */
int loopdev_resize(const struct loopdev *l, struct err *e);

/* Close our descriptor and wait until nobody else uses the device and it is detached from its file: then all that was
 * written to it is in the file. -EBUSY after TIMEOUT_MS. Harmless on LOOPDEV_NONE. */
int loopdev_release(struct loopdev *l, int timeout_ms, struct err *e);

const char *loopdev_path(const struct loopdev *l, char out[LOOPDEV_PATH_MAX]);

/* Loop devices can be had here. */
int loopdev_probe(struct err *e);

#endif
