/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who has a device or a file open, for a person to read. */
#ifndef DM_BUSY_H
#define DM_BUSY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* "firecracker (pid 4711), loop3" for the block device or the file ST; this process is left out. False: nobody was
 * found, OUT is "". Looks at every descriptor of every process that it may look at, and at loop devices and what is
 * stacked on the device. */
bool busy_names(const struct stat *st, char *out, size_t size);

#endif
