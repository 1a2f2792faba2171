/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets from a hostile peer. The input is a series of packets: one byte of role and state for the conversation, then
 * for each packet a byte with the number of descriptors, two bytes of length, the bytes. What channel_recv lets
 * through must stand in MSG_TABLE, and no descriptor may be lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ipc/channel.h"

#define FDS_MAX (MSG_MAX_FDS + 2)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void packet_send(int fd, const void *data, size_t len, unsigned n_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[FDS_MAX];

	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = fd;
	if (n_fds) {
		mh.msg_control = control.space;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(cm), fds, sizeof(int) * n_fds);
	}
	must(sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0);
}

/* 1, 0 or -errno as channel_recv; the message is released. */
static int packet_judge(struct channel *c)
{
	static struct message m;
	struct err e = ERR_INIT;
	uint64_t seen = c->seen;
	int rc = channel_recv(c, &m, &e);

	if (rc < 0)
		must(e.code < 0 && *e.msg && !m.n_fds);
	if (rc <= 0)
		return rc;
	const struct msg_rule *r = &msg_rules[m.type];
	must(m.type > MSG_NONE && m.type < MSG_TYPE_COUNT && r->sender == c->peer && r->states & c->state);
	must(m.length == r->size && m.n_fds >= r->min_fds && m.n_fds <= r->max_fds);
	must(!r->is_once || !(seen & 1ull << m.type));
	for (uint32_t i = 0; i < m.n_fds; i++)
		must(m.fds[i] >= 0);
	message_release(&m);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int sv[2];
	struct channel c;

	if (!size)
		return 0;
	must(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv));
	int next = dup(sv[1]);
	close(next);
	channel_init(&c, sv[0], (enum role)(data[0] % ROLE_COUNT));
	c.state = 1u << (data[0] / 8 % 4);
	int rc = 1;
	for (data++, size--; size >= 3 && rc > 0;) {
		unsigned n_fds = data[0] % (FDS_MAX + 1);
		size_t len = (size_t)data[1] << 8 | data[2];
		len = len < size - 3 ? len : size - 3;
		packet_send(sv[1], data + 3, len, n_fds);
		rc = packet_judge(&c);
		data += 3 + len;
		size -= 3 + len;
	}
	int again = dup(sv[1]);
	must(next == again); /* all descriptors that came are closed */
	close(again);
	channel_close(&c);
	close(sv[1]);
	return 0;
}
