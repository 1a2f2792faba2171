/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command as a child of PID 1, from start to end. */
#ifndef INIT_SUPERVISE_H
#define INIT_SUPERVISE_H

#include "tools/init/spec.h"
#include "tools/init/user.h"

/* Become the command: own session, the console as its terminal, working directory, user, environment. Returns only on
 * failure, after a message, with the exit code a shell would give: 127 for a command that is not there, else 126. */
int command_exec(const struct spec *s, const struct user *u);

/* Block every signal that PID 1 takes; call before the first child. */
void supervise_begin(void);

/* Start the command, forward signals to its process group, reap whatever ends, until the command does. Says how it
 * ended and returns its exit code, 128 + n for signal n. */
int supervise_command(const struct spec *s, const struct user *u);

/* SIGTERM to all that is left, SIGKILL after a grace period; returns when nothing is. */
void supervise_end(void);

#endif
