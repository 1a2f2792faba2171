/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ipc/message.h"

#define BUCKETS_MAX 14
#define CODES (RPC_UNAUTHENTICATED + 1)

/* Upper bounds; 0 ends the list. */
static const double build_seconds[BUCKETS_MAX] = {.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900};
static const double call_seconds[BUCKETS_MAX] = {.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 10};
static const double bytes[BUCKETS_MAX] = {
        1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30, 4.0 * (1 << 30), 16.0 * (1 << 30), 64.0 * (1 << 30)};

enum { BUILD_TIME, PULL_TIME, EXTRACT_TIME, SEAL_TIME, IMAGE_SIZE, ROOTFS_SIZE, HISTOGRAMS };

static const struct {
	const char *name, *help;
	const double *bounds;
} kinds[HISTOGRAMS] = {
        [BUILD_TIME] = {"builderd_build_duration_seconds", "Completed builds: from the start to the end.",
                build_seconds},
        [PULL_TIME] = {"builderd_pull_duration_seconds", "Completed builds: time to get the image.", build_seconds},
        [EXTRACT_TIME] = {"builderd_extract_duration_seconds", "Completed builds: time to unpack the layers.",
                build_seconds},
        [SEAL_TIME] = {"builderd_seal_duration_seconds", "Completed builds: time to write and hash the product.",
                build_seconds},
        [IMAGE_SIZE] = {"builderd_image_size_bytes", "Completed builds: compressed layers of the image.", bytes},
        [ROOTFS_SIZE] = {"builderd_rootfs_size_bytes", "Completed builds: size of the root file system.", bytes},
};

struct histogram {
	uint64_t n[BUCKETS_MAX + 1]; /* not cumulative; the last bound's successor takes the rest */
	uint64_t count;
	double sum;
};

struct calls {
	struct calls *next;
	const char *method;
	uint64_t codes[CODES];
	struct histogram duration;
};

enum { COMPLETED, FAILED, CANCELLED, ENDS };
static const char *const end_names[ENDS] = {"completed", "failed", "cancelled"};
static const char *const quota_names[] = {
        "max_daily_builds", "max_storage_bytes", "queued_builds", "requests_per_minute"};

struct metrics {
	uint64_t ended[TIER_COUNT][ENDS];
	uint64_t exceeded[ARRAY_LEN(quota_names)];
	uint64_t downloaded_bytes, layers_cached, layers_fetched;
	struct histogram builds[HISTOGRAMS];
	struct calls *calls; /* owns; one for each method that has been called */
};

struct metrics *metrics_new(void)
{
	return xcalloc(1, sizeof(struct metrics));
}

void metrics_free(struct metrics *m)
{
	struct calls *c;

	while (m && (c = m->calls)) {
		m->calls = c->next;
		free(c);
	}
	free(m);
}

static void observe(struct histogram *h, const double *bounds, double value)
{
	size_t i = 0;

	while (i < BUCKETS_MAX && bounds[i] != 0 && value > bounds[i])
		i++;
	h->n[i]++;
	h->count++;
	h->sum += value;
}

void metrics_quota_exceeded(struct metrics *m, const char *quota)
{
	for (size_t i = 0; i < ARRAY_LEN(quota_names); i++)
		m->exceeded[i] += !strcmp(quota_names[i], quota);
}

void metrics_build_ended(struct metrics *m, const struct job *j, enum tenant_tier tier)
{
	int end = j->state == BUILD_COMPLETED ? COMPLETED : j->state == BUILD_FAILED ? FAILED : CANCELLED;
	const double values[HISTOGRAMS] = {
	        [BUILD_TIME] = (double)(j->total_ms ? j->total_ms : j->completed_ms - j->started_ms) / 1000,
	        [PULL_TIME] = (double)j->pull_ms / 1000,
	        [EXTRACT_TIME] = (double)j->extract_ms / 1000,
	        [SEAL_TIME] = (double)j->seal_ms / 1000,
	        [IMAGE_SIZE] = (double)j->original_bytes,
	        [ROOTFS_SIZE] = (double)j->rootfs_bytes,
	};

	m->ended[tier < TIER_COUNT ? tier : TIER_UNSPECIFIED][end]++;
	m->downloaded_bytes += (uint64_t)j->downloaded_bytes;
	if (end != COMPLETED)
		return;
	m->layers_cached += (uint64_t)j->layers_cached;
	m->layers_fetched += (uint64_t)(j->layers_total - j->layers_cached);
	for (size_t i = 0; i < HISTOGRAMS; i++)
		observe(&m->builds[i], kinds[i].bounds, values[i]);
}

void metrics_call_ended(struct metrics *m, const char *method, enum rpc_code code, double seconds)
{
	struct calls *c = m->calls;

	while (c && strcmp(c->method, method) != 0)
		c = c->next;
	if (!c) {
		c = xcalloc(1, sizeof(*c));
		*c = (struct calls){.next = m->calls, .method = method};
		m->calls = c;
	}
	c->codes[(unsigned)code < CODES ? code : RPC_UNKNOWN]++;
	observe(&c->duration, call_seconds, seconds);
}

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_write_value(struct buf *b, const char *name, const char *type, const char *help, double value)
{
	head(b, name, type, help);
	buf_printf(b, "%s %.15g\n", name, value);
}

/* LABELS: "" or `name="value"`. */
static void histogram_write(
        struct buf *b, const char *name, const char *labels, const double *bounds, const struct histogram *h)
{
	const char *comma = *labels ? "," : "", *open = *labels ? "{" : "", *close = *labels ? "}" : "";
	uint64_t below = 0;

	for (size_t i = 0; i < BUCKETS_MAX && bounds[i] != 0; i++) {
		below += h->n[i];
		buf_printf(b, "%s_bucket{%s%sle=\"%.15g\"} %" PRIu64 "\n", name, labels, comma, bounds[i], below);
	}
	buf_printf(b, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, h->count);
	buf_printf(b, "%s_sum%s%s%s %.15g\n", name, open, labels, close, h->sum);
	buf_printf(b, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, h->count);
}

static void calls_write(struct buf *b, const struct metrics *m)
{
	if (!m->calls)
		return;
	head(b, "rpc_server_requests_total", "counter", "Remote procedure calls by how they ended.");
	for (const struct calls *c = m->calls; c; c = c->next)
		for (size_t i = 0; i < CODES; i++)
			if (c->codes[i])
				buf_printf(b, "rpc_server_requests_total{method=\"%s\",code=\"%s\"} %" PRIu64 "\n",
				        c->method, rpc_code_name((enum rpc_code)i), c->codes[i]);
	head(b, "rpc_server_duration_seconds", "histogram", "From a call's headers to its last answer; streams too.");
	for (const struct calls *c = m->calls; c; c = c->next) {
		AUTO_FREE char *label = xasprintf("method=\"%s\"", c->method);
		histogram_write(b, "rpc_server_duration_seconds", label, call_seconds, &c->duration);
	}
}

/* A tier without builds has no series. */
static void tier_write(struct buf *b, const char *tier, const uint64_t ended[ENDS])
{
	for (size_t i = 0; i < ENDS && ended[COMPLETED] + ended[FAILED] + ended[CANCELLED]; i++)
		buf_printf(b,
		        "builderd_builds_total{status=\"%s\",source_type=\"docker_image\",tier=\"%s\"} %" PRIu64 "\n",
		        end_names[i], tier, ended[i]);
}

void metrics_write(struct buf *b, const struct metrics *m)
{
	head(b, "builderd_builds_total", "counter", "Builds by how they ended.");
	for (unsigned t = TIER_FREE; t < TIER_COUNT; t++)
		tier_write(b, tier_limits_of(t)->name, m->ended[t]);
	head(b, "builderd_quota_violations_total", "counter", "What was refused because a tenant's quota was used up.");
	for (size_t i = 0; i < ARRAY_LEN(quota_names); i++)
		buf_printf(b, "builderd_quota_violations_total{quota=\"%s\"} %" PRIu64 "\n", quota_names[i],
		        m->exceeded[i]);
	head(b, "builderd_layers_total", "counter", "Layers of completed builds by where they came from.");
	buf_printf(b, "builderd_layers_total{source=\"cache\"} %" PRIu64 "\n", m->layers_cached);
	buf_printf(b, "builderd_layers_total{source=\"image\"} %" PRIu64 "\n", m->layers_fetched);
	metrics_write_value(b, "builderd_downloaded_bytes_total", "counter", "Bytes that builds have downloaded.",
	        (double)m->downloaded_bytes);
	for (size_t i = 0; i < HISTOGRAMS; i++) {
		head(b, kinds[i].name, "histogram", kinds[i].help);
		histogram_write(b, kinds[i].name, "", kinds[i].bounds, &m->builds[i]);
	}
	calls_write(b, m);
}

void metrics_totals(const struct metrics *m, struct metrics_totals *out)
{
	*out = (struct metrics_totals){.build_seconds = m->builds[BUILD_TIME].sum};
	for (unsigned t = 0; t < TIER_COUNT; t++) {
		out->completed += m->ended[t][COMPLETED];
		out->failed += m->ended[t][FAILED];
		out->cancelled += m->ended[t][CANCELLED];
	}
	for (const struct calls *c = m->calls; c; c = c->next)
		out->calls += c->duration.count;
}
