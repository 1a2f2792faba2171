/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plays builderd for builderd-api's tests: starts it as builderd would, answers its messages, builds nothing.
 *   fake-builderd DIR    with UNKEY_BUILDERD_* in the environment
 * DIR gets "port" once the service listens, <build>.source and <build>.runtime with the two texts of each start,
 * <build>.ext4 as product. What a build does depends on words in its reference: fail: FAILED unauthorized; hang: goes
 * on until it is cancelled; badmeta: COMPLETED with metadata that is no JSON; chatty: 2000 log lines; refuse-delete:
 * its deletion fails; hangup: closes the channel; flaky: the network fails twice, unreachable: always. Otherwise:
 * COMPLETED after five steps. SIGTERM closes the channel and waits for the service's end; its exit code is ours. The
 * API's own socket is DIR/api.sock.
 */
#include <errno.h>
#include <inttypes.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/local_socket.h"
#include "base/log.h"
#include "base/loop.h"
#include "build/config.h"
#include "digest/hash.h"
#include "ipc/spawn.h"
#include "sandbox/sandbox.h"

#define STEP_MS 40
#define SPEC_MAX (1u << 20)

extern char **environ;

struct fake_build {
	struct fake_build *next;
	struct msg_build_start start;
	char *source; /* owns */
	unsigned step;
	bool is_cancelled;
};

static struct {
	struct loop *loop;
	struct child api;
	struct loop_source *source;
	int dir;
	char *socket_path;
	struct fake_build *builds;
} fake;

static void say(enum msg_type type, const void *m, uint32_t length, int fd)
{
	if (channel_send(&fake.api.channel, type, m, length, &fd, fd >= 0) < 0)
		fprintf(stderr, "fake-builderd: %s was not sent\n", msg_name(type));
}

static void file_write(const char *id, const char *suffix, const void *data, size_t len)
{
	AUTO_FREE char *name = xasprintf("%s%s", id, suffix);
	AUTO_CLOSE int fd = openat(fake.dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || fd_write_all(fd, data, len) < 0)
		perror(name);
}

static void log_line(struct fake_build *b, const char *text)
{
	struct msg_build_log l = {.level = LOG_LEVEL_INFO};

	memcpy(l.build_id, b->start.build_id, sizeof(l.build_id));
	snprintf(l.component, sizeof(l.component), "fetch");
	snprintf(l.text, sizeof(l.text), "%s", text);
	say(MSG_BUILD_LOG, &l, sizeof(l), -1);
}

static void forget(struct fake_build *b)
{
	struct fake_build **at = &fake.builds;

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	free(b->source);
	free(b);
}

static void complete(struct fake_build *b, struct msg_build_done *d)
{
	static const char metadata[] =
	        "{\"original_image\":\"r/"
	        "x:1\",\"image_digest\":\"sha256:00\",\"layers\":[\"sha256:11\"],\"labels\":{\"a\":\"b\"},"
	        "\"command\":[\"/bin/sh\"],\"entrypoint\":[],\"working_dir\":\"/srv\",\"env\":{\"PATH\":\"/"
	        "bin\"},\"exposed_ports\":[\"80\"],"
	        "\"user\":\"1:1\",\"volumes\":[],\"init_path\":\"/sbin/"
	        "init\",\"init_strategy\":\"TINI\",\"stop_signal\":\"\"}";
	const char *text = strstr(b->source, "badmeta") ? "{\"labels\":[" : metadata;
	char product[100000];

	for (size_t i = 0; i < sizeof(product); i++)
		product[i] = (char)('a' + i % 26);
	file_write(b->start.build_id, ".ext4", product, sizeof(product));
	hash_buffer(DIGEST_SHA256, product, sizeof(product), &d->checksum);
	d->image_digest = d->checksum;
	d->rootfs_bytes = sizeof(product);
	d->original_bytes = 50000;
	d->disk_bytes = 80000;
	d->memory_peak_bytes = 12345678;
	d->pull_ms = 11;
	d->extract_ms = 22;
	d->total_ms = 44;
	snprintf(d->rootfs_path, sizeof(d->rootfs_path), "/state/%s.ext4", b->start.build_id);
	AUTO_CLOSE int fd = fd_memfile("metadata", text, strlen(text));
	say(MSG_BUILD_DONE, d, sizeof(*d), fd);
}

/* How often the build has been tried: the length of <build>.tries. */
static long tries_count(const struct fake_build *b)
{
	AUTO_FREE char *name = xasprintf("%s.tries", b->start.build_id);
	AUTO_CLOSE int fd = openat(fake.dir, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	return fd >= 0 && write(fd, ".", 1) == 1 ? (long)lseek(fd, 0, SEEK_CUR) : 0;
}

static void finish(struct fake_build *b)
{
	struct msg_build_done d = {.state = BUILD_COMPLETED, .err = ERR_INIT};

	memcpy(d.build_id, b->start.build_id, sizeof(d.build_id));
	if (b->is_cancelled) {
		d.state = BUILD_CANCELLED;
		err_kind_set(&d.err, -ECANCELED, ERR_KIND_CANCELLED, "cancelled on request");
	} else if (strstr(b->source, "unreachable") || (strstr(b->source, "flaky") && tries_count(b) < 3)) {
		d.state = BUILD_FAILED;
		d.downloaded_bytes = 1000;
		d.total_ms = 2000;
		err_kind_set(&d.err, -ENETUNREACH, ERR_KIND_NETWORK, "the registry does not answer");
	} else if (strstr(b->source, "fail")) {
		d.state = BUILD_FAILED;
		err_kind_set(&d.err, -EACCES, ERR_KIND_UNAUTHORIZED, "the registry wants credentials");
	}
	if (d.state == BUILD_COMPLETED)
		complete(b, &d);
	else
		say(MSG_BUILD_DONE, &d, sizeof(d), -1);
	forget(b);
}

static void advance(void *arg)
{
	static const uint32_t states[] = {BUILD_PULLING, BUILD_EXTRACTING, BUILD_EXTRACTING, BUILD_BUILDING};
	struct fake_build *b = arg;
	struct msg_build_progress p = {0};

	bool is_broken = b->step == 2 && (strstr(b->source, "unreachable") || strstr(b->source, "flaky"));
	if (b->is_cancelled || is_broken || b->step == ARRAY_LEN(states)) {
		if (b->is_cancelled || !strstr(b->source, "hang")) {
			finish(b);
			return;
		}
		b->step--;
	}
	memcpy(p.build_id, b->start.build_id, sizeof(p.build_id));
	p.state = states[b->step];
	p.percent = 20 * (b->step + 1);
	snprintf(p.step, sizeof(p.step), "step %u of 4", b->step + 1);
	say(MSG_BUILD_PROGRESS, &p, sizeof(p), -1);
	log_line(b, b->step == 1 ? "control \x1b[31m and bad utf-8 \xff\xfe" : p.step);
	for (int i = 0; b->step == 2 && strstr(b->source, "chatty") && i < 2000; i++)
		log_line(b, "chat");
	b->step++;
	loop_timer_add(fake.loop, STEP_MS, advance, b);
}

static void on_start(struct message *m)
{
	struct fake_build *b = xcalloc(1, sizeof(*b));
	AUTO_FREE char *runtime = NULL;
	size_t n = 0, len = 0;

	memcpy(&b->start, m->payload, sizeof(b->start));
	if (fd_slurp(m->fds[0], SPEC_MAX, &b->source, &n) < 0 || fd_slurp(m->fds[1], SPEC_MAX, &runtime, &len) < 0)
		abort();
	if (strstr(b->source, "hangup"))
		shutdown(fake.api.channel.fd, SHUT_WR);
	file_write(b->start.build_id, ".source", b->source, n);
	file_write(b->start.build_id, ".runtime", runtime, len);
	printf("start %s %s kind=%u bytes=%llu timeout_ms=%u\n", b->start.build_id, b->start.tenant_id,
	        b->start.source_kind, (unsigned long long)b->start.max_bytes, b->start.timeout_ms);
	b->next = fake.builds;
	fake.builds = b;
	loop_timer_add(fake.loop, STEP_MS, advance, b);
}

static void on_tenant_storage(const struct msg_tenant_storage *t)
{
	printf("storage %s max=%" PRIu64 " stored=%" PRIu64 "\n", t->tenant_id, t->max_bytes, t->stored_bytes);
}

static void on_cancel(const struct msg_build_ref *r)
{
	for (struct fake_build *b = fake.builds; b; b = b->next)
		if (!strcmp(b->start.build_id, r->build_id))
			b->is_cancelled = true;
}

static void on_delete(const struct msg_build_ref *r)
{
	struct msg_build_deleted d = {.err = ERR_INIT, .freed_bytes = 80000};
	AUTO_FREE char *name = xasprintf("%s.ext4", r->build_id);
	AUTO_FREE char *stuck = xasprintf("%s.stuck", r->build_id);

	memcpy(d.build_id, r->build_id, sizeof(d.build_id));
	if (!faccessat(fake.dir, stuck, F_OK, 0))
		err_kind_set(&d.err, -EBUSY, ERR_KIND_INTERNAL, "the device is in use");
	else
		unlinkat(fake.dir, name, 0);
	printf("delete %s\n", r->build_id);
	say(MSG_BUILD_DELETED, &d, sizeof(d), -1);
}

static void on_artifact(const struct msg_build_ref *r)
{
	struct msg_artifact a = {.err = ERR_INIT};
	AUTO_FREE char *name = xasprintf("%s.ext4", r->build_id);
	AUTO_CLOSE int fd = openat(fake.dir, name, O_RDONLY | O_CLOEXEC);

	memcpy(a.build_id, r->build_id, sizeof(a.build_id));
	if (fd < 0)
		err_kind_set(&a.err, -ENOENT, ERR_KIND_NOT_FOUND, "the artifact is gone");
	else
		a.size = (uint64_t)lseek(fd, 0, SEEK_END);
	say(MSG_ARTIFACT, &a, sizeof(a), fd);
}

/* There is none. */
static void on_lease_list(const struct msg_lease_list *q)
{
	struct msg_leases a = {.serial = q->serial, .err = ERR_INIT};
	AUTO_CLOSE int fd = fd_memfile("leases", "", 0);

	say(MSG_LEASES, &a, sizeof(a), fd);
}

static void api_socket_hand_over(void)
{
	struct msg_api_listen m = {0};
	struct err e = ERR_INIT;
	AUTO_CLOSE int fd = local_socket_listen(fake.socket_path, SOCK_STREAM, 0666, &e);

	if (fd < 0)
		fprintf(stderr, "fake-builderd: %s\n", e.msg);
	else
		say(MSG_API_LISTEN, &m, sizeof(m), fd);
}

static void on_ready(const struct msg_api_ready *r)
{
	struct msg_storage s = {.backend = "fake", .total_bytes = 1 << 30, .free_bytes = 1 << 29, .is_healthy = 1};
	char text[16];

	fake.api.channel.state = MSG_STATE_RUNNING;
	say(MSG_STORAGE, &s, sizeof(s), -1);
	snprintf(text, sizeof(text), "%u\n", r->port);
	api_socket_hand_over();
	file_write("port", "", text, strlen(text));
}

static void on_channel(void *arg, uint32_t events)
{
	struct err e = ERR_INIT;
	struct message m;
	int rc = channel_recv(&fake.api.channel, &m, &e);

	if (rc <= 0) {
		loop_fd_del(STEAL(&fake.source));
		int status = child_end(&fake.api, 5000);
		char text[64];
		printf("api %s%s%s\n", child_status_text(status, text), *e.msg ? ": " : "", e.msg);
		loop_stop(fake.loop, status == 0 ? 0 : 3);
		return;
	}
	switch (m.type) {
	case MSG_API_READY:
		on_ready((void *)m.payload);
		break;
	case MSG_BUILD_START:
		on_start(&m);
		break;
	case MSG_TENANT_STORAGE:
		on_tenant_storage((void *)m.payload);
		break;
	case MSG_BUILD_CANCEL:
		on_cancel((void *)m.payload);
		break;
	case MSG_BUILD_DELETE:
		on_delete((void *)m.payload);
		break;
	case MSG_LEASE_LIST:
		on_lease_list((void *)m.payload);
		break;
	case MSG_ARTIFACT_OPEN:
		on_artifact((void *)m.payload);
		break;
	}
	message_release(&m);
	fflush(stdout);
}

static void on_signal(void *arg, uint32_t events)
{
	struct signalfd_siginfo info;

	if (read(*(int *)arg, &info, sizeof(info)) == (ssize_t)sizeof(info))
		shutdown(fake.api.channel.fd, SHUT_WR); /* as builderd does: it drains and ends */
}

static int api_start(struct err *e)
{
	static const char *const argv[] = {"builderd-api", NULL};
	struct config c;
	int rc = config_load(&c, NULL, environ, e);
	char **env = rc < 0 ? NULL : config_environ(&c);
	const struct spawn s = {.role = ROLE_API,
	        .program = getenv("BUILDERD_API") ? getenv("BUILDERD_API") : "builderd-api",
	        .argv = argv,
	        .envp = (const char *const *)env,
	        .namespaces = sandbox_namespaces(ROLE_API),
	        .uid = CONFIG_UID_API(&c)};

	if (rc >= 0)
		rc = spawn_program(&s, &fake.api, e);
	config_environ_free(env);
	config_free(&c);
	return rc;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	sigset_t set;
	int signals;

	if (argc != 2 || (fake.dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return 2;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	fake.loop = loop_new();
	fake.socket_path = xasprintf("%s/api.sock", argv[1]);
	if (api_start(&e) < 0) {
		fprintf(stderr, "fake-builderd: %s\n", e.msg);
		return 2;
	}
	fake.source = loop_fd_add(fake.loop, fake.api.channel.fd, EPOLLIN, on_channel, NULL);
	struct loop_source *watch = loop_fd_add(fake.loop, signals, EPOLLIN, on_signal, &signals);
	int rc = loop_run(fake.loop);
	loop_fd_del(watch);
	loop_free(fake.loop);
	free(fake.socket_path);
	while (fake.builds)
		forget(fake.builds);
	return rc;
}
