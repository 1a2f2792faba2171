/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of sandbox-probe share. An attempt returns 0 if it worked, else -errno. */
#ifndef T_TOOLS_SANDBOX_PROBE_H
#define T_TOOLS_SANDBOX_PROBE_H

#include "ipc/message.h"

#define PROBE_UID 64123

extern const char *probe_keep_dir;
extern int probe_root; /* a directory opened before the sandbox: what builderd-fs is given */
extern int probe_oom;  /* /proc/self/oom_score_adj, opened before */
extern enum role probe_role;

/* 0 or -errno out of a call that returns -1 and errno. */
int probe_rc(long rc);
int probe_open(const char *path, int flags);

int must_thread(void);
int must_stdio(void);
int must_be_unprivileged(void);
int must_flags(void);
int must_go_first(void);
int must_be_alone(void);
int must_keep_dir(void);
int must_listen(void);
int must_resolve(void);
int must_read_ca(void);
int must_serve(void);

#endif
