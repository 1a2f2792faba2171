/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/control.h"

#include <string.h>

void control_init(struct control *c, struct fs *fs)
{
	*c = (struct control){0};
	apply_init(&c->apply, fs);
	ingest_init(&c->ingest, &c->apply.sink);
}

void control_free(struct control *c)
{
	apply_free(&c->apply);
	ingest_free(&c->ingest);
}

struct stat control_stat(void)
{
	return (struct stat){
	        .st_ino = UINT32_MAX, .st_mode = S_IFREG | 0600, .st_nlink = 1, .st_blksize = INGEST_WRITE_MAX};
}

int control_write(struct control *c, const char *data, size_t size)
{
	return ingest_feed(&c->ingest, data, size);
}

size_t control_read(const struct control *c, char *out, size_t size, off_t off)
{
	const struct ingest_status *st = &c->ingest.status;

	if (off < 0 || (size_t)off >= sizeof(*st))
		return 0;
	size_t left = sizeof(*st) - (size_t)off;
	memcpy(out, (const char *)st + off, size < left ? size : left);
	return size < left ? size : left;
}
