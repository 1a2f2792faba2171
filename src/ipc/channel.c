/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ipc/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"

#define QUEUE_MAX 4096

struct channel_packet {
	struct channel_packet *next;
	uint32_t length; /* header included */
	uint32_t n_fds;
	int fds[MSG_MAX_FDS]; /* owns */
	unsigned char data[];
};

void channel_init(struct channel *c, int fd, enum role peer)
{
	*c = (struct channel){.fd = fd, .peer = peer, .state = MSG_STATE_NEW};
	c->tail = &c->head;
}

static void packet_free(struct channel_packet *p)
{
	for (uint32_t i = 0; i < p->n_fds; i++)
		if (p->fds[i] >= 0)
			close(p->fds[i]);
	free(p);
}

void channel_close(struct channel *c)
{
	while (c->head) {
		struct channel_packet *p = c->head;
		c->head = p->next;
		packet_free(p);
	}
	c->tail = &c->head;
	c->queued = 0;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

int channel_set_nonblock(struct channel *c)
{
	c->is_nonblock = true;
	return fd_set_nonblock(c->fd, 1);
}

/* 0 or -errno. */
static int packet_send(int fd, struct iovec *iov, size_t n_iov, const int *fds, uint32_t n_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * MSG_MAX_FDS)];
	} control = {0};
	struct msghdr mh = {.msg_iov = iov, .msg_iovlen = n_iov};

	if (n_fds) {
		mh.msg_control = control.space;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(cm), fds, sizeof(int) * n_fds);
	}
	for (;;) {
		if (sendmsg(fd, &mh, MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno != EINTR)
			return errno == ECONNRESET ? -EPIPE : -errno;
	}
}

static int packet_queue(
        struct channel *c, const struct msg_header *h, const void *payload, const int *fds, uint32_t n_fds)
{
	if (c->queued >= QUEUE_MAX)
		return -ENOBUFS;
	struct channel_packet *p = xcalloc(1, sizeof(*p) + sizeof(*h) + h->length);
	p->length = (uint32_t)sizeof(*h) + h->length;
	memcpy(p->data, h, sizeof(*h));
	memcpy(p->data + sizeof(*h), payload, h->length);
	for (uint32_t i = 0; i < n_fds; i++) {
		p->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		p->n_fds = i + 1;
		if (p->fds[i] < 0) {
			int rc = -errno;
			packet_free(p);
			return rc;
		}
	}
	*c->tail = p;
	c->tail = &p->next;
	c->queued++;
	return 0;
}

int channel_send(
        struct channel *c, enum msg_type type, const void *payload, uint32_t length, const int *fds, uint32_t n_fds)
{
	struct msg_header h = {.type = type, .length = length};
	struct iovec iov[2] = {{&h, sizeof(h)}, {(void *)(uintptr_t)payload, length}};

	if (length != msg_rules[type].size || n_fds < msg_rules[type].min_fds || n_fds > msg_rules[type].max_fds)
		abort(); /* a bug of ours, never the peer's doing */
	if (c->fd < 0)
		return -EPIPE;
	if (!c->head) {
		int rc = packet_send(c->fd, iov, 2, fds, n_fds);
		if (rc != -EAGAIN || !c->is_nonblock)
			return rc;
	}
	return packet_queue(c, &h, payload, fds, n_fds);
}

int channel_flush(struct channel *c)
{
	while (c->head) {
		struct channel_packet *p = c->head;
		struct iovec iov = {p->data, p->length};
		int rc = packet_send(c->fd, &iov, 1, p->fds, p->n_fds);
		if (rc == -EAGAIN)
			return 0;
		if (rc < 0)
			return rc;
		c->head = p->next;
		if (!c->head)
			c->tail = &c->head;
		c->queued--;
		packet_free(p);
	}
	return 1;
}

static void take_fds(struct message *m, struct msghdr *mh)
{
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm)) {
		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		const unsigned char *at = CMSG_DATA(cm);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, at + i * sizeof(int), sizeof(int));
			if (m->n_fds < MSG_MAX_FDS)
				m->fds[m->n_fds++] = fd;
			else
				close(fd);
		}
	}
}

static int breach(struct err *e, const struct channel *c, const char *why, uint32_t type)
{
	static const char *const roles[] = {[ROLE_MONITOR] = "builderd",
	        [ROLE_API] = "builderd-api",
	        [ROLE_FETCH] = "builderd-fetch",
	        [ROLE_UNPACK] = "builderd-unpack",
	        [ROLE_FS] = "builderd-fs",
	        [ROLE_ADMIN] = "builder-volume"};

	return err_kind_set(e, -EPROTO, ERR_KIND_INTERNAL, "%s broke the protocol: %s (message %s, type %u)",
	        roles[c->peer], why, msg_name(type), type);
}

static int check(struct channel *c, const struct message *m, struct err *e)
{
	if (m->type <= MSG_NONE || m->type >= MSG_TYPE_COUNT)
		return breach(e, c, "unlisted message", m->type);
	const struct msg_rule *r = &msg_rules[m->type];
	if (r->sender != c->peer)
		return breach(e, c, "not its message to send", m->type);
	if (!(r->states & c->state))
		return breach(e, c, "not in this state", m->type);
	if (r->is_once && c->seen & 1ull << m->type)
		return breach(e, c, "sent twice", m->type);
	if (m->length != r->size)
		return breach(e, c, "wrong size", m->type);
	if (m->n_fds < r->min_fds || m->n_fds > r->max_fds)
		return breach(e, c, "wrong number of descriptors", m->type);
	c->seen |= 1ull << m->type;
	return 1;
}

int channel_recv(struct channel *c, struct message *m, struct err *e)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * MSG_MAX_FDS)];
	} control;
	struct msg_header h = {0};
	struct iovec iov[2] = {{&h, sizeof(h)}, {m->payload, sizeof(m->payload)}};
	struct msghdr mh = {
	        .msg_iov = iov, .msg_iovlen = 2, .msg_control = control.space, .msg_controllen = sizeof(control)};
	ssize_t n;

	m->n_fds = 0;
	for (int i = 0; i < MSG_MAX_FDS; i++)
		m->fds[i] = -1;
	do
		n = recvmsg(c->fd, &mh, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == ECONNRESET)
		return 0;
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : err_sys(e, -errno, "receive a message");
	take_fds(m, &mh);
	/* An empty packet looks like the end, but it may carry descriptors. */
	if (!n && !m->n_fds && !(mh.msg_flags & MSG_CTRUNC))
		return 0;
	m->type = h.type;
	m->length = n >= (ssize_t)sizeof(h) ? (uint32_t)((size_t)n - sizeof(h)) : 0;
	int rc;
	if (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || n < (ssize_t)sizeof(h) || m->length != h.length)
		rc = breach(e, c, "malformed packet", h.type);
	else
		rc = check(c, m, e);
	if (rc < 0)
		message_release(m);
	return rc;
}

void message_release(struct message *m)
{
	for (uint32_t i = 0; i < m->n_fds; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	m->n_fds = 0;
}

void channel_log(struct channel *c, enum msg_type log_type, int level, const char *component, const char *fmt, ...)
{
	struct msg_build_log log = {.level = (uint32_t)level};
	va_list ap;

	snprintf(log.component, sizeof(log.component), "%s", component);
	va_start(ap, fmt);
	vsnprintf(log.text, sizeof(log.text), fmt, ap);
	va_end(ap);
	channel_send_struct(c, log_type, log);
}

void channel_fail(struct channel *c, enum msg_type fail_type, const struct err *e)
{
	struct msg_fail fail = {.err = *e};

	channel_send_struct(c, fail_type, fail);
}
