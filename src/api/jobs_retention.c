/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finished builds are deleted STORAGE_RETENTION_DAYS after their end, as DeleteBuild would: what is leased stays, and
 * is looked at again the next time.
 */
#include "api/jobs.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"

#define MS_DAY ((int64_t)24 * 3600 * 1000)
#define LOOK_MS (3600 * 1000) /* an hour more or less is nothing to a day */
#define AT_ONCE 64            /* the others come soon after */
#define SOON_MS 10000

static void build_expire(struct jobs *j, const char *build_id)
{
	AUTO_JOB struct job job;
	struct err e = ERR_INIT;
	int rc = store_job_get(j->store, NULL, build_id, &job, &e);

	if (rc >= 0)
		log_info("a build is deleted: it ended long ago", KV("build", build_id), KV("tenant", job.tenant_id),
		        KV_U("retention_days", j->config->retention_days));
	if (rc >= 0)
		rc = jobs_delete_start(j, &job, &e);
	if (rc < 0)
		log_error("an old build stays", KV("build", build_id), KV("error", e.msg));
}

static void look(void *arg)
{
	struct jobs *j = arg;
	AUTO_BUF struct buf ids = {0};
	struct err e = ERR_INIT;
	int64_t before = time_wall_ms() - (int64_t)j->config->retention_days * MS_DAY;

	j->retention_timer = NULL;
	if (store_job_each_ended(j->store, before, AT_ONCE, jobs_collect_id, &ids, &e) < 0)
		log_error("old builds cannot be looked up", KV("error", e.msg));
	for (size_t at = 0; at < ids.len && !j->is_stopping; at += BUILD_ID_MAX)
		build_expire(j, ids.data + at);
	bool is_all = ids.len < (size_t)AT_ONCE * BUILD_ID_MAX;
	j->retention_timer = loop_timer_add(j->loop, is_all ? LOOK_MS : SOON_MS, look, j);
}

void jobs_retention_start(struct jobs *j)
{
	j->retention_timer = loop_timer_add(j->loop, SOON_MS / 10, look, j);
}
