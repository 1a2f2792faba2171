/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * builder-volume's connections: one request and one answer each, in a thread of its own, so that no build and no other
 * program notices how long one takes. Who connects must be root. A client that does not ask, does not listen or breaks
 * the table loses its connection and nothing else happens; there are at most CLIENTS_MAX.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/local_socket.h"
#include "base/log.h"
#include "dm/admin.h"
#include "monitor/monitor.h"

#define CLIENTS_MAX 8
#define PEER_TIMEOUT_S 10 /* for its request, and until there is room for another word of ours */
#define PROGRESS_MS 200

struct admin_client {
	struct admin_client *next;
	struct monitor *m;
	struct channel channel; /* the thread's, but for shutdown(2) */
	int64_t said_ms;
};

/* --- the thread ----------------------------------------------------------------------------------------------------
 */

static void say(void *arg, const char *text, uint64_t done, uint64_t total)
{
	struct admin_client *c = arg;
	struct msg_admin_progress p = {.done = done, .total = total};

	if (time_mono_ms() - c->said_ms < PROGRESS_MS)
		return;
	c->said_ms = time_mono_ms();
	snprintf(p.text, sizeof(p.text), "%s", text);
	channel_send_struct(&c->channel, MSG_ADMIN_PROGRESS, p);
}

static void answer(struct admin_client *c, const struct err *e, struct buf *json, int result_fd)
{
	struct msg_admin_answer a = {.err = *e};
	AUTO_CLOSE int text = json->len ? fd_memfile("admin-answer", json->data, json->len) : -1;
	const int fds[] = {text, result_fd};

	if (json->len && text < 0)
		err_sys(&a.err, text, "keep the answer");
	channel_send(&c->channel, MSG_ADMIN_ANSWER, &a, sizeof(a), fds, text < 0 ? 0 : result_fd < 0 ? 1 : 2);
}

/* What a client has no business to send ends its command, as its end does: either makes the socket readable. */
static void command_run(struct admin_client *c, struct message *msg)
{
	struct msg_admin_request *r = (void *)msg->payload;
	struct admin_call call = {.request = r, .fds = msg->fds, .say = say, .say_arg = c};
	AUTO_BUF struct buf json = {0};
	struct err e = ERR_INIT;
	struct monitor *m = c->m;

	/* Strings end, whatever came. */
	r->tenant[sizeof(r->tenant) - 1] = r->id[sizeof(r->id) - 1] = r->parent[sizeof(r->parent) - 1] = 0;
	bool is_known = r->command < ADMIN_COMMAND_COUNT;
	if (is_known && admin_table[r->command].is_stoppable)
		volume_stop_fd_set(c->channel.fd);
	int rc = admin_run(m->ops, m->store, &call, msg->n_fds, &json, &e);
	volume_stop_fd_set(-1);
	if (is_known && admin_access(r) != STORE_LOOK)
		log_info("admin command", KV("command", admin_table[r->command].name), KV("tenant", r->tenant),
		        KV("id", r->id), KV("error", rc < 0 ? e.msg : ""));
	if (rc < 0 && !e.code)
		err_set(&e, rc, "the command failed");
	answer(c, &e, &json, call.result_fd);
	cleanup_close(&call.result_fd);
}

static void client_serve(struct admin_client *c)
{
	struct err e = ERR_INIT;
	struct message msg;

	if (channel_recv(&c->channel, &msg, &e) <= 0) {
		log_debug("an admin's connection ended without a request", KV("error", e.msg));
		return;
	}
	c->channel.state = MSG_STATE_RUNNING;
	command_run(c, &msg);
	message_release(&msg);
}

static void client_forget(struct admin_client *c)
{
	struct admin_clients *all = &c->m->admin;

	pthread_mutex_lock(&all->lock);
	struct admin_client **at = &all->list;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	all->n--;
	channel_close(&c->channel);
	free(c);
	pthread_cond_broadcast(&all->ended);
	pthread_mutex_unlock(&all->lock);
}

static void *client_main(void *arg)
{
	client_serve(arg);
	client_forget(arg);
	return NULL;
}

/* --- the main thread -----------------------------------------------------------------------------------------------
 */

/* The socket is new: there is room for one word. */
static void refuse(int fd, int code, const char *why)
{
	struct msg_admin_answer a = {.err = ERR_INIT};
	struct channel c;

	err_set(&a.err, code, "%s", why);
	channel_init(&c, fd, ROLE_ADMIN);
	c.is_nonblock = true;
	channel_send_struct(&c, MSG_ADMIN_ANSWER, a);
	channel_close(&c);
}

static int client_start(struct monitor *m, int fd)
{
	struct admin_client *c = xcalloc(1, sizeof(*c));
	pthread_attr_t attr;
	pthread_t thread;

	c->m = m;
	channel_init(&c->channel, fd, ROLE_ADMIN);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&m->admin.lock);
	int rc = m->admin.n < CLIENTS_MAX ? pthread_create(&thread, &attr, client_main, c) : EBUSY;
	if (rc == 0) {
		c->next = m->admin.list;
		m->admin.list = c;
		m->admin.n++;
	}
	pthread_mutex_unlock(&m->admin.lock);
	pthread_attr_destroy(&attr);
	if (rc)
		free(c);
	return -rc;
}

static void on_client(void *arg, uint32_t events)
{
	const struct timeval patience = {.tv_sec = PEER_TIMEOUT_S};
	struct monitor *m = arg;
	int fd = accept4(m->admin.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	uid_t uid;
	pid_t pid;

	if (fd < 0)
		return;
	if (local_socket_peer(fd, &uid, &pid) < 0 || uid != 0) {
		refuse(fd, -EPERM, "only root may administer volumes");
		return;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
	        fd_set_nonblock(fd, 0) < 0) {
		close(fd);
		return;
	}
	if (client_start(m, fd) < 0)
		refuse(fd, -EBUSY, "too many admin commands are running: try again later");
}

int admin_start(struct monitor *m, struct err *e)
{
	const char *path = m->config.volume_socket;

	pthread_mutex_init(&m->admin.lock, NULL);
	pthread_cond_init(&m->admin.ended, NULL);
	if (!*path)
		return 0;
	m->admin.fd = local_socket_listen(path, SOCK_SEQPACKET, 0600, e);
	if (m->admin.fd < 0)
		return err_wrap(e, CONFIG_PREFIX "VOLUME_SOCKET");
	m->admin.source = loop_fd_add(m->loop, m->admin.fd, EPOLLIN, on_client, m);
	return m->admin.source ? 0 : err_sys(e, -errno, "watch %s", path);
}

void admin_end(struct monitor *m)
{
	struct admin_clients *all = &m->admin;

	if (all->fd < 0)
		return;
	loop_fd_del(all->source);
	cleanup_close(&all->fd);
	unlink(m->config.volume_socket);
	pthread_mutex_lock(&all->lock);
	for (struct admin_client *c = all->list; c; c = c->next)
		shutdown(c->channel.fd, SHUT_RD);
	while (all->n)
		pthread_cond_wait(&all->ended, &all->lock);
	pthread_mutex_unlock(&all->lock);
}
