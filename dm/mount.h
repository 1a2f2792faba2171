/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounts that are nowhere: an ext4 file system reached by a descriptor only. */
#ifndef DM_MOUNT_H
#define DM_MOUNT_H

#include "base/err.h"

/* Mount the ext4 on DEVICE for a build: nosuid, nodev, noexec, noatime, no barriers. It is in no namespace's tree and
 * has no mount point, so nothing can hold or copy it but descriptors, and it is gone when the last of them is closed,
 * also after a kill -9. Returns a descriptor of its root directory, which holds the mount. */
int mount_detached(const char *device, struct err *e);

/* The same for an ext4 with a journal that outlives builds: with barriers. */
int mount_detached_durable(const char *device, struct err *e);

/* An ext4 that is not to be changed: read-only, its journal is not replayed. A descriptor of its root. */
int mount_detached_look(const char *device, struct err *e);

/* The mount itself, attached nowhere, for somebody to attach with move_mount(2). The caller closes it. */
int mount_look(const char *device, struct err *e);

/* The kernel has ext4 and FUSE. */
int mount_probe(struct err *e);

#endif
