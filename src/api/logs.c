/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * StreamBuildLogs and GET GetBuildLogs/{id}: lines are read from the store behind a cursor as fast as the client takes
 * them; nothing is kept per client but the cursor. With follow the stream stays until the build is final and its last
 * line is out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/present.h"
#include "api/protojson.h"
#include "api/service.h"
#include "base/cleanup.h"
#include "base/log.h"

#define LINES_PER_READ 64

struct log_stream {
	const struct service *service;
	struct jobs *jobs;
	struct rpc_call *call; /* one of these two */
	struct http_exchange *exchange;
	struct jobs_watch *watch;
	int64_t seq; /* the last line that is out */
	bool is_following;
	char build_id[BUILD_ID_MAX];
};

static void stream_free(struct log_stream *s)
{
	jobs_unwatch(s->watch);
	free(s);
}

/* 1: the client is full. */
static int stream_line(void *arg, const struct log_line *l)
{
	struct log_stream *s = arg;
	Builder__V1__BuildLogEntry entry = BUILDER__V1__BUILD_LOG_ENTRY__INIT;
	Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	int rc;

	at.seconds = l->time_ms / 1000;
	at.nanos = (int32_t)(l->time_ms % 1000) * 1000000;
	entry.timestamp = &at;
	entry.level = (char *)(uintptr_t)log_level_name((enum log_level)l->level);
	entry.component = (char *)(uintptr_t)l->component;
	entry.message = (char *)(uintptr_t)l->message;
	if (s->call) {
		rc = rpc_stream_send(s->call, &entry.base);
	} else {
		AUTO_BUF struct buf text = {0};
		protojson_encode(&text, &entry.base);
		buf_puts(&text, "\n");
		rc = http_stream_write(s->exchange, text.data, text.len);
	}
	if (rc < 0)
		return 1;
	s->seq = l->seq;
	return 0;
}

static void stream_end(struct log_stream *s, const struct err *e)
{
	if (s->call)
		rpc_stream_end(s->call, e ? service_code(e->code) : RPC_OK, e ? "%s" : NULL, e ? e->msg : "");
	else
		http_stream_end(s->exchange);
	stream_free(s);
}

/* A follower may stay for an hour: its token may have been revoked since. */
static int check_again(const struct log_stream *s, struct err *e)
{
	const struct caller *who = s->call ? caller_of_rpc(s->call) : caller_of_http(s->exchange);

	return auth_check_again(&s->service->auth, who, e);
}

static void stream_pump(void *arg)
{
	struct log_stream *s = arg;
	const struct live_job *live = jobs_live(s->jobs, s->build_id);
	/* Asked before reading: what ends between the two has its last line in the next round. */
	bool is_over = !s->is_following || !live || live->state == BUILD_CLEANING;
	struct err e = ERR_INIT;
	int64_t before;
	int rc = s->is_following ? check_again(s, &e) : 0;

	if (rc < 0) {
		stream_end(s, &e);
		return;
	}
	do {
		before = s->seq;
		rc = store_log_each(s->jobs->store, s->build_id, s->seq, LINES_PER_READ, stream_line, s, &e);
	} while (!rc && s->seq != before);
	if (rc < 0)
		stream_end(s, &e);
	else if (!rc && is_over)
		stream_end(s, NULL);
	/* rc 1: the writable callback goes on */
}

static struct log_stream *stream_new(
        struct service *s, const char *tenant_id, const char *build_id, bool is_following, struct err *e)
{
	AUTO_JOB struct job job = {0};

	if (!*build_id) {
		err_set(e, -EINVAL, "build_id is missing");
		return NULL;
	}
	if (store_job_get(s->jobs->store, tenant_id, build_id, &job, e) < 0)
		return NULL;
	struct log_stream *l = xcalloc(1, sizeof(*l));
	l->service = s;
	l->jobs = s->jobs;
	l->is_following = is_following;
	memcpy(l->build_id, job.build_id, sizeof(l->build_id));
	l->watch = jobs_watch(s->jobs, build_id, stream_pump, l);
	return l;
}

static void call_writable(struct rpc_call *c, void *arg)
{
	stream_pump(arg);
}

static void call_gone(struct rpc_call *c, void *arg)
{
	stream_free(arg);
}

void logs_stream_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__StreamBuildLogsRequest *q = (const void *)request;
	struct err e = ERR_INIT;
	struct log_stream *s = stream_new(arg, tenant_of_rpc(c), q->build_id, q->follow, &e);

	if (!s) {
		rpc_fail(c, service_code(e.code), "%s", e.msg);
		return;
	}
	s->call = c;
	rpc_on(c, call_writable, call_gone, s);
	stream_pump(s);
}

static void exchange_writable(struct http_exchange *x, void *arg)
{
	stream_pump(arg);
}

static void exchange_gone(struct http_exchange *x, void *arg)
{
	stream_free(arg);
}

void logs_http(struct http_exchange *x, void *arg)
{
	const char *follow = http_query(x, "follow");
	struct err e = ERR_INIT;
	struct log_stream *s = stream_new(arg, tenant_of_http(x), http_suffix(x),
	        follow && (!strcmp(follow, "1") || !strcmp(follow, "true")), &e);

	if (!s) {
		service_http_fail(x, &e);
		return;
	}
	s->exchange = x;
	http_on(x, exchange_writable, exchange_gone, s);
	http_stream_begin(x, 200, "application/x-ndjson");
	stream_pump(s);
}
