/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the server core share. */
#ifndef API_SERVER_INTERNAL_H
#define API_SERVER_INTERNAL_H

#include "api/conn.h"
#include "api/server.h"

/* A socket that clients come from. */
struct listener {
	struct server *server;
	int fd; /* owns, -1: not in use */
	struct loop_source *source;
	bool is_local;       /* a Unix socket: peers are known by uid */
	unsigned metald_uid; /* 0: no such user */
};

struct server {
	struct loop *loop;
	struct server_limits limits; /* defaults filled in */
	const struct rpc_method *methods;
	size_t n_methods;
	const struct http_route *routes;
	size_t n_routes;
	const char *origins, *only_peers; /* of server_options */
	void (*observe)(void *arg, const char *method, enum rpc_code code, int64_t microseconds);
	const struct server_guard *guard; /* of server_options */
	void *arg;
	struct tls *tls; /* owns; NULL: clear text only */
	bool is_clear_text_allowed;
	const char *metald_uri; /* borrowed */

	struct listener tcp, local; /* closed once draining */
	bool is_accepting;
	uint16_t port;
	struct conn *conns;
	size_t n_conns;
	size_t body_bytes; /* of requests in memory, all connections */
	struct conn *dirty;
	struct loop_timer *kick, *sweep, *drain_final, *drain_end;
	bool is_draining;
	void (*drained)(void *arg);
	void *drained_arg;
};

/* Memory for the bodies of requests under way, over all connections. */
#define SERVER_BODY_BYTES_MAX (64u << 20)

/* Called by a connection on its way out. */
void server_conn_gone(struct server *s);
void server_kick(struct server *s, struct conn *c);

/* cors.c. True: it was a preflight and is answered. */
bool cors_preflight(struct http_exchange *x);
/* Add what a page of another origin needs to read the answer. */
void cors_answer(struct http_exchange *x);

/* The method behind PATH ("/package.Service/Method"), NULL. */
const struct rpc_method *server_find_method(const struct server *s, const char *path);
/* The route; NULL with *ALLOW naming a method that the path has, NULL if the path is unknown. */
const struct http_route *server_find_route(
        const struct server *s, const char *method, const char *path, const char **allow);

#endif
