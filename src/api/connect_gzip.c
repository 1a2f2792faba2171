/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The API's one user of <zlib.h>. */
#include "api/connect_gzip.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <zlib.h>

static int inflate_all(z_stream *z, struct buf *to, size_t max)
{
	for (;;) {
		/* One byte more than may come tells "exactly MAX" from "more". */
		size_t room = max + 1 - to->len;
		room = room > 65536 ? 65536 : room;
		z->next_out = (Bytef *)buf_reserve(to, room);
		z->avail_out = (uInt)room;
		int rc = inflate(z, Z_NO_FLUSH);
		to->len += room - z->avail_out;
		if (to->len > max)
			return -EMSGSIZE;
		if (rc == Z_STREAM_END)
			return z->avail_in ? -EBADMSG : 0;
		if (rc != Z_OK)
			return -EBADMSG;
	}
}

int connect_gunzip(struct buf *to, const char *data, size_t len, size_t max)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)len};

	if (len > UINT_MAX || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return -EBADMSG;
	int rc = inflate_all(&z, to, max);
	inflateEnd(&z);
	return rc;
}
