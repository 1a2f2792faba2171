/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "api/server_internal.h"
#include "api/tls.h"
#include "base/cleanup.h"
#include "base/local_socket.h"

/* RFC 9113 3.4 */
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#define PREFACE_BYTES (sizeof(preface) - 1)
#define READ_BYTES 32768u
#define ROUNDS_MAX 16 /* in one go, then others get their turn */
#define LINGER_MS 1000

/* The first session of every connection: decides by the first bytes, uses none. */
static ssize_t detect_input(struct conn *c, const char *data, size_t len)
{
	size_t n = len < PREFACE_BYTES ? len : PREFACE_BYTES;

	if (!memcmp(data, preface, n)) {
		if (n < PREFACE_BYTES)
			return 0;
		if (http2_start(c) < 0)
			return -EPROTO;
	} else {
		http1_start(c);
	}
	return c->ops->input(c, data, len);
}

static int detect_fill(struct conn *c)
{
	return 0;
}

static int detect_sweep(struct conn *c, int64_t now_ms)
{
	return now_ms - c->active_ms > c->server->limits.header_timeout_ms ? -ETIMEDOUT : 0;
}

static void detect_drain(struct conn *c, bool is_final)
{
	c->is_closing = true;
}

static void detect_free(struct conn *c)
{
}

static const struct session_ops detect_ops = {detect_input, detect_fill, detect_sweep, detect_drain, detect_free};

static void peer_name(char *to, size_t size, const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)ss;
	char text[INET6_ADDRSTRLEN] = "?";

	if (ss->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
		snprintf(to, size, "[%s]:%u", text, ntohs(v6->sin6_port));
	} else {
		inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
		snprintf(to, size, "%s:%u", text, ntohs(v4->sin_port));
	}
}

/* What a peer without a right is told, whatever it wanted to say: nothing of it is read. */
static void refuse_peer(struct conn *c, uid_t uid)
{
	AUTO_FREE char *text = xasprintf("user %u may not use this socket: it serves root and the VM manager", uid);
	AUTO_BUF struct buf body = {0};

	http_error_json(&body, "permission_denied", text);
	buf_printf(&c->out,
	        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n"
	        "connection: close\r\n\r\n%s",
	        body.len, buf_cstr(&body));
	c->is_closing = c->is_lingering = true;
}

static void identify(struct conn *c, const struct listener *l)
{
	uid_t uid = (uid_t)-1;
	pid_t pid = 0;

	if (local_socket_peer(c->fd, &uid, &pid) < 0)
		uid = (uid_t)-1;
	snprintf(c->peer, sizeof(c->peer), "uid=%u,pid=%d", uid, (int)pid);
	if (uid == 0)
		c->identity = PEER_ADMIN;
	else if (l->metald_uid && uid == l->metald_uid)
		c->identity = PEER_METALD;
	else
		refuse_peer(c, uid);
}

static void conn_event(void *arg, uint32_t events);

void conn_new(const struct listener *l, int fd, const struct sockaddr_storage *peer)
{
	struct server *s = l->server;
	struct conn *c = xcalloc(1, sizeof(*c));
	int on = 1;

	*c = (struct conn){.server = s, .fd = fd, .next = s->conns, .prev = &s->conns, .ops = &detect_ops};
	c->active_ms = time_mono_ms();
	c->events = EPOLLIN | EPOLLRDHUP;
	c->source = loop_fd_add(s->loop, fd, c->events, conn_event, c);
	if (!c->source) {
		close(fd);
		free(c);
		return;
	}
	if (l->is_local) {
		c->is_detected = true; /* no TLS: the kernel says who it is */
		identify(c, l);
	} else {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		peer_name(c->peer, sizeof(c->peer), peer);
	}
	if (c->next)
		c->next->prev = &c->next;
	s->conns = c;
	s->n_conns++;
	if (c->out.len)
		conn_wake(c);
}

static void forget_dirty(struct conn *c)
{
	struct conn **p = &c->server->dirty;

	while (c->is_dirty && *p && *p != c)
		p = &(*p)->next_dirty;
	if (c->is_dirty && *p)
		*p = c->next_dirty;
	c->is_dirty = false;
}

void conn_free(struct conn *c)
{
	struct server *s = c->server;

	if (c->tls && !c->is_broken)
		tls_end(c->tls);
	c->is_broken = true; /* what the handlers below say goes nowhere */
	while (c->exchanges)
		exchange_free(c->exchanges);
	c->ops->free(c);
	forget_dirty(c);
	loop_fd_del(c->source);
	tls_conn_free(c->tls);
	close(c->fd);
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	buf_free(&c->in);
	buf_free(&c->out);
	free(c);
	s->n_conns--;
	server_conn_gone(s);
}

void conn_wake(struct conn *c)
{
	if (!c->is_dirty && !c->is_broken)
		server_kick(c->server, c);
}

/* --- the socket, with or without TLS ------------------------------------------------------------------------------ */

/* > 0 or -errno. */
static ssize_t socket_write(struct conn *c, const void *from, size_t len)
{
	if (c->tls)
		return c->is_secure ? tls_write(c->tls, from, len) : -EAGAIN;
	ssize_t n = send(c->fd, from, len, MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

/* >= 0 or -errno. */
static ssize_t socket_read(struct conn *c, void *to, size_t len)
{
	if (c->tls)
		return tls_read(c->tls, to, len);
	ssize_t n = recv(c->fd, to, len, 0);
	return n < 0 ? -errno : n;
}

/* The first byte of a TLS connection is a handshake record's (RFC 8446 5.1); no HTTP begins with it. */
static int secure_begin(struct conn *c)
{
	static const char refusal[] = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n"
	                              "content-length: 36\r\n\r\nthis port speaks TLS: use https://.\n";
	unsigned char first;
	ssize_t n = recv(c->fd, &first, 1, MSG_PEEK);

	if (n <= 0)
		return n < 0 ? -errno : -ECONNRESET;
	c->is_detected = true;
	if (first == 0x16) {
		c->tls = tls_conn_new(c->server->tls, c->fd);
		return c->tls ? 0 : -ENOMEM;
	}
	if (c->server->is_clear_text_allowed)
		return 0;
	send(c->fd, refusal, sizeof(refusal) - 1, MSG_NOSIGNAL);
	return -EPROTO;
}

static int handshake(struct conn *c)
{
	const char *metald = c->server->metald_uri;
	char uri[512];
	int rc = tls_handshake(c->tls);

	if (rc < 0)
		return rc;
	if (metald && *metald && tls_client_uri(c->tls, uri, sizeof(uri)) && !strcmp(uri, metald))
		c->identity = PEER_METALD;
	c->is_secure = true;
	c->active_ms = time_mono_ms();
	if (tls_protocol(c->tls) == TLS_PROTOCOL_H2)
		return http2_start(c);
	if (tls_protocol(c->tls) == TLS_PROTOCOL_HTTP1)
		http1_start(c);
	return 0;
}

/* 0: bytes of HTTP may come; -EAGAIN: not yet. */
static int secure_ready(struct conn *c)
{
	int rc = 0;

	if (!c->is_detected && c->server->tls)
		rc = secure_begin(c);
	if (rc == 0 && c->tls && !c->is_secure)
		rc = handshake(c);
	return rc;
}

/* 0, -EAGAIN: the socket is full, -errno. */
static int flush(struct conn *c)
{
	while (c->out_at < c->out.len) {
		ssize_t n = socket_write(c, c->out.data + c->out_at, c->out.len - c->out_at);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN && !c->taken_ms)
			c->taken_ms = time_mono_ms();
		if (n < 0)
			return (int)n;
		c->out_at += (size_t)n;
		c->n_taken += (size_t)n;
		c->taken_ms = 0;
	}
	c->out.len = c->out_at = 0;
	return 0;
}

/* TLS has to see the bytes. */
static ssize_t sendfile_secure(struct conn *c, int fd, off_t at, uint64_t len)
{
	size_t want = len < CONN_OUT_MAX ? (size_t)len : CONN_OUT_MAX;
	ssize_t n = pread(fd, buf_reserve(&c->out, want), want, at);

	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	c->out.len += (size_t)n;
	int rc = flush(c);
	return rc < 0 && rc != -EAGAIN ? rc : n;
}

ssize_t conn_sendfile(struct conn *c, int fd, uint64_t offset, uint64_t len)
{
	off_t at = (off_t)offset;

	if (c->out.len > c->out_at)
		return -EAGAIN;
	if (c->tls)
		return sendfile_secure(c, fd, at, len);
	ssize_t n = sendfile(c->fd, fd, &at, len < 1u << 20 ? (size_t)len : 1u << 20);
	if (n > 0)
		c->n_taken += (size_t)n;
	c->is_full = n < 0 && errno == EAGAIN;
	if (n == 0)
		return -EIO;
	return n > 0 ? n : -errno;
}

static void take_input(struct conn *c)
{
	if (c->in.len >= CONN_IN_MAX) { /* only the end of input is of interest now, and it has come */
		c->is_eof = true;
		return;
	}
	int rc = secure_ready(c);
	ssize_t n = rc < 0 ? rc : socket_read(c, buf_reserve(&c->in, READ_BYTES), READ_BYTES);
	if (n > 0) {
		c->in.len += (size_t)n;
		c->active_ms = time_mono_ms();
	} else if (n == 0) {
		c->is_eof = true;
	} else if (n != -EAGAIN && n != -EINTR) {
		c->is_broken = true;
	}
}

/* What TLS has decrypted already, the socket does not announce. */
static bool take_decrypted(struct conn *c)
{
	if (!c->tls || !c->is_secure || c->is_eof || c->in.len >= CONN_IN_MAX || !tls_has_input(c->tls))
		return false;
	take_input(c);
	return true;
}

static int step(struct conn *c, bool *progress)
{
	uint64_t before = c->n_taken;

	c->is_full = false;
	*progress = take_decrypted(c);
	if (c->in.len && !c->is_closing) {
		ssize_t n = c->ops->input(c, c->in.data, c->in.len);
		if (n < 0)
			return (int)n;
		buf_consume(&c->in, (size_t)n);
		*progress |= n > 0;
	}
	int rc = c->ops->fill(c);
	if (rc == 0)
		rc = flush(c);
	if (rc < 0 && rc != -EAGAIN)
		return rc;
	for (struct http_exchange *x = c->exchanges; x; x = x->next)
		*progress |= exchange_run_writable(x);
	*progress |= c->n_taken != before;
	return 0;
}

static void watch(struct conn *c)
{
	bool is_waiting = c->out_at < c->out.len || c->is_full;
	uint32_t want = 0;

	if (c->tls && !c->is_secure)
		want = tls_wants_out(c->tls) ? EPOLLOUT : 0;
	else if (is_waiting)
		want = EPOLLOUT;

	if (!c->is_eof)
		want |= EPOLLRDHUP | (c->in.len < CONN_IN_MAX ? EPOLLIN : 0);
	if (want != c->events)
		loop_fd_set(c->source, c->events = want);
}

/* True if the connection is over. */
static bool finish(struct conn *c)
{
	if (c->is_broken)
		return true;
	if (c->is_eof && !c->is_closing) {
		/* Half-closed: what is already answered is still sent; who was to be answered later is gone. */
		for (struct http_exchange *x = c->exchanges; x; x = x->next)
			if (!x->is_ended)
				return true;
		if (!c->exchanges)
			c->is_closing = true;
	}
	if (!c->is_closing || c->out_at < c->out.len || c->exchanges)
		return false;
	if (!c->is_lingering || c->is_eof)
		return true;
	if (!c->linger_ms) {
		/* Closing with unread input would reset the connection and take the answer with it. */
		if (c->tls)
			tls_end(c->tls);
		shutdown(c->fd, SHUT_WR);
		c->linger_ms = time_mono_ms() + LINGER_MS;
	}
	c->in.len = 0;
	return false;
}

void conn_service(struct conn *c)
{
	bool progress = true;
	int round = 0;

	forget_dirty(c);
	for (; progress && round < ROUNDS_MAX && !c->is_broken; round++)
		if (step(c, &progress) < 0)
			c->is_broken = true;
	if (finish(c)) {
		conn_free(c);
		return;
	}
	if (progress)
		conn_wake(c);
	watch(c);
}

static void conn_event(void *arg, uint32_t events)
{
	struct conn *c = arg;

	if (events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN))
		c->is_broken = true;
	else if (events & (EPOLLIN | EPOLLRDHUP) && !c->is_eof)
		take_input(c);
	else if (events & EPOLLOUT && c->tls && !c->is_secure)
		take_input(c);
	conn_service(c);
}

void conn_sweep(struct conn *c, int64_t now_ms)
{
	const struct server_limits *l = &c->server->limits;

	if ((c->linger_ms && now_ms >= c->linger_ms) || (c->taken_ms && now_ms - c->taken_ms > l->stall_timeout_ms) ||
	        (!c->exchanges && now_ms - c->active_ms > l->idle_timeout_ms) || c->ops->sweep(c, now_ms) < 0)
		conn_free(c);
}

void conn_drain(struct conn *c, bool is_final)
{
	c->is_draining = true;
	for (struct http_exchange *x = c->exchanges; x && is_final; x = x->next)
		exchange_drain(x);
	c->ops->drain(c, is_final);
	conn_wake(c);
}
