/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a program gives up its rights, each role by one table row: private root, uid and groups, capabilities, rlimits,
 * no_new_privs, seccomp: in this order, before the first hostile byte. Namespaces come from the clone (spawn.h).
 */
#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

#include "base/err.h"
#include "ipc/message.h"

struct sandbox_options {
	unsigned uid;                /* outside a user namespace: the uid and gid to become */
	unsigned long keep_fd_limit; /* RLIMIT_NOFILE, 0: the role's default */
};

/* CLONE_NEW* flags that the role's process is cloned with. */
unsigned long sandbox_namespaces(enum role role);

/* Enter. On failure the program must end: half a sandbox is none. */
int sandbox_enter(enum role role, const struct sandbox_options *o, struct err *e);

#endif
