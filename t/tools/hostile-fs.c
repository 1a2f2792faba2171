/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A builderd-fs that was taken over: it plays along until builderd opens the ingest file, then offers what HOSTILE_MODE
 * (the first letter of the file .hostile beside the program, since children get a clean environment) says: l  a
 * symbolic link to HOSTILE_TARGET (the rest of that file)     d  a directory     f  a fifo     s  silence It speaks the
 * kernel's protocol itself (linux/fuse.h): libfuse would not send such answers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fuse.h>

#include "ipc/channel.h"

static char plan[512];

static void reply(int fd, uint64_t unique, int error, const void *data, size_t len)
{
	char out[8192];
	struct fuse_out_header h = {.len = (uint32_t)(sizeof(h) + len), .error = error, .unique = unique};

	memcpy(out, &h, sizeof(h));
	if (len)
		memcpy(out + sizeof(h), data, len);
	if (write(fd, out, sizeof(h) + len) < 0)
		perror("hostile-fs: reply");
}

static struct fuse_attr attr_of(uint64_t node)
{
	struct fuse_attr a = {.ino = node, .nlink = 1, .blksize = 4096};

	a.mode = S_IFDIR | 0755;
	if (node != FUSE_ROOT_ID)
		a.mode = plan[0] == 'l' ? S_IFLNK | 0777 : plan[0] == 'f' ? S_IFIFO | 0666 : S_IFDIR | 0755;
	a.size = a.mode & S_IFLNK ? strlen(plan + 1) : 0;
	return a;
}

static void serve(int fd, const struct fuse_in_header *in, const void *arg)
{
	const struct fuse_init_in *want = arg;
	struct fuse_init_out init = {
	        .major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 65536, .max_readahead = 65536};
	struct fuse_entry_out entry = {.nodeid = 2, .attr = attr_of(2), .entry_valid = 1, .attr_valid = 1};
	struct fuse_attr_out attr = {.attr_valid = 1, .attr = attr_of(in->nodeid)};
	struct fuse_open_out open_out = {.fh = 1};

	switch (in->opcode) {
	case FUSE_INIT:
		if (want->minor < init.minor)
			init.minor = want->minor;
		reply(fd, in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		if (plan[0] != 's')
			reply(fd, in->unique, 0, &entry, sizeof(entry));
		break;
	case FUSE_GETATTR:
		reply(fd, in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_READLINK:
		reply(fd, in->unique, 0, plan + 1, strlen(plan + 1));
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		reply(fd, in->unique, 0, &open_out, sizeof(open_out));
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		reply(fd, in->unique, -ENOSYS, NULL, 0);
	}
}

static void plan_read(void)
{
	char path[400], file[512];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n <= 0)
		return;
	path[n] = 0;
	*strrchr(path, '/') = 0;
	snprintf(file, sizeof(file), "%s/.hostile", path);
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, plan, sizeof(plan) - 1);
	plan[n > 0 ? n : 0] = 0;
	plan[strcspn(plan, "\n")] = 0;
	close(fd);
}

int main(void)
{
	struct channel c;
	struct message m;
	struct err e = ERR_INIT;
	static _Alignas(8) char request[FUSE_MIN_READ_BUFFER + 1048576];
	const struct msg_fs_done ready = {0};

	plan_read();
	channel_init(&c, CHANNEL_FD, ROLE_MONITOR);
	if (channel_recv(&c, &m, &e) <= 0 || m.type != MSG_FS_START)
		return 1;
	channel_send_struct(&c, MSG_FS_READY, ready);
	for (;;) {
		ssize_t n = read(m.fds[0], request, sizeof(request));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < (ssize_t)sizeof(struct fuse_in_header))
			return 0;
		serve(m.fds[0], (const void *)request, request + sizeof(struct fuse_in_header));
	}
}
