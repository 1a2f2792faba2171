/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The documented GET forms, and health. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/present.h"
#include "api/protojson.h"
#include "api/service.h"
#include "base/cleanup.h"
#include "build/states.h"
#include "json/json.h"

static void respond_json(struct http_exchange *x, unsigned status, const struct buf *b)
{
	http_respond(x, status, "application/json", b->data, b->len);
}

static void put_text(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, "\"%s\":", name);
	json_put_string(b, value, strlen(value));
}

/* --- GetBuildStatus/{id} --------------------------------------------------------------------------------------- */

/* From how long the done part took; 0 while there is nothing to go by. */
static int64_t estimate_ms(const struct job *j, uint32_t percent)
{
	if (!state_is_running((unsigned)j->state) || !j->started_ms || percent < 5)
		return 0;
	return (time_wall_ms() - j->started_ms) * 100 / percent;
}

static void status_write(struct buf *b, const struct jobs *js, const struct job *j)
{
	const struct live_job *live = jobs_live(js, j->build_id);
	uint32_t percent = live ? live->percent : (uint32_t)j->percent;
	int64_t updated = live ? live->updated_ms : j->completed_ms ? j->completed_ms : j->created_ms;
	char when[32];

	buf_printf(b,
	        "{\"build_id\":\"%s\",\"status\":\"BUILD_STATUS_%s\",\"state\":\"%s\",\"progress\":{\"stage\":\"%s\","
	        "\"percentage\":%u,",
	        j->build_id, state_status_name((unsigned)j->state), state_name((unsigned)j->state),
	        state_name((unsigned)j->state) + strlen("BUILD_STATE_"), percent);
	put_text(b, "current_step", live && *live->step ? live->step : j->step);
	buf_printf(b, ",\"estimated_duration\":\"%" PRId64 "s\"},", (estimate_ms(j, percent) + 999) / 1000);
	buf_printf(b,
	        "\"resource_usage\":{\"memory_used_bytes\":%" PRId64
	        ",\"cpu_usage_percent\":0,\"disk_used_bytes\":%" PRId64 "}",
	        j->memory_peak_bytes, j->disk_bytes);
	if (j->started_ms)
		buf_printf(b, ",\"started_at\":\"%s\"", present_time_text(j->started_ms, when));
	buf_printf(b, ",\"updated_at\":\"%s\"", present_time_text(updated, when));
	if (*j->error_kind) {
		AUTO_FREE char *text = xasprintf("%s: %s", j->error_kind, j->error_message);
		buf_puts(b, ",");
		put_text(b, "error_message", text);
	}
	buf_puts(b, "}\n");
}

static void status_http(struct http_exchange *x, void *arg)
{
	struct service *s = arg;
	AUTO_JOB struct job job = {0};
	AUTO_BUF struct buf b = {0};
	struct err e = ERR_INIT;

	if (store_job_get(s->jobs->store, tenant_of_http(x), http_suffix(x), &job, &e) < 0) {
		service_http_fail(x, &e);
		return;
	}
	status_write(&b, s->jobs, &job);
	respond_json(x, 200, &b);
}

/* --- ListBuilds?tenant_id=&status=&limit=&offset= ---------------------------------------------------------------- */

static int query_number(struct http_exchange *x, const char *name, int64_t *out, struct err *e)
{
	const char *text = http_query(x, name);
	char *end;

	*out = 0;
	if (!text || !*text)
		return 0;
	errno = 0;
	*out = strtoll(text, &end, 10);
	if (errno || *end || *out < 0)
		return err_set(e, -EINVAL, "%s: \"%.40s\" is no number from 0 on", name, text);
	return 0;
}

static int list_query(struct http_exchange *x, struct job_filter *f, int64_t *limit, struct err *e)
{
	const char *status = http_query(x, "status");

	*f = (struct job_filter){.tenant_id = tenant_of_http(x)};
	if (status && *status && !(f->states = state_mask_parse(status)))
		return err_set(e, -EINVAL,
		        "status: \"%.40s\" is none of QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED, TIMEOUT", status);
	int rc = query_number(x, "limit", limit, e);
	return rc < 0 ? rc : query_number(x, "offset", &f->offset, e);
}

static void list_http(struct http_exchange *x, void *arg)
{
	struct service *s = arg;
	Builder__V1__ListBuildsResponse *r = NULL;
	AUTO_BUF struct buf b = {0};
	struct job_filter f;
	struct err e = ERR_INIT;
	int64_t limit;

	if (list_query(x, &f, &limit, &e) < 0 || service_list(s, &f, limit, &r, &e) < 0) {
		service_http_fail(x, &e);
		return;
	}
	protojson_encode(&b, &r->base);
	b.len--; /* reopen the object; a page without members is "{}" */
	buf_printf(&b, "%s\"total_count\":%d,\"has_more\":%s}\n", b.len > 1 ? "," : "", r->total_count,
	        *r->next_page_token ? "true" : "false");
	builder__v1__list_builds_response__free_unpacked(r, NULL);
	respond_json(x, 200, &b);
}

/* --- health ---------------------------------------------------------------------------------------------------- */

bool service_is_ready(const struct service *s)
{
	return !s->is_draining && s->jobs->storage.is_healthy;
}

static void storage_write(struct buf *b, const struct msg_storage *m)
{
	buf_puts(b, "{");
	put_text(b, "status", !*m->backend ? "unknown" : m->is_healthy ? "healthy" : "unhealthy");
	buf_puts(b, ",");
	put_text(b, "backend", m->backend);
	buf_printf(b, ",\"total_bytes\":%" PRIu64 ",\"free_bytes\":%" PRIu64 ",\"used_bytes\":%" PRIu64 "}",
	        m->total_bytes, m->free_bytes, m->used_bytes);
}

static void health_http(struct http_exchange *x, void *arg)
{
	struct service *s = arg;
	AUTO_BUF struct buf b = {0};

	buf_puts(&b, "{");
	put_text(&b, "status", service_is_ready(s) ? "healthy" : s->is_draining ? "stopping" : "unhealthy");
	buf_puts(&b, ",");
	put_text(&b, "version", PACKAGE_VERSION);
	buf_printf(&b,
	        ",\"uptime_seconds\":%" PRId64 ",\"builds\":{\"running\":%u,\"queued\":%u,\"slots\":%" PRIu64
	        "},\"storage\":",
	        (time_mono_ms() - s->started_ms) / 1000, queue_running(s->jobs->queue), queue_waiting(s->jobs->queue),
	        s->config->max_concurrent_builds);
	storage_write(&b, &s->jobs->storage);
	buf_puts(&b, "}\n");
	respond_json(x, service_is_ready(s) ? 200 : 503, &b);
}

static void health_storage_http(struct http_exchange *x, void *arg)
{
	struct service *s = arg;
	AUTO_BUF struct buf b = {0};

	storage_write(&b, &s->jobs->storage);
	buf_puts(&b, "\n");
	respond_json(x, s->jobs->storage.is_healthy ? 200 : 503, &b);
}

static void livez_http(struct http_exchange *x, void *arg)
{
	http_respond(x, 200, "text/plain", "ok\n", 3);
}

static void readyz_http(struct http_exchange *x, void *arg)
{
	if (service_is_ready(arg))
		http_respond(x, 200, "text/plain", "ok\n", 3);
	else
		http_respond(x, 503, "text/plain", "not ready\n", 10);
}

const struct http_route service_routes[] = {
        {"GET", "/admin/store-backup", backup_http, RPC_ACCESS_ADMIN},
        {"GET", "/health", health_http, RPC_ACCESS_ANYONE},
        {"GET", "/health/storage", health_storage_http, RPC_ACCESS_ANYONE},
        {"GET", "/livez", livez_http, RPC_ACCESS_ANYONE},
        {"GET", "/metrics", metrics_http, RPC_ACCESS_METRICS},
        {"GET", "/stats", stats_http, RPC_ACCESS_METRICS},
        {"GET", "/readyz", readyz_http, RPC_ACCESS_ANYONE},
        {"GET", SERVICE_PATH "GetBuildStatus/", status_http, RPC_ACCESS_READ},
        {"GET", SERVICE_PATH "GetBuildArtifact/", artifact_http, RPC_ACCESS_READ},
        {"GET", SERVICE_PATH "GetBuildLogs/", logs_http, RPC_ACCESS_READ},
        {"GET", SERVICE_PATH "ListBuilds", list_http, RPC_ACCESS_READ},
};
const size_t service_routes_count = ARRAY_LEN(service_routes);
