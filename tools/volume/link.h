/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way of a request to the storage: through builderd's socket, or to a store that nobody has open. */
#ifndef VOLUME_LINK_H
#define VOLUME_LINK_H

#include "base/buf.h"
#include "build/config.h"
#include "ipc/message.h"

struct link {
	const struct config *config; /* borrowed */
	bool is_reached;             /* the request got to a store: its error is the answer */
	int result_fd;               /* -1, or what the command gave back; the caller's */
};

/* Run R. FDS stay the caller's. *JSON gets the answer. */
int link_run(struct link *l, const struct msg_admin_request *r, const int *fds, uint32_t n_fds, struct buf *json,
        struct err *e);

#endif
