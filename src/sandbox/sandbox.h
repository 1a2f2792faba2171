/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a program gives up its rights, each role by one row of a table: private root, capabilities, uid and groups,
 * limits, no_new_privs, seccomp, in this order, before the first hostile byte. Namespaces come from the clone
 * (ipc/spawn.h).
 *
 *            uid          namespaces                          sees                  capabilities
 *   API      its own      mount                               keep_dir              none
 *   FETCH    its own      mount pid                           resolver files, CAs   none
 *   UNPACK   one a build  user mount pid net ipc uts cgroup   an empty directory    none
 *   FS       its own      mount pid net ipc                   /proc (itself only)   CHOWN FOWNER FSETID DAC_* MKNOD
 * SETFCAP
 *
 * A call that the role's list lacks kills the process: builderd sees "killed by signal 31 (Bad system call)". To learn
 * which call it was, build with --enable-sandbox-trap: it is then named on stderr before the process ends; or, without
 * a rebuild, run `strace -f -e trace=all -e signal=SIGSYS builderd ...` and read the SIGSYS line (si_syscall).
 */
#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

#include "base/err.h"
#include "ipc/message.h"

struct sandbox_options {
	unsigned uid;                /* uid and gid to become, not 0; ignored in a user namespace (spawn.uid decided) */
	unsigned long keep_fd_limit; /* RLIMIT_NOFILE, 0: the role's default */
	const char *keep_dir; /* API only, absolute: stays visible and writable at the same path; NULL: nothing */
};

/* CLONE_NEW* flags that the role's process is cloned with. */
unsigned long sandbox_namespaces(enum role role);

/* Enter, as root with one thread, in a process cloned with sandbox_namespaces(ROLE), channel on CHANNEL_FD. On failure
 * the program must end: half a sandbox is none. Afterwards:
 * - descriptors that were open stay usable, paths lead into the private root;
 * - threads may be made, processes may not; nothing can become executable, so no dlopen();
 * - /proc/self/... of the process belongs to root (PR_SET_DUMPABLE 0), which the process itself may still follow. */
int sandbox_enter(enum role role, const struct sandbox_options *o, struct err *e);

#endif
