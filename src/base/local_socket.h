/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unix sockets with a name: who may listen there, and who is at the other end. */
#ifndef BASE_LOCAL_SOCKET_H
#define BASE_LOCAL_SOCKET_H

#include <sys/types.h>

#include "base/err.h"

/* Listen at PATH (absolute, at most 107 bytes) with TYPE (SOCK_STREAM or SOCK_SEQPACKET) and file mode MODE. A socket
 * that nobody listens on any more is replaced; one in use is -EADDRINUSE, anything else there -EEXIST. The descriptor
 * does not block; the caller closes it and unlinks PATH. */
int local_socket_listen(const char *path, int type, mode_t mode, struct err *e);

/* Who connected, as the kernel noted it at connect(2). 0 or -errno. */
int local_socket_peer(int fd, uid_t *uid, pid_t *pid);

#endif
