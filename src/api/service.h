/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The methods of builder.v1.BuilderService, and the plain routes beside them. */
#ifndef API_SERVICE_H
#define API_SERVICE_H

#include "api/audit.h"
#include "api/auth.h"
#include "api/http.h"
#include "api/jobs.h"
#include "api/rpc.h"
#include "api/server.h"

#define SERVICE_PATH "/builder.v1.BuilderService/"

struct service {
	struct jobs *jobs;
	const struct config *config;
	struct auth auth;
	struct audit *audit; /* borrowed */
	struct volume_calls *volumes;
	struct server *server;
	int64_t started_ms; /* monotonic */
	bool is_draining;
	bool is_backing_up;          /* the store: backup.c */
	struct health_watch *health; /* who watches readiness (health.c) */
};

/* server_new's tables; its ARG is a struct service. */
extern const struct rpc_method service_methods[];
extern const size_t service_methods_count;
extern const struct http_route service_routes[];
extern const size_t service_routes_count;

/* What the API says for -errno of jobs.h, store.h, validate.h. */
enum rpc_code service_code(int code);
void service_fail(struct rpc_call *c, const struct err *e);
void service_http_fail(struct http_exchange *x, const struct err *e);

/* The tenant that the guard found. */
static inline const char *tenant_of_rpc(const struct rpc_call *c)
{
	return caller_of_rpc(c)->policy.tenant_id;
}
static inline const char *tenant_of_http(const struct http_exchange *x)
{
	return caller_of_http(x)->policy.tenant_id;
}

/* A line about what the caller did; EV has the rest. */
void service_audit(const struct service *s, const struct caller *who, const char *address, struct audit_event *ev);

int32_t service_clamp32(int64_t n);
/* Begun ones count. */
int64_t service_minutes(int64_t ms);

/* Takes builds: not stopping, and the storage is well. */
bool service_is_ready(const struct service *s);

/* create.c, quotas.c, logs.c */
void create_build_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void get_tenant_quotas_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void logs_stream_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void logs_http(struct http_exchange *x, void *arg);
/* metrics_routes.c */
void metrics_http(struct http_exchange *x, void *arg);
void stats_http(struct http_exchange *x, void *arg);
/* health.c */
void health_check_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void health_watch_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
/* backup.c */
void backup_http(struct http_exchange *x, void *arg);
/* artifact.c */
void artifact_http(struct http_exchange *x, void *arg);

/* A page of ListBuilds. PAGE_SIZE 0: 50; OFFSET is for the documented form. Free with free_unpacked. */
int service_list(struct service *s, struct job_filter *f, int64_t page_size, Builder__V1__ListBuildsResponse **out,
        struct err *e);

#endif
