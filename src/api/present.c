/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/present.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/metadata.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "build/states.h"

#define LOG_TAIL 50 /* lines in a BuildJob */

typedef Builder__V1__BuildJob Job;

/* protobuf-c frees every string but its own empty one. */
static char *text_of(const char *s)
{
	return s && *s ? xstrdup(s) : (char *)(uintptr_t)protobuf_c_empty_string;
}

Google__Protobuf__Timestamp *present_time(int64_t ms)
{
	if (!ms)
		return NULL;
	Google__Protobuf__Timestamp *t = xcalloc(1, sizeof(*t));
	google__protobuf__timestamp__init(t);
	t->seconds = ms / 1000;
	t->nanos = (int32_t)(ms % 1000) * 1000000;
	return t;
}

const char *present_time_text(int64_t ms, char out[32])
{
	time_t seconds = ms / 1000;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, 32 - n, ".%03dZ", (int)(ms % 1000));
	return out;
}

static Builder__V1__BuildMetrics *metrics_of(const struct job *j)
{
	Builder__V1__BuildMetrics *m = xcalloc(1, sizeof(*m));

	builder__v1__build_metrics__init(m);
	m->pull_duration_ms = j->pull_ms;
	m->extract_duration_ms = j->extract_ms;
	m->build_duration_ms = j->build_ms;
	m->optimize_duration_ms = j->optimize_ms;
	m->total_duration_ms = j->total_ms;
	if (!j->total_ms && j->started_ms)
		m->total_duration_ms = (j->completed_ms ? j->completed_ms : time_wall_ms()) - j->started_ms;
	m->original_size_bytes = j->original_bytes;
	m->rootfs_size_bytes = j->rootfs_bytes;
	m->compression_ratio = j->original_bytes ? j->disk_bytes * 100 / j->original_bytes : 0;
	m->memory_peak_bytes = j->memory_peak_bytes;
	m->disk_usage_bytes = j->disk_bytes;
	return m;
}

struct tail {
	char **lines;
	size_t n;
};

static int tail_line(void *arg, const struct log_line *l)
{
	struct tail *t = arg;
	char when[32];

	t->lines[t->n++] = xasprintf("%s %s %s: %s", present_time_text(l->time_ms, when),
	        log_level_name((enum log_level)l->level), l->component, l->message);
	return 0;
}

static void add_logs(const struct jobs *js, const struct job *j, Job *m)
{
	int64_t last = store_log_last(js->store, j->build_id);
	struct tail t = {xcalloc(LOG_TAIL, sizeof(char *)), 0};

	store_log_each(js->store, j->build_id, last > LOG_TAIL ? last - LOG_TAIL : 0, LOG_TAIL, tail_line, &t, NULL);
	m->build_logs = t.lines;
	m->n_build_logs = t.n;
}

static void add_progress(const struct jobs *js, const struct job *j, Job *m)
{
	const struct live_job *live = jobs_live(js, j->build_id);

	m->progress_percent = (int32_t)(live ? live->percent : j->percent);
	m->current_step = text_of(live && *live->step ? live->step : j->step);
	if (live && state_is_running((unsigned)j->state)) {
		m->bytes_done = (int64_t)live->bytes_done;
		m->bytes_total = (int64_t)live->bytes_total;
	}
}

Builder__V1__BuildJob *present_job(const struct jobs *js, const struct job *j, unsigned parts)
{
	Job *m = xcalloc(1, sizeof(*m));

	builder__v1__build_job__init(m);
	m->build_id = text_of(j->build_id);
	m->config = builder__v1__build_config__unpack(NULL, j->config.len, (const uint8_t *)j->config.data);
	m->state = (Builder__V1__BuildState)j->state;
	m->created_at = present_time(j->created_ms);
	m->started_at = present_time(j->started_ms);
	m->completed_at = present_time(j->completed_ms);
	m->rootfs_path = text_of(j->rootfs_path);
	m->rootfs_size_bytes = j->rootfs_bytes;
	m->rootfs_checksum = text_of(j->rootfs_checksum);
	m->error_kind = text_of(j->error_kind);
	if (j->error_kind && *j->error_kind)
		m->error_message = xasprintf("%s: %s", j->error_kind, j->error_message);
	if (j->started_ms)
		m->metrics = metrics_of(j);
	add_progress(js, j, m);
	if (parts & PRESENT_METADATA && j->metadata_json && *j->metadata_json)
		m->image_metadata = metadata_read(j->metadata_json, strlen(j->metadata_json), NULL);
	if (parts & PRESENT_LOGS)
		add_logs(js, j, m);
	return m;
}

void present_job_free(Builder__V1__BuildJob *m)
{
	if (m)
		builder__v1__build_job__free_unpacked(m, NULL);
}

static size_t split(const char *list, char ***out)
{
	size_t n = 0;

	for (size_t len; *list; list += len + (list[len] == ',')) {
		len = strcspn(list, ",");
		*out = xrealloc(*out, (n + 1) * sizeof(char *));
		(*out)[n++] = xasprintf("%.*s", (int)len, list);
	}
	return n;
}

Builder__V1__TenantResourceLimits *present_limits(const struct tenant_policy *p, const struct config *c)
{
	Builder__V1__TenantResourceLimits *l = xcalloc(1, sizeof(*l));
	bool is_any = !strcmp(p->limits.registries, "*");
	int64_t slots = (int64_t)c->max_concurrent_builds;

	builder__v1__tenant_resource_limits__init(l);
	l->max_disk_bytes = tenant_policy_disk_bytes(p, c);
	l->timeout_seconds = (int32_t)(tenant_policy_timeout_ms(p, c) / 1000);
	l->max_build_time_minutes = l->timeout_seconds / 60;
	l->max_concurrent_builds = (int32_t)(p->limits.concurrent_builds < slots ? p->limits.concurrent_builds : slots);
	l->max_daily_builds = (int32_t)p->limits.daily_builds;
	l->max_storage_bytes = p->limits.storage_bytes;
	l->allow_external_network = true;
	l->n_allowed_registries = split(is_any ? c->allowed_registries : p->limits.registries, &l->allowed_registries);
	return l;
}
