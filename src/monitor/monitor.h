/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * builderd: starts the other programs, owns volumes and mounts, and parses nothing but typed messages.
 *
 * Threads. The main thread runs the event loop: the API's channel, signals, timers. Each build runs in a thread of its
 * own as plain blocking code (build.c): it waits on its children's channels and on its stop descriptor. What a build
 * has to say to the API goes through monitor_post(), which the main thread sends. The main thread stops a build by
 * build_stop(), which also kills the build's children, so that a thread never hangs on a child that does not answer.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include <pthread.h>

#include "base/loop.h"
#include "build/config.h"
#include "dm/volume.h"
#include "ipc/channel.h"
#include "ipc/spawn.h"
#include "monitor/pool.h"

struct build;

/* builder-volume's connections (admin.c). */
struct admin_clients {
	int fd; /* owns: VOLUME_SOCKET, -1: none */
	struct loop_source *source;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	unsigned n;                /* under lock */
	struct admin_client *list; /* under lock: each has a thread */
};

struct monitor {
	struct config config;
	char **child_env; /* owns */
	struct loop *loop;
	const struct volume_ops *ops;
	struct store *store;
	int local_images_fd; /* owns; -1: local sources are refused */
	int init_fd;         /* owns: the static PID 1 program */
	int api_socket_fd;   /* owns: API_SOCKET, -1: none */
	struct digest init_digest;

	struct child api;
	struct loop_source *api_source, *signal_source, *wake_source;
	struct loop_timer *storage_timer;
	int signal_fd, wake_fd; /* own */
	bool is_stopping, is_api_ready;
	int64_t api_started_ms;

	struct pools pools;   /* what tenants store */
	uint64_t n_done;      /* BUILD_DONE sent to this builderd-api; main thread only */
	struct build *builds; /* main thread only */
	unsigned n_builds;
	struct msg_storage storage_sent;

	struct admin_clients admin;

	pthread_mutex_t post_lock;
	unsigned n_works; /* under post_lock: threads of work.c */
	pthread_cond_t work_ended;
	struct post *posts, **posts_tail; /* under post_lock: what build threads want to be sent */
};

/* Send a message to the API from any thread; FD (-1: none) is taken over. */
void monitor_post(struct monitor *m, enum msg_type type, const void *payload, uint32_t length, int fd);

/* Main thread: send what was posted, bury builds that ended. */
void monitor_posts_send(struct monitor *m);

/* Tell the service manager (sd_notify(3)); does nothing without NOTIFY_SOCKET. */
void monitor_notify(const char *state);

/* Start serving: storage, children, loop. Returns the exit code. */
int monitor_run(struct monitor *m, struct err *e);

/* Print what this host can do and which backend would be used. Returns the exit code. */
int monitor_check_host(const struct config *c);

/* api.c: the conversation with builderd-api. */
int api_start(struct monitor *m, struct err *e);
void api_end(struct monitor *m, int timeout_ms);
void api_storage_report(struct monitor *m);
/* Give it the certificate's files as they are now. */
void api_tls_reload(struct monitor *m);

/* work.c: call FN with a copy of ARG's SIZE bytes in a thread of its own. */
typedef void work_fn(struct monitor *m, const void *arg);
void work_start(struct monitor *m, work_fn *fn, const void *arg, size_t size);
/* Until none is under way. */
void work_wait(struct monitor *m);

/* lease.c: messages of builderd-api. */
int lease_on_acquire(struct monitor *m, struct message *msg, struct err *e);
int lease_on_release(struct monitor *m, struct message *msg, struct err *e);
int lease_on_list(struct monitor *m, struct message *msg, struct err *e);

/* admin.c: VOLUME_SOCKET of the configuration, for builder-volume. */
int admin_start(struct monitor *m, struct err *e);
/* Nobody new; those who are there are stopped, as far as their commands can be, and waited for. */
void admin_end(struct monitor *m);

/* api_socket.c: API_SOCKET of the configuration, if there is one. */
int api_socket_open(struct monitor *m, struct err *e);
/* Let builderd-api listen on it, too. 0 or -errno. */
int api_socket_hand_over(struct monitor *m);
/* Nobody finds it any more. */
void api_socket_close(struct monitor *m);

#endif
