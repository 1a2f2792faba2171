/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the FUSE session only: what its files share. The one place that includes libfuse. */
#ifndef FUSE_SESSION_LL_H
#define FUSE_SESSION_LL_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "fuse/control.h"
#include "fuse/ops.h"
#include "fuse/session.h"
#include "fuse/wire.h"

struct session {
	struct fuse_session *se; /* owns */
	int fuse_fd;             /* owned by libfuse */
	struct fs *fs;           /* borrowed */
	struct control control;
	struct wire wire;
	bool has_epoch; /* the kernel can drop all it caches at once */
	uint64_t requests;
	struct fuse_buf in; /* owns mem */
	char *out;          /* owns; INGEST_WRITE_MAX bytes: answers to read and readdir */
};

struct session *session_of(fuse_req_t req);
struct fs *session_fs(fuse_req_t req);
/* The node of an id; for the control file, which takes none of what is asked of nodes, the answer EPERM and NULL. */
struct node *session_node(fuse_req_t req, fuse_ino_t ino);
/* What the kernel is told of a name, and for how long. */
struct fuse_entry_param session_entry(const struct session *s, const struct found *f);

/* session_dir.c */
void ll_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ll_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ll_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ll_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ll_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

#endif
