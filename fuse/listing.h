/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An open directory. Cookies are the backing file system's own offsets, which stay right while names come and go (ext4:
 * hashes). Names with the whiteout prefix are never shown. */
#ifndef FUSE_LISTING_H
#define FUSE_LISTING_H

#include <dirent.h>
#include <sys/types.h>

#define LISTING_BUFFER 32768

struct listing {
	int fd;     /* owns */
	off_t next; /* cookie of what comes next */
	size_t pos, len;
	_Alignas(struct dirent64) char buffer[LISTING_BUFFER];
};

/* FD is taken over. */
struct listing *listing_new(int fd);
void listing_free(struct listing *l);
/* Go on at COOKIE, 0 for the start. 0 or -errno. */
int listing_seek(struct listing *l, off_t cookie);
/* The next entry, not yet taken; valid until then. NULL at the end, *RC then 0 or -errno. */
const struct dirent64 *listing_peek(struct listing *l, int *rc);
void listing_take(struct listing *l);

#endif
