/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a command expects of the machine around it. Each step does only what is missing, and says what it could not do.
 */
#ifndef INIT_SYSTEM_H
#define INIT_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "tools/init/cmdline.h"

/* Descriptors 0, 1 and 2: as the kernel gave them, else the console, else /dev/null. Call first, and again after
 * system_mount. */
void system_stdio(void);
/* /proc, /sys, /dev, /dev/pts, /dev/shm; /run and /tmp when they are empty; the links in /dev. */
void system_mount(void);
/* /var/log, /var/cache, /var/run; host name, loopback, /etc/hosts, /etc/resolv.conf. */
void system_setup(const struct cmdline *c);

/* The text of a regular file of at most MAX bytes; NULL with E set: -ENOENT when there is none. The caller frees it. */
char *system_read(const char *path, size_t max, size_t *len, struct err *e);
/* mkdir -p, mode 0755. -errno. */
int system_mkdirs(const char *path);

/* Write back everything, make / clean, then power off or reset. Returns only where the kernel does neither. */
void system_end(bool is_reset);

#endif
