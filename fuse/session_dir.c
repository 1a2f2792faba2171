/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The FUSE session: directories. */
#include "fuse/session_ll.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fuse/listing.h"
#include "fuse/merge.h"
#include "fuse/ops.h"

/* An open directory: read as it lies on disk, or in overlay mode the names of all layers, as they were when the reader
 * was at its start. */
struct reader {
	struct listing *listing; /* owns; NULL in overlay mode */
	struct node *dir;        /* the kernel keeps it while it is open */
	struct merge merge;
	bool is_merged;
	int hold_fd; /* owns; overlay mode: keeps a removed directory's inode, -1: none */
	off_t at;    /* of the merged names; "." and ".." come first */
	_Alignas(struct dirent64) char entry[sizeof(struct dirent64)];
};

static int reader_open(struct fs *fs, struct node *n, struct reader *r)
{
	int fd = node_open(fs, n, O_RDONLY | O_DIRECTORY);

	r->dir = n;
	r->hold_fd = -1;
	if (fd < 0)
		return fd;
	if (fs->ov)
		r->hold_fd = fd;
	else
		r->listing = listing_new(fd);
	return 0;
}

static void reader_free(struct reader *r)
{
	if (r->listing)
		listing_free(r->listing);
	cleanup_close(&r->hold_fd);
	merge_free(&r->merge);
	free(r);
}

static int merge_seek(struct fs *fs, struct reader *r, off_t off)
{
	r->at = off;
	if (off && r->is_merged)
		return 0;
	merge_free(&r->merge);
	r->is_merged = true;
	if (ov_is_gone(fs, r->dir))
		return 0;
	AUTO_CLOSE int fd = r->dir->place->is_upper ? node_open(fs, r->dir, O_RDONLY | O_DIRECTORY) : -1;
	if (r->dir->place->is_upper && fd < 0)
		return fd;
	return merge_read(fs, fd, &r->dir->place->below, &r->merge);
}

static int reader_seek(struct fs *fs, struct reader *r, off_t off)
{
	return r->listing ? listing_seek(r->listing, off) : merge_seek(fs, r, off);
}

static const struct dirent64 *reader_peek(struct fs *fs, struct reader *r, int *rc)
{
	struct dirent64 *d = (struct dirent64 *)(void *)r->entry;
	struct stat st;

	if (r->listing)
		return listing_peek(r->listing, rc);
	*rc = 0;
	if (r->at < 0 || (size_t)r->at >= r->merge.n + 2)
		return NULL;
	d->d_off = r->at + 1;
	if (r->at < 2) {
		d->d_type = DT_DIR;
		d->d_ino = op_getattr(fs, r->dir, -1, &st) == 0 ? st.st_ino : 1;
		strcpy(d->d_name, r->at ? ".." : ".");
		return d;
	}
	const struct merge_entry *e = &r->merge.entries[r->at - 2];
	d->d_type = e->type;
	d->d_ino = e->ino;
	snprintf(d->d_name, sizeof(d->d_name), "%s", e->name);
	return d;
}

static void reader_take(struct reader *r)
{
	if (r->listing)
		listing_take(r->listing);
	else
		r->at++;
}

static struct reader *reader_of(const struct fuse_file_info *fi)
{
	return (struct reader *)(uintptr_t)fi->fh;
}

void ll_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *n = session_node(req, ino);

	if (!n)
		return;
	struct reader *r = xcalloc(1, sizeof(*r));
	int rc = reader_open(session_fs(req), n, r);
	if (rc < 0) {
		reader_free(r);
		fuse_reply_err(req, -rc);
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)r;
	if (fuse_reply_open(req, fi) == -ENOENT)
		reader_free(r);
}

void ll_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	reader_free(reader_of(fi));
	fuse_reply_err(req, 0);
}

static int entry_lookup(struct fs *fs, const struct reader *r, const char *name, struct found *f)
{
	return fs->ov ? ov_op_lookup(fs, r->dir, name, f) : node_lookup(fs, r->listing->fd, name, &f->node, &f->st);
}

/* Add one entry to the answer; its size, more than ROOM if it does not fit (and then nothing was added). */
static size_t entry_add(
        fuse_req_t req, struct reader *r, const struct dirent64 *d, bool is_plus, char *out, size_t room)
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
	if (strcmp(d->d_name, ".") && strcmp(d->d_name, "..") && entry_lookup(s->fs, r, d->d_name, &f) == 0)
		e = session_entry(s, &f);
	return fuse_add_direntry_plus(req, out, room, d->d_name, &e, d->d_off);
}

static void list(fuse_req_t req, size_t size, off_t off, struct reader *r, bool is_plus)
{
	struct fs *fs = session_fs(req);
	char *out = session_of(req)->out;
	size_t used = 0;
	const struct dirent64 *d;

	if (size > INGEST_WRITE_MAX)
		size = INGEST_WRITE_MAX;
	int rc = reader_seek(fs, r, off);
	while (rc == 0 && (d = reader_peek(fs, r, &rc))) {
		size_t n = entry_add(req, r, d, is_plus, out + used, size - used);
		if (n > size - used)
			break;
		used += n;
		reader_take(r);
	}
	if (rc < 0 && !used)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_buf(req, out, used);
}

void ll_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	list(req, size, off, reader_of(fi), false);
}

void ll_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	list(req, size, off, reader_of(fi), true);
}

void ll_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct reader *r = reader_of(fi);
	AUTO_CLOSE int own = r->listing ? -1 : node_open(session_fs(req), r->dir, O_RDONLY | O_DIRECTORY);
	int fd = r->listing ? r->listing->fd : own;

	fuse_reply_err(req, fd < 0 ? -fd : fsync(fd) < 0 ? errno : 0);
}
