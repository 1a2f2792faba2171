/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "admin.pb-c.h"
#include "api/admin.h"
#include "api/present.h"
#include "api/protojson.h"
#include "api/reflection.h"
#include "api/volume_service.h"
#include "base/cleanup.h"
#include "build/states.h"
#include "digest/hash.h"
#include "health.pb-c.h"
#include "json/json.h"
#include "store/page.h"
#include "volume.pb-c.h"

#define PAGE_DEFAULT 50
#define PAGE_MAX 1000

/* --- who asks, what is answered -------------------------------------------------------------------------------- */

enum rpc_code service_code(int code)
{
	static const struct {
		int code;
		enum rpc_code rpc;
	} codes[] = {
	        {-EINVAL, RPC_INVALID_ARGUMENT},
	        {-EOPNOTSUPP, RPC_UNIMPLEMENTED},
	        {-ENOENT, RPC_NOT_FOUND},
	        {-EEXIST, RPC_ALREADY_EXISTS},
	        {-EACCES, RPC_PERMISSION_DENIED},
	        {-EPERM, RPC_UNAUTHENTICATED},
	        {-EBUSY, RPC_FAILED_PRECONDITION},
	        {-EAGAIN, RPC_FAILED_PRECONDITION},
	        {-EDQUOT, RPC_RESOURCE_EXHAUSTED},
	        {-ENOSPC, RPC_UNAVAILABLE},
	        {-EPIPE, RPC_UNAVAILABLE},
	        {-ENOBUFS, RPC_UNAVAILABLE},
	};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (codes[i].code == code)
			return codes[i].rpc;
	return RPC_INTERNAL;
}

void service_fail(struct rpc_call *c, const struct err *e)
{
	rpc_fail(c, service_code(e->code), "%s", e->msg);
}

void service_http_fail(struct http_exchange *x, const struct err *e)
{
	enum rpc_code code = service_code(e->code);

	http_respond_error(x, rpc_code_http_status(code), rpc_code_name(code), "%s", e->msg);
}

void service_audit(const struct service *s, const struct caller *who, const char *address, struct audit_event *ev)
{
	char identity[64];

	ev->tenant = *who->policy.tenant_id ? who->policy.tenant_id : who->token_tenant;
	ev->customer = who->customer_id;
	ev->identity = caller_name(who, identity);
	ev->address = address;
	audit_write(s->audit, ev);
}

int32_t service_clamp32(int64_t n)
{
	return n > INT32_MAX ? INT32_MAX : (int32_t)n;
}

int64_t service_minutes(int64_t ms)
{
	return (ms + 59999) / 60000;
}

/* --- GetBuild, ListBuilds -------------------------------------------------------------------------------------- */

static int build_id_check(const char *id, struct err *e)
{
	char copy[BUILD_ID_MAX] = "";

	if (!*id)
		return err_set(e, -EINVAL, "build_id is missing");
	snprintf(copy, sizeof(copy), "%s", id);
	if (strlen(id) >= sizeof(copy) || !msg_build_id_is_valid(copy))
		return err_set(e, -ENOENT, "no such build");
	return 0;
}

static void get_build(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__GetBuildRequest *q = (const void *)request;
	Builder__V1__GetBuildResponse r = BUILDER__V1__GET_BUILD_RESPONSE__INIT;
	struct service *s = arg;
	AUTO_JOB struct job job = {0};
	struct err e = ERR_INIT;

	if (build_id_check(q->build_id, &e) < 0 ||
	        store_job_get(s->jobs->store, tenant_of_rpc(c), q->build_id, &job, &e) < 0) {
		service_fail(c, &e);
		return;
	}
	r.build = present_job(s->jobs, &job, PRESENT_ALL);
	rpc_reply(c, &r.base);
	present_job_free(r.build);
}

struct page {
	struct service *s;
	struct job_filter *f;
	Builder__V1__ListBuildsResponse *r;
	int64_t size;
	int64_t last_ms;
	char last_id[BUILD_ID_MAX];
};

static int page_job(void *arg, const struct job *j)
{
	struct page *p = arg;

	if ((int64_t)p->r->n_builds == p->size) { /* one more than the page: there is a next one */
		p->r->next_page_token = xcalloc(1, PAGE_TOKEN_MAX);
		page_token_make(store_secret(p->s->jobs->store), p->f, p->last_ms, p->last_id, p->r->next_page_token);
		return 1;
	}
	p->r->builds[p->r->n_builds++] = present_job(p->s->jobs, j, 0);
	p->last_ms = j->created_ms;
	memcpy(p->last_id, j->build_id, sizeof(p->last_id));
	return 0;
}

int service_list(struct service *s, struct job_filter *f, int64_t page_size, Builder__V1__ListBuildsResponse **out,
        struct err *e)
{
	struct page p = {.s = s,
	        .f = f,
	        .size = !page_size             ? PAGE_DEFAULT
	                : page_size > PAGE_MAX ? PAGE_MAX
	                                       : page_size};
	struct job_totals totals = {0};
	int rc = page_size < 0 ? err_set(e, -EINVAL, "page_size: %" PRId64 " is negative", page_size) : 0;

	if (rc >= 0)
		rc = store_job_totals(s->jobs->store, f, &totals, e);
	if (rc < 0)
		return rc;
	p.r = xcalloc(1, sizeof(*p.r));
	builder__v1__list_builds_response__init(p.r);
	p.r->builds = xcalloc((size_t)p.size, sizeof(*p.r->builds));
	p.r->total_count = service_clamp32(totals.jobs);
	f->limit = p.size + 1;
	rc = store_job_each(s->jobs->store, f, page_job, &p, e);
	if (rc < 0)
		builder__v1__list_builds_response__free_unpacked(p.r, NULL);
	else
		*out = p.r;
	return rc < 0 ? rc : 0;
}

static int list_filter(struct service *s, struct rpc_call *c, const Builder__V1__ListBuildsRequest *q,
        struct job_filter *f, struct err *e)
{
	*f = (struct job_filter){.tenant_id = tenant_of_rpc(c)};
	for (size_t i = 0; i < q->n_state_filter; i++) {
		if (!state_is_valid((unsigned)q->state_filter[i]))
			return err_set(e, -EINVAL, "state_filter: %d is no state", (int)q->state_filter[i]);
		f->states |= 1u << q->state_filter[i];
	}
	if (*q->page_token && page_token_read(store_secret(s->jobs->store), f, q->page_token) < 0)
		return err_set(e, -EINVAL, "page_token is not one that this list gave with this tenant and filter");
	return 0;
}

static void list_builds(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__ListBuildsRequest *q = (const void *)request;
	Builder__V1__ListBuildsResponse *r = NULL;
	struct job_filter f;
	struct err e = ERR_INIT;

	if (list_filter(arg, c, q, &f, &e) < 0 || service_list(arg, &f, q->page_size, &r, &e) < 0) {
		service_fail(c, &e);
		return;
	}
	rpc_reply_with(c, &r->base, *r->next_page_token ? "\"has_more\":true" : "\"has_more\":false");
	builder__v1__list_builds_response__free_unpacked(r, NULL);
}

/* --- CancelBuild, DeleteBuild ---------------------------------------------------------------------------------- */

static void cancel_build(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__CancelBuildRequest *q = (const void *)request;
	Builder__V1__CancelBuildResponse r = BUILDER__V1__CANCEL_BUILD_RESPONSE__INIT;
	struct service *s = arg;
	struct err e = ERR_INIT;
	int state = build_id_check(q->build_id, &e);

	if (state >= 0)
		state = jobs_cancel(s->jobs, tenant_of_rpc(c), q->build_id, q->reason, &e);
	service_audit(s, caller_of_rpc(c), rpc_peer(c),
	        &(struct audit_event){.kind = AUDIT_BUILD_CANCEL,
	                .outcome = state < 0 ? AUDIT_ERROR : AUDIT_ALLOWED,
	                .build = q->build_id,
	                .reason = state < 0 ? e.msg : q->reason});
	if (state < 0) {
		service_fail(c, &e);
		return;
	}
	r.state = (Builder__V1__BuildState)state;
	r.success = state == BUILD_CANCELLED || state_is_running((unsigned)state);
	rpc_reply(c, &r.base);
}

static void on_deleted(void *arg, int fd, uint64_t size, const struct err *e)
{
	Builder__V1__DeleteBuildResponse r = BUILDER__V1__DELETE_BUILD_RESPONSE__INIT;

	cleanup_close(&fd);
	if (e->kind == ERR_KIND_LEASED) {
		service_fail(arg, e);
		return;
	}
	if (e->code) {
		rpc_fail(arg, RPC_INTERNAL, "not deleted, try again: %s", e->msg);
		return;
	}
	r.success = true;
	rpc_reply(arg, &r.base);
}

static void on_delete_cancelled(struct rpc_call *c, void *waiter)
{
	jobs_forget(waiter);
}

static void delete_build(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__DeleteBuildRequest *q = (const void *)request;
	struct service *s = arg;
	struct jobs_waiter *waiter;
	struct err e = ERR_INIT;

	if (build_id_check(q->build_id, &e) < 0 ||
	        jobs_delete(s->jobs, tenant_of_rpc(c), q->build_id, q->force, on_deleted, c, &waiter, &e) < 0)
		service_fail(c, &e);
	else
		rpc_on(c, NULL, on_delete_cancelled, waiter);
}

/* --- GetBuildStats --------------------------------------------------------------------------------------------- */

static int64_t time_ms_of(const Google__Protobuf__Timestamp *t)
{
	return t ? t->seconds * 1000 + t->nanos / 1000000 : 0;
}

static void get_build_stats(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__GetBuildStatsRequest *q = (const void *)request;
	Builder__V1__GetBuildStatsResponse r = BUILDER__V1__GET_BUILD_STATS_RESPONSE__INIT;
	Builder__V1__ListBuildsResponse *newest = NULL;
	struct service *s = arg;
	struct job_totals t = {0};
	struct job_filter f = {.from_ms = time_ms_of(q->start_time), .to_ms = time_ms_of(q->end_time)};
	struct err e = ERR_INIT;

	f.tenant_id = tenant_of_rpc(c);
	int rc = store_job_totals(s->jobs->store, &f, &t, &e);
	if (rc >= 0)
		rc = service_list(s, &f, 10, &newest, &e);
	if (rc < 0) {
		service_fail(c, &e);
		return;
	}
	r.total_builds = service_clamp32(t.jobs);
	r.successful_builds = service_clamp32(t.completed);
	r.failed_builds = service_clamp32(t.failed);
	r.avg_build_time_ms = t.completed ? t.total_ms / t.completed : 0;
	r.total_storage_bytes = t.disk_bytes;
	r.total_compute_minutes = service_minutes(t.compute_ms);
	r.n_recent_builds = newest->n_builds;
	r.recent_builds = newest->builds;
	rpc_reply(c, &r.base);
	builder__v1__list_builds_response__free_unpacked(newest, NULL);
}

/* --- the table ------------------------------------------------------------------------------------------------- */

#define SERVICE "builder.v1.BuilderService/"
#define METHOD(name, lower, idempotent, access, fn)                                                                    \
	{                                                                                                              \
		SERVICE name, &builder__v1__##lower##_request__descriptor,                                             \
		        &builder__v1__##lower##_response__descriptor, false, idempotent, fn, access, false             \
	}

static void reflection_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const struct service *s = arg;

	if (s->config->reflection)
		reflection_answer(c, request, service_methods, service_methods_count);
	else
		rpc_fail(c, RPC_UNIMPLEMENTED, "reflection is switched off: " CONFIG_PREFIX "REFLECTION=true");
}

#define REFLECTION(version)                                                                                            \
	{                                                                                                              \
		.name = "grpc.reflection." version ".ServerReflection/ServerReflectionInfo",                           \
		.input = &grpc__reflection__v1__server_reflection_request__descriptor,                                 \
		.output = &grpc__reflection__v1__server_reflection_response__descriptor, .is_server_stream = true,     \
		.is_client_stream = true, .call = reflection_call, .access = RPC_ACCESS_ANYONE,                        \
	}

/* Of the operator, by root, on this host's own socket. */
#define ADMIN(name, lower, idempotent)                                                                                 \
	{                                                                                                              \
		"builder.v1.AdminService/" name, &builder__v1__##lower##_request__descriptor,                          \
		        &builder__v1__##lower##_response__descriptor, false, idempotent, admin_##lower,                \
		        RPC_ACCESS_ADMIN, false                                                                        \
	}

#define VOLUME(name, lower, idempotent, fn)                                                                            \
	{                                                                                                              \
		"builder.v1.VolumeService/" name, &builder__v1__##lower##_request__descriptor,                         \
		        &builder__v1__##lower##_response__descriptor, false, idempotent, fn, RPC_ACCESS_METALD, false  \
	}

const struct rpc_method service_methods[] = {
        METHOD("CreateBuild", create_build, false, RPC_ACCESS_BUILD, create_build_call),
        METHOD("GetBuild", get_build, true, RPC_ACCESS_READ, get_build),
        METHOD("ListBuilds", list_builds, true, RPC_ACCESS_READ, list_builds),
        METHOD("CancelBuild", cancel_build, false, RPC_ACCESS_BUILD, cancel_build),
        METHOD("DeleteBuild", delete_build, false, RPC_ACCESS_TENANT_ADMIN, delete_build),
        {SERVICE "StreamBuildLogs", &builder__v1__stream_build_logs_request__descriptor,
                &builder__v1__build_log_entry__descriptor, true, false, logs_stream_call, RPC_ACCESS_READ, false},
        METHOD("GetTenantQuotas", get_tenant_quotas, true, RPC_ACCESS_READ, get_tenant_quotas_call),
        METHOD("GetBuildStats", get_build_stats, true, RPC_ACCESS_READ, get_build_stats),
        VOLUME("AcquireRootfs", acquire_rootfs, false, volume_acquire_call),
        VOLUME("ReleaseRootfs", release_rootfs, false, volume_release_call),
        VOLUME("ListLeases", list_leases, true, volume_list_call),
        ADMIN("SetTenant", set_tenant, false),
        ADMIN("GetTenant", get_tenant, true),
        ADMIN("ListTenants", list_tenants, true),
        ADMIN("RemoveTenant", remove_tenant, false),
        ADMIN("CreateToken", create_token, false),
        ADMIN("ListTokens", list_tokens, true),
        ADMIN("RevokeToken", revoke_token, false),
        ADMIN("GetAuditEnd", get_audit_end, true),
        {"grpc.health.v1.Health/Check", &grpc__health__v1__health_check_request__descriptor,
                &grpc__health__v1__health_check_response__descriptor, false, false, health_check_call,
                RPC_ACCESS_ANYONE, false},
        {"grpc.health.v1.Health/Watch", &grpc__health__v1__health_check_request__descriptor,
                &grpc__health__v1__health_check_response__descriptor, true, false, health_watch_call, RPC_ACCESS_ANYONE,
                false},
        REFLECTION("v1"),
        REFLECTION("v1alpha"),
};
const size_t service_methods_count = ARRAY_LEN(service_methods);
