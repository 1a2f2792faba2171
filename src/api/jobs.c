/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/jobs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/quotas.h"
#include "api/specs.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "build/states.h"
#include "build/ulid.h"

#define WAITING_MAX 20000        /* builds in the queue, of all tenants */
#define TENANT_WAITING_MAX 10000 /* of one: it cannot fill the queue for the others */
#define RETRY_MS 5000
#define TELL_MS 50

static const char *const state_texts[BUILD_STATE_COUNT] = {
        [BUILD_PENDING] = "queued",
        [BUILD_PULLING] = "pulling the image",
        [BUILD_EXTRACTING] = "unpacking layers",
        [BUILD_BUILDING] = "adding init and configuration",
        [BUILD_OPTIMIZING] = "removing what is not wanted",
        [BUILD_COMPLETED] = "completed",
        [BUILD_FAILED] = "failed",
        [BUILD_CANCELLED] = "cancelled",
        [BUILD_CLEANING] = "deleting",
};

/* --- the table ------------------------------------------------------------------------------------------------- */

/* Ids end in random characters (ulid.h). */
static unsigned bucket_of(const char *build_id)
{
	unsigned h = 0;

	for (const char *c = build_id + strlen(build_id); c > build_id && h < 1u << 26;)
		h = h << 5 | (*--c & 31u);
	return h % LIVE_BUCKETS;
}

struct live_job *jobs_live(const struct jobs *j, const char *build_id)
{
	struct live_job *l = j->by_id[bucket_of(build_id)];

	while (l && strcmp(l->build_id, build_id) != 0)
		l = l->same_bucket;
	return l;
}

static struct live_job *live_add(struct jobs *j, const struct job *job)
{
	struct live_job *l = xcalloc(1, sizeof(*l));

	snprintf(l->build_id, sizeof(l->build_id), "%s", job->build_id);
	snprintf(l->tenant_id, sizeof(l->tenant_id), "%s", job->tenant_id);
	snprintf(l->step, sizeof(l->step), "%s", job->step ? job->step : "");
	l->owner = j;
	l->state = (unsigned)job->state;
	l->percent = (uint32_t)job->percent;
	l->updated_ms = time_wall_ms();
	l->next = j->live;
	l->prev = &j->live;
	if (l->next)
		l->next->prev = &l->next;
	j->live = l;
	struct live_job **bucket = &j->by_id[bucket_of(l->build_id)];
	l->same_bucket = *bucket;
	*bucket = l;
	return l;
}

static void live_free(struct live_job *l)
{
	loop_timer_del(l->next_try);
	spec_wipe(&l->source_spec);
	if (l->ending)
		job_clear(l->ending);
	free(l->ending);
	free(l);
}

void jobs_live_drop(struct jobs *j, struct live_job *l)
{
	struct live_job **at = &j->by_id[bucket_of(l->build_id)];

	while (*at != l)
		at = &(*at)->same_bucket;
	*at = l->same_bucket;
	*l->prev = l->next;
	if (l->next)
		l->next->prev = l->prev;
	live_free(l);
}

/* --- watches --------------------------------------------------------------------------------------------------- */

static void tell(void *arg)
{
	struct jobs *j = arg;
	struct err e = ERR_INIT;

	j->tell_timer = NULL;
	for (struct jobs_watch *w = j->watches; w; w = w->next)
		if (w->is_due) {
			w->is_due = false;
			if (w->fn)
				w->fn(w->arg);
		}
	for (struct jobs_watch **at = &j->watches; *at;) {
		struct jobs_watch *w = *at;
		if (w->fn) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
	if (store_flush(j->store, &e) < 0)
		log_error("log lines were lost", KV("error", e.msg));
}

static void tell_later(struct jobs *j)
{
	if (!j->tell_timer)
		j->tell_timer = loop_timer_add(j->loop, TELL_MS, tell, j);
}

void jobs_touch(struct jobs *j, const char *build_id)
{
	for (struct jobs_watch *w = j->watches; w; w = w->next)
		if (!strcmp(w->build_id, build_id))
			w->is_due = true;
	tell_later(j);
}

struct jobs_watch *jobs_watch(struct jobs *j, const char *build_id, void (*fn)(void *arg), void *arg)
{
	struct jobs_watch *w = xcalloc(1, sizeof(*w));

	snprintf(w->build_id, sizeof(w->build_id), "%s", build_id);
	w->owner = j;
	w->fn = fn;
	w->arg = arg;
	w->next = j->watches;
	j->watches = w;
	return w;
}

void jobs_unwatch(struct jobs_watch *w)
{
	if (!w)
		return;
	w->fn = NULL; /* freed by the next tell: the list may be being walked */
	tell_later(w->owner);
}

/* --- moves ----------------------------------------------------------------------------------------------------- */

static void set_text(char **at, const char *text)
{
	free(*at);
	*at = xstrdup(text);
}

/* The row, within the tenant's storage when there is a product; -EDQUOT with the sentence in E. */
static int row_write(struct jobs *j, const struct job *job, unsigned from, const struct log_line *line, struct err *e)
{
	struct tenant_policy policy;
	struct store_excess excess;
	struct store_quota quota;

	if (!state_is_final((unsigned)job->state))
		return store_job_update(j->store, job, from, line, e);
	int rc = tenant_policy_get(j->store, j->config, job->tenant_id, &policy, e);
	if (rc < 0)
		return rc;
	quota = (struct store_quota){.storage_bytes = policy.limits.storage_bytes};
	rc = store_job_update_within(j->store, job, from, line, &quota, &excess, e);
	if (rc == -EDQUOT) {
		quota_sentence(e, &excess, line->time_ms);
		metrics_quota_exceeded(j->metrics, excess.quota);
	}
	if (rc >= 0)
		metrics_build_ended(j->metrics, job, policy.tier);
	return rc;
}

int jobs_move(struct jobs *j, struct live_job *live, struct job *job, unsigned to, const char *text, struct err *e)
{
	unsigned from = (unsigned)job->state;
	struct log_line line = {.time_ms = time_wall_ms(),
	        .level = to == BUILD_FAILED ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
	        .component = "build",
	        .message = text ? text : state_texts[to]};

	if (!state_may_follow(from, to))
		return err_set(e, -EPROTO, "%s: %s cannot follow %s", job->build_id, state_name(to), state_name(from));
	if (state_is_running(to) && !job->started_ms)
		job->started_ms = line.time_ms;
	if (state_is_final(to))
		job->completed_ms = line.time_ms;
	job->state = to;
	if (live) {
		job->percent = to == BUILD_COMPLETED ? 100 : live->percent;
		set_text(&job->step, state_is_final(to) ? state_texts[to] : live->step);
	}
	int rc = row_write(j, job, from, &line, e);
	if (rc < 0) {
		job->state = from;
		return rc;
	}
	log_info(state_texts[to], KV("build", job->build_id), KV("tenant", job->tenant_id));
	if (state_is_final(to))
		jobs_audit(j, live, job,
		        &(struct audit_event){.kind = AUDIT_BUILD_COMPLETE,
		                .outcome = to == BUILD_FAILED ? AUDIT_ERROR : AUDIT_ALLOWED,
		                .resource = job->source,
		                .reason = line.message});
	if (live && to >= BUILD_BUILDING)
		spec_wipe(&live->source_spec);
	if (live) {
		live->state = to;
		live->updated_ms = line.time_ms;
		if (state_is_final(to))
			jobs_live_drop(j, live);
	}
	jobs_touch(j, job->build_id);
	return 0;
}

static void ended(struct jobs *j, struct job *job, bool is_delete_wanted)
{
	struct err e = ERR_INIT;

	if (is_delete_wanted && jobs_delete_start(j, job, &e) < 0)
		log_error("deletion not started", KV("build", job->build_id), KV("error", e.msg));
	jobs_schedule(j);
}

/* There is no room for what the build made. */
static void product_drop(struct jobs *j, struct job *job)
{
	set_text(&job->rootfs_path, "");
	set_text(&job->rootfs_checksum, "");
	set_text(&job->metadata_json, "");
	job->rootfs_bytes = job->disk_bytes = 0;
	monitor_link_ref(j->link, MSG_BUILD_DELETE, job->tenant_id, job->build_id);
}

void jobs_finish(struct jobs *j, struct live_job *live, struct job *job, unsigned state, const struct err *why)
{
	AUTO_FREE char *text = NULL;
	struct err e = ERR_INIT;
	bool is_delete_wanted = live->is_delete_wanted;

	if (state == BUILD_FAILED)
		jobs_audit_network(j, live, job, why);
	if (state != BUILD_COMPLETED) {
		set_text(&job->error_kind, err_kind_name(why->kind));
		set_text(&job->error_message, why->msg);
		text = xasprintf("%s: %s", job->error_kind, why->msg);
	}
	int rc = jobs_move(j, live, job, state, text, &e);
	if (rc >= 0) {
		ended(j, job, is_delete_wanted);
		return;
	}
	if (rc == -EDQUOT && state == BUILD_COMPLETED) {
		product_drop(j, job);
		jobs_finish(j, live, job, BUILD_FAILED, &e);
		return;
	}
	/* A full disk must not lose a product: the row is kept in memory and written when there is room. */
	log_error("ending not stored, trying again", KV("build", job->build_id), KV("error", e.msg));
	live->ending = xcalloc(1, sizeof(*live->ending));
	*live->ending = *job;
	live->ending_state = state;
	*job = (struct job){0};
	jobs_retry_later(j);
}

static void retry(void *arg)
{
	struct jobs *j = arg;
	struct live_job *next;

	j->retry_timer = NULL;
	for (struct live_job *l = j->live; l; l = next) {
		next = l->next;
		if (!l->ending)
			continue;
		AUTO_JOB struct job job = *l->ending;
		struct err why = ERR_INIT;
		unsigned state = l->ending_state;
		for (int k = 0; k < ERR_KIND_COUNT; k++)
			if (job.error_kind && !strcmp(job.error_kind, err_kind_name(k)))
				why.kind = k;
		snprintf(why.msg, sizeof(why.msg), "%s", job.error_message ? job.error_message : "");
		free(STEAL(&l->ending));
		jobs_finish(j, l, &job, state, &why);
		break; /* the list may have changed; one per round is enough */
	}
	jobs_schedule(j);
	for (struct live_job *l = j->live; l && !j->retry_timer; l = l->next)
		if (l->ending)
			jobs_retry_later(j);
}

void jobs_retry_later(struct jobs *j)
{
	if (!j->retry_timer)
		j->retry_timer = loop_timer_add(j->loop, RETRY_MS, retry, j);
}

/* --- create ---------------------------------------------------------------------------------------------------- */

static int create_again(
        struct jobs *j, const struct jobs_new_build *n, const char *digest, struct job *out, struct err *e)
{
	struct err unused = ERR_INIT;

	if (!*n->idempotency_key ||
	        store_job_get_by_key(j->store, n->policy->tenant_id, n->idempotency_key, out, &unused) < 0)
		return 0;
	if (strcmp(out->request_digest, digest) != 0)
		return err_set(e, -EEXIST, "idempotency key \"%.64s\" came with another request before: it made %s",
		        n->idempotency_key, out->build_id);
	return 1;
}

int jobs_create(struct jobs *j, const struct jobs_new_build *n, struct job *out, struct err *e)
{
	char digest[DIGEST_TEXT_MAX];
	struct log_line line = {.level = LOG_LEVEL_INFO, .component = "build", .message = "queued"};
	const struct store_quota quota = {n->request->daily_builds, n->request->storage_bytes};
	int64_t now = time_wall_ms();
	int rc;

	*out = (struct job){0};
	digest_format(&n->request_digest, digest);
	if ((rc = create_again(j, n, digest, out, e)) != 0)
		return rc;
	unsigned all = queue_waiting(j->queue), own = queue_tenant_waiting(j->queue, n->policy->tenant_id);
	if (all >= WAITING_MAX || own >= TENANT_WAITING_MAX) {
		*n->excess = all >= WAITING_MAX ? (struct store_excess){"queued_builds", all, WAITING_MAX}
		                                : (struct store_excess){"queued_builds", own, TENANT_WAITING_MAX};
		return err_set(e, -EDQUOT, "the queue is full");
	}
	if (ulid_build_id((uint64_t)now, &j->last_id_ms, out->build_id) < 0)
		return err_set(e, -EIO, "no random numbers for a build id");
	snprintf(out->tenant_id, sizeof(out->tenant_id), "%s", n->policy->tenant_id);
	out->customer_id = xstrdup(n->customer_id);
	out->idempotency_key = xstrdup(n->idempotency_key);
	out->request_digest = xstrdup(digest);
	out->created_ms = line.time_ms = now;
	out->source = xstrdup(n->request->reference);
	buf_append(&out->config, n->config->data, n->config->len);
	out->had_credentials = n->request->auth != NULL;
	out->max_bytes = (int64_t)n->request->max_bytes;
	out->max_inodes = (int64_t)n->request->max_inodes;
	out->timeout_ms = n->request->timeout_ms;
	out->state = BUILD_PENDING;
	out->step = xstrdup("queued");
	if ((rc = store_job_add_within(j->store, out, &line, &quota, n->excess, e)) < 0)
		return rc;
	struct live_job *live = live_add(j, out);
	live->tenant_limit = (unsigned)n->request->concurrent_builds;
	live->weight = (unsigned)n->policy->limits.weight;
	snprintf(live->address, sizeof(live->address), "%s", n->address);
	if (n->request->auth)
		source_spec_write(&live->source_spec, n->request->reference, n->request->auth);
	log_info("queued", KV("build", out->build_id), KV("tenant", out->tenant_id), KV("image", out->source));
	jobs_enqueue(j, live, false);
	return 0;
}

/* --- cancel, delete, artifact ---------------------------------------------------------------------------------- */

static void cancel_text(struct err *why, const char *text, const char *reason)
{
	err_kind_set(why, -ECANCELED, ERR_KIND_CANCELLED, *reason ? "%s: %.300s" : "%s", text, reason);
}

int jobs_cancel(struct jobs *j, const char *tenant_id, const char *build_id, const char *reason, struct err *e)
{
	AUTO_JOB struct job job;
	struct err why = ERR_INIT;
	int rc = store_job_get(j->store, tenant_id, build_id, &job, e);
	struct live_job *live = rc < 0 ? NULL : jobs_live(j, build_id);

	if (rc < 0)
		return rc;
	if (live && jobs_dequeue(j, live)) {
		cancel_text(&why, "cancelled before it started", reason);
		jobs_finish(j, live, &job, BUILD_CANCELLED, &why);
		return BUILD_CANCELLED;
	}
	if (live && state_is_running(live->state) && !live->ending) {
		cancel_text(&why, "asked to cancel", reason);
		struct log_line line = {
		        .time_ms = time_wall_ms(), .level = LOG_LEVEL_INFO, .component = "build", .message = why.msg};
		store_log_append(j->store, build_id, &line, NULL);
		jobs_touch(j, build_id);
		live->is_cancel_wanted = true;
		monitor_link_ref(j->link, MSG_BUILD_CANCEL, tenant_id, build_id);
	}
	return (int)job.state;
}

static struct jobs_waiter *waiter_add(struct jobs_waiter **list, const char *build_id, jobs_answer_fn *fn, void *arg)
{
	struct jobs_waiter *w = xcalloc(1, sizeof(*w));

	snprintf(w->build_id, sizeof(w->build_id), "%s", build_id);
	w->fn = fn;
	w->arg = arg;
	while (*list) /* in order: builderd answers in order */
		list = &(*list)->next;
	return *list = w;
}

int jobs_delete_start(struct jobs *j, struct job *job, struct err *e)
{
	if (job->state != BUILD_CLEANING) {
		struct live_job *live = live_add(j, job);
		int rc = jobs_move(j, live, job, BUILD_CLEANING, NULL, e);
		if (rc < 0) {
			jobs_live_drop(j, live);
			return rc;
		}
	}
	return monitor_link_ref(j->link, MSG_BUILD_DELETE, job->tenant_id, job->build_id);
}

int jobs_delete(struct jobs *j, const char *tenant_id, const char *build_id, bool is_forced, jobs_answer_fn *fn,
        void *arg, struct jobs_waiter **out, struct err *e)
{
	AUTO_JOB struct job job;
	int rc = store_job_get(j->store, tenant_id, build_id, &job, e);

	if (rc < 0)
		return rc;
	bool has_ended = state_is_final((unsigned)job.state) || job.state == BUILD_CLEANING;
	if (!has_ended && !is_forced)
		return err_set(e, -EBUSY, "%s is %s: cancel it first, or set force", build_id,
		        state_name((unsigned)job.state));
	if (!has_ended) {
		struct live_job *live = jobs_live(j, build_id);
		live->is_delete_wanted = true; /* its end starts the deletion */
		rc = jobs_cancel(j, tenant_id, build_id, "it is to be deleted", e);
	} else {
		rc = jobs_delete_start(j, &job, e);
	}
	if (rc >= 0)
		*out = waiter_add(&j->deletions, build_id, fn, arg);
	return rc < 0 ? rc : 0;
}

int jobs_artifact(
        struct jobs *j, const struct job *job, jobs_answer_fn *fn, void *arg, struct jobs_waiter **out, struct err *e)
{
	if (job->state != BUILD_COMPLETED)
		return err_set(e, -EAGAIN, "%s is %s: only a completed build has an artifact", job->build_id,
		        state_name((unsigned)job->state));
	int rc = monitor_link_ref(j->link, MSG_ARTIFACT_OPEN, job->tenant_id, job->build_id);
	if (rc < 0)
		return err_set(e, rc, "builderd is gone");
	*out = waiter_add(&j->artifacts, job->build_id, fn, arg);
	return 0;
}

/* --- begin and end of the process ------------------------------------------------------------------------------- */

struct jobs *jobs_new(struct loop *l, struct store *s, const struct config *c)
{
	struct jobs *j = xcalloc(1, sizeof(*j));

	j->loop = l;
	j->store = s;
	j->config = c;
	j->metrics = metrics_new();
	j->queue = queue_new((unsigned)c->max_concurrent_builds);
	return j;
}

static void waiters_free(struct jobs_waiter *w)
{
	while (w) {
		struct jobs_waiter *next = w->next;
		free(w);
		w = next;
	}
}

void jobs_free(struct jobs *j)
{
	if (!j)
		return;
	while (j->live)
		jobs_live_drop(j, j->live);
	waiters_free(j->deletions);
	waiters_free(j->artifacts);
	while (j->watches) {
		struct jobs_watch *next = j->watches->next;
		free(j->watches);
		j->watches = next;
	}
	loop_timer_del(j->tell_timer);
	loop_timer_del(j->retry_timer);
	loop_timer_del(j->retention_timer);
	queue_free(j->queue);
	metrics_free(j->metrics);
	free(j);
}

int jobs_collect_id(void *arg, const struct job *job)
{
	buf_append(arg, job->build_id, BUILD_ID_MAX);
	return 0;
}

/* What the request asked of its neighbours is in its configuration. */
static unsigned asked_limit(const struct job *job, int64_t granted)
{
	Builder__V1__BuildConfig *c =
	        builder__v1__build_config__unpack(NULL, job->config.len, (const uint8_t *)job->config.data);
	int64_t asked = c && c->limits ? c->limits->max_concurrent_builds : 0;

	if (c)
		builder__v1__build_config__free_unpacked(c, NULL);
	return (unsigned)(asked > 0 && asked < granted ? asked : granted);
}

static int wait_again(struct jobs *j, struct live_job *live, const struct job *job, struct err *e)
{
	struct tenant_policy policy;
	int rc = tenant_policy_get(j->store, j->config, job->tenant_id, &policy, e);

	if (rc < 0)
		return rc;
	live->weight = (unsigned)policy.limits.weight;
	live->tenant_limit = asked_limit(job, policy.limits.concurrent_builds);
	if (job->retry_ms > time_wall_ms())
		jobs_wait_for_try(j, live, job);
	else
		jobs_enqueue(j, live, false);
	return 0;
}

static int recover_one(struct jobs *j, struct job *job, struct err *e)
{
	struct err why = ERR_INIT;

	if (job->state == BUILD_CLEANING) {
		live_add(j, job);
		return jobs_delete_start(j, job, e);
	}
	struct live_job *live = live_add(j, job);
	if (job->state == BUILD_PENDING && !job->had_credentials)
		return wait_again(j, live, job, e);
	if (job->state == BUILD_PENDING)
		err_kind_set(&why, -ESHUTDOWN, ERR_KIND_RESTARTED,
		        "the service was restarted while the build waited, and its registry credentials are never "
		        "stored: create it again");
	else
		err_kind_set(&why, -ESHUTDOWN, ERR_KIND_RESTARTED,
		        "the service was restarted while the build was in state %s: create it again",
		        state_name((unsigned)job->state));
	/* builderd may have sealed it in the moment before it was killed: what no job owns is not kept. */
	if (job->state != BUILD_PENDING)
		monitor_link_ref(j->link, MSG_BUILD_DELETE, job->tenant_id, job->build_id);
	jobs_finish(j, live, job, BUILD_FAILED, &why);
	return 0;
}

int jobs_recover(struct jobs *j, struct err *e)
{
	AUTO_BUF struct buf ids = {0};
	bool was_stopping = j->is_stopping;
	int rc = store_job_each_unfinished(j->store, jobs_collect_id, &ids, e);

	j->is_stopping = true; /* in the order of creation: nothing starts before all are queued */
	for (size_t at = 0; rc >= 0 && at < ids.len; at += BUILD_ID_MAX) {
		AUTO_JOB struct job job;
		rc = store_job_get(j->store, NULL, ids.data + at, &job, e);
		if (rc >= 0)
			rc = recover_one(j, &job, e);
	}
	j->is_stopping = was_stopping;
	if (ids.len)
		log_info("builds taken up", KV_U("unfinished", ids.len / BUILD_ID_MAX),
		        KV_U("waiting", queue_waiting(j->queue)));
	if (rc >= 0)
		jobs_schedule(j);
	return rc;
}
