/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/wire.h"

#include <linux/fuse.h>

void wire_look(struct wire *w, const void *request, size_t len)
{
	const struct fuse_in_header *h = request;
	const void *body = h + 1;
	size_t size = len < sizeof(*h) ? 0 : len - sizeof(*h);

	w->kills_set_id = false;
	if (!size)
		return;
	/* major, minor, max_readahead, flags: newer kernels append to these 16 bytes */
	if (h->opcode == FUSE_INIT && size >= 16 &&
	        ((const struct fuse_init_in *)body)->flags & FUSE_HANDLE_KILLPRIV_V2)
		w->init_unique = h->unique;
	if (h->opcode == FUSE_SETATTR && size >= sizeof(struct fuse_setattr_in))
		w->kills_set_id = ((const struct fuse_setattr_in *)body)->valid & FATTR_KILL_SUIDGID;
	if (h->opcode == FUSE_WRITE && size >= sizeof(struct fuse_write_in))
		w->kills_set_id = ((const struct fuse_write_in *)body)->write_flags & FUSE_WRITE_KILL_SUIDGID;
}

void wire_complete(struct wire *w, const struct iovec *iov, int count)
{
	const struct fuse_out_header *h = iov[0].iov_base;

	if (!w->init_unique || h->unique != w->init_unique)
		return;
	w->init_unique = 0;
	if (!h->error && count > 1 && iov[1].iov_len >= sizeof(struct fuse_init_out))
		((struct fuse_init_out *)iov[1].iov_base)->flags |= FUSE_HANDLE_KILLPRIV_V2;
}
