/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/monitor_link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define MESSAGES_PER_ROUND 64 /* then the clients have their turn */

struct monitor_link {
	struct channel channel;
	struct loop_source *source;
	const struct monitor_link_events *events;
	void *arg;
	void (*closed)(void *arg, const struct err *e);
	void *closed_arg;
	void (*listen)(void *arg, int fd, unsigned metald_uid);
	void *listen_arg;
	const struct monitor_link_leases *leases;
	void *leases_arg;
	void (*tls)(void *arg, int cert_fd, int key_fd, int ca_fd);
	void *tls_arg;
};

/* Length of the UTF-8 sequence at C, 0 if there is none (RFC 3629: no overlong form, no surrogate, at most U+10FFFF).
 */
static unsigned sequence_length(const unsigned char *c)
{
	unsigned n = *c < 0x80                 ? 1
	             : *c >= 0xc2 && *c < 0xe0 ? 2
	             : (*c & 0xf0) == 0xe0     ? 3
	             : *c >= 0xf0 && *c < 0xf5 ? 4
	                                       : 0;

	for (unsigned i = 1; i < n; i++)
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	if ((*c == 0xe0 && c[1] < 0xa0) || (*c == 0xed && c[1] > 0x9f) || (*c == 0xf0 && c[1] < 0x90) ||
	        (*c == 0xf4 && c[1] > 0x8f))
		return 0;
	return n;
}

/* A fixed text member that came over the socket: terminated, one line, UTF-8, as protobuf demands. Names out of an
 * image may be in it. */
static void text_clean(char *text, size_t size)
{
	unsigned char *c = (unsigned char *)text;

	text[size - 1] = 0;
	while (*c) {
		unsigned n = sequence_length(c);
		if (!n || *c < 0x20 || *c == 0x7f)
			*c = n ? ' ' : '?';
		c += n ? n : 1;
	}
}

static void on_progress(struct monitor_link *k, struct message *m)
{
	struct msg_build_progress *p = (void *)m->payload;

	text_clean(p->step, sizeof(p->step));
	k->events->progress(k->arg, p);
}

static void on_log(struct monitor_link *k, struct message *m)
{
	struct msg_build_log *l = (void *)m->payload;

	text_clean(l->component, sizeof(l->component));
	text_clean(l->text, sizeof(l->text));
	k->events->log(k->arg, l);
}

static void on_done(struct monitor_link *k, struct message *m)
{
	struct msg_build_done *d = (void *)m->payload;

	err_sanitize(&d->err);
	text_clean(d->err.msg, sizeof(d->err.msg));
	text_clean(d->rootfs_path, sizeof(d->rootfs_path));
	k->events->done(k->arg, d, m->fds[0]);
}

static void on_deleted(struct monitor_link *k, struct message *m)
{
	struct msg_build_deleted *d = (void *)m->payload;

	err_sanitize(&d->err);
	text_clean(d->err.msg, sizeof(d->err.msg));
	k->events->deleted(k->arg, d);
}

static void on_artifact(struct monitor_link *k, struct message *m)
{
	struct msg_artifact *a = (void *)m->payload;

	err_sanitize(&a->err);
	text_clean(a->err.msg, sizeof(a->err.msg));
	k->events->artifact(k->arg, a, m->fds[0]);
}

static void on_storage(struct monitor_link *k, struct message *m)
{
	struct msg_storage *s = (void *)m->payload;

	text_clean(s->backend, sizeof(s->backend));
	k->events->storage(k->arg, s);
}

static void err_clean(struct err *e)
{
	err_sanitize(e);
	text_clean(e->msg, sizeof(e->msg));
}

static void on_lease(struct monitor_link *k, struct message *m)
{
	struct msg_lease *l = (void *)m->payload;

	err_clean(&l->err);
	if (k->leases)
		k->leases->lease(k->leases_arg, l, m->fds[0]);
}

static void on_lease_released(struct monitor_link *k, struct message *m)
{
	struct msg_lease_released *l = (void *)m->payload;

	err_clean(&l->err);
	if (k->leases)
		k->leases->released(k->leases_arg, l);
}

static void on_leases(struct monitor_link *k, struct message *m)
{
	struct msg_leases *l = (void *)m->payload;

	err_clean(&l->err);
	if (k->leases)
		k->leases->list(k->leases_arg, l, m->fds[0]);
}

static void on_api_listen(struct monitor_link *k, struct message *m)
{
	const struct msg_api_listen *l = (const void *)m->payload;

	if (k->listen)
		k->listen(k->listen_arg, STEAL_FD(&m->fds[0]), l->metald_uid);
}

static void on_tls(struct monitor_link *k, struct message *m)
{
	if (k->tls)
		k->tls(k->tls_arg, m->fds[0], m->fds[1], m->fds[2]);
}

static void (*const handlers[MSG_TYPE_COUNT])(struct monitor_link *k, struct message *m) = {
        [MSG_API_LISTEN] = on_api_listen,
        [MSG_LEASE] = on_lease,
        [MSG_LEASE_RELEASED] = on_lease_released,
        [MSG_LEASES] = on_leases,
        [MSG_BUILD_PROGRESS] = on_progress,
        [MSG_BUILD_LOG] = on_log,
        [MSG_BUILD_DONE] = on_done,
        [MSG_BUILD_DELETED] = on_deleted,
        [MSG_ARTIFACT] = on_artifact,
        [MSG_STORAGE] = on_storage,
        [MSG_TLS_FILES] = on_tls,
};

/* As the first member. */
static bool has_build_id(uint32_t type)
{
	return type == MSG_BUILD_PROGRESS || type == MSG_BUILD_LOG || type == MSG_BUILD_DONE ||
	       type == MSG_BUILD_DELETED || type == MSG_ARTIFACT;
}

static void lost(struct monitor_link *k, const struct err *e)
{
	loop_fd_del(STEAL(&k->source));
	if (k->closed)
		k->closed(k->closed_arg, e);
}

static void on_channel(void *arg, uint32_t events)
{
	struct monitor_link *k = arg;
	struct err e = ERR_INIT;
	struct message m;
	int rc = 1;

	if (events & EPOLLOUT && channel_flush(&k->channel) > 0)
		loop_fd_set(k->source, EPOLLIN);
	for (int i = 0; i < MESSAGES_PER_ROUND; i++) {
		rc = channel_recv(&k->channel, &m, &e);
		if (rc <= 0)
			break;
		/* The table lets builderd say other things to other children. */
		if (!handlers[m.type] || (has_build_id(m.type) && !msg_build_id_is_valid((const char *)m.payload)))
			rc = err_set(&e, -EPROTO, "builderd sent an impossible %s", msg_name(m.type));
		else
			handlers[m.type](k, &m);
		message_release(&m);
		if (rc < 0)
			break;
	}
	if (rc <= 0 && rc != -EAGAIN)
		lost(k, rc ? &e : NULL);
}

struct monitor_link *monitor_link_new(struct loop *l, int fd, const struct monitor_link_events *events, void *arg)
{
	struct monitor_link *k = xcalloc(1, sizeof(*k));

	channel_init(&k->channel, fd, ROLE_MONITOR);
	k->events = events;
	k->arg = arg;
	if (channel_set_nonblock(&k->channel) >= 0)
		k->source = loop_fd_add(l, fd, EPOLLIN, on_channel, k);
	if (!k->source)
		monitor_link_free(STEAL(&k));
	return k;
}

void monitor_link_free(struct monitor_link *k)
{
	if (!k)
		return;
	loop_fd_del(k->source);
	channel_close(&k->channel);
	free(k);
}

void monitor_link_on_closed(struct monitor_link *k, void (*fn)(void *arg, const struct err *e), void *arg)
{
	k->closed = fn;
	k->closed_arg = arg;
}

void monitor_link_on_listen(struct monitor_link *k, void (*fn)(void *arg, int fd, unsigned metald_uid), void *arg)
{
	k->listen = fn;
	k->listen_arg = arg;
}

void monitor_link_on_tls(struct monitor_link *k, void (*fn)(void *arg, int cert_fd, int key_fd, int ca_fd), void *arg)
{
	k->tls = fn;
	k->tls_arg = arg;
}

void monitor_link_on_lease(struct monitor_link *k, const struct monitor_link_leases *events, void *arg)
{
	k->leases = events;
	k->leases_arg = arg;
}

static int link_send(struct monitor_link *k, enum msg_type type, const void *payload, uint32_t length, const int *fds,
        uint32_t n_fds)
{
	int rc = channel_send(&k->channel, type, payload, length, fds, n_fds);

	if (rc >= 0 && k->channel.queued && k->source)
		loop_fd_set(k->source, EPOLLIN | EPOLLOUT);
	return rc;
}

int monitor_link_ready(struct monitor_link *k, uint16_t port)
{
	struct msg_api_ready m = {.port = port};

	k->channel.state = MSG_STATE_RUNNING;
	return link_send(k, MSG_API_READY, &m, sizeof(m), NULL, 0);
}

int monitor_link_tenant(struct monitor_link *k, const struct msg_tenant_storage *m)
{
	return link_send(k, MSG_TENANT_STORAGE, m, sizeof(*m), NULL, 0);
}

int monitor_link_start(struct monitor_link *k, const struct msg_build_start *m, int source_fd, int runtime_fd)
{
	int fds[2] = {source_fd, runtime_fd};

	return link_send(k, MSG_BUILD_START, m, sizeof(*m), fds, 2);
}

int monitor_link_ref(struct monitor_link *k, enum msg_type type, const char *tenant_id, const char *build_id)
{
	struct msg_build_ref m = {0};

	snprintf(m.build_id, sizeof(m.build_id), "%s", build_id);
	snprintf(m.tenant_id, sizeof(m.tenant_id), "%s", tenant_id);
	return link_send(k, type, &m, sizeof(m), NULL, 0);
}

int monitor_link_lease(struct monitor_link *k, enum msg_type type, const void *payload, uint32_t length)
{
	return link_send(k, type, payload, length, NULL, 0);
}
