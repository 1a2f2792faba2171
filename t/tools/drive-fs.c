/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives builderd-fs as builderd does, without builderd: an ext4 image on a loop device, mounted detached, a FUSE
 * mount on top, the conversation over a socketpair. In a mount namespace of its own: nothing is left behind.
 *
 *   drive-fs [-L] [-p PROGRAM] [-d DIR] [-s IMAGE_MB] [-q MAX_BYTES] [-i MAX_INODES] [-G MB_HELD_BACK] [-f MAX_FILE]
 *            STEP...
 * -L: layers are preserved, each a directory of the volume.
 * Steps, in order; a session starts with the first that needs one:
 *   layer:FILE     a tar layer, converted and written to the control file
 *   stream:FILE    an ingest stream as it is
 *   convert:IN=OUT a tar layer to an ingest stream in a file
 *   run:COMMAND    sh -c COMMAND with $MNT (the FUSE mount) and $BACK (the backing file system)
 *   stop           end the session, compare what it reports with a walk of the tree
 *   next           stop; with -L, what follows is the next layer
 *   kernel:COMMAND sh -c COMMAND with the layers so far mounted by the kernel's overlayfs, read-only, at $KERNEL
 *   raw:FILE       untar FILE straight to $BACK (tar -xf), timed: the yardstick
 * Each says what came of it on a line of stdout. The exit code is 1 if a command failed, figures differ, or the process
 * died.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <linux/loop.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "ipc/channel.h"
#include "ipc/ingest.h"
#include "ipc/spawn.h"
#include "sandbox/sandbox.h"

static struct {
	const char *program, *dir;
	uint64_t image_mb, grow_mb;
	struct msg_fs_start start;
	char base[512], back[512], mnt[512], image[512];
	int ballast_fd, loop_fd, back_fd, mount_fd;
	struct child child;
	bool is_failed;
} d = {.program = "./builderd-fs",
        .dir = "/var/tmp",
        .image_mb = 256,
        .mount_fd = -1,
        .ballast_fd = -1,
        .start = {.max_bytes = 1ull << 40, .max_inodes = 1u << 24, .grant_bytes = UINT64_MAX}};

static void die(const char *what)
{
	fprintf(stderr, "drive-fs: %s: %s\n", what, strerror(errno));
	exit(2);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* --- the backing file system and the mount ---------------------------------------------------------------------- */

static void image_make(void)
{
	int fd = open(d.image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600),
	    ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)(d.image_mb << 20)) < 0 || ctl < 0)
		die(d.image);
	AUTO_FREE char *cmd =
	        xasprintf("mkfs.ext4 -q -F -b 4096 -O ^has_journal,^resize_inode -m 0 -N %" PRIu64 " '%s'",
	                d.image_mb * 128, d.image);
	if (system(cmd) != 0)
		die("mkfs.ext4");
	char name[32];
	for (int try = 0;; try++) {
		struct loop_config c = {.fd = (unsigned)fd, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
		snprintf(name, sizeof(name), "/dev/loop%d", ioctl(ctl, LOOP_CTL_GET_FREE));
		d.loop_fd = open(name, O_RDWR | O_CLOEXEC);
		if (d.loop_fd >= 0 && ioctl(d.loop_fd, LOOP_CONFIGURE, &c) == 0)
			break;
		if (try == 20)
			die("loop device");
		close(d.loop_fd);
	}
	unlink(d.image); /* the loop device holds it */
	close(fd);
	close(ctl);
	int fs = fsopen("ext4", FSOPEN_CLOEXEC);
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "source", name, 0) < 0 ||
	        fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		die("mount ext4");
	d.back_fd = fsmount(
	        fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME);
	close(fs);
	if (d.back_fd < 0 || move_mount(d.back_fd, "", AT_FDCWD, d.back, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		die("mount ext4");
}

static int fuse_mount(void)
{
	int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC), fs = fsopen("fuse", FSOPEN_CLOEXEC);
	char number[16];

	snprintf(number, sizeof(number), "%d", dev);
	if (dev < 0 || fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "fd", number, 0) < 0 ||
	        fsconfig(fs, FSCONFIG_SET_STRING, "rootmode", "40000", 0) < 0 ||
	        fsconfig(fs, FSCONFIG_SET_STRING, "user_id", "0", 0) < 0 ||
	        fsconfig(fs, FSCONFIG_SET_STRING, "group_id", "0", 0) < 0 ||
	        fsconfig(fs, FSCONFIG_SET_FLAG, "allow_other", NULL, 0) < 0 ||
	        fsconfig(fs, FSCONFIG_SET_FLAG, "default_permissions", NULL, 0) < 0 ||
	        fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		die("mount fuse");
	d.mount_fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOATIME);
	if (d.mount_fd < 0 || move_mount(d.mount_fd, "", AT_FDCWD, d.mnt, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		die("mount fuse");
	close(fs);
	return dev;
}

/* --- the conversation ------------------------------------------------------------------------------------------- */

static void session_broken(void)
{
	printf("died: builderd-fs ended the conversation\n");
	fflush(stdout);
	_exit(1);
}

/* Growing an ext4 online takes CAP_SYS_RESOURCE, which containers lack: space that was held back does as well. */
static void ballast_make(void)
{
	AUTO_FREE char *path = xasprintf("%s/ballast", d.back);

	d.ballast_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (d.ballast_fd < 0 || fallocate(d.ballast_fd, 0, 0, (off_t)(d.grow_mb << 20)) < 0 || unlink(path) < 0)
		die(path);
}

static int volume_grow(void)
{
	if (d.ballast_fd < 0)
		return -ENOSPC;
	/* the writing child has a copy of the descriptor */
	int rc = ftruncate(d.ballast_fd, 0) < 0 ? -errno : 0;
	cleanup_close(&d.ballast_fd);
	return rc;
}

/* One message. False: it was FS_GROW, and is answered. */
static bool message_take(struct message *m)
{
	struct err e = ERR_INIT;

	if (channel_recv(&d.child.channel, m, &e) <= 0)
		session_broken();
	if (m->type == MSG_FS_FAIL) {
		printf("failed: %s\n", ((struct msg_fail *)(void *)m->payload)->err.msg);
		fflush(stdout);
		_exit(1);
	}
	if (m->type != MSG_FS_GROW)
		return true;
	struct msg_fs_grown grown = {.code = volume_grow()};
	printf("grow: asked, code %d\n", grown.code);
	channel_send_struct(&d.child.channel, MSG_FS_GROWN, grown);
	return false;
}

static void message_wait(uint32_t type, struct message *m)
{
	while (!message_take(m) || m->type != type)
		;
}

static void session_start(void)
{
	struct message m;

	if (d.child.pid)
		return;
	int dev = fuse_mount();
	AUTO_FREE char *program = realpath(d.program, NULL);
	static const char *const argv[] = {"builderd-fs", NULL}, *const envp[] = {NULL};
	const struct spawn sp = {.role = ROLE_FS,
	        .program = program,
	        .argv = argv,
	        .envp = envp,
	        .namespaces = sandbox_namespaces(ROLE_FS)};
	struct err e = ERR_INIT;
	if (!program || spawn_program(&sp, &d.child, &e) < 0)
		die(program ? e.msg : d.program);
	d.child.channel.state = MSG_STATE_RUNNING;
	const int fds[2] = {dev, d.back_fd};
	if (channel_send(&d.child.channel, MSG_FS_START, &d.start, sizeof(d.start), fds, 2) < 0)
		session_broken();
	close(dev);
	message_wait(MSG_FS_READY, &m);
	message_release(&m);
}

struct seen {
	uint64_t *inos;
	size_t n, cap;
	uint64_t bytes, inodes;
};
static struct seen seen;

static int seen_has(uint64_t ino)
{
	for (size_t i = 0; i < seen.n; i++)
		if (seen.inos[i] == ino)
			return 1;
	if (seen.n == seen.cap) {
		seen.cap = seen.cap ? seen.cap * 2 : 64;
		seen.inos = xrealloc(seen.inos, seen.cap * sizeof(*seen.inos));
	}
	seen.inos[seen.n++] = ino;
	return 0;
}

static void walk(void)
{
	char *const roots[] = {d.back, NULL};
	FTS *f = fts_open(roots, FTS_PHYSICAL | FTS_XDEV, NULL);
	FTSENT *ent;

	seen.n = 0;
	seen.bytes = seen.inodes = 0;
	while (f && (ent = fts_read(f))) {
		const struct stat *st = ent->fts_statp;
		if (ent->fts_info == FTS_DP || (!S_ISDIR(st->st_mode) && st->st_nlink > 1 && seen_has(st->st_ino)))
			continue;
		seen.bytes += (uint64_t)st->st_blocks * 512;
		seen.inodes++;
	}
	fts_close(f);
}

static void session_stop(void)
{
	const struct msg_fs_grown stop = {0};
	struct message m;
	int status;

	if (!d.child.pid)
		return;
	double t = now();
	if (channel_send_struct(&d.child.channel, MSG_FS_STOP, stop) < 0)
		session_broken();
	message_wait(MSG_FS_DONE, &m);
	const struct msg_fs_done *done = (void *)m.payload;
	status = child_end(&d.child, 5000);
	t = now() - t;
	umount2(d.mnt, MNT_DETACH);
	close(d.mount_fd);
	d.child.pid = 0;
	syncfs(d.back_fd);
	walk();
	bool same = seen.bytes == done->used_bytes && seen.inodes == done->used_inodes;
	printf("done: bytes=%" PRIu64 " inodes=%" PRIu64 " walk_bytes=%" PRIu64 " walk_inodes=%" PRIu64
	       " %s status=%d ms=%.0f requests=%" PRIu64 "\n",
	        done->used_bytes, done->used_inodes, seen.bytes, seen.inodes, same ? "exact" : "DIFFER", status,
	        t * 1000, done->requests);
	if (!same || status)
		d.is_failed = true;
	d.start.used_bytes = done->used_bytes;
	d.start.used_inodes = done->used_inodes;
	message_release(&m);
}

/* --- tar to ingest stream --------------------------------------------------------------------------------------- */

typedef int sink_fn(void *arg, const void *data, size_t len);

struct out {
	sink_fn *sink;
	void *arg;
	char *block;
	size_t len;
	int rc;
};

static void out_flush(struct out *o)
{
	if (o->len && !o->rc)
		o->rc = o->sink(o->arg, o->block, o->len);
	o->len = 0;
}

static void out_put(struct out *o, const void *data, size_t len)
{
	while (len && !o->rc) {
		size_t n = len < INGEST_WRITE_MAX - o->len ? len : INGEST_WRITE_MAX - o->len;
		memcpy(o->block + o->len, data, n);
		o->len += n;
		data = (const char *)data + n;
		len -= n;
		if (o->len == INGEST_WRITE_MAX)
			out_flush(o);
	}
}

static void out_mark(struct out *o, int type)
{
	const struct ingest_record r = {.magic = INGEST_MAGIC, .type = (uint16_t)type};

	out_put(o, &r, sizeof(r));
}

static const char *name_clean(const char *name)
{
	while (*name == '/' || (name[0] == '.' && name[1] == '/'))
		name++;
	return strcmp(name, ".") ? name : "";
}

static int type_of(struct archive_entry *ae)
{
	if (archive_entry_hardlink(ae))
		return INGEST_HARDLINK;
	switch (archive_entry_filetype(ae)) {
	case AE_IFREG:
		return INGEST_FILE;
	case AE_IFDIR:
		return INGEST_DIR;
	case AE_IFLNK:
		return INGEST_SYMLINK;
	case AE_IFCHR:
		return INGEST_CHR;
	case AE_IFBLK:
		return INGEST_BLK;
	default:
		return INGEST_FIFO;
	}
}

static void xattrs_put(struct buf *b, struct archive_entry *ae)
{
	const char *name;
	const void *value;
	size_t len;

	archive_entry_xattr_reset(ae);
	while (archive_entry_xattr_next(ae, &name, &value, &len) == ARCHIVE_OK) {
		const uint16_t head[2] = {(uint16_t)strlen(name), 0};
		const uint32_t size = (uint32_t)len;
		buf_append(b, head, sizeof(head));
		buf_append(b, &size, sizeof(size));
		buf_append(b, name, head[0]);
		buf_append(b, value, len);
	}
}

static void entry_put(struct out *o, struct archive *a, struct archive_entry *ae)
{
	const char *path = name_clean(archive_entry_pathname(ae)), *link = "";
	struct ingest_record r = {.magic = INGEST_MAGIC,
	        .type = (uint16_t)type_of(ae),
	        .mode = archive_entry_perm(ae) & 07777,
	        .uid = (uint32_t)archive_entry_uid(ae),
	        .gid = (uint32_t)archive_entry_gid(ae),
	        .mtime_sec = archive_entry_mtime(ae),
	        .mtime_nsec = (uint32_t)archive_entry_mtime_nsec(ae),
	        .rdev_major = (uint32_t)archive_entry_rdevmajor(ae),
	        .rdev_minor = (uint32_t)archive_entry_rdevminor(ae)};
	AUTO_FREE char *text = xstrdup(path);
	AUTO_BUF struct buf xattrs = {0};
	bool is_sparse = r.type == INGEST_FILE && archive_entry_sparse_count(ae) > 0;

	for (size_t n = strlen(text); n && text[n - 1] == '/'; n--)
		text[n - 1] = 0;
	char *slash = strrchr(text, '/'), *last = slash ? slash + 1 : text;
	if (!strcmp(last, ".wh..wh..opq")) {
		*(slash ? slash : text) = 0;
		r = (struct ingest_record){.magic = INGEST_MAGIC, .type = INGEST_OPAQUE};
	} else if (!strncmp(last, ".wh.", 4)) {
		memmove(last, last + 4, strlen(last) - 3);
		r = (struct ingest_record){.magic = INGEST_MAGIC, .type = INGEST_WHITEOUT};
	}
	if (r.type == INGEST_HARDLINK)
		link = name_clean(archive_entry_hardlink(ae));
	if (r.type == INGEST_SYMLINK)
		link = archive_entry_symlink(ae);
	if (r.type < INGEST_WHITEOUT)
		xattrs_put(&xattrs, ae);
	if (r.type == INGEST_FILE && !is_sparse)
		r.size = (uint64_t)archive_entry_size(ae);
	if (is_sparse) {
		r.flags = INGEST_SPARSE;
		r.apparent = (uint64_t)archive_entry_size(ae);
	}
	r.path_len = (uint32_t)strlen(text);
	r.link_len = (uint32_t)strlen(link);
	r.xattr_len = (uint32_t)xattrs.len;
	out_put(o, &r, sizeof(r));
	out_put(o, text, r.path_len);
	out_put(o, link, r.link_len);
	out_put(o, xattrs.data, xattrs.len);
	const void *data;
	size_t len;
	la_int64_t off;
	while ((r.size || is_sparse) && archive_read_data_block(a, &data, &len, &off) == ARCHIVE_OK) {
		const struct ingest_record c = {
		        .magic = INGEST_MAGIC, .type = INGEST_CONTENT, .size = len, .offset = (uint64_t)off};
		if (is_sparse && len)
			out_put(o, &c, sizeof(c));
		out_put(o, data, len);
	}
}

static int tar_convert(const char *file, sink_fn *sink, void *arg)
{
	struct archive *a = archive_read_new();
	struct archive_entry *ae;
	struct out o = {.sink = sink, .arg = arg, .block = aligned_alloc(4096, INGEST_WRITE_MAX)};

	archive_read_support_format_tar(a);
	archive_read_support_filter_all(a);
	if (archive_read_open_filename(a, file, 1 << 20) != ARCHIVE_OK)
		die(file);
	out_mark(&o, INGEST_BEGIN);
	while (!o.rc && archive_read_next_header(a, &ae) == ARCHIVE_OK)
		entry_put(&o, a, ae);
	out_mark(&o, INGEST_END);
	out_flush(&o);
	free(o.block);
	archive_read_free(a);
	return o.rc;
}

static int sink_fd(void *arg, const void *data, size_t len)
{
	int fd = *(int *)arg;

	return fd_write_all(fd, data, len);
}

/* --- steps ------------------------------------------------------------------------------------------------------ */

static int control_open(void)
{
	session_start();
	int fd = openat(d.mount_fd, INGEST_NAME, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die(INGEST_NAME);
	return fd;
}

/* FS_GROW has to be answered while we write: a child does the writing. */
static void control_feed(const char *what, const char *file, bool is_tar)
{
	int fd = control_open();
	struct ingest_status st = {0};
	double t = now();

	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		int rc = 0;
		if (is_tar) {
			rc = tar_convert(file, sink_fd, &fd);
		} else {
			AUTO_CLOSE int in = open(file, O_RDONLY | O_CLOEXEC);
			struct stat s;
			if (in < 0 || fstat(in, &s) < 0)
				_exit(2);
			size_t size = (size_t)s.st_size;
			const char *p = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, in, 0) : "";
			for (size_t at = 0; at < size && rc == 0; at += INGEST_WRITE_MAX)
				rc = fd_write_all(
				        fd, p + at, size - at < INGEST_WRITE_MAX ? size - at : INGEST_WRITE_MAX);
		}
		_exit(rc < 0);
	}
	int status;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		struct timespec tick = {0, 1000000};
		struct pollfd p = {.fd = d.child.channel.fd, .events = POLLIN};
		struct message m;
		if (poll(&p, 1, 0) > 0)
			message_take(&m);
		nanosleep(&tick, NULL);
	}
	t = now() - t;
	if (pread(fd, &st, sizeof(st), 0) < 0)
		perror("drive-fs: read the status");
	close(fd);
	if (st.err.code)
		printf("%s: error %d %s: %s\n", what, st.err.code, err_kind_name(st.err.kind), st.err.msg);
	else
		printf("%s: entries=%" PRIu64 " bytes=%" PRIu64 " ms=%.0f\n", what, st.entries, st.bytes, t * 1000);
}

static void step_layer(const char *arg)
{
	control_feed("layer", arg, true);
}

static void step_stream(const char *arg)
{
	control_feed("stream", arg, false);
}

static void step_convert(const char *arg)
{
	AUTO_FREE char *in = xstrdup(arg);
	char *out = strchr(in, '=');

	if (!out)
		die("convert:IN=OUT");
	*out++ = 0;
	AUTO_CLOSE int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || tar_convert(in, sink_fd, &fd) < 0)
		die(out);
}

static void step_run(const char *arg)
{
	session_start();
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(1, 2);
		execl("/bin/sh", "sh", "-c", arg, NULL);
		_exit(127);
	}
	int status;
	waitpid(pid, &status, 0);
	printf("run: status %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	if (status)
		d.is_failed = true;
}

static void step_stop(const char *arg)
{
	session_start();
	session_stop();
}

static void step_next(const char *arg)
{
	step_stop(arg);
	if (d.start.layer)
		d.start.layer++;
}

static void step_kernel(const char *arg)
{
	AUTO_FREE char *lower = xstrdup("");
	AUTO_FREE char *at = xasprintf("%s/kernel", d.base);

	session_stop();
	for (uint64_t i = 0; i < d.start.layer; i++) {
		char *more = xasprintf("%s/" INGEST_LAYERS "/" INGEST_LAYER_NAME "%s%s", d.back, (unsigned)i,
		        *lower ? ":" : "", lower);
		free(lower);
		lower = more;
	}
	/* One directory alone is no overlay: an empty one below it. */
	AUTO_FREE char *empty = xasprintf("%s/empty", d.base);
	AUTO_FREE char *options = xasprintf("lowerdir=%s:%s,userxattr", lower, empty);
	mkdir(empty, 0755);
	mkdir(at, 0755);
	setenv("KERNEL", at, 1);
	if (mount("overlay", at, "overlay", MS_RDONLY, options) < 0)
		die("mount overlay");
	AUTO_FREE char *command = xasprintf("exec 2>&1; %s", arg);
	int status = system(command);
	printf("kernel: status %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	if (status)
		d.is_failed = true;
	umount2(at, MNT_DETACH);
}

static void step_raw(const char *arg)
{
	AUTO_FREE char *cmd = xasprintf("tar -xf '%s' -C '%s'", arg, d.back);
	double t = now();

	int status = system(cmd);
	printf("raw: ms=%.0f status=%d\n", (now() - t) * 1000, status);
}

static const struct {
	const char *name;
	void (*run)(const char *arg);
} steps[] = {{"layer:", step_layer}, {"stream:", step_stream}, {"convert:", step_convert}, {"run:", step_run},
        {"stop", step_stop}, {"next", step_next}, {"kernel:", step_kernel}, {"raw:", step_raw}};

static void step(const char *text)
{
	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		if (!strncmp(text, steps[i].name, strlen(steps[i].name))) {
			steps[i].run(text + strlen(steps[i].name));
			fflush(stdout);
			return;
		}
	fprintf(stderr, "drive-fs: no such step: %s\n", text);
	exit(2);
}

static void limits_default(struct image_limits *l)
{
	*l = (struct image_limits){.max_layers = 127,
	        .max_depth = 1024,
	        .max_entries = 100000,
	        .max_file = 1ull << 30,
	        .max_total = 2ull << 30,
	        .max_links = 65000,
	        .max_name = 255,
	        .max_path = 4096,
	        .max_sparse_segments = 65536,
	        .max_xattr_bytes = 65536,
	        .max_xattrs = 128};
}

static void dirs_make(void)
{
	AUTO_FREE char *base = xasprintf("%s/drive-fs.XXXXXX", d.dir);

	if (!mkdtemp(base))
		die(base);
	snprintf(d.base, sizeof(d.base), "%s", base);
	snprintf(d.mnt, sizeof(d.mnt), "%s/mnt", base);
	snprintf(d.image, sizeof(d.image), "%s.img", base);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		die("unshare");
	if (mount("tmpfs", base, "tmpfs", 0, "size=1m") < 0)
		die("tmpfs");
	snprintf(d.back, sizeof(d.back), "%s/back", base);
	if (mkdir(d.back, 0755) < 0 || mkdir(d.mnt, 0755) < 0)
		die(base);
	setenv("MNT", d.mnt, 1);
	setenv("BACK", d.back, 1);
}

int main(int argc, char **argv)
{
	int c;

	limits_default(&d.start.limits);
	while ((c = getopt(argc, argv, "Lp:d:s:q:i:G:f:")) != -1) {
		uint64_t n = optarg ? strtoull(optarg, NULL, 0) : 0;
		if (c == 'p')
			d.program = optarg;
		else if (c == 'L')
			d.start.layer = 1;
		else if (c == 'd')
			d.dir = optarg;
		else if (c == 's')
			d.image_mb = n;
		else if (c == 'q')
			d.start.max_bytes = n;
		else if (c == 'i')
			d.start.max_inodes = n;
		else if (c == 'G')
			d.grow_mb = n;
		else if (c == 'f')
			d.start.limits.max_file = n;
		else
			return 2;
	}
	umask(022);
	dirs_make();
	image_make();
	if (d.grow_mb)
		ballast_make();
	for (int i = optind; i < argc; i++)
		step(argv[i]);
	session_stop();
	umount2(d.base, MNT_DETACH);
	rmdir(d.base);
	return d.is_failed;
}
