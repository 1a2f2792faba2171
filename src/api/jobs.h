/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of builds: the store holds all of them, a table in memory those that are not final, the queue says which
 * starts next, builderd works on them.
 *
 * Order of every step: the store first, then the message or the answer. So a crash between the two leaves a row that
 * says more than what happened, and the start after it (jobs_recover) puts that right: what waited waits again, what
 * ran is FAILED "restarted", what was being deleted is deleted. In memory only: credentials (until the image is
 * pulled), percent and step between two states, who waits for what.
 */
#ifndef API_JOBS_H
#define API_JOBS_H

#include "api/audit.h"
#include "api/metrics.h"
#include "api/monitor_link.h"
#include "api/tenants.h"
#include "api/validate.h"
#include "base/loop.h"
#include "build/config.h"
#include "build/queue.h"
#include "store/store.h"

#define LIVE_BUCKETS 4096

/* A build that is not final. */
struct live_job {
	struct live_job *next, **prev;
	struct live_job *same_bucket;
	char build_id[BUILD_ID_MAX], tenant_id[TENANT_ID_MAX];
	unsigned state;
	unsigned tenant_limit, weight; /* of struct queue_entry */
	uint32_t percent;
	char step[160];
	char address[64];                 /* of who created it; "" after a restart */
	uint64_t bytes_done, bytes_total; /* of the step */
	int64_t updated_ms;
	uint32_t log_lines;
	struct buf source_spec; /* owns: the text with credentials, wiped when the image is pulled; empty: none were
	                           given */
	bool is_delete_wanted;  /* as soon as it has ended */
	bool is_cancel_wanted;  /* builderd was told */
	struct jobs *owner;
	struct loop_timer *next_try; /* owns: the network failed; PENDING, but not in the queue until then */
	struct job *ending;          /* owns: the final row, while the store does not take it */
	unsigned ending_state;
};

/* Answer to a deletion or to an artifact's opening. FD is the callback's, -1 if there is none. */
typedef void jobs_answer_fn(void *arg, int fd, uint64_t size, const struct err *e);
struct jobs_waiter {
	struct jobs_waiter *next;
	char build_id[BUILD_ID_MAX];
	jobs_answer_fn *fn; /* NULL: nobody waits any more */
	void *arg;
};

/* Wants to hear when a build has new log lines or has ended. */
struct jobs_watch {
	struct jobs_watch *next;
	char build_id[BUILD_ID_MAX];
	struct jobs *owner;
	void (*fn)(void *arg); /* NULL: to be freed */
	void *arg;
	bool is_due;
};

struct jobs {
	struct loop *loop;
	struct store *store;
	struct queue *queue; /* owns */
	struct monitor_link *link;
	const struct config *config;
	struct audit *audit;                       /* borrowed; NULL: none is kept */
	struct metrics *metrics;                   /* owns */
	struct live_job *live;                     /* owns */
	struct live_job *by_id[LIVE_BUCKETS];      /* the same ones, by the end of their ids */
	struct jobs_waiter *deletions, *artifacts; /* own */
	struct jobs_watch *watches;                /* owns */
	struct loop_timer *tell_timer;             /* watches are due, or log lines are not on disk */
	struct loop_timer *retry_timer;            /* the store refused something */
	struct loop_timer *retention_timer;        /* old builds are looked for */
	struct msg_storage storage;                /* what builderd said last; zero: nothing yet */
	void (*on_storage)(void *arg);             /* it may be another than before; NULL: nobody asks */
	void *on_storage_arg;
	uint64_t last_id_ms;
	uint64_t n_done;  /* BUILD_DONE that came */
	bool is_stopping; /* nothing is started any more */
};

extern const struct monitor_link_events jobs_link_events; /* their ARG is struct jobs */

/* All pointers are borrowed. LINK is set by the caller before the loop runs. */
struct jobs *jobs_new(struct loop *l, struct store *s, const struct config *c);
void jobs_free(struct jobs *j);
/* Take up what the last process left. */
int jobs_recover(struct jobs *j, struct err *e);
/* Start what may start. */
void jobs_schedule(struct jobs *j);

/* Tell builderd what TENANT may store and does: its running builds share that. After each change of either. */
void jobs_tenant_tell(struct jobs *j, const char *tenant_id);

/* What CreateBuild brings, checked. */
struct jobs_new_build {
	const struct tenant_policy *policy;
	const char *customer_id, *idempotency_key, *address;
	struct digest request_digest;
	const struct buf *config; /* packed, without credentials */
	const struct build_request *request;
	struct store_excess *excess; /* set with -EDQUOT */
};

/* Queue a build; jobs_schedule starts it. 0: OUT is its row; 1: the key brought this build before, OUT is that one's
 * row; -EEXIST: the key came with another request; -EDQUOT: the tenant, or the queue, is full. Clear OUT either way. */
int jobs_create(struct jobs *j, const struct jobs_new_build *n, struct job *out, struct err *e);
/* REASON may be "". State of the build afterwards, or -ENOENT ... A running build is told to stop and keeps its state
 * until it has. */
int jobs_cancel(struct jobs *j, const char *tenant_id, const char *build_id, const char *reason, struct err *e);
/* FN is called once, later, from the loop, unless this fails: -ENOENT; -EBUSY: it has not ended and IS_FORCED is not
 * set. */
int jobs_delete(struct jobs *j, const char *tenant_id, const char *build_id, bool is_forced, jobs_answer_fn *fn,
        void *arg, struct jobs_waiter **out, struct err *e);
/* The same for the rootfs of a COMPLETED build; -EAGAIN: not COMPLETED (yet). */
int jobs_artifact(
        struct jobs *j, const struct job *job, jobs_answer_fn *fn, void *arg, struct jobs_waiter **out, struct err *e);
static inline void jobs_forget(struct jobs_waiter *w)
{
	w->fn = NULL;
}

/* NULL: the build is final, or there is none of this id. */
struct live_job *jobs_live(const struct jobs *j, const char *build_id);

struct jobs_watch *jobs_watch(struct jobs *j, const char *build_id, void (*fn)(void *arg), void *arg);
void jobs_unwatch(struct jobs_watch *w); /* takes NULL */

/* Builds of a tenant that are PENDING. */
unsigned jobs_waiting(const struct jobs *j, const char *tenant_id);

/* Delete finished builds that are older than the operator keeps them, now and every hour. */
void jobs_retention_start(struct jobs *j);

/* --- between jobs*.c --- */
/* A store_job_fn, which may not change jobs: appends the id, BUILD_ID_MAX bytes, to ARG, a struct buf. */
int jobs_collect_id(void *arg, const struct job *job);
/* A line about JOB; LIVE may be NULL. */
void jobs_audit(const struct jobs *j, const struct live_job *live, const struct job *job, struct audit_event *ev);
/* The network, if that is what WHY is about; NULL: it may be reached. */
void jobs_audit_network(
        const struct jobs *j, const struct live_job *live, const struct job *job, const struct err *why);
/* It waits for a slot: behind the tenant's others, or where it was. */
void jobs_enqueue(struct jobs *j, struct live_job *live, bool is_first);
/* It waits for its next try until job->retry_ms, then for a slot. */
void jobs_wait_for_try(struct jobs *j, struct live_job *live, const struct job *job);
/* The network failed (WHY): true if there is another try, JOB is PENDING then. */
bool jobs_try_again(struct jobs *j, struct live_job *live, struct job *job, const struct err *why);
/* Take a build that waits, for a slot or for its next try, from where it waits. False: it does not. */
bool jobs_dequeue(struct jobs *j, struct live_job *live);
/* Write JOB's new state with a line, and move LIVE; LIVE is freed when the state is final. */
int jobs_move(struct jobs *j, struct live_job *live, struct job *job, unsigned to, const char *text, struct err *e);
/* Forget LIVE; its row stays. */
void jobs_live_drop(struct jobs *j, struct live_job *live);
/* Set JOB's ending and move it there; what cannot be written now is kept and tried again. Takes *JOB's content. */
void jobs_finish(struct jobs *j, struct live_job *live, struct job *job, unsigned state, const struct err *why);
/* Something about the build can be told to its watches. */
void jobs_touch(struct jobs *j, const char *build_id);
void jobs_retry_later(struct jobs *j);
/* Ask builderd to remove what the build left. */
int jobs_delete_start(struct jobs *j, struct job *job, struct err *e);

#endif
