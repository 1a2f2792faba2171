/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "fuse/tree.h"

struct listing *listing_new(int fd)
{
	struct listing *l = xcalloc(1, sizeof(*l));

	l->fd = fd;
	return l;
}

void listing_free(struct listing *l)
{
	close(l->fd);
	free(l);
}

int listing_seek(struct listing *l, off_t cookie)
{
	if (cookie == l->next)
		return 0;
	l->pos = l->len = 0;
	l->next = cookie;
	return lseek(l->fd, cookie, SEEK_SET) < 0 ? -errno : 0;
}

static struct dirent64 *current(struct listing *l)
{
	return (struct dirent64 *)(void *)(l->buffer + l->pos);
}

const struct dirent64 *listing_peek(struct listing *l, int *rc)
{
	*rc = 0;
	for (;;) {
		if (l->pos >= l->len) {
			ssize_t n = getdents64(l->fd, l->buffer, sizeof(l->buffer));
			if (n <= 0) {
				*rc = n < 0 ? -errno : 0;
				return NULL;
			}
			l->pos = 0;
			l->len = (size_t)n;
		}
		if (strncmp(current(l)->d_name, TREE_WHITEOUT, strlen(TREE_WHITEOUT)) != 0)
			return current(l);
		listing_take(l);
	}
}

void listing_take(struct listing *l)
{
	l->next = current(l)->d_off;
	l->pos += current(l)->d_reclen;
}
