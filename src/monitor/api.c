/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The conversation with builderd-api: it asks for builds, we answer with what became of them. It is a child like any
 * other: what breaks the table ends it; it is started again, and what ran for it is stopped, since nobody would hear of
 * it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "monitor/build.h"
#include "sandbox/sandbox.h"

#define RESTART_DELAY_MS 1000

/* What may be lost when builderd-api does not keep up; the rest of the channel's queue is for what may not. */
#define QUEUE_FOR_CHATTER 1024

static void send_to_api(struct monitor *m, enum msg_type type, const void *payload, uint32_t length, int fd)
{
	bool is_chatter = type == MSG_BUILD_LOG || type == MSG_BUILD_PROGRESS || type == MSG_STORAGE;

	if (!m->api.pid || (is_chatter && m->api.channel.queued > QUEUE_FOR_CHATTER))
		return;
	int rc = channel_send(&m->api.channel, type, payload, length, &fd, fd >= 0);
	if (rc < 0 && rc != -EPIPE && !is_chatter) {
		/* It would wait for this word for ever: a new one begins from the job store. */
		log_error("builderd-api does not listen", KV("message", msg_name(type)), KV_U("code", rc));
		syscall(SYS_pidfd_send_signal, m->api.pidfd, SIGKILL, NULL, 0);
	}
	if (m->api.channel.queued && m->api_source)
		loop_fd_set(m->api_source, EPOLLIN | EPOLLOUT);
}

/* --- handlers
 * ----------------------------------------------------------------------------------------------------------- */

typedef int api_handler_fn(struct monitor *m, struct message *msg, struct err *e);

static int on_ready(struct monitor *m, struct message *msg, struct err *e)
{
	const struct msg_api_ready *r = (const void *)msg->payload;

	m->api.channel.state = MSG_STATE_RUNNING;
	m->is_api_ready = true;
	int rc = api_socket_hand_over(m);
	if (rc < 0)
		return err_sys(e, rc, "hand the API's socket over");
	log_info("ready", KV("address", m->config.address), KV_U("port", r->port), KV("backend", m->ops->name));
	monitor_notify("READY=1");
	api_storage_report(m);
	return 0;
}

static int ref_check(const struct msg_build_ref *r, struct err *e)
{
	if (!msg_build_id_is_valid(r->build_id) || !msg_tenant_id_is_valid(r->tenant_id))
		return err_kind_set(e, -EPROTO, ERR_KIND_INTERNAL, "builderd-api named an impossible build or tenant");
	return 0;
}

static int start_check(const struct monitor *m, const struct msg_build_start *s, struct err *e)
{
	if (!msg_build_id_is_valid(s->build_id) || !msg_tenant_id_is_valid(s->tenant_id) ||
	        s->source_kind >= SOURCE_KIND_COUNT || !s->timeout_ms || !digest_is_valid(&s->runtime_key) ||
	        s->max_bytes > m->config.build_max_bytes || s->max_inodes > m->config.build_max_inodes ||
	        !s->max_bytes || !s->max_inodes || s->preserves_layers > 1)
		return err_kind_set(e, -EPROTO, ERR_KIND_INTERNAL, "builderd-api asked for an impossible build");
	return 0;
}

static void start_refuse(struct monitor *m, const struct msg_build_start *s, const struct err *why)
{
	struct msg_build_done done = {.state = BUILD_FAILED, .err = *why};

	memcpy(done.build_id, s->build_id, sizeof(done.build_id));
	m->n_done++;
	send_to_api(m, MSG_BUILD_DONE, &done, sizeof(done), -1);
}

static int on_start(struct monitor *m, struct message *msg, struct err *e)
{
	const struct msg_build_start *s = (const void *)msg->payload;
	struct err why = ERR_INIT;
	int rc = start_check(m, s, e);

	if (rc < 0)
		return rc;
	if (m->is_stopping)
		rc = err_kind_set(&why, -ESHUTDOWN, ERR_KIND_RESTARTED, "builderd is stopping");
	else if (build_find(m, s->build_id))
		rc = err_kind_set(&why, -EEXIST, ERR_KIND_INTERNAL, "build %s runs already", s->build_id);
	else if (m->n_builds >= m->config.max_concurrent_builds)
		rc = err_kind_set(&why, -EAGAIN, ERR_KIND_INTERNAL, "%u builds run already, the limit is %llu",
		        m->n_builds, (unsigned long long)m->config.max_concurrent_builds);
	else
		rc = build_start(m, s, STEAL_FD(&msg->fds[0]), STEAL_FD(&msg->fds[1]), &why);
	if (rc < 0)
		start_refuse(m, s, &why);
	return 0;
}

static int on_tenant_storage(struct monitor *m, struct message *msg, struct err *e)
{
	const struct msg_tenant_storage *t = (const void *)msg->payload;

	if (!msg_tenant_id_is_valid(t->tenant_id) || t->done_seen > m->n_done)
		return err_kind_set(e, -EPROTO, ERR_KIND_INTERNAL, "builderd-api told of an impossible tenant");
	pool_set(&m->pools, t->tenant_id, t->max_bytes, t->stored_bytes, t->done_seen);
	return 0;
}

static int on_cancel(struct monitor *m, struct message *msg, struct err *e)
{
	const struct msg_build_ref *r = (const void *)msg->payload;
	int rc = ref_check(r, e);
	struct build *b = rc < 0 ? NULL : build_find(m, r->build_id);

	if (b && !strcmp(b->start.tenant_id, r->tenant_id))
		build_stop(b, BUILD_STOP_CANCEL);
	return rc;
}

/* The blocks of a big file take their time to free. */
static void deletion_run(struct monitor *m, const void *arg)
{
	const struct msg_build_ref *r = arg;
	struct msg_build_deleted d = {.err = ERR_INIT};
	int rc = m->ops->rootfs_delete(m->store, r->tenant_id, r->build_id, &d.freed_bytes, &d.err);

	if (rc == -ENOENT)
		d.err = (struct err)ERR_INIT;
	if (rc >= 0)
		log_info("rootfs deleted", KV("build", r->build_id), KV_U("freed_bytes", d.freed_bytes));
	memcpy(d.build_id, r->build_id, sizeof(d.build_id));
	monitor_post(m, MSG_BUILD_DELETED, &d, sizeof(d), -1);
}

static int on_delete(struct monitor *m, struct message *msg, struct err *e)
{
	const struct msg_build_ref *r = (const void *)msg->payload;
	int rc = ref_check(r, e);

	if (rc < 0)
		return rc;
	struct build *b = build_find(m, r->build_id);
	if (b && !strcmp(b->start.tenant_id, r->tenant_id)) {
		b->is_delete_wanted = true;
		build_stop(b, BUILD_STOP_CANCEL);
		return 0;
	}
	work_start(m, deletion_run, r, sizeof(*r));
	return 0;
}

static int on_artifact(struct monitor *m, struct message *msg, struct err *e)
{
	const struct msg_build_ref *r = (const void *)msg->payload;
	struct msg_artifact a = {.err = ERR_INIT};
	struct rootfs_info info = {0};
	int rc = ref_check(r, e);

	if (rc < 0)
		return rc;
	AUTO_CLOSE int fd = m->ops->rootfs_open(m->store, r->tenant_id, r->build_id, &info, &a.err);
	memcpy(a.build_id, r->build_id, sizeof(a.build_id));
	a.size = info.size_bytes;
	if (fd < 0 && !a.err.code)
		a.err.code = fd;
	send_to_api(m, MSG_ARTIFACT, &a, sizeof(a), fd);
	return 0;
}

static api_handler_fn *const handlers[MSG_TYPE_COUNT] = {
        [MSG_API_READY] = on_ready,
        [MSG_BUILD_START] = on_start,
        [MSG_TENANT_STORAGE] = on_tenant_storage,
        [MSG_BUILD_CANCEL] = on_cancel,
        [MSG_BUILD_DELETE] = on_delete,
        [MSG_ARTIFACT_OPEN] = on_artifact,
        [MSG_LEASE_ACQUIRE] = lease_on_acquire,
        [MSG_LEASE_RELEASE] = lease_on_release,
        [MSG_LEASE_LIST] = lease_on_list,
};

/* --- the child
 * --------------------------------------------------------------------------------------------------------- */

static void restart(void *arg)
{
	struct monitor *m = arg;
	struct err e = ERR_INIT;

	if (m->is_stopping)
		return;
	/* Builds of the old one still hold their slots: the new one would find none. */
	if (m->n_builds && loop_timer_add(m->loop, RESTART_DELAY_MS / 5, restart, m))
		return;
	if (api_start(m, &e) < 0) {
		log_error("builderd-api cannot be started again", KV("error", e.msg));
		loop_stop(m->loop, 1);
	}
}

static void api_lost(struct monitor *m, const struct err *why)
{
	char text[64];
	bool was_ready = m->is_api_ready;

	loop_fd_del(STEAL(&m->api_source));
	int status = child_end(&m->api, why ? 0 : 500);
	m->is_api_ready = false;
	if (m->is_stopping)
		return;
	log_error("builderd-api ended", KV("status", child_status_text(status, text)),
	        KV("reason", why ? why->msg : "it closed its channel"));
	for (struct build *b = m->builds; b; b = b->next)
		build_stop(b, BUILD_STOP_SHUTDOWN);
	/* One that never got ready has told why on stderr (a bad address, a broken database): trying again would not
	 * help. */
	if (!was_ready || !loop_timer_add(m->loop, RESTART_DELAY_MS, restart, m))
		loop_stop(m->loop, 1);
}

static void on_channel(void *arg, uint32_t events)
{
	struct monitor *m = arg;
	struct err e = ERR_INIT;
	struct message msg;
	int rc = 1;

	if (events & EPOLLOUT && channel_flush(&m->api.channel) > 0)
		loop_fd_set(m->api_source, EPOLLIN);
	for (int i = 0; i < 64 && events & (EPOLLIN | EPOLLHUP | EPOLLERR); i++) {
		rc = channel_recv(&m->api.channel, &msg, &e);
		if (rc <= 0)
			break;
		rc = handlers[msg.type] ? handlers[msg.type](m, &msg, &e) : -EPROTO;
		message_release(&msg);
		if (rc < 0)
			break;
		rc = 1;
	}
	if (rc <= 0 && rc != -EAGAIN)
		api_lost(m, rc ? &e : NULL);
}

int api_start(struct monitor *m, struct err *e)
{
	static const char *const argv[] = {"builderd-api", NULL};
	const struct spawn s = {.role = ROLE_API,
	        .program = "builderd-api",
	        .argv = argv,
	        .envp = (const char *const *)m->child_env,
	        .namespaces = sandbox_namespaces(ROLE_API),
	        .uid = CONFIG_UID_API(&m->config)};
	int rc = spawn_program(&s, &m->api, e);

	if (rc >= 0)
		rc = channel_set_nonblock(&m->api.channel);
	if (rc < 0)
		return err_wrap(e, "start builderd-api");
	m->storage_sent = (struct msg_storage){0};
	m->n_done = 0;
	pools_forget(&m->pools);
	m->api_source = loop_fd_add(m->loop, m->api.channel.fd, EPOLLIN, on_channel, m);
	return m->api_source ? 0 : err_sys(e, -errno, "watch builderd-api");
}

void api_end(struct monitor *m, int timeout_ms)
{
	loop_fd_del(STEAL(&m->api_source));
	if (m->api.channel.fd >= 0)
		shutdown(m->api.channel.fd, SHUT_WR); /* it reads what is queued, then our end, and drains */
	child_end(&m->api, timeout_ms);
}

void api_storage_report(struct monitor *m)
{
	struct msg_storage s = {.active_builds = m->n_builds, .is_healthy = 1};
	struct store_usage usage = {0};
	struct err e = ERR_INIT;

	if (!m->is_api_ready)
		return;
	snprintf(s.backend, sizeof(s.backend), "%s", m->ops->name);
	if (m->ops->usage(m->store, &usage, &e) < 0) {
		log_error("storage does not answer", KV("error", e.msg));
		s.is_healthy = 0;
	}
	if (usage.trouble[0])
		s.is_healthy = 0;
	s.total_bytes = usage.total_bytes;
	s.free_bytes = usage.free_bytes;
	s.used_bytes = usage.used_bytes;
	if (memcmp(&s, &m->storage_sent, sizeof(s)))
		send_to_api(m, MSG_STORAGE, &s, sizeof(s), -1);
	m->storage_sent = s;
}

/* A file that an operator names; its content is for builderd-api. */
static int tls_file_open(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? err_sys(e, -errno, "open %s", path) : fd;
}

void api_tls_reload(struct monitor *m)
{
	const struct config *c = &m->config;
	struct msg_tls_files msg = {.has_client_ca = c->tls_client_ca_file[0] != 0};
	struct err e = ERR_INIT;
	int fds[3] = {-1, -1, -1};

	if (!c->tls_cert_file[0] || !m->is_api_ready)
		return;
	fds[0] = tls_file_open(c->tls_cert_file, &e);
	fds[1] = fds[0] < 0 ? -1 : tls_file_open(c->tls_key_file, &e);
	if (fds[1] >= 0 && msg.has_client_ca)
		fds[2] = tls_file_open(c->tls_client_ca_file, &e);
	if (e.code)
		log_error("the certificate stays the old one", KV("error", e.msg));
	else
		channel_send(&m->api.channel, MSG_TLS_FILES, &msg, sizeof(msg), fds, msg.has_client_ca ? 3 : 2);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		cleanup_close(&fds[i]);
}

/* --- what build threads say ------------------------------------------------------------------------------------------
 */

struct post {
	struct post *next;
	enum msg_type type; /* MSG_NONE: the build whose pointer is the payload has ended */
	int fd;             /* owns */
	uint32_t length;
	unsigned char payload[];
};

void monitor_post(struct monitor *m, enum msg_type type, const void *payload, uint32_t length, int fd)
{
	struct post *p = malloc(sizeof(*p) + length);
	uint64_t one = 1;

	if (!p)
		abort();
	*p = (struct post){.type = type, .fd = fd, .length = length};
	memcpy(p->payload, payload, length);
	pthread_mutex_lock(&m->post_lock);
	*m->posts_tail = p;
	m->posts_tail = &p->next;
	pthread_mutex_unlock(&m->post_lock);
	if (write(m->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		abort();
}

static void build_ended(struct monitor *m, struct build *b)
{
	struct msg_build_ref ref;
	struct msg_build_done done = b->result;
	AUTO_CLOSE int metadata_fd = STEAL_FD(&b->metadata_fd);
	bool is_delete_wanted = b->is_delete_wanted;

	memcpy(ref.build_id, b->start.build_id, sizeof(ref.build_id));
	memcpy(ref.tenant_id, b->start.tenant_id, sizeof(ref.tenant_id));
	m->n_done++;
	pool_leave(&b->pool, done.state == BUILD_COMPLETED ? done.disk_bytes : 0, m->n_done);
	build_free(b);
	send_to_api(m, MSG_BUILD_DONE, &done, sizeof(done), metadata_fd);
	if (is_delete_wanted)
		work_start(m, deletion_run, &ref, sizeof(ref));
	api_storage_report(m);
	if (m->is_stopping && !m->n_builds)
		loop_stop(m->loop, 0);
}

void monitor_posts_send(struct monitor *m)
{
	pthread_mutex_lock(&m->post_lock);
	struct post *p = STEAL(&m->posts);
	m->posts_tail = &m->posts;
	pthread_mutex_unlock(&m->post_lock);
	while (p) {
		struct post *next = p->next;
		if (p->type == MSG_NONE) {
			struct build *b;
			memcpy(&b, p->payload, sizeof(b));
			build_ended(m, b);
		} else {
			send_to_api(m, p->type, p->payload, p->length, p->fd);
		}
		cleanup_close(&p->fd);
		free(p);
		p = next;
	}
}
