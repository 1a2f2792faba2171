/* SPDX-License-Identifier: GPL-2.0-or-later */
/* GET /metrics and /stats: what the process counts, and what it is doing now. */
#include <inttypes.h>

#include "api/metrics.h"
#include "api/service.h"
#include "base/cleanup.h"

static double connections(const struct service *s)
{
	return (double)server_connections(s->server);
}

static double active(const struct service *s)
{
	return queue_running(s->jobs->queue);
}

static double queued(const struct service *s)
{
	return queue_waiting(s->jobs->queue);
}

static double slots(const struct service *s)
{
	return (double)s->config->max_concurrent_builds;
}

static double storage_total(const struct service *s)
{
	return (double)s->jobs->storage.total_bytes;
}

static double storage_free(const struct service *s)
{
	return (double)s->jobs->storage.free_bytes;
}

static double storage_used(const struct service *s)
{
	return (double)s->jobs->storage.used_bytes;
}

static double storage_healthy(const struct service *s)
{
	return s->jobs->storage.is_healthy;
}

static double ready(const struct service *s)
{
	return service_is_ready(s);
}

static double audit_losses(const struct service *s)
{
	return (double)audit_lost(s->audit);
}

static double uptime(const struct service *s)
{
	return (double)(time_mono_ms() - s->started_ms) / 1000;
}

static const struct {
	const char *name, *help;
	double (*value)(const struct service *s);
} gauges[] = {
        {"builderd_active_builds", "Builds under way.", active},
        {"builderd_queued_builds", "Builds that wait for a slot.", queued},
        {"builderd_build_slots", "Builds that may be under way at once.", slots},
        {"builderd_storage_total_bytes", "Size of the medium that volumes lie on.", storage_total},
        {"builderd_storage_free_bytes", "What is free of it.", storage_free},
        {"builderd_storage_used_bytes", "What the builds of all tenants take of it.", storage_used},
        {"builderd_storage_healthy", "1 if the storage takes builds.", storage_healthy},
        {"builderd_ready", "1 if the service takes builds, as /readyz says.", ready},
        {"builderd_connections", "Open connections of clients.", connections},
        {"builderd_audit_lost_lines", "Lines of the audit log that could not be written.", audit_losses},
        {"builderd_uptime_seconds", "Since this process was started.", uptime},
};

/* --- tenants --------------------------------------------------------------------------------------------------- */

struct tenant_gauges {
	const struct service *service;
	struct buf usage, limit; /* own */
};

static int add_tenant(void *arg, const struct tenant *t)
{
	struct tenant_gauges *g = arg;
	const struct jobs *jobs = g->service->jobs;
	struct tenant_policy p;
	struct store_usage u;

	if (tenant_policy_of(g->service->config, t, &p, NULL) < 0 ||
	        store_usage_get(jobs->store, t->tenant_id, STORE_DAY(time_wall_ms()), &u, NULL) < 0)
		return 0;
	const struct {
		const char *quota;
		int64_t usage, limit;
	} rows[] = {
	        {"max_concurrent_builds", queue_tenant_running(jobs->queue, t->tenant_id), p.limits.concurrent_builds},
	        {"max_daily_builds", u.builds, p.limits.daily_builds},
	        {"max_storage_bytes", u.stored_bytes, p.limits.storage_bytes},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		buf_printf(&g->usage, "builderd_tenant_quota_usage{tenant=\"%s\",quota=\"%s\"} %" PRId64 "\n",
		        t->tenant_id, rows[i].quota, rows[i].usage);
		buf_printf(&g->limit, "builderd_tenant_quota_limit{tenant=\"%s\",quota=\"%s\"} %" PRId64 "\n",
		        t->tenant_id, rows[i].quota, rows[i].limit);
	}
	return 0;
}

/* An id has no character that a label would have to escape (msg_tenant_id_is_valid). */
static void tenants_write(struct buf *b, const struct service *s)
{
	struct tenant_gauges g = {.service = s};

	if (s->config->metrics_tenants && store_tenant_each(s->jobs->store, add_tenant, &g, NULL) >= 0 && g.usage.len) {
		buf_puts(b, "# HELP builderd_tenant_quota_usage What a tenant uses of a quota.\n"
		            "# TYPE builderd_tenant_quota_usage gauge\n");
		buf_append(b, g.usage.data, g.usage.len);
		buf_puts(b, "# HELP builderd_tenant_quota_limit How much of it there is.\n"
		            "# TYPE builderd_tenant_quota_limit gauge\n");
		buf_append(b, g.limit.data, g.limit.len);
	}
	buf_free(&g.usage);
	buf_free(&g.limit);
}

void metrics_http(struct http_exchange *x, void *arg)
{
	const struct service *s = arg;
	AUTO_BUF struct buf b = {0};

	buf_puts(&b, "# HELP builderd_build_info The program's version.\n# TYPE builderd_build_info gauge\n");
	buf_printf(&b, "builderd_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
		metrics_write_value(&b, gauges[i].name, "gauge", gauges[i].help, gauges[i].value(s));
	tenants_write(&b, s);
	metrics_write(&b, s->jobs->metrics);
	http_respond(x, 200, "text/plain; version=0.0.4; charset=utf-8", b.data, b.len);
}

void stats_http(struct http_exchange *x, void *arg)
{
	const struct service *s = arg;
	struct metrics_totals t;
	AUTO_BUF struct buf b = {0};

	metrics_totals(s->jobs->metrics, &t);
	buf_printf(&b, "{\"uptime_seconds\":%.0f,\"connections\":%.0f,\"requests\":%" PRIu64 ",", uptime(s),
	        connections(s), t.calls);
	buf_printf(&b,
	        "\"builds\":{\"running\":%.0f,\"queued\":%.0f,\"slots\":%.0f,\"completed\":%" PRIu64
	        ",\"failed\":%" PRIu64 ",\"cancelled\":%" PRIu64 ",\"average_seconds\":%.3f},",
	        active(s), queued(s), slots(s), t.completed, t.failed, t.cancelled,
	        t.completed ? t.build_seconds / (double)t.completed : 0);
	buf_printf(&b, "\"storage\":{\"total_bytes\":%.0f,\"free_bytes\":%.0f,\"used_bytes\":%.0f}}\n",
	        storage_total(s), storage_free(s), storage_used(s));
	http_respond(x, 200, "application/json", b.data, b.len);
}
