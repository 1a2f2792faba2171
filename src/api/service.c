/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/present.h"
#include "api/protojson.h"
#include "base/cleanup.h"
#include "build/states.h"
#include "digest/hash.h"
#include "health.pb-c.h"
#include "json/json.h"
#include "store/page.h"

#define PAGE_DEFAULT 50
#define PAGE_MAX 1000
#define DAY_MS (24 * 3600 * 1000LL)

/* --- who asks, what is answered -------------------------------------------------------------------------------- */

static const char *either(const char *a, const char *b)
{
	return a && *a ? a : b && *b ? b : "";
}

static bool differ(const char *a, const char *b)
{
	return a && *a && b && *b && strcmp(a, b) != 0;
}

int caller_resolve(struct caller *c, const char *body_tenant, const char *body_customer, const char *header_tenant,
        const char *header_customer, struct err *e)
{
	char id[TENANT_ID_MAX] = "";

	if (differ(body_tenant, header_tenant))
		return err_set(e, -EACCES, "the X-Tenant-ID header and the request's tenant_id differ");
	if (differ(body_customer, header_customer))
		return err_set(e, -EACCES, "the X-Customer-ID header and the request's customer_id differ");
	c->customer_id = either(body_customer, header_customer);
	c->tenant_id = either(body_tenant, header_tenant);
	if (!*c->tenant_id)
		c->tenant_id = "default";
	snprintf(id, sizeof(id), "%s", c->tenant_id);
	if (strlen(c->tenant_id) > 64 || !msg_tenant_id_is_valid(id))
		return err_set(e, -EINVAL,
		        "tenant_id: \"%.80s\" is not 1 to 64 letters, digits, '.', '_', '-', the first a letter or "
		        "digit",
		        c->tenant_id);
	if (strlen(c->customer_id) > 256)
		return err_set(e, -EINVAL, "customer_id: %zu bytes, the limit is 256", strlen(c->customer_id));
	return 0;
}

int caller_of_rpc(struct caller *c, const struct rpc_call *call, const char *body_tenant, struct err *e)
{
	return caller_resolve(c, body_tenant, NULL, rpc_header(call, "x-tenant-id"), NULL, e);
}

int caller_of_http(struct caller *c, struct http_exchange *x, struct err *e)
{
	return caller_resolve(c, http_query(x, "tenant_id"), NULL, http_header(x, "x-tenant-id"), NULL, e);
}

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

static void fail(struct rpc_call *c, const struct err *e)
{
	rpc_fail(c, service_code(e->code), "%s", e->msg);
}

void service_http_fail(struct http_exchange *x, const struct err *e)
{
	enum rpc_code code = service_code(e->code);

	http_respond_error(x, rpc_code_http_status(code), rpc_code_name(code), "%s", e->msg);
}

static int32_t clamp32(int64_t n)
{
	return n > INT32_MAX ? INT32_MAX : (int32_t)n;
}

/* --- CreateBuild ----------------------------------------------------------------------------------------------- */

/* C as it is stored: the defaults filled in, the tenant resolved, the credentials left out. Shallow copies, nothing of
 * the request is changed. Only docker images get here. */
static void config_pack(
        const Builder__V1__BuildConfig *c, const struct caller *who, enum tenant_tier tier, struct buf *out)
{
	Builder__V1__BuildConfig copy = *c;
	Builder__V1__TenantContext tenant = BUILDER__V1__TENANT_CONTEXT__INIT;
	Builder__V1__BuildSource source = *c->source;
	Builder__V1__DockerImageSource image = *c->source->docker_image;
	Builder__V1__BuildTarget target = BUILDER__V1__BUILD_TARGET__INIT;
	Builder__V1__MicroVMRootfs rootfs = BUILDER__V1__MICRO_VMROOTFS__INIT;

	if (c->tenant)
		tenant = *c->tenant;
	tenant.tenant_id = (char *)(uintptr_t)who->tenant_id;
	tenant.customer_id = (char *)(uintptr_t)who->customer_id;
	tenant.tier = (Builder__V1__TenantTier)tier;
	image.auth = NULL;
	image.registry_auth = NULL;
	source.docker_image = &image;
	if (c->target && c->target->target_type_case == BUILDER__V1__BUILD_TARGET__TARGET_TYPE_MICROVM_ROOTFS)
		rootfs = *c->target->microvm_rootfs;
	if (!rootfs.init_strategy)
		rootfs.init_strategy = BUILDER__V1__INIT_STRATEGY__INIT_STRATEGY_TINI;
	target.target_type_case = BUILDER__V1__BUILD_TARGET__TARGET_TYPE_MICROVM_ROOTFS;
	target.microvm_rootfs = &rootfs;
	copy.tenant = &tenant;
	copy.source = &source;
	copy.target = &target;
	size_t n = builder__v1__build_config__get_packed_size(&copy);
	builder__v1__build_config__pack(&copy, (uint8_t *)buf_reserve(out, n));
	out->len += n;
}

/* What the product's documentation promised beside the proto's fields. */
static void create_members(struct buf *b, const struct service *s, const struct job *j, unsigned state)
{
	Builder__V1__TenantResourceLimits *limits = present_limits(s->jobs);
	char when[32];

	buf_printf(b,
	        "\"build_id\":\"%s\",\"status\":\"BUILD_STATUS_%s\",\"created_at\":\"%s\",\"tenant_context\":{\"tenant_"
	        "id\":\"%s\",\"tier\":\"%s\",\"resource_limits\":",
	        j->build_id, state_status_name(state), present_time_text(j->created_ms, when), j->tenant_id,
	        s->jobs->tier->name);
	protojson_encode(b, &limits->base);
	buf_puts(b, "}");
	builder__v1__tenant_resource_limits__free_unpacked(limits, NULL);
}

static void create_reply(struct rpc_call *c, const struct service *s, const struct job *j)
{
	Builder__V1__CreateBuildResponse r = BUILDER__V1__CREATE_BUILD_RESPONSE__INIT;
	Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	AUTO_BUF struct buf members = {0};
	const struct live_job *live = jobs_live(s->jobs, j->build_id);

	at.seconds = j->created_ms / 1000;
	at.nanos = (int32_t)(j->created_ms % 1000) * 1000000;
	r.build_id = (char *)(uintptr_t)j->build_id;
	unsigned state = live ? live->state : (unsigned)j->state; /* it may have been started since */
	r.state = (Builder__V1__BuildState)state;
	r.created_at = &at;
	if (rpc_is_json(c))
		create_members(&members, s, j, state);
	rpc_reply_with(c, &r.base, buf_cstr(&members));
}

static int idempotency_key(const struct rpc_call *c, const char **out, struct err *e)
{
	const char *key = rpc_header(c, "idempotency-key");

	*out = key ? key : "";
	if (strlen(*out) > 255)
		return err_set(e, -EINVAL, "Idempotency-Key: %zu bytes, the limit is 255", strlen(*out));
	return 0;
}

static int create(
        struct service *s, struct rpc_call *c, const Builder__V1__BuildConfig *config, struct job *out, struct err *e)
{
	struct caller who;
	struct build_request request;
	AUTO_BUF struct buf packed = {0};
	struct jobs_new_build n = {.config = &packed, .request = &request};
	const Builder__V1__TenantContext *t = config ? config->tenant : NULL;

	if (s->is_draining)
		return err_set(e, -EPIPE, "the service is stopping");
	int rc = caller_resolve(&who, t ? t->tenant_id : NULL, t ? t->customer_id : NULL, rpc_header(c, "x-tenant-id"),
	        rpc_header(c, "x-customer-id"), e);
	if (rc >= 0)
		rc = request_validate(config, s->jobs->tier, s->config, &request, e);
	if (rc >= 0)
		rc = idempotency_key(c, &n.idempotency_key, e);
	if (rc < 0)
		return rc;
	n.tenant_id = who.tenant_id;
	n.customer_id = who.customer_id;
	config_pack(config, &who, s->jobs->tier_number, &packed);
	hash_buffer(DIGEST_SHA256, packed.data, packed.len, &n.request_digest);
	return jobs_create(s->jobs, &n, out, e);
}

static void create_build(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	AUTO_JOB struct job job = {0};
	struct err e = ERR_INIT;

	if (create(arg, c, ((const Builder__V1__CreateBuildRequest *)request)->config, &job, &e) < 0)
		fail(c, &e);
	else
		create_reply(c, arg, &job);
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
	struct caller who;
	AUTO_JOB struct job job = {0};
	struct err e = ERR_INIT;

	if (caller_of_rpc(&who, c, q->tenant_id, &e) < 0 || build_id_check(q->build_id, &e) < 0 ||
	        store_job_get(s->jobs->store, who.tenant_id, q->build_id, &job, &e) < 0) {
		fail(c, &e);
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
	p.r->total_count = clamp32(totals.jobs);
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
	struct caller who;
	int rc = caller_of_rpc(&who, c, q->tenant_id, e);

	if (rc < 0)
		return rc;
	*f = (struct job_filter){.tenant_id = who.tenant_id};
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
		fail(c, &e);
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
	struct caller who;
	struct err e = ERR_INIT;
	int state = caller_of_rpc(&who, c, q->tenant_id, &e);

	if (state >= 0)
		state = build_id_check(q->build_id, &e);
	if (state >= 0)
		state = jobs_cancel(s->jobs, who.tenant_id, q->build_id, q->reason, &e);
	if (state < 0) {
		fail(c, &e);
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
	struct caller who;
	struct err e = ERR_INIT;

	if (caller_of_rpc(&who, c, q->tenant_id, &e) < 0 || build_id_check(q->build_id, &e) < 0 ||
	        jobs_delete(s->jobs, who.tenant_id, q->build_id, q->force, on_deleted, c, &waiter, &e) < 0)
		fail(c, &e);
	else
		rpc_on(c, NULL, on_delete_cancelled, waiter);
}

/* --- GetTenantQuotas, GetBuildStats ---------------------------------------------------------------------------- */

static int64_t minutes(int64_t ms)
{
	return (ms + 59999) / 60000;
}

static void get_tenant_quotas(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__GetTenantQuotasRequest *q = (const void *)request;
	Builder__V1__GetTenantQuotasResponse r = BUILDER__V1__GET_TENANT_QUOTAS_RESPONSE__INIT;
	Builder__V1__TenantUsageStats usage = BUILDER__V1__TENANT_USAGE_STATS__INIT;
	struct service *s = arg;
	struct caller who;
	struct job_totals all = {0}, today = {0};
	struct job_filter f = {0};
	struct err e = ERR_INIT;
	int rc = caller_of_rpc(&who, c, q->tenant_id, &e);

	f.tenant_id = who.tenant_id;
	if (rc >= 0)
		rc = store_job_totals(s->jobs->store, &f, &all, &e);
	f.from_ms = time_wall_ms() / DAY_MS * DAY_MS;
	if (rc >= 0)
		rc = store_job_totals(s->jobs->store, &f, &today, &e);
	if (rc < 0) {
		fail(c, &e);
		return;
	}
	usage.active_builds = clamp32(all.running);
	usage.builds_queued = clamp32(all.queued);
	usage.daily_builds_used = clamp32(today.jobs);
	usage.storage_bytes_used = all.disk_bytes;
	usage.compute_minutes_used = minutes(today.compute_ms);
	usage.builds_completed_today = clamp32(today.completed);
	usage.builds_failed_today = clamp32(today.failed);
	r.current_usage = &usage;
	r.current_limits = present_limits(s->jobs);
	rpc_reply(c, &r.base);
	builder__v1__tenant_resource_limits__free_unpacked(r.current_limits, NULL);
}

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
	struct caller who;
	struct job_totals t = {0};
	struct job_filter f = {.from_ms = time_ms_of(q->start_time), .to_ms = time_ms_of(q->end_time)};
	struct err e = ERR_INIT;
	int rc = caller_of_rpc(&who, c, q->tenant_id, &e);

	f.tenant_id = who.tenant_id;
	if (rc >= 0)
		rc = store_job_totals(s->jobs->store, &f, &t, &e);
	if (rc >= 0)
		rc = service_list(s, &f, 10, &newest, &e);
	if (rc < 0) {
		fail(c, &e);
		return;
	}
	r.total_builds = clamp32(t.jobs);
	r.successful_builds = clamp32(t.completed);
	r.failed_builds = clamp32(t.failed);
	r.avg_build_time_ms = t.completed ? t.total_ms / t.completed : 0;
	r.total_storage_bytes = t.disk_bytes;
	r.total_compute_minutes = minutes(t.compute_ms);
	r.n_recent_builds = newest->n_builds;
	r.recent_builds = newest->builds;
	rpc_reply(c, &r.base);
	builder__v1__list_builds_response__free_unpacked(newest, NULL);
}

/* --- the table ------------------------------------------------------------------------------------------------- */

#define SERVICE "builder.v1.BuilderService/"
#define METHOD(name, lower, stream, idempotent, fn)                                                                    \
	{                                                                                                              \
		SERVICE name, &builder__v1__##lower##_request__descriptor,                                             \
		        &builder__v1__##lower##_response__descriptor, stream, idempotent, fn, RPC_ACCESS_ANYONE        \
	}

const struct rpc_method service_methods[] = {
        METHOD("CreateBuild", create_build, false, false, create_build),
        METHOD("GetBuild", get_build, false, true, get_build),
        METHOD("ListBuilds", list_builds, false, true, list_builds),
        METHOD("CancelBuild", cancel_build, false, false, cancel_build),
        METHOD("DeleteBuild", delete_build, false, false, delete_build),
        {SERVICE "StreamBuildLogs", &builder__v1__stream_build_logs_request__descriptor,
                &builder__v1__build_log_entry__descriptor, true, false, logs_stream_call, RPC_ACCESS_ANYONE},
        METHOD("GetTenantQuotas", get_tenant_quotas, false, true, get_tenant_quotas),
        METHOD("GetBuildStats", get_build_stats, false, true, get_build_stats),
        {"grpc.health.v1.Health/Check", &grpc__health__v1__health_check_request__descriptor,
                &grpc__health__v1__health_check_response__descriptor, false, false, health_check_call,
                RPC_ACCESS_ANYONE},
        {"grpc.health.v1.Health/Watch", &grpc__health__v1__health_check_request__descriptor,
                &grpc__health__v1__health_check_response__descriptor, true, false, health_watch_call,
                RPC_ACCESS_ANYONE},
};
const size_t service_methods_count = ARRAY_LEN(service_methods);
