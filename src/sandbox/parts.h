/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two larger parts of sandbox_enter(); for src/sandbox only. */
#ifndef SANDBOX_PARTS_H
#define SANDBOX_PARTS_H

#include <stdbool.h>

#include "base/err.h"
#include "ipc/message.h"

struct root_plan {
	const char *const *read_only; /* NULL-terminated paths that stay visible, as far as they exist; NULL: none */
	const char *writable;         /* a directory that stays visible and writable; NULL: none */
	bool has_proc;                /* /proc, showing this PID namespace's own processes only */
};

/* Make an empty read-only tmpfs with PLAN's exceptions the root of this mount namespace. Everything is nosuid, nodev,
 * noexec. */
int root_enter(const struct root_plan *plan, struct err *e);

/* Load the role's system call list for all threads, for good. no_new_privs is already set. */
int filter_load(enum role role, struct err *e);

#endif
