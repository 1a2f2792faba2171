/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The FUSE session: requests decoded, handed to ops.h or to the ingest stream, answered. The one owner of libfuse.
 *
 * What the kernel may cache. We are the only writer, so names and attributes would be right for as long as it likes;
 * but the ingest stream and whiteout markers change the tree behind names that the kernel knows. To call them back one
 * by one takes the parent's lock, which a process waiting for our answer may hold. So:
 *  - while the control file is open nothing may be cached;
 *  - before that, and after a marker, everything that was handed out is made void at once by a notification
 *    that takes no lock (FUSE_NOTIFY_INC_EPOCH, Linux 6.16). On older kernels nothing is ever cached.
 */
#ifndef FUSE_SESSION_H
#define FUSE_SESSION_H

#include "fuse/tree.h"

struct session;

/* FUSE_FD is taken over: /dev/fuse of a mount that exists. FS is borrowed. NULL with the reason in E. */
struct session *session_new(int fuse_fd, struct fs *fs, struct err *e);
void session_free(struct session *s);
/* To be polled for requests; borrowed. */
int session_fd(const struct session *s);
/* Serve what waits, a bounded number of requests. 1: done (or there was none), 0: the mount is gone, -errno. */
int session_serve(struct session *s);
/* End the ingest stream, complete or not: nothing stays open or reserved. */
void session_end_ingest(struct session *s);
uint64_t session_requests(const struct session *s);

#endif
