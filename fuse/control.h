/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control file INGEST_NAME behind its requests: what is written is the ingest stream, what is read is struct
 * ingest_status. */
#ifndef FUSE_CONTROL_H
#define FUSE_CONTROL_H

#include <sys/stat.h>

#include "fuse/apply.h"
#include "fuse/ingest.h"

struct control {
	struct apply apply;
	struct ingest ingest;
	unsigned opens;
};

void control_init(struct control *c, struct fs *fs);
/* End the stream, complete or not: nothing stays open or reserved. */
void control_free(struct control *c);
struct stat control_stat(void);
/* 0 or -errno; the same after an error is -EIO for good. */
int control_write(struct control *c, const char *data, size_t size);
/* Copies at most SIZE bytes of the status from OFF; returns how many. */
size_t control_read(const struct control *c, char *out, size_t size, off_t off);

#endif
