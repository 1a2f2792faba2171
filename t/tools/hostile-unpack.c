/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A builderd-unpack that was taken over. What it does is the first letter of the file .hostile beside the program:
 *   m  half a message   u  an unlisted one   o  another role's   w  one of the wrong size   t  DONE twice
 *   f  log lines without end   x  exits with code 3   h  hangs
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "ipc/channel.h"

static char plan_read(void)
{
	char path[400];
	char letter = 0;
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 16);

	if (n <= 0)
		return 0;
	path[n] = 0;
	strcpy(strrchr(path, '/'), "/.hostile");
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, &letter, 1) != 1)
		letter = 0;
	close(fd);
	return letter;
}

static void packet(int fd, uint32_t type, uint32_t claimed, size_t sent)
{
	char out[1024] = {0};
	struct msg_header h = {.type = type, .length = claimed};

	memcpy(out, &h, sizeof(h));
	send(fd, out, sent, MSG_NOSIGNAL);
}

int main(void)
{
	struct channel c;
	struct message m;
	struct err e = ERR_INIT;
	const struct msg_unpack_done done = {0};
	char what = plan_read();

	channel_init(&c, CHANNEL_FD, ROLE_MONITOR);
	if (channel_recv(&c, &m, &e) <= 0)
		return 1;
	switch (what) {
	case 'm':
		packet(c.fd, MSG_UNPACK_DONE, sizeof(done), 5);
		break;
	case 'u':
		packet(c.fd, 4711, 16, 24);
		break;
	case 'o':
		packet(c.fd, MSG_FETCH_PROGRESS, 16, 24);
		break;
	case 'w':
		packet(c.fd, MSG_UNPACK_DONE, 16, 24);
		break;
	case 't':
		channel_send_struct(&c, MSG_UNPACK_DONE, done);
		channel_send_struct(&c, MSG_UNPACK_DONE, done);
		break;
	case 'f':
		for (;;)
			channel_log(&c, MSG_UNPACK_LOG, LOG_LEVEL_INFO, "unpack", "la la la");
	case 'x':
		return 3;
	}
	pause();
	return 0;
}
