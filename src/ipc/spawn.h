/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start one of our programs: new namespaces by clone, a map of inherited descriptors, nothing else.
 *
 * The child gets exactly: 0 from /dev/null, 1 and 2 = our stderr, CHANNEL_FD = its channel. Every other descriptor is
 * closed. Signals are at their defaults, none is blocked. It is killed when the *thread* that started it ends
 * (PR_SET_PDEATHSIG is per thread): call child_end() before the thread returns. It starts as root of whatever user
 * namespace it is in and drops itself by sandbox_enter() before it reads a hostile byte; sandbox_enter() arms PDEATHSIG
 * again, since a change of uid disarms it. With CLONE_NEWPID it is pid 1, and SIGTERM does nothing to it: end it by
 * closing its channel or by child_end(). Safe in a process with threads: between clone and exec only async-signal-safe
 * calls are made. The program is executed by descriptor, so it may lie below a directory that its uid cannot enter.
 */
#ifndef IPC_SPAWN_H
#define IPC_SPAWN_H

#include <sys/types.h>

#include "base/err.h"
#include "ipc/channel.h"

struct spawn {
	enum role role;
	const char *program;      /* file name in the libexec directory, or an absolute path */
	const char *const *argv;  /* NULL-terminated, argv[0] first */
	const char *const *envp;  /* NULL-terminated */
	unsigned long namespaces; /* CLONE_NEW* for the child */
	unsigned uid;             /* with CLONE_NEWUSER: uid and gid that root inside the namespace is outside */
};

struct child {
	pid_t pid;              /* 0: none */
	int pidfd;              /* owns */
	struct channel channel; /* our end */
	uint64_t peak_bytes;    /* its largest resident set, once child_end() reaped it */
};

/* 0: the program is executing. -errno: nothing runs, *OUT is empty (child_end() on it is harmless). */
int spawn_program(const struct spawn *s, struct child *out, struct err *e);

/* Where the programs are: the directory of the running executable if builderd-fetch is there (a build tree), else the
 * configured libexec directory. Borrowed. */
const char *spawn_libexec_dir(void);

/* Kill (if it runs), reap, close everything. Returns the wait status, -1 if there was no child. Waits at most
 * TIMEOUT_MS for it to end by itself first. */
int child_end(struct child *c, int timeout_ms);

/* "exited with code 3", "killed by signal 9 (Killed)". */
const char *child_status_text(int status, char out[64]);

#endif
