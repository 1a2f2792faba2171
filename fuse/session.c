/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/session_ll.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "fuse/ops.h"

#define CACHE_SECONDS 86400.0
#define MARKER_SECONDS 1.0 /* long enough for its maker to set owner and mode by path */
#define BATCH 64           /* requests between two looks at what else there is to do */
#define NOTIFY_INC_EPOCH 8 /* FUSE_NOTIFY_INC_EPOCH, newer than the installed header may be */

/* Address as node id of the control file. */
static char control_node;
#define CONTROL_INO ((fuse_ino_t)(uintptr_t)&control_node)

struct session *session_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

struct fs *session_fs(fuse_req_t req)
{
	return session_of(req)->fs;
}

/* The node of an id; for the control file, which takes none of what is asked of nodes, the answer EPERM and NULL. */
struct node *session_node(fuse_req_t req, fuse_ino_t ino)
{
	if (ino == FUSE_ROOT_ID)
		return nodes_root(session_fs(req));
	if (ino != CONTROL_INO)
		return (struct node *)(uintptr_t)ino;
	fuse_reply_err(req, EPERM);
	return NULL;
}

static fuse_ino_t id_of(const struct fs *fs, const struct node *n)
{
	return n == nodes_root(fs) ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)n;
}

static void reply_rc(fuse_req_t req, int rc)
{
	fuse_reply_err(req, rc < 0 ? -rc : 0);
}

/* --- what the kernel may keep ----------------------------------------------------------------------------------- */

static double cache_seconds(const struct session *s)
{
	return s->has_epoch && !s->control.opens ? CACHE_SECONDS : 0;
}

static bool epoch_bump(struct session *s)
{
	const struct fuse_out_header h = {.len = sizeof(h), .error = NOTIFY_INC_EPOCH};

	return write(s->fuse_fd, &h, sizeof(h)) == sizeof(h);
}

static void forget_attrs(void *arg, struct node *n)
{
	struct session *s = arg;

	/* Offset -1: attributes only, which takes no page or inode lock. */
	fuse_lowlevel_notify_inval_inode(s->se, id_of(s->fs, n), -1, 0);
}

static void cache_void(struct session *s)
{
	if (!s->has_epoch)
		return;
	epoch_bump(s);
	nodes_each(s->fs, forget_attrs, s);
}

struct fuse_entry_param session_entry(const struct session *s, const struct found *f)
{
	double keep = f->node->phantom ? MARKER_SECONDS : cache_seconds(s);

	return (struct fuse_entry_param){.ino = id_of(s->fs, f->node),
	        .generation = f->node->generation,
	        .attr = f->st,
	        .attr_timeout = keep,
	        .entry_timeout = keep};
}

static void reply_entry(fuse_req_t req, int rc, const struct found *f)
{
	struct session *s = session_of(req);

	if (rc < 0) {
		fuse_reply_err(req, -rc);
		return;
	}
	const struct fuse_entry_param e = session_entry(s, f);
	if (fuse_reply_entry(req, &e) == -ENOENT) /* interrupted: the kernel took no reference */
		node_forget(s->fs, f->node, 1);
}

static void reply_attr(fuse_req_t req, int rc, const struct stat *st)
{
	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_attr(req, st, cache_seconds(session_of(req)));
}

/* --- the control file ------------------------------------------------------------------------------------------- */

static bool is_control_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	return dir == FUSE_ROOT_ID && !strcmp(name, INGEST_NAME) && fuse_req_ctx(req)->uid == 0;
}

static void open_control(fuse_req_t req, struct fuse_file_info *fi)
{
	struct session *s = session_of(req);

	if (!s->control.opens++)
		cache_void(s);
	fi->direct_io = 1;
	if (fuse_reply_open(req, fi) == -ENOENT)
		s->control.opens--;
}

/* --- names ------------------------------------------------------------------------------------------------------ */

static void ll_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct session *s = session_of(req);
	struct found f;

	if (is_control_lookup(req, dir, name)) {
		const struct fuse_entry_param e = {.ino = CONTROL_INO, .attr = control_stat()};
		fuse_reply_entry(req, &e);
		return;
	}
	struct node *d = session_node(req, dir);
	if (!d)
		return;
	int rc = op_lookup(s->fs, d, name, &f);
	if (rc == -ENOENT) { /* the kernel may remember that, too */
		const struct fuse_entry_param none = {.entry_timeout = cache_seconds(s)};
		fuse_reply_entry(req, &none);
		return;
	}
	reply_entry(req, rc, &f);
}

static void forget_one(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	if (ino != CONTROL_INO && ino != FUSE_ROOT_ID)
		node_forget(session_fs(req), (struct node *)(uintptr_t)ino, count);
}

static void ll_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	forget_one(req, ino, count);
	fuse_reply_none(req);
}

static void ll_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget_one(req, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static struct caller caller_of(fuse_req_t req)
{
	const struct fuse_ctx *c = fuse_req_ctx(req);

	return (struct caller){.uid = c->uid, .gid = c->gid};
}

static void make_and_reply(fuse_req_t req, fuse_ino_t dir, const char *name, const struct make *m)
{
	struct node *d = session_node(req, dir);
	struct found f;

	if (!d)
		return;
	int rc = op_make(session_fs(req), d, name, m, &f);
	if (rc == 0 && f.node->phantom)
		cache_void(session_of(req));
	reply_entry(req, rc, &f);
}

static void ll_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev)
{
	make_and_reply(req, dir, name,
	        &(struct make){.mode = mode & S_IFMT ? mode : mode | S_IFREG, .rdev = rdev, .who = caller_of(req)});
}

static void ll_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	make_and_reply(req, dir, name, &(struct make){.mode = S_IFDIR | (mode & 07777), .who = caller_of(req)});
}

static void ll_symlink(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name)
{
	make_and_reply(req, dir, name, &(struct make){.mode = S_IFLNK | 0777, .target = target, .who = caller_of(req)});
}

static void ll_unlink(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct node *d = session_node(req, dir);

	if (d)
		reply_rc(req, op_unlink(session_fs(req), d, name, false));
}

static void ll_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct node *d = session_node(req, dir);

	if (d)
		reply_rc(req, op_unlink(session_fs(req), d, name, true));
}

static void ll_rename(
        fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t to_dir, const char *to_name, unsigned flags)
{
	struct node *d = session_node(req, dir), *to = d ? session_node(req, to_dir) : NULL;

	if (to)
		reply_rc(req, op_rename(session_fs(req), d, name, to, to_name, flags));
}

static void ll_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t dir, const char *name)
{
	struct node *n = session_node(req, ino), *d = n ? session_node(req, dir) : NULL;
	struct found f;

	if (d)
		reply_entry(req, op_link(session_fs(req), n, d, name, &f), &f);
}

static void ll_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct node *n = session_node(req, ino);
	char target[PATH_MAX];

	if (!n)
		return;
	int rc = op_readlink(session_fs(req), n, target, sizeof(target));
	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_readlink(req, target);
}

/* --- attributes ------------------------------------------------------------------------------------------------- */

/* The descriptor of an open file, -1 without one (a marker's handle is ~0). */
static int fd_of(const struct fuse_file_info *fi)
{
	return fi ? (int)fi->fh : -1;
}

static void ll_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = control_stat();

	if (ino == CONTROL_INO) {
		fuse_reply_attr(req, &st, 0);
		return;
	}
	struct node *n = session_node(req, ino);
	int rc = op_getattr(session_fs(req), n, S_ISREG(n->type) ? fd_of(fi) : -1, &st);
	reply_attr(req, rc, &st);
}

_Static_assert(SET_MODE == FUSE_SET_ATTR_MODE && SET_UID == FUSE_SET_ATTR_UID && SET_GID == FUSE_SET_ATTR_GID &&
                       SET_SIZE == FUSE_SET_ATTR_SIZE && SET_ATIME == FUSE_SET_ATTR_ATIME &&
                       SET_MTIME == FUSE_SET_ATTR_MTIME && SET_ATIME_NOW == FUSE_SET_ATTR_ATIME_NOW &&
                       SET_MTIME_NOW == FUSE_SET_ATTR_MTIME_NOW,
        "op_setattr takes FUSE's bits");

static void ll_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct stat st = control_stat();

	if (ino == CONTROL_INO) { /* O_TRUNC and times of the writer: without a meaning */
		fuse_reply_attr(req, &st, 0);
		return;
	}
	struct node *n = session_node(req, ino);
	const struct change c = {.set = (unsigned)to_set | (session_of(req)->wire.kills_set_id ? SET_KILL : 0),
	        .mode = attr->st_mode,
	        .uid = attr->st_uid,
	        .gid = attr->st_gid,
	        .size = (uint64_t)attr->st_size,
	        .atime = attr->st_atim,
	        .mtime = attr->st_mtim};
	int rc = op_setattr(session_fs(req), n, S_ISREG(n->type) ? fd_of(fi) : -1, &c, &st);
	reply_attr(req, rc, &st);
}

static void ll_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs sv;
	int rc = op_statfs(session_fs(req), &sv);

	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_statfs(req, &sv);
}

static void ll_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct node *n = session_node(req, ino);

	if (n)
		reply_rc(req, op_setxattr(session_fs(req), n, name, value, size, flags));
}

static void reply_xattr(fuse_req_t req, ssize_t rc, const char *value, size_t size)
{
	if (rc < 0)
		fuse_reply_err(req, (int)-rc);
	else if (!size)
		fuse_reply_xattr(req, (size_t)rc);
	else
		fuse_reply_buf(req, value, (size_t)rc);
}

static void ll_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct session *s = session_of(req);

	if (ino == CONTROL_INO) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	size_t max = size < INGEST_WRITE_MAX ? size : INGEST_WRITE_MAX;
	reply_xattr(req, op_getxattr(s->fs, session_node(req, ino), name, s->out, max), s->out, size);
}

static void ll_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct session *s = session_of(req);
	struct node *n = session_node(req, ino);
	size_t max = size < INGEST_WRITE_MAX ? size : INGEST_WRITE_MAX;

	if (n)
		reply_xattr(req, op_listxattr(s->fs, n, s->out, max), s->out, size);
}

static void ll_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct node *n = session_node(req, ino);

	if (n)
		reply_rc(req, op_removexattr(session_fs(req), n, name));
}

/* --- files ------------------------------------------------------------------------------------------------------ */

static void ll_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	const struct make m = {.mode = S_IFREG | (mode & 07777), .who = caller_of(req)};
	struct session *s = session_of(req);
	struct node *d = session_node(req, dir);
	struct found f;
	int fd;

	if (!d)
		return;
	int rc = op_create(s->fs, d, name, &m, fi->flags, &f, &fd);
	if (rc < 0) {
		fuse_reply_err(req, -rc);
		return;
	}
	if (f.node->phantom)
		cache_void(s);
	fi->fh = (uint64_t)(int64_t)fd;
	fi->keep_cache = 1;
	const struct fuse_entry_param e = session_entry(s, &f);
	if (fuse_reply_create(req, &e, fi) != -ENOENT)
		return;
	if (fd >= 0)
		op_release(s->fs, f.node, fd);
	node_forget(s->fs, f.node, 1);
}

static void ll_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino == CONTROL_INO) {
		open_control(req, fi);
		return;
	}
	struct node *n = session_node(req, ino);
	int fd = n->phantom ? -1 : op_open(session_fs(req), n, fi->flags);
	if (fd < 0 && !n->phantom) {
		fuse_reply_err(req, -fd);
		return;
	}
	fi->fh = (uint64_t)(int64_t)fd;
	/* Content changes through this mount only; the ingest stream makes new inodes. */
	fi->keep_cache = 1;
	if (fuse_reply_open(req, fi) == -ENOENT && fd >= 0)
		op_release(session_fs(req), n, fd);
}

static void ll_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino == CONTROL_INO)
		session_of(req)->control.opens--;
	else if (fd_of(fi) >= 0)
		op_release(session_fs(req), session_node(req, ino), fd_of(fi));
	fuse_reply_err(req, 0);
}

static void ll_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct session *s = session_of(req);
	size_t max = size < INGEST_WRITE_MAX ? size : INGEST_WRITE_MAX;
	ssize_t n = 0;

	if (ino == CONTROL_INO)
		n = (ssize_t)control_read(&s->control, s->out, max, off);
	else if (fd_of(fi) >= 0)
		n = pread(fd_of(fi), s->out, max, off);
	if (n < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_buf(req, s->out, (size_t)n);
}

static void ll_write(
        fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct session *s = session_of(req);
	ssize_t n = -EPERM; /* a whiteout marker holds nothing */

	if (ino == CONTROL_INO)
		n = control_write(&s->control, data, size) ?: (ssize_t)size;
	else if (fd_of(fi) >= 0)
		n = op_write(s->fs, session_node(req, ino), fd_of(fi), s->wire.kills_set_id, data, size, off);
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
}

static void ll_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	if (ino == CONTROL_INO || fd_of(fi) < 0)
		fuse_reply_err(req, 0);
	else
		fuse_reply_err(req, (datasync ? fdatasync(fd_of(fi)) : fsync(fd_of(fi))) < 0 ? errno : 0);
}

static void ll_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	struct node *n = session_node(req, ino);

	if (!n)
		return;
	/* This request has no flag for it. */
	if (fd_of(fi) >= 0 && fuse_req_ctx(req)->uid != 0)
		op_kill_set_id(fd_of(fi));
	reply_rc(req, fd_of(fi) < 0 ? -EPERM : op_fallocate(session_fs(req), n, fd_of(fi), mode, off, len));
}

static void ll_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	off_t at = ino == CONTROL_INO || fd_of(fi) < 0 ? (errno = ENXIO, -1) : lseek(fd_of(fi), off, whence);

	if (at < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_lseek(req, at);
}

/* --- the session ------------------------------------------------------------------------------------------------ */

static void ll_init(void *userdata, struct fuse_conn_info *conn)
{
	struct session *s = userdata;

	/* Truncation comes as a setattr: one place for the ledger. Set-id bits: wire.h. No writeback cache: it would
	 * move EDQUOT from write() to close(). */
	conn->want &= ~(unsigned)(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_WRITEBACK_CACHE |
	                          FUSE_CAP_SPLICE_READ);
	conn->max_write = INGEST_WRITE_MAX;
	s->has_epoch = epoch_bump(s);
}

static const struct fuse_lowlevel_ops operations = {
        .init = ll_init,
        .lookup = ll_lookup,
        .forget = ll_forget,
        .forget_multi = ll_forget_multi,
        .getattr = ll_getattr,
        .setattr = ll_setattr,
        .readlink = ll_readlink,
        .mknod = ll_mknod,
        .mkdir = ll_mkdir,
        .unlink = ll_unlink,
        .rmdir = ll_rmdir,
        .symlink = ll_symlink,
        .rename = ll_rename,
        .link = ll_link,
        .open = ll_open,
        .create = ll_create,
        .read = ll_read,
        .write = ll_write,
        .release = ll_release, /* no flush: libfuse answers ENOSYS, and the kernel asks once */
        .fsync = ll_fsync,
        .opendir = ll_opendir,
        .readdir = ll_readdir,
        .readdirplus = ll_readdirplus,
        .releasedir = ll_releasedir,
        .fsyncdir = ll_fsyncdir,
        .statfs = ll_statfs,
        .setxattr = ll_setxattr,
        .getxattr = ll_getxattr,
        .listxattr = ll_listxattr,
        .removexattr = ll_removexattr,
        .fallocate = ll_fallocate,
        .lseek = ll_lseek,
};

static ssize_t io_read(int fd, void *buf, size_t size, void *userdata)
{
	return read(fd, buf, size);
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	wire_complete(&((struct session *)userdata)->wire, iov, count);
	return writev(fd, iov, count);
}

struct session *session_new(int fuse_fd, struct fs *fs, struct err *e)
{
	const struct fuse_custom_io io = {.read = io_read, .writev = io_writev};
	char name[] = "builderd-fs", *argv[] = {name, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct session *s = xcalloc(1, sizeof(*s));

	s->fs = fs;
	s->fuse_fd = fuse_fd;
	s->out = xcalloc(1, INGEST_WRITE_MAX);
	control_init(&s->control, fs);
	s->se = fuse_session_new(&args, &operations, sizeof(operations), s);
	fuse_opt_free_args(&args);
	if (s->se && fd_set_nonblock(fuse_fd, 1) == 0 && fuse_session_custom_io(s->se, &io, fuse_fd) == 0)
		return s;
	err_set(e, -EIO, "start the FUSE session");
	session_free(s);
	return NULL;
}

void session_end_ingest(struct session *s)
{
	control_free(&s->control);
	control_init(&s->control, s->fs);
}

void session_free(struct session *s)
{
	if (!s)
		return;
	control_free(&s->control);
	if (s->se)
		fuse_session_destroy(s->se);
	free(s->in.mem);
	free(s->out);
	free(s);
}

int session_fd(const struct session *s)
{
	return s->fuse_fd;
}

int session_serve(struct session *s)
{
	/* On one CPU the kernel runs the client as soon as it is answered, and its next request is there when write()
	 * returns: no need to ask poll() for each. */
	for (int i = 0; i < BATCH; i++) {
		int rc = fuse_session_receive_buf(s->se, &s->in);
		if (rc == -EINTR || rc == -EAGAIN)
			return 1;
		if (rc <= 0)
			return rc;
		s->requests++;
		wire_look(&s->wire, s->in.mem, (size_t)rc);
		fuse_session_process_buf(s->se, &s->in);
		if (fuse_session_exited(s->se))
			return 0;
	}
	return 1;
}

uint64_t session_requests(const struct session *s)
{
	return s->requests;
}
