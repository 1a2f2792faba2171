/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/channel.h"

static struct channel ours, theirs;

static void pair_open(enum role peer)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	channel_init(&ours, fds[0], peer);
	channel_init(&theirs, fds[1], ROLE_MONITOR);
}

/* Send raw bytes as a hostile child would, and give the receiver's verdict. */
static int verdict(const void *data, size_t len, struct err *e)
{
	struct message m;

	cr_assert_eq(send(theirs.fd, data, len, 0), (ssize_t)len);
	int rc = channel_recv(&ours, &m, e);
	if (rc > 0)
		message_release(&m);
	return rc;
}

Test(channel, a_listed_message_arrives_with_its_descriptor)
{
	struct message m;
	struct err e = ERR_INIT;
	struct msg_fetch_blob blob = {.index = 3};
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	pair_open(ROLE_FETCH);
	ours.state = MSG_STATE_PLANNED;
	cr_assert_eq(channel_send(&theirs, MSG_FETCH_BLOB, &blob, sizeof(blob), &fd, 1), 0);
	cr_assert_eq(channel_recv(&ours, &m, &e), 1, "%s", e.msg);
	cr_assert_eq(m.type, MSG_FETCH_BLOB);
	cr_assert_eq(((struct msg_fetch_blob *)m.payload)->index, 3);
	cr_assert_eq(m.n_fds, 1);
	cr_assert(fcntl(m.fds[0], F_GETFD) & FD_CLOEXEC);
	message_release(&m);
	channel_close(&theirs);
	cr_assert_eq(channel_recv(&ours, &m, &e), 0);
}

Test(channel, breaches_of_the_table_end_the_conversation)
{
	struct {
		struct msg_header h;
		unsigned char payload[sizeof(struct msg_fetch_progress)];
	} p = {{MSG_FETCH_PROGRESS, sizeof(struct msg_fetch_progress)}, {0}};
	struct err e = ERR_INIT;

	pair_open(ROLE_FETCH);
	ours.state = MSG_STATE_RUNNING;
	cr_assert_eq(verdict(&p, sizeof(p), &e), 1, "%s", e.msg);
	cr_assert_eq(verdict(&p, sizeof(p) - 1, &e), -EPROTO); /* header lies about the length */
	cr_assert_eq(verdict(&p, 3, &e), -EPROTO);
	p.h.type = 9999;
	cr_assert_eq(verdict(&p, sizeof(p), &e), -EPROTO);
	p.h.type = MSG_FETCH_DONE; /* legal from fetch, not in this state */
	cr_assert_eq(verdict(&p, sizeof(p), &e), -EPROTO);
	cr_assert(strstr(e.msg, "not in this state"), "%s", e.msg);
	p.h.type = MSG_UNPACK_PROGRESS; /* another role's */
	cr_assert_eq(verdict(&p, sizeof(p), &e), -EPROTO);
	cr_assert(strstr(e.msg, "not its message"), "%s", e.msg);
	p.h.type = MSG_FETCH_DONE;
	ours.state = MSG_STATE_PLANNED;
	cr_assert_eq(verdict(&p, sizeof(p), &e), 1, "%s", e.msg);
	cr_assert_eq(verdict(&p, sizeof(p), &e), -EPROTO);
	cr_assert(strstr(e.msg, "sent twice"), "%s", e.msg);
}

Test(channel, a_full_socket_queues_and_flush_sends_in_order)
{
	struct msg_build_progress p = {.percent = 0};
	struct message m;
	struct err e = ERR_INIT;
	unsigned sent = 0, got = 0;

	pair_open(ROLE_API);
	theirs.state = MSG_STATE_RUNNING;
	cr_assert_eq(channel_set_nonblock(&ours), 0);
	for (; ours.queued < 10; sent++) {
		p.percent = sent;
		cr_assert_eq(channel_send_struct(&ours, MSG_BUILD_PROGRESS, p), 0);
	}
	while (got < sent) {
		cr_assert_eq(channel_recv(&theirs, &m, &e), 1, "%s", e.msg);
		cr_assert_eq(((struct msg_build_progress *)m.payload)->percent, got++);
		message_release(&m);
		cr_assert_geq(channel_flush(&ours), 0);
	}
	cr_assert_eq(channel_flush(&ours), 1);
}

Test(message, ids_from_a_socket_are_checked)
{
	char id[BUILD_ID_MAX];

	static const char *const good[] = {"build_01JD0000000000000000000000", "a", "A.b-c_d"};
	static const char *const bad[] = {"", ".", "..", "../x", "a/b", "-x", "a b", "\xc3\xa9"};
	for (size_t i = 0; i < 3; i++) {
		memset(id, 0, sizeof(id));
		strncpy(id, good[i], sizeof(id) - 1);
		cr_assert(msg_build_id_is_valid(id), "%s", good[i]);
	}
	for (size_t i = 0; i < 8; i++) {
		memset(id, 0, sizeof(id));
		strncpy(id, bad[i], sizeof(id) - 1);
		cr_assert_not(msg_build_id_is_valid(id), "%s", bad[i]);
	}
	memset(id, 'a', sizeof(id)); /* never terminated */
	cr_assert_not(msg_build_id_is_valid(id));
}
