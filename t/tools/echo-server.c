/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server core with methods of its own, for t/50*: says "port N" on stdout, logs cancellations on stderr, drains on
 * SIGTERM.   echo-server [origins=LIST] [LIMIT=VALUE...] [FILE]
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/server.h"
#include "base/buf.h"
#include "base/log.h"
#include "t/tools/echo.pb-c.h"

static struct loop *loop;
static struct server *server;
static const char *file_path = "/dev/null";

static void echo(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	rpc_header_add(c, "X-Echo", rpc_header(c, "x-echo") ? rpc_header(c, "x-echo") : "none");
	rpc_reply_with(c, request, rpc_header(c, "x-extra") ? "\"extra_member\":1" : NULL);
}

struct work {
	int next, count, fail, size;
	struct loop_timer *timer;
	struct rpc_call *call;
};

static void say_cancelled(struct rpc_call *c, void *arg)
{
	struct work *w = arg;

	fprintf(stderr, "cancelled %s at %d\n", rpc_method(c)->name, w->next);
	loop_timer_del(w->timer);
	free(w);
}

static void count_on(struct rpc_call *c, void *arg)
{
	Echo__V1__CountAnswer answer = ECHO__V1__COUNT_ANSWER__INIT;
	struct work *w = arg;
	struct buf padding AUTO_BUF = {0};

	memset(buf_reserve(&padding, (size_t)w->size + 1), 'x', (size_t)w->size);
	padding.len = (size_t)w->size;
	answer.padding = (char *)(uintptr_t)buf_cstr(&padding);
	for (; w->next < w->count; w->next++) {
		answer.number = w->next + 1;
		if (rpc_stream_send(c, &answer.base) == -EAGAIN)
			return;
	}
	if (w->count < 0)
		return;
	if (w->fail)
		rpc_stream_end(c, (enum rpc_code)w->fail, "failed as asked after %d", w->next);
	else
		rpc_stream_end(c, RPC_OK, NULL);
	free(w);
}

/* A negative count: one message, then nothing for ever. */
static void count(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Echo__V1__CountRequest *r = (const Echo__V1__CountRequest *)request;
	Echo__V1__CountAnswer answer = ECHO__V1__COUNT_ANSWER__INIT;
	struct work *w = xcalloc(1, sizeof(*w));

	*w = (struct work){.count = r->count, .fail = r->fail, .size = r->size > 0 ? r->size : 0};
	rpc_on(c, count_on, say_cancelled, w);
	if (r->count < 0)
		rpc_stream_send(c, &answer.base);
	else
		count_on(c, w);
}

static void fail(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Echo__V1__CountRequest *r = (const Echo__V1__CountRequest *)request;

	rpc_fail_detail(c, (enum rpc_code)r->fail, r->count ? request : NULL, "failed \"as asked\" with %d", r->fail);
}

static void wake_up(void *arg)
{
	Echo__V1__CountAnswer answer = ECHO__V1__COUNT_ANSWER__INIT;
	struct work *w = arg;

	answer.number = 1;
	rpc_reply(w->call, &answer.base);
	free(w);
}

static void sleep_on(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Echo__V1__CountRequest *r = (const Echo__V1__CountRequest *)request;
	struct work *w = xcalloc(1, sizeof(*w));

	*w = (struct work){.call = c, .timer = loop_timer_add(loop, r->delay_ms, wake_up, w)};
	rpc_on(c, NULL, say_cancelled, w);
}

static const struct rpc_method methods[] = {
        {"echo.v1.EchoService/Echo", &echo__v1__everything__descriptor, &echo__v1__everything__descriptor, false, true,
                echo, RPC_ACCESS_ANYONE, false},
        {"echo.v1.EchoService/Count", &echo__v1__count_request__descriptor, &echo__v1__count_answer__descriptor, true,
                false, count, RPC_ACCESS_ANYONE, false},
        {"echo.v1.EchoService/Fail", &echo__v1__count_request__descriptor, &echo__v1__count_answer__descriptor, false,
                false, fail, RPC_ACCESS_ANYONE, false},
        {"echo.v1.EchoService/Sleep", &echo__v1__count_request__descriptor, &echo__v1__count_answer__descriptor, false,
                false, sleep_on, RPC_ACCESS_ANYONE, false},
};

static void get_health(struct http_exchange *x, void *arg)
{
	http_respond(x, 200, "text/plain", "fine\n", 5);
}

static void get_file(struct http_exchange *x, void *arg)
{
	const char *from = http_query(x, "from");
	uint64_t offset = from ? strtoull(from, NULL, 10) : 0;
	struct stat st;
	int fd = open(file_path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0 || offset > (uint64_t)st.st_size)
		http_respond_error(x, 416, "out_of_range", "no such part");
	else
		http_respond_file(
		        x, from ? 206 : 200, "application/octet-stream", fd, offset, (uint64_t)st.st_size - offset);
}

struct lines {
	long next, count;
};

static void lines_cancelled(struct http_exchange *x, void *arg)
{
	fprintf(stderr, "cancelled lines\n");
	free(arg);
}

static void lines_on(struct http_exchange *x, void *arg)
{
	struct lines *l = arg;
	char line[64];

	for (; l->next < l->count; l->next++) {
		int n = snprintf(line, sizeof(line), "{\"line\":%ld}\n", l->next + 1);
		if (http_stream_write(x, line, (size_t)n) == -EAGAIN)
			return;
	}
	if (l->count < 0)
		return;
	http_stream_end(x);
	free(l);
}

static void get_lines(struct http_exchange *x, void *arg)
{
	struct lines *l = xcalloc(1, sizeof(*l));

	*l = (struct lines){.count = strtol(http_suffix(x), NULL, 10)};
	http_on(x, lines_on, lines_cancelled, l);
	http_stream_begin(x, 200, "application/x-ndjson");
	lines_on(x, l);
}

static void post_length(struct http_exchange *x, void *arg)
{
	char text[32];
	size_t len;

	http_body(x, &len);
	int n = snprintf(text, sizeof(text), "%zu\n", len);
	http_respond(x, 200, "text/plain", text, (size_t)n);
}

static const struct http_route routes[] = {
        {"GET", "/health", get_health, RPC_ACCESS_ANYONE},
        {"GET", "/file", get_file, RPC_ACCESS_ANYONE},
        {"GET", "/lines/", get_lines, RPC_ACCESS_ANYONE},
        {"POST", "/length", post_length, RPC_ACCESS_ANYONE},
};

static void drained(void *arg)
{
	loop_stop(loop, 0);
}

static void on_signal(void *arg, uint32_t events)
{
	struct signalfd_siginfo si;

	if (read(*(int *)arg, &si, sizeof(si)) == sizeof(si))
		server_drain(server, 2000, drained, NULL);
}

static void set_limit(struct server_limits *l, const char *text)
{
	const struct {
		const char *name;
		uint32_t *value;
	} names[] = {
	        {"connections=", &l->max_connections},
	        {"streams=", &l->max_streams},
	        {"header_bytes=", &l->max_header_bytes},
	        {"headers=", &l->max_headers},
	        {"body=", &l->max_body_bytes},
	        {"header_ms=", &l->header_timeout_ms},
	        {"body_ms=", &l->body_timeout_ms},
	        {"idle_ms=", &l->idle_timeout_ms},
	        {"stall_ms=", &l->stall_timeout_ms},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strncmp(names[i].name, text, strlen(names[i].name))) {
			*names[i].value = (uint32_t)strtoul(text + strlen(names[i].name), NULL, 10);
			return;
		}
	file_path = text;
}

int main(int argc, char **argv)
{
	struct server_options o = {.address = "127.0.0.1"};
	struct err e = ERR_INIT;
	sigset_t set;

	log_setup("echo-server", LOG_LEVEL_INFO, false);
	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], "origins=", 8))
			o.origins = argv[i] + 8;
		else
			set_limit(&o.limits, argv[i]);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int sig_fd = signalfd(-1, &set, SFD_CLOEXEC);
	loop = loop_new();
	struct loop_source *source = loop_fd_add(loop, sig_fd, EPOLLIN, on_signal, &sig_fd);
	server = server_new(loop, &o, methods, sizeof(methods) / sizeof(methods[0]), routes,
	        sizeof(routes) / sizeof(routes[0]), NULL, &e);
	if (!server) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	printf("port %u\n", server_port(server));
	fflush(stdout);
	int rc = loop_run(loop);
	server_free(server);
	loop_fd_del(source);
	loop_free(loop);
	close(sig_fd);
	return rc;
}
