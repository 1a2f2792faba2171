/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The methods of builder.v1.BuilderService, and the plain routes beside them. */
#ifndef API_SERVICE_H
#define API_SERVICE_H

#include "api/http.h"
#include "api/jobs.h"
#include "api/rpc.h"
#include "api/server.h"

#define SERVICE_PATH "/builder.v1.BuilderService/"

struct service {
	struct jobs *jobs;
	const struct config *config;
	struct server *server;
	int64_t started_ms; /* monotonic */
	bool is_draining;
	struct health_watch *health; /* who watches readiness (health.c) */
};

/* server_new's tables; its ARG is a struct service. */
extern const struct rpc_method service_methods[];
extern const size_t service_methods_count;
extern const struct http_route service_routes[];
extern const size_t service_routes_count;

/* Who asks. Without authentication the tenant is whom the request names: in its body or in X-Tenant-ID, else "default".
 */
struct caller {
	const char *tenant_id, *customer_id;
};
/* NULL and "" are the same. -EACCES: header and body differ; -EINVAL: not a tenant id. */
int caller_resolve(struct caller *c, const char *body_tenant, const char *body_customer, const char *header_tenant,
        const char *header_customer, struct err *e);
int caller_of_rpc(struct caller *c, const struct rpc_call *call, const char *body_tenant, struct err *e);
int caller_of_http(struct caller *c, struct http_exchange *x, struct err *e);

/* What the API says for -errno of jobs.h, store.h, validate.h. */
enum rpc_code service_code(int code);
void service_http_fail(struct http_exchange *x, const struct err *e);

/* Takes builds: not stopping, and the storage is well. */
bool service_is_ready(const struct service *s);

/* methods.c, logs.c */
void logs_stream_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void logs_http(struct http_exchange *x, void *arg);
/* metrics_routes.c */
void metrics_http(struct http_exchange *x, void *arg);
void stats_http(struct http_exchange *x, void *arg);
/* health.c */
void health_check_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void health_watch_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
/* artifact.c */
void artifact_http(struct http_exchange *x, void *arg);

/* A page of ListBuilds. PAGE_SIZE 0: 50; OFFSET is for the documented form. Free with free_unpacked. */
int service_list(struct service *s, struct job_filter *f, int64_t page_size, Builder__V1__ListBuildsResponse **out,
        struct err *e);

#endif
