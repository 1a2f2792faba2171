/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/quotas.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/present.h"
#include "api/service.h"
#include "base/cleanup.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define VIOLATIONS_MAX 3

int64_t quota_reset_ms(const char *quota, int64_t now_ms)
{
	return strcmp(quota, "max_daily_builds") ? 0 : (STORE_DAY(now_ms) + 1) * DAY_MS;
}

void quota_sentence(struct err *e, const struct store_excess *x, int64_t now_ms)
{
	int64_t reset = quota_reset_ms(x->quota, now_ms);
	char when[32];

	err_kind_set(e, -EDQUOT, ERR_KIND_QUOTA_BYTES, "quota %s is used up: %" PRId64 " of %" PRId64 ", reset %s",
	        x->quota, x->current, x->limit,
	        reset ? present_time_text(reset, when) : "by itself never: delete builds, or wait for those that run");
}

void quota_fail(struct rpc_call *c, const struct store_excess *x)
{
	Builder__V1__QuotaFailure detail = BUILDER__V1__QUOTA_FAILURE__INIT;
	Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	int64_t now = time_wall_ms(), reset = quota_reset_ms(x->quota, now);
	struct err e = ERR_INIT;
	char seconds[24];

	quota_sentence(&e, x, now);
	if (reset) {
		snprintf(seconds, sizeof(seconds), "%" PRId64, (reset - now + 999) / 1000);
		rpc_header_add(c, "Retry-After", seconds);
	}
	detail.quota_type = (char *)(uintptr_t)x->quota;
	detail.current = x->current;
	detail.limit = x->limit;
	at.seconds = reset / 1000;
	if (reset)
		detail.reset_time = &at;
	rpc_fail_detail(c, RPC_RESOURCE_EXHAUSTED, &detail.base, "%s", e.msg);
}

/* --- GetTenantQuotas ------------------------------------------------------------------------------------------- */

struct answer {
	Builder__V1__GetTenantQuotasResponse message;
	Builder__V1__TenantUsageStats usage;
	Builder__V1__QuotaViolation violations[VIOLATIONS_MAX];
	Builder__V1__QuotaViolation *list[VIOLATIONS_MAX];
	struct err texts[VIOLATIONS_MAX];
};

static void add_violation(struct answer *a, const char *quota, int64_t current, int64_t limit)
{
	const struct store_excess x = {quota, current, limit};
	size_t n = a->message.n_violations;

	if (current < limit)
		return;
	quota_sentence(&a->texts[n], &x, time_wall_ms());
	builder__v1__quota_violation__init(&a->violations[n]);
	a->violations[n].quota_type = (char *)(uintptr_t)quota;
	a->violations[n].current_value = current;
	a->violations[n].limit_value = limit;
	a->violations[n].message = a->texts[n].msg;
	a->list[n] = &a->violations[n];
	a->message.violations = a->list;
	a->message.n_violations++;
}

void quota_usage_message(
        Builder__V1__TenantUsageStats *m, const struct store_usage *u, const struct jobs *jobs, const char *tenant_id)
{
	builder__v1__tenant_usage_stats__init(m);
	m->active_builds = (int32_t)queue_tenant_running(jobs->queue, tenant_id);
	m->builds_queued = (int32_t)jobs_waiting(jobs, tenant_id);
	m->daily_builds_used = service_clamp32(u->builds);
	m->storage_bytes_used = u->stored_bytes;
	m->compute_minutes_used = service_minutes(u->compute_ms);
	m->compute_seconds_used = (u->compute_ms + 999) / 1000;
	m->pulled_bytes_used = u->pulled_bytes;
	m->builds_completed_today = service_clamp32(u->completed);
	m->builds_failed_today = service_clamp32(u->failed);
}

void get_tenant_quotas_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const struct service *s = arg;
	const struct tenant_policy *p = &caller_of_rpc(c)->policy;
	struct answer a = {.message = BUILDER__V1__GET_TENANT_QUOTAS_RESPONSE__INIT};
	struct store_usage u;
	struct err e = ERR_INIT;

	if (store_usage_get(s->jobs->store, p->tenant_id, STORE_DAY(time_wall_ms()), &u, &e) < 0) {
		service_fail(c, &e);
		return;
	}
	quota_usage_message(&a.usage, &u, s->jobs, p->tenant_id);
	a.message.current_usage = &a.usage;
	a.message.current_limits = present_limits(p, s->config);
	add_violation(&a, "max_daily_builds", u.builds, p->limits.daily_builds);
	add_violation(
	        &a, "max_concurrent_builds", a.usage.active_builds, a.message.current_limits->max_concurrent_builds);
	add_violation(&a, "max_storage_bytes", u.stored_bytes, p->limits.storage_bytes);
	rpc_reply(c, &a.message.base);
	builder__v1__tenant_resource_limits__free_unpacked(a.message.current_limits, NULL);
}
