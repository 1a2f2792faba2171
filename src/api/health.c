/* SPDX-License-Identifier: GPL-2.0-or-later */
/* grpc.health.v1.Health: what /readyz says, for gRPC clients and load balancers. */
#include "api/health.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "health.pb-c.h"

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

/* One stream; only the newest status counts, so a slow reader may miss what was in between. */
struct health_watch {
	struct health_watch *next, **prev;
	struct service *service;
	struct rpc_call *call;
	bool is_known;
	int told; /* -1: nothing yet */
};

static bool is_known(const char *name)
{
	static const char *const names[] = {"", "builder.v1.BuilderService", "grpc.health.v1.Health"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static int status_of(const struct service *s, bool is_served)
{
	return !is_served ? STATUS(SERVICE_UNKNOWN) : service_is_ready(s) ? STATUS(SERVING) : STATUS(NOT_SERVING);
}

static void answer_init(Grpc__Health__V1__HealthCheckResponse *r, int status)
{
	grpc__health__v1__health_check_response__init(r);
	r->status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
}

void health_check_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Grpc__Health__V1__HealthCheckRequest *q = (const void *)request;
	Grpc__Health__V1__HealthCheckResponse r;

	if (!is_known(q->service)) {
		rpc_fail(c, RPC_NOT_FOUND, "there is no service \"%.200s\" here", q->service);
		return;
	}
	answer_init(&r, status_of(arg, true));
	rpc_reply(c, &r.base);
}

static void watch_tell(struct health_watch *w)
{
	int status = status_of(w->service, w->is_known);
	Grpc__Health__V1__HealthCheckResponse r;

	answer_init(&r, status);
	if (status != w->told && rpc_stream_send(w->call, &r.base) == 0)
		w->told = status;
}

static void watch_writable(struct rpc_call *c, void *arg)
{
	watch_tell(arg);
}

static void watch_gone(struct rpc_call *c, void *arg)
{
	struct health_watch *w = arg;

	*w->prev = w->next;
	if (w->next)
		w->next->prev = w->prev;
	free(w);
}

void health_watch_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Grpc__Health__V1__HealthCheckRequest *q = (const void *)request;
	struct service *s = arg;
	struct health_watch *w = xcalloc(1, sizeof(*w));

	*w = (struct health_watch){.next = s->health,
	        .prev = &s->health,
	        .service = s,
	        .call = c,
	        .is_known = is_known(q->service),
	        .told = -1};
	if (w->next)
		w->next->prev = &w->next;
	s->health = w;
	rpc_on(c, watch_writable, watch_gone, w);
	watch_tell(w);
}

void health_changed(void *arg)
{
	struct service *s = arg;

	for (struct health_watch *w = s->health; w; w = w->next)
		watch_tell(w);
}
