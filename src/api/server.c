/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "api/server_internal.h"
#include "api/tls.h"
#include "base/cleanup.h"
#include "base/log.h"

#define LISTEN_BACKLOG 512
#define ACCEPTS_MAX 32     /* in one go */
#define DRAIN_FINAL_MS 100 /* between the two GOAWAYs: longer than a round trip, short of annoying */

static const struct server_limits default_limits = {
        .max_connections = 1024,
        .max_streams = 100,
        .max_header_bytes = 32768,
        .max_headers = 100,
        .max_body_bytes = 4u << 20,
        .header_timeout_ms = 10000,
        .body_timeout_ms = 60000,
        .idle_timeout_ms = 120000,
        .stall_timeout_ms = 30000,
};

static void fill_limits(struct server_limits *l)
{
	/* All members are of one type. */
	uint32_t *v = (uint32_t *)l;
	const uint32_t *d = (const uint32_t *)&default_limits;

	for (size_t i = 0; i < sizeof(*l) / sizeof(*v); i++)
		if (!v[i])
			v[i] = d[i];
}

const struct rpc_method *server_find_method(const struct server *s, const char *path)
{
	for (size_t i = 0; i < s->n_methods; i++)
		if (!strcmp(s->methods[i].name, path + 1))
			return &s->methods[i];
	return NULL;
}

const struct http_route *server_find_route(
        const struct server *s, const char *method, const char *path, const char **allow)
{
	for (size_t i = 0; i < s->n_routes; i++) {
		const struct http_route *r = &s->routes[i];
		size_t n = strlen(r->prefix);
		bool is_open = n && r->prefix[n - 1] == '/';
		if (is_open ? strncmp(path, r->prefix, n) != 0 || !path[n] : strcmp(path, r->prefix) != 0)
			continue;
		if (!strcmp(r->method, method))
			return r;
		*allow = r->method;
	}
	return NULL;
}

static void set_accepting(struct server *s, bool on)
{
	if (s->is_accepting == on)
		return;
	s->is_accepting = on;
	if (s->tcp.source)
		loop_fd_set(s->tcp.source, on ? EPOLLIN : 0);
	if (s->local.source)
		loop_fd_set(s->local.source, on ? EPOLLIN : 0);
}

static void on_sweep(void *arg);

/* Often enough that the shortest timer is off by a quarter. */
static void start_sweep(struct server *s)
{
	const struct server_limits *l = &s->limits;
	const uint32_t all[] = {
	        l->header_timeout_ms, l->body_timeout_ms, l->idle_timeout_ms, l->stall_timeout_ms, 4000};
	uint32_t min = UINT32_MAX;

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		min = all[i] < min ? all[i] : min;
	if (!s->sweep)
		s->sweep = loop_timer_add(s->loop, min / 4 + 1, on_sweep, s);
}

static void on_sweep(void *arg)
{
	struct server *s = arg;
	int64_t now = time_mono_ms();

	s->sweep = NULL;
	for (struct conn *c = s->conns, *next; c; c = next) {
		next = c->next;
		conn_sweep(c, now);
	}
	if (s->n_conns < s->limits.max_connections)
		set_accepting(s, true); /* descriptors may have run out */
	if (s->conns || (s->tcp.source && !s->is_accepting))
		start_sweep(s);
}

static bool is_loopback(const struct sockaddr_storage *peer)
{
	const struct sockaddr_in6 *v6 = (const void *)peer;
	const struct sockaddr_in *v4 = (const void *)peer;

	if (peer->ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
	return peer->ss_family != AF_INET || ntohl(v4->sin_addr.s_addr) >> 24 == 127;
}

static bool is_welcome(const struct server *s, const struct sockaddr_storage *peer)
{
	char name[INET6_ADDRSTRLEN] = "";
	const void *address = peer->ss_family == AF_INET6
	                              ? (const void *)&((const struct sockaddr_in6 *)peer)->sin6_addr
	                              : (const void *)&((const struct sockaddr_in *)peer)->sin_addr;

	if (!s->only_peers || !*s->only_peers || is_loopback(peer))
		return true;
	inet_ntop(peer->ss_family, address, name, sizeof(name));
	for (const char *p = s->only_peers; *p; p += strcspn(p, ","), p += *p == ',')
		if (strcspn(p, ",") == strlen(name) && !strncmp(p, name, strlen(name)))
			return true;
	return false;
}

static void on_listen(void *arg, uint32_t events)
{
	const struct listener *l = arg;
	struct server *s = l->server;

	for (int i = 0; i < ACCEPTS_MAX; i++) {
		struct sockaddr_storage peer = {0};
		socklen_t len = sizeof(peer);
		if (s->n_conns >= s->limits.max_connections) {
			set_accepting(s, false);
			break;
		}
		int fd = accept4(l->fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
				log_warn("connections wait: accept failed", KV("error", strerror(errno)));
				set_accepting(s, false); /* the sweep tries again */
			}
			break;
		}
		if (l->is_local || is_welcome(s, &peer))
			conn_new(l, fd, &peer);
		else
			close(fd);
	}
	start_sweep(s);
}

static void on_kick(void *arg)
{
	struct server *s = arg;
	struct conn *list = s->dirty;

	/* Serving one frees no other, so the list stays good; those marked from here on get the next kick. */
	s->kick = NULL;
	s->dirty = NULL;
	while (list) {
		struct conn *c = list;
		list = c->next_dirty;
		c->is_dirty = false;
		conn_service(c);
	}
}

void server_kick(struct server *s, struct conn *c)
{
	c->is_dirty = true;
	c->next_dirty = s->dirty;
	s->dirty = c;
	if (!s->kick)
		s->kick = loop_timer_add(s->loop, 0, on_kick, s);
}

/* The callback may free the server, so it is the last thing done. */
static void on_drain_end(void *arg)
{
	struct server *s = arg;
	void (*done)(void *) = s->drained;

	s->drain_end = NULL;
	s->drained = NULL;
	while (s->conns)
		conn_free(s->conns);
	if (done)
		done(s->drained_arg);
}

void server_conn_gone(struct server *s)
{
	set_accepting(s, true);
	if (!s->is_draining || s->conns || !s->drained)
		return;
	loop_timer_del(s->drain_end);
	s->drain_end = loop_timer_add(s->loop, 0, on_drain_end, s);
}

static void on_drain_final(void *arg)
{
	struct server *s = arg;

	s->drain_final = NULL;
	for (struct conn *c = s->conns; c; c = c->next)
		conn_drain(c, true);
}

static void listener_close(struct listener *l)
{
	loop_fd_del(STEAL(&l->source));
	cleanup_close(&l->fd);
}

void server_drain(struct server *s, uint32_t deadline_ms, void (*done)(void *arg), void *arg)
{
	s->is_draining = true;
	s->drained = done;
	s->drained_arg = arg;
	listener_close(&s->tcp);
	listener_close(&s->local);
	for (struct conn *c = s->conns; c; c = c->next)
		conn_drain(c, false);
	uint32_t final_ms = deadline_ms / 2 < DRAIN_FINAL_MS ? deadline_ms / 2 : DRAIN_FINAL_MS;
	s->drain_final = loop_timer_add(s->loop, final_ms, on_drain_final, s);
	s->drain_end = loop_timer_add(s->loop, s->conns ? deadline_ms : 0, on_drain_end, s);
}

static int open_socket(const char *address, uint16_t port, struct err *e)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
	int on = 1;

	if (!is_v4 && inet_pton(AF_INET6, address, &v6.sin6_addr) != 1)
		return err_set(e, -EINVAL, "listen address \"%s\" is neither an IPv4 nor an IPv6 address", address);
	AUTO_CLOSE int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, -errno, "create a listening socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	const struct sockaddr *sa = is_v4 ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6;
	if (bind(fd, sa, is_v4 ? sizeof(v4) : sizeof(v6)) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		return err_sys(e, -errno, "listen on %s port %u", address, port);
	return STEAL_FD(&fd);
}

static uint16_t bound_port(int fd)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);

	getsockname(fd, (struct sockaddr *)&ss, &len);
	return ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
	                                      : ((struct sockaddr_in *)&ss)->sin_port);
}

struct server *server_new(struct loop *l, const struct server_options *o, const struct rpc_method *methods,
        size_t n_methods, const struct http_route *routes, size_t n_routes, void *arg, struct err *e)
{
	AUTO_CLOSE int fd = open_socket(o->address, o->port, e);

	if (fd < 0)
		return NULL;
	struct server *s = xcalloc(1, sizeof(*s));
	*s = (struct server){.loop = l, .limits = o->limits, .methods = methods, .n_methods = n_methods};
	s->routes = routes;
	s->n_routes = n_routes;
	s->arg = arg;
	s->origins = o->origins;
	s->only_peers = o->only_peers;
	s->observe = o->observe;
	s->guard = o->guard;
	fill_limits(&s->limits);
	s->port = bound_port(fd);
	s->is_accepting = true;
	s->local = (struct listener){.server = s, .fd = -1};
	s->tcp = (struct listener){.server = s, .fd = STEAL_FD(&fd)};
	s->tcp.source = loop_fd_add(l, s->tcp.fd, EPOLLIN, on_listen, &s->tcp);
	if (!s->tcp.source) {
		err_sys(e, -errno, "watch the listening socket");
		server_free(s);
		return NULL;
	}
	return s;
}

int server_listen_local(struct server *s, int fd, unsigned metald_uid)
{
	if (s->is_draining) { /* its clients would find nobody */
		close(fd);
		return 0;
	}
	s->local = (struct listener){.server = s, .fd = fd, .is_local = true, .metald_uid = metald_uid};
	s->local.source = loop_fd_add(s->loop, fd, s->is_accepting ? EPOLLIN : 0, on_listen, &s->local);
	if (s->local.source)
		return 0;
	int rc = -errno;
	cleanup_close(&s->local.fd);
	return rc;
}

void server_tls_set(struct server *s, struct tls *t, bool is_clear_text_allowed, const char *metald_uri)
{
	s->metald_uri = metald_uri;
	tls_free(s->tls);
	s->tls = t;
	s->is_clear_text_allowed = is_clear_text_allowed;
}

uint16_t server_port(const struct server *s)
{
	return s->port;
}

size_t server_connections(const struct server *s)
{
	return s->n_conns;
}

void server_free(struct server *s)
{
	if (!s)
		return;
	s->drained = NULL;
	while (s->conns)
		conn_free(s->conns);
	loop_timer_del(s->kick);
	loop_timer_del(s->sweep);
	loop_timer_del(s->drain_final);
	loop_timer_del(s->drain_end);
	listener_close(&s->tcp);
	listener_close(&s->local);
	tls_free(s->tls);
	free(s);
}
