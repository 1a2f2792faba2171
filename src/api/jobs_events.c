/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What builderd tells about builds. It is trusted to speak the table's messages, not to be right about a build's state:
 * what does not fit is logged and left out. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/jobs.h"
#include "api/metadata.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "build/states.h"

#define LOG_LINES_MAX 20000 /* of one build */

static void line_add(struct jobs *j, struct live_job *live, int level, const char *component, const char *text)
{
	struct log_line line = {.time_ms = time_wall_ms(), .level = level, .component = component, .message = text};
	struct err e = ERR_INIT;

	if (live->log_lines > LOG_LINES_MAX)
		return;
	if (live->log_lines++ == LOG_LINES_MAX)
		line.message = "more lines than the log of one build may have: the rest is left out";
	if (store_log_append(j->store, live->build_id, &line, &e) < 0)
		log_warn("log line lost", KV("build", live->build_id), KV("error", e.msg));
	jobs_touch(j, live->build_id);
}

static void on_progress(void *arg, const struct msg_build_progress *m)
{
	struct jobs *j = arg;
	struct live_job *live = jobs_live(j, m->build_id);
	struct err e = ERR_INIT;

	if (!live || !state_is_running(live->state) || live->ending)
		return;
	if (m->percent > live->percent)
		live->percent = m->percent < 100 ? m->percent : 99; /* 100 is for COMPLETED */
	live->bytes_done = m->bytes_done;
	live->bytes_total = m->bytes_total;
	live->updated_ms = time_wall_ms();
	snprintf(live->step, sizeof(live->step), "%s", m->step);
	if (m->state == live->state || !state_is_running(m->state))
		return;
	AUTO_JOB struct job job;
	if (store_job_get(j->store, NULL, live->build_id, &job, &e) < 0 ||
	        jobs_move(j, live, &job, m->state, NULL, &e) < 0)
		log_warn("state not stored", KV("build", m->build_id), KV("error", e.msg));
}

static void on_log(void *arg, const struct msg_build_log *m)
{
	struct jobs *j = arg;
	struct live_job *live = jobs_live(j, m->build_id);

	if (live)
		line_add(j, live, m->level <= LOG_LEVEL_ERROR ? (int)m->level : LOG_LEVEL_INFO, m->component, m->text);
}

static char *digest_text(const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];

	return xstrdup(digest_is_valid(d) ? digest_format(d, text) : "");
}

static void take_numbers(struct job *job, const struct msg_build_done *m)
{
	job->rootfs_bytes = (int64_t)m->rootfs_bytes;
	job->original_bytes = (int64_t)m->original_bytes;
	job->downloaded_bytes = (int64_t)m->downloaded_bytes;
	job->disk_bytes = (int64_t)m->disk_bytes;
	job->inodes = (int64_t)m->inodes;
	job->memory_peak_bytes = (int64_t)m->memory_peak_bytes;
	job->layers_total = m->layers_total;
	job->layers_cached = m->layers_cached;
	job->pull_ms = m->pull_ms;
	job->extract_ms = m->extract_ms;
	job->build_ms = m->build_ms;
	job->optimize_ms = m->optimize_ms;
	job->seal_ms = m->seal_ms;
	job->total_ms = m->total_ms;
}

static void take_product(struct job *job, const struct msg_build_done *m, char **metadata)
{
	free(job->rootfs_path);
	job->rootfs_path = xstrdup(m->rootfs_path);
	free(job->rootfs_checksum);
	job->rootfs_checksum = digest_text(&m->checksum);
	free(job->image_digest);
	job->image_digest = digest_text(&m->image_digest);
	free(job->metadata_json);
	job->metadata_json = STEAL(metadata);
}

/* The text as it is stored, checked. The image's author wrote most of it. */
static int metadata_take(int fd, char **out, struct err *e)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int rc = fd < 0 ? -EBADF : fd_slurp(fd, METADATA_MAX_BYTES, &text, &len);

	if (rc < 0)
		return err_kind_set(e, rc, ERR_KIND_INTERNAL, "the image metadata cannot be read: %s", strerror(-rc));
	if ((rc = metadata_check(text, len, e)) < 0)
		return rc;
	*out = STEAL(&text);
	return 0;
}

/* A product that no row stands for: the build was given up by an earlier process. */
static void drop_orphan(struct jobs *j, const struct msg_build_done *m)
{
	AUTO_JOB struct job job;
	struct err e = ERR_INIT;

	log_warn("a build ended that nobody waits for", KV("build", m->build_id));
	if (m->state == BUILD_COMPLETED && store_job_get(j->store, NULL, m->build_id, &job, &e) >= 0 &&
	        job.state != BUILD_COMPLETED)
		monitor_link_ref(j->link, MSG_BUILD_DELETE, job.tenant_id, job.build_id);
}

static void on_done(void *arg, const struct msg_build_done *m, int metadata_fd)
{
	struct jobs *j = arg;
	struct live_job *live = jobs_live(j, m->build_id);
	struct err e = ERR_INIT, why = m->err;
	unsigned state = state_is_final(m->state) ? m->state : BUILD_FAILED;
	AUTO_JOB struct job job = {0};
	AUTO_FREE char *metadata = NULL;

	j->n_done++;
	if (!live || !state_is_running(live->state) || live->ending) {
		drop_orphan(j, m);
		return;
	}
	queue_finish(j->queue, live->tenant_id);
	if (store_job_get(j->store, NULL, live->build_id, &job, &e) < 0) {
		log_error("a running build has no row", KV("build", m->build_id), KV("error", e.msg));
		return;
	}
	if (state == BUILD_COMPLETED && metadata_take(metadata_fd, &metadata, &why) < 0) {
		state = BUILD_FAILED;
		monitor_link_ref(j->link, MSG_BUILD_DELETE, job.tenant_id, job.build_id);
	}
	if (state != BUILD_COMPLETED && !*why.msg)
		err_kind_set(&why, -EIO, state == BUILD_CANCELLED ? ERR_KIND_CANCELLED : ERR_KIND_INTERNAL,
		        state == BUILD_CANCELLED ? "cancelled on request" : "builderd gave no reason");
	take_numbers(&job, m);
	if (state == BUILD_FAILED && jobs_try_again(j, live, &job, &why))
		return;
	if (state == BUILD_COMPLETED)
		take_product(&job, m, &metadata);
	jobs_finish(j, live, &job, state, &why);
}

/* Give the answer to the first waiter of BUILD_ID, or to all. FD is taken. */
static bool waiters_answer(
        struct jobs_waiter **list, const char *build_id, bool is_for_all, int fd, uint64_t size, const struct err *e)
{
	AUTO_CLOSE int own = fd;
	bool has_answered = false;

	while (*list && (is_for_all || !has_answered)) {
		struct jobs_waiter *w = *list;
		if (strcmp(w->build_id, build_id) != 0) {
			list = &w->next;
			continue;
		}
		*list = w->next;
		has_answered = true;
		if (w->fn)
			w->fn(w->arg, STEAL_FD(&own), size, e);
		free(w);
	}
	return has_answered;
}

static void audit_deletion(const struct jobs *j, const struct live_job *live, const struct msg_build_deleted *m)
{
	AUTO_JOB struct job job;

	if (store_job_get(j->store, NULL, live->build_id, &job, NULL) >= 0)
		jobs_audit(j, live, &job,
		        &(struct audit_event){.kind = AUDIT_STORAGE_ACCESS,
		                .outcome = m->err.code ? AUDIT_ERROR : AUDIT_ALLOWED,
		                .resource = "product",
		                .reason = m->err.code ? m->err.msg : "deleted"});
}

/* Somebody has the product: the build is again what it was. */
static void deletion_refused(struct jobs *j, struct live_job *live, const struct err *why)
{
	AUTO_JOB struct job job = {0};
	struct err e = ERR_INIT;
	AUTO_FREE char *text = xasprintf("not deleted: %s", why->msg);
	const struct log_line line = {
	        .time_ms = time_wall_ms(), .level = LOG_LEVEL_WARN, .component = "build", .message = text};
	int rc = store_job_get(j->store, NULL, live->build_id, &job, &e);

	if (rc >= 0) {
		job.state = *job.error_kind ? BUILD_FAILED : BUILD_COMPLETED;
		rc = store_job_update(j->store, &job, BUILD_CLEANING, &line, &e);
	}
	if (rc < 0)
		log_error("a refused deletion cannot be taken back", KV("build", live->build_id), KV("error", e.msg));
	else
		jobs_live_drop(j, live);
}

static void on_deleted(void *arg, const struct msg_build_deleted *m)
{
	struct jobs *j = arg;
	struct live_job *live = jobs_live(j, m->build_id);
	char tenant_id[TENANT_ID_MAX];
	struct err e = m->err;

	if (!live || live->state != BUILD_CLEANING)
		return; /* the rest of a build whose row stays */
	memcpy(tenant_id, live->tenant_id, sizeof(tenant_id));
	audit_deletion(j, live, m);
	if (e.kind == ERR_KIND_LEASED) {
		log_warn("not deleted", KV("build", m->build_id), KV("error", e.msg));
		deletion_refused(j, live, &e);
	} else if (!e.code && store_job_remove(j->store, m->build_id, &e) >= 0) {
		log_info("deleted", KV("build", m->build_id), KV_U("freed_bytes", m->freed_bytes));
		jobs_live_drop(j, live);
		jobs_tenant_tell(j, tenant_id);
	} else {
		/* The row stays CLEANING: the next DeleteBuild or the next start tries again. */
		log_error("not deleted", KV("build", m->build_id), KV("error", e.msg));
	}
	jobs_touch(j, m->build_id);
	waiters_answer(&j->deletions, m->build_id, true, -1, m->freed_bytes, &e);
}

static void on_artifact(void *arg, const struct msg_artifact *m, int fd)
{
	struct jobs *j = arg;
	struct err e = m->err;
	int own = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;

	if (!e.code && own < 0)
		err_set(&e, -EIO, "builderd sent no artifact");
	if (!waiters_answer(&j->artifacts, m->build_id, false, own, m->size, &e))
		log_warn("an artifact that nobody asked for", KV("build", m->build_id));
}

static void on_storage(void *arg, const struct msg_storage *m)
{
	struct jobs *j = arg;

	j->storage = *m;
	if (j->on_storage)
		j->on_storage(j->on_storage_arg);
}

const struct monitor_link_events jobs_link_events = {
        .progress = on_progress,
        .log = on_log,
        .done = on_done,
        .deleted = on_deleted,
        .artifact = on_artifact,
        .storage = on_storage,
};
