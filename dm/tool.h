/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Run one of the programs of e2fsprogs or thin-provisioning-tools on an image, without rights: as nobody, with limits,
 * a time bound, one descriptor. */
#ifndef DM_TOOL_H
#define DM_TOOL_H

#include <stddef.h>

#include "base/err.h"

/* In argv, the path by which the program finds the image; its descriptor is TOOL_FD there. */
#define TOOL_FD 3
#define TOOL_PATH "/proc/self/fd/3"
#define TOOL_PATH_2 "/proc/self/fd/4"

struct tool_result {
	int status;     /* wait status */
	char text[400]; /* the beginning of what it said, NUL-terminated, line breaks made " / " */
};

/* Run ARGV[0] (an absolute path) with FD as TOOL_FD. The program opens TOOL_PATH anew as uid 65534: the image's mode
 * must allow that. 0: it ended, *OUT says how; -ETIMEDOUT: it was killed after TIMEOUT_MS; -ECANCELED: it was killed
 * because the thread is to stop (volume_stop_fd_set). */
int tool_run(const char *const *argv, int fd, int timeout_ms, struct tool_result *out, struct err *e);

/* The same with a second one, FD_2 (-1: none) as descriptor 4, and all that it says, at most MAX bytes, NUL-terminated,
 * in *SAID (NULL: not wanted), which the caller frees. */
int tool_run_2(const char *const *argv, int fd, int fd_2, int timeout_ms, size_t max, char **said,
        struct tool_result *out, struct err *e);

/* Between the steps of other long work: -ECANCELED with a sentence once the thread is to stop, else 0. */
int tool_stop_check(struct err *e);

/* Ended with exit code 0. */
int tool_succeeded(const struct tool_result *r);

#endif
