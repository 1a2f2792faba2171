/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "digest/hash.h"
#include "dm/backend.h"
#include "monitor/build.h"

#define STORAGE_REPORT_MS 10000

int monitor_check_host(const struct config *c)
{
	const struct store_options o = backend_options(c);
	const char *chosen = NULL;

	for (size_t i = 0; i < BACKENDS; i++) {
		struct err e = ERR_INIT;
		bool is_wanted = backend_is_wanted(c, backends[i]);
		int rc = backends[i]->probe(&o, &e);
		printf("%-6s %s\n", backends[i]->name, rc < 0 ? e.msg : "can be used");
		if (rc >= 0 && is_wanted && !chosen)
			chosen = backends[i]->name;
	}
	puts("this host, for the dm backend:");
	volume_dm_host_report(&o, stdout);
	printf("backend that would be used: %s\n", chosen ? chosen : "none");
	return chosen ? 0 : 1;
}

static int backend_choose(struct monitor *m, struct err *e)
{
	const struct store_options o = backend_options(&m->config);

	for (size_t i = 0; i < BACKENDS && !m->ops; i++) {
		if (!backend_is_wanted(&m->config, backends[i]))
			continue;
		int rc = backends[i]->probe(&o, e);
		if (rc >= 0)
			m->ops = backends[i];
		else
			log_info("storage backend cannot be used", KV("backend", backends[i]->name),
			        KV("reason", e->msg));
	}
	if (!m->ops)
		return err_wrap(e, "no storage backend for this host");
	int rc = m->ops->open(&o, &m->store, e);
	return rc < 0 ? err_wrap(e, "open the %s storage at %s", m->ops->name, m->config.state_dir) : 0;
}

/* STATE_DIR may be passed through by the API's uid on its way to the job store; what lies in it is closed to it. */
static int directories_make(struct monitor *m, struct err *e)
{
	const struct config *c = &m->config;

	if (mkdir(c->state_dir, 0711) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "make the state directory %s", c->state_dir);
	if (mkdir(c->database_dir, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "make the job store's directory %s", c->database_dir);
	if (chown(c->database_dir, CONFIG_UID_API(c), CONFIG_UID_API(c)) < 0)
		return err_sys(e, -errno, "give %s to user %u", c->database_dir, CONFIG_UID_API(c));
	if (!c->local_images_dir[0])
		return 0;
	m->local_images_fd = open(c->local_images_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return m->local_images_fd < 0 ? err_sys(e, -errno, CONFIG_PREFIX "LOCAL_IMAGES_DIR=%s", c->local_images_dir)
	                              : 0;
}

static int init_program_open(struct monitor *m, struct err *e)
{
	AUTO_FREE char *path = xasprintf("%s/metald-init", spawn_libexec_dir());
	AUTO(hash_cleanup) struct hash *h = hash_new(DIGEST_SHA256);
	char chunk[65536];
	ssize_t n;

	m->init_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (m->init_fd < 0)
		return err_sys(e, -errno, "open the init program %s", path);
	for (off_t at = 0; (n = pread(m->init_fd, chunk, sizeof(chunk), at)) > 0; at += n)
		hash_update(h, chunk, (size_t)n);
	if (n < 0)
		return err_sys(e, -errno, "read %s", path);
	hash_final(h, &m->init_digest);
	return 0;
}

void monitor_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;

	if (!len || len >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, len);
	if (to.sun_path[0] == '@')
		to.sun_path[0] = 0;
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
	                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		log_warn("the service manager was not told", KV("state", state));
}

/* --- loop
 * ------------------------------------------------------------------------------------------------------------- */

static void on_storage_timer(void *arg)
{
	struct monitor *m = arg;

	api_storage_report(m);
	m->storage_timer = loop_timer_add(m->loop, STORAGE_REPORT_MS, on_storage_timer, m);
}

static void on_shutdown_deadline(void *arg)
{
	struct monitor *m = arg;

	log_warn("builds are stopped at the shutdown deadline", KV_U("builds", m->n_builds));
	for (struct build *b = m->builds; b; b = b->next)
		build_stop(b, BUILD_STOP_SHUTDOWN);
}

/* First signal: no new work, running builds get SHUTDOWN_TIMEOUT. Second: they end now. */
static void on_signal(void *arg, uint32_t events)
{
	struct monitor *m = arg;
	struct signalfd_siginfo info;

	if (read(m->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		api_tls_reload(m);
		return;
	}
	if (m->is_stopping) {
		on_shutdown_deadline(m);
		return;
	}
	log_info("stopping", KV_U("builds", m->n_builds));
	monitor_notify("STOPPING=1");
	m->is_stopping = true;
	if (!m->n_builds)
		loop_stop(m->loop, 0);
	else
		loop_timer_add(m->loop, (int64_t)m->config.shutdown_timeout_ms, on_shutdown_deadline, m);
}

static void on_wake(void *arg, uint32_t events)
{
	struct monitor *m = arg;
	uint64_t count;

	if (read(m->wake_fd, &count, sizeof(count)) == sizeof(count))
		monitor_posts_send(m);
}

/* Before any thread starts, the backend's included: a thread that does not block a signal is where it is delivered. */
static void signals_take(struct monitor *m)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int loop_setup(struct monitor *m, struct err *e)
{
	m->loop = loop_new();
	m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!m->loop || m->signal_fd < 0 || m->wake_fd < 0)
		return err_sys(e, -errno, "set up the event loop");
	m->signal_source = loop_fd_add(m->loop, m->signal_fd, EPOLLIN, on_signal, m);
	m->wake_source = loop_fd_add(m->loop, m->wake_fd, EPOLLIN, on_wake, m);
	if (!m->signal_source || !m->wake_source)
		return err_sys(e, -errno, "set up the event loop");
	on_storage_timer(m);
	return 0;
}

/* The API goes first, so that it hears nothing of what the stop does to builds: it finds them unfinished at its next
 * start. */
static void shut_down(struct monitor *m)
{
	m->is_stopping = true;
	api_socket_close(m);
	admin_end(m);
	monitor_posts_send(m);
	api_end(m, (int)m->config.shutdown_timeout_ms);
	while (m->builds) {
		build_stop(m->builds, BUILD_STOP_SHUTDOWN);
		build_free(m->builds);
	}
	work_wait(m);
	if (m->store)
		m->ops->close(m->store);
	monitor_posts_send(m);
	pools_free(&m->pools);
	log_info("stopped");
}

int monitor_run(struct monitor *m, struct err *e)
{
	m->local_images_fd = m->init_fd = m->api_socket_fd = m->admin.fd = m->signal_fd = m->wake_fd = -1;
	m->api.channel.fd = m->api.pidfd = -1;
	m->posts_tail = &m->posts;
	pools_init(&m->pools);
	pthread_mutex_init(&m->post_lock, NULL);
	pthread_cond_init(&m->work_ended, NULL);
	m->child_env = config_environ(&m->config);
	signals_take(m);
	int rc = directories_make(m, e);
	if (rc >= 0)
		rc = init_program_open(m, e);
	if (rc >= 0)
		rc = backend_choose(m, e);
	if (rc >= 0)
		rc = api_socket_open(m, e);
	if (rc >= 0)
		rc = loop_setup(m, e);
	if (rc >= 0)
		rc = admin_start(m, e);
	if (rc >= 0)
		rc = api_start(m, e);
	if (rc < 0) {
		api_socket_close(m);
		admin_end(m);
		return rc;
	}
	rc = loop_run(m->loop);
	shut_down(m);
	return rc;
}
