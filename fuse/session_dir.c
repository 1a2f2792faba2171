/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The FUSE session: directories. */
#include "fuse/session_ll.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fuse/listing.h"
#include "fuse/ops.h"

void ll_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *n = session_node(req, ino);

	if (!n)
		return;
	int fd = node_open(session_fs(req), n, O_RDONLY | O_DIRECTORY);
	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	struct listing *l = listing_new(fd);
	fi->fh = (uint64_t)(uintptr_t)l;
	if (fuse_reply_open(req, fi) == -ENOENT)
		listing_free(l);
}

void ll_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	listing_free((struct listing *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

/* Add one entry to the answer; its size, more than ROOM if it does not fit (and then nothing was added). */
static size_t listing_add(
        fuse_req_t req, struct listing *l, const struct dirent64 *d, bool is_plus, char *out, size_t room)
{
	struct session *s = session_of(req);
	struct fuse_entry_param e = {.attr = {.st_ino = d->d_ino, .st_mode = (mode_t)d->d_type << 12}};
	struct found f;

	if (!is_plus)
		return fuse_add_direntry(req, out, room, d->d_name, &e.attr, d->d_off);
	size_t need = fuse_add_direntry_plus(req, NULL, 0, d->d_name, NULL, 0);
	if (need > room)
		return need;
	/* "." and "..", and what cannot be looked at now, go without a node. */
	if (strcmp(d->d_name, ".") && strcmp(d->d_name, "..") &&
	        node_lookup(s->fs, l->fd, d->d_name, &f.node, &f.st) == 0)
		e = session_entry(s, &f);
	return fuse_add_direntry_plus(req, out, room, d->d_name, &e, d->d_off);
}

static void list(fuse_req_t req, size_t size, off_t off, struct listing *l, bool is_plus)
{
	char *out = session_of(req)->out;
	size_t used = 0;
	const struct dirent64 *d;

	if (size > INGEST_WRITE_MAX)
		size = INGEST_WRITE_MAX;
	int rc = listing_seek(l, off);
	while (rc == 0 && (d = listing_peek(l, &rc))) {
		size_t n = listing_add(req, l, d, is_plus, out + used, size - used);
		if (n > size - used)
			break;
		used += n;
		listing_take(l);
	}
	if (rc < 0 && !used)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_buf(req, out, used);
}

void ll_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	list(req, size, off, (struct listing *)(uintptr_t)fi->fh, false);
}

void ll_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	list(req, size, off, (struct listing *)(uintptr_t)fi->fh, true);
}

void ll_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	fuse_reply_err(req, fsync(((struct listing *)(uintptr_t)fi->fh)->fd) < 0 ? errno : 0);
}
