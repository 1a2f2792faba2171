/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of contents of a tar file that can be sought in: where each member's bytes are. Enough for what "docker
 * save" and OCI archives hold (ustar, pax path/size/linkpath, GNU long names); layers inside stay what they are: bytes.
 */
#ifndef FETCH_TAR_H
#define FETCH_TAR_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct tar;

/* FD is borrowed and read with pread. NULL: BAD_LAYOUT. */
struct tar *tar_open(int fd, uint64_t size, struct err *e);
void tar_free(struct tar *t);
/* Where the regular member NAME is (the last of that name; links inside the archive are followed). 0 or -ENOENT. */
int tar_find(const struct tar *t, const char *name, off_t *offset, uint64_t *size);

#endif
