/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel line, as far as PID 1 is concerned. Words are split like the kernel splits them (lib/cmdline.c: blanks
 * separate, double quotes keep them, a quoted value loses its quotes); "--" ends it. Of a parameter given twice the
 * last one counts.
 *
 *   env.NAME=VALUE   a variable of the command, over those of the image
 *   workdir=DIR      its working directory, absolute
 *   metadata=FILE    an image metadata.json in the rootfs: fills in what /container.cmd and /container.env leave out
 *   hostname=NAME    for kernels before 5.19, which do not set it themselves
 *   nameserver=ADDR  for an empty /etc/resolv.conf; at most CMDLINE_MAX_NAMESERVERS
 *   reboot=...k...   metald's "reboot=k panic=1": end by a reset, which is how Firecracker sees that a guest is done
 */
#ifndef INIT_CMDLINE_H
#define INIT_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>

#include "tools/init/env.h"

#define CMDLINE_MAX_NAMESERVERS 3 /* resolv.conf(5), MAXNS */

struct cmdline {
	struct env env;
	char *workdir;                              /* owns; NULL: not given, as below */
	char *metadata;                             /* owns */
	char *hostname;                             /* owns */
	char *nameservers[CMDLINE_MAX_NAMESERVERS]; /* owns */
	size_t n_nameservers;
	bool is_reset; /* end with a reset, not by powering off */
};

/* What does not fit is skipped with a message. */
void cmdline_parse(struct cmdline *c, const char *text);
void cmdline_free(struct cmdline *c);

#endif
