/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From waiting to running, and back when the network fails. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/jobs.h"
#include "api/quotas.h"
#include "api/specs.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "build/states.h"

static enum source_kind kind_of(const char *reference)
{
	return !strncmp(reference, "oci:", 4)               ? SOURCE_OCI_LAYOUT
	       : !strncmp(reference, "docker-archive:", 15) ? SOURCE_DOCKER_ARCHIVE
	                                                    : SOURCE_REGISTRY;
}

/* Hand JOB to builderd. */
static int build_send(struct jobs *j, struct live_job *live, const struct job *job, uint64_t max_bytes, struct err *e)
{
	struct msg_build_start m = {.source_kind = kind_of(job->source),
	        .timeout_ms = (uint32_t)job->timeout_ms,
	        .max_bytes = max_bytes,
	        .max_inodes = (uint64_t)job->max_inodes};
	Builder__V1__BuildConfig *c =
	        builder__v1__build_config__unpack(NULL, job->config.len, (const uint8_t *)job->config.data);
	AUTO_BUF struct buf runtime = {0};

	if (!c)
		return err_kind_set(e, -EUCLEAN, ERR_KIND_INTERNAL, "the stored configuration cannot be read");
	runtime_spec_write(&runtime, c);
	m.preserves_layers = request_preserves_layers(c);
	builder__v1__build_config__free_unpacked(c, NULL);
	runtime_spec_key(&runtime, &m.runtime_key);
	if (!live->source_spec.len)
		source_spec_write(&live->source_spec, job->source, NULL);
	memcpy(m.build_id, job->build_id, sizeof(m.build_id));
	memcpy(m.tenant_id, job->tenant_id, sizeof(m.tenant_id));
	AUTO_CLOSE int source_fd = fd_memfile("source", live->source_spec.data, live->source_spec.len);
	AUTO_CLOSE int runtime_fd = fd_memfile("runtime", runtime.data, runtime.len);
	if (source_fd < 0 || runtime_fd < 0)
		return err_kind_set(e, source_fd < 0 ? source_fd : runtime_fd, ERR_KIND_INTERNAL,
		        "no memory for the build's start message");
	int rc = monitor_link_start(j->link, &m, source_fd, runtime_fd);
	return rc < 0 ? err_kind_set(e, rc, ERR_KIND_RESTARTED, "builderd is gone") : 0;
}

void jobs_tenant_tell(struct jobs *j, const char *tenant_id)
{
	struct msg_tenant_storage m = {.done_seen = j->n_done};
	struct tenant_policy policy;
	struct store_usage used;
	struct err e = ERR_INIT;

	if (!j->link)
		return;
	if (tenant_policy_get(j->store, j->config, tenant_id, &policy, &e) < 0 ||
	        store_usage_get(j->store, tenant_id, 0, &used, &e) < 0) {
		log_warn("a tenant's storage is not known", KV("tenant", tenant_id), KV("error", e.msg));
		return;
	}
	snprintf(m.tenant_id, sizeof(m.tenant_id), "%s", tenant_id);
	m.max_bytes = (uint64_t)policy.limits.storage_bytes;
	m.stored_bytes = used.stored_bytes > 0 ? (uint64_t)used.stored_bytes : 0;
	if (monitor_link_tenant(j->link, &m) < 0)
		log_warn("builderd was not told of a tenant's storage", KV("tenant", tenant_id));
}

/* Is there anything left of the tenant's storage? How much a build gets of it is decided while it runs. */
static int grant(struct jobs *j, const struct job *job, uint64_t *max_bytes, struct err *e)
{
	struct tenant_policy policy;
	struct store_usage used;
	int rc = tenant_policy_get(j->store, j->config, job->tenant_id, &policy, e);

	if (rc >= 0)
		rc = store_usage_get(j->store, job->tenant_id, 0, &used, e);
	if (rc < 0)
		return rc;
	if (policy.is_disabled)
		return err_kind_set(e, -EACCES, ERR_KIND_DENIED, "tenant \"%s\" is disabled", job->tenant_id);
	int64_t left = policy.limits.storage_bytes - used.stored_bytes;
	if (left <= 0) {
		const struct store_excess x = {"max_storage_bytes", used.stored_bytes, policy.limits.storage_bytes};
		quota_sentence(e, &x, time_wall_ms());
		return -EDQUOT;
	}
	*max_bytes = (uint64_t)job->max_bytes;
	jobs_tenant_tell(j, job->tenant_id);
	return 0;
}

/* -errno: the store does not take it; the build still waits. */
static int build_begin(struct jobs *j, struct live_job *live, struct err *e)
{
	AUTO_JOB struct job job;
	struct err why = ERR_INIT;
	uint64_t max_bytes = 0;
	int rc = store_job_get(j->store, NULL, live->build_id, &job, e);

	if (rc < 0)
		return rc;
	int granted = grant(j, &job, &max_bytes, &why);
	snprintf(live->step, sizeof(live->step), "starting");
	job.tries++;
	job.retry_ms = job.total_ms = job.downloaded_bytes = 0;
	rc = jobs_move(j, live, &job, BUILD_PULLING, NULL, e);
	if (rc < 0)
		return rc;
	bool is_sent = granted >= 0 && build_send(j, live, &job, max_bytes, &why) >= 0;
	jobs_audit(j, live, &job,
	        &(struct audit_event){.kind = AUDIT_BUILD_START,
	                .outcome = is_sent       ? AUDIT_ALLOWED
	                           : granted < 0 ? AUDIT_DENIED
	                                         : AUDIT_ERROR,
	                .resource = job.source,
	                .reason = why.msg});
	if (is_sent) {
		jobs_audit_network(j, live, &job, NULL);
	} else {
		queue_finish(j->queue, job.tenant_id);
		jobs_finish(j, live, &job, BUILD_FAILED, &why);
	}
	return rc;
}

void jobs_schedule(struct jobs *j)
{
	char build_id[BUILD_ID_MAX];

	while (!j->is_stopping && !j->retry_timer && queue_pop(j->queue, build_id)) {
		struct live_job *live = jobs_live(j, build_id);
		struct err e = ERR_INIT;
		if (build_begin(j, live, &e) >= 0)
			continue;
		log_error("build not started, trying again", KV("build", live->build_id), KV("error", e.msg));
		queue_finish(j->queue, live->tenant_id);
		jobs_enqueue(j, live, true);
		jobs_retry_later(j);
	}
}

void jobs_enqueue(struct jobs *j, struct live_job *live, bool is_first)
{
	const struct queue_entry n = {live->tenant_id, live->build_id, live->tenant_limit, live->weight};

	if (is_first)
		queue_push_front(j->queue, &n);
	else
		queue_push(j->queue, &n);
}

bool jobs_dequeue(struct jobs *j, struct live_job *live)
{
	bool has_waited = live->next_try != NULL;

	loop_timer_del(live->next_try);
	live->next_try = NULL;
	return has_waited || queue_remove(j->queue, live->tenant_id, live->build_id);
}

unsigned jobs_waiting(const struct jobs *j, const char *tenant_id)
{
	unsigned n = queue_tenant_waiting(j->queue, tenant_id);

	for (const struct live_job *l = j->live; l; l = l->next)
		n += l->next_try && !strcmp(l->tenant_id, tenant_id);
	return n;
}

/* --- audit ----------------------------------------------------------------------------------------------------- */

void jobs_audit(const struct jobs *j, const struct live_job *live, const struct job *job, struct audit_event *ev)
{
	ev->tenant = job->tenant_id;
	ev->customer = job->customer_id;
	ev->build = job->build_id;
	ev->address = live ? live->address : "";
	audit_write(j->audit, ev);
}

void jobs_audit_network(const struct jobs *j, const struct live_job *live, const struct job *job, const struct err *why)
{
	char registry[512];
	int kind = why ? why->kind : ERR_KIND_NONE;

	if (kind_of(job->source) != SOURCE_REGISTRY)
		return;
	if (why && kind != ERR_KIND_NETWORK && kind != ERR_KIND_DENIED && kind != ERR_KIND_UNAUTHORIZED)
		return;
	reference_registry(job->source, registry, sizeof(registry));
	jobs_audit(j, live, job,
	        &(struct audit_event){.kind = AUDIT_NETWORK_ACCESS,
	                .outcome = !why                       ? AUDIT_ALLOWED
	                           : kind == ERR_KIND_NETWORK ? AUDIT_ERROR
	                                                      : AUDIT_DENIED,
	                .resource = registry,
	                .reason = why ? why->msg : ""});
}

/* --- the next try ---------------------------------------------------------------------------------------------- */

static void try_now(void *arg)
{
	struct live_job *live = arg;

	live->next_try = NULL;
	jobs_enqueue(live->owner, live, true); /* it is older than those that wait */
	jobs_schedule(live->owner);
}

void jobs_wait_for_try(struct jobs *j, struct live_job *live, const struct job *job)
{
	int64_t left = job->retry_ms - time_wall_ms();

	live->next_try = loop_timer_add(j->loop, left > 0 ? left : 0, try_now, live);
}

/* 30 s, 60 s, 120 s ... up to the largest. */
static int64_t delay_ms(const struct config *c, int64_t tries)
{
	uint64_t delay = c->retry_delay_ms;

	for (int64_t i = 1; i < tries && delay < c->retry_max_delay_ms; i++)
		delay *= 2;
	return (int64_t)(delay < c->retry_max_delay_ms ? delay : c->retry_max_delay_ms);
}

bool jobs_try_again(struct jobs *j, struct live_job *live, struct job *job, const struct err *why)
{
	struct err e = ERR_INIT;
	AUTO_FREE char *text = NULL;
	int64_t delay = delay_ms(j->config, job->tries);

	if (why->kind != ERR_KIND_NETWORK || !state_may_follow(live->state, BUILD_PENDING) ||
	        job->tries >= (int64_t)j->config->build_tries || live->is_cancel_wanted || live->is_delete_wanted)
		return false;
	jobs_audit_network(j, live, job, why);
	job->retry_ms = time_wall_ms() + delay;
	snprintf(live->step, sizeof(live->step), "the network failed, waiting for another try");
	text = xasprintf("try %" PRId64 " of %" PRIu64 " failed: %s: %s; the next one is in %" PRId64 " s", job->tries,
	        j->config->build_tries, err_kind_name(why->kind), why->msg, (delay + 999) / 1000);
	if (jobs_move(j, live, job, BUILD_PENDING, text, &e) < 0) {
		log_error("next try not stored", KV("build", job->build_id), KV("error", e.msg));
		return false;
	}
	jobs_wait_for_try(j, live, job);
	jobs_schedule(j);
	return true;
}
