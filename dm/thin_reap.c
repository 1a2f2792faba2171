/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: a thread that takes dead devices away. A pool's "delete" message returns blocks to that pool only;
 * a discard before it returns them to what lies below. A discard of much at once would make everybody wait who writes
 * to the pools meanwhile, so it goes in pieces with longer pauses between them. The list of what
 * is to be done is volumes.db: after a crash, or a stop half-way, the next start goes on.
 *
 * Locks: a piece of a tenant's device is done under the tenant's lock, while the tenant is open, and nothing stays open
 * between two pieces.
 */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/fs.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "worker.h"

/* What a piece returns to the pool below is whole blocks of that pool's: smaller pieces would leave more of them behind
 * at their ends. */
#define PIECE ((uint64_t)64 << 20)
#define REST 9 /* the pause after a piece, in times of what it took */
#define REST_SLICE_MS 100
#define AGAIN_MS 10000
#define KEEP_OFF_MS 60000 /* a piece on a slow medium */

struct reaper {
	struct worker worker;
	struct store *store;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned n_rounds, n_urgent; /* rounds over all pools that are done; who waits. Under lock */
};

/* One device of one pool; TENANT is NULL for the outer pool's. */
struct job {
	struct reaper *reaper;
	struct tenant *tenant;
	struct pool *pool;
	struct device_row dev;
};

static bool is_urgent(struct reaper *r)
{
	pthread_mutex_lock(&r->lock);
	bool is = r->n_urgent > 0;
	pthread_mutex_unlock(&r->lock);
	return is;
}

static bool job_lock(const struct job *j)
{
	if (!j->tenant)
		return true;
	pthread_mutex_lock(&j->tenant->lock);
	if (j->tenant->is_open && !j->pool->refusal[0] && !atomic_load(&j->tenant->is_kept_off))
		return true;
	pthread_mutex_unlock(&j->tenant->lock);
	return false;
}

static void job_unlock(const struct job *j)
{
	if (j->tenant)
		pthread_mutex_unlock(&j->tenant->lock);
}

/* Somebody still has it open, under the name it had. */
static bool is_held(const struct job *j)
{
	char kind[DEVICE_KIND_MAX];
	struct dm_state state;

	snprintf(kind, sizeof(kind), "%.*s", (int)strcspn(j->dev.name, "-"), j->dev.name);
	return dm_state_get(thin_name(&j->pool->row, kind, j->dev.id).text, &state, NULL) < 0 || state.exists;
}

static int piece_discard(const struct job *j, uint64_t at, uint64_t length, struct err *e)
{
	uint64_t range[2] = {at, length};
	struct err absent = ERR_INIT;
	AUTO_CLOSE int fd = device_open(j->pool, &j->dev, O_RDWR, &absent);

	if (fd == -ENODEV) {
		int rc = device_up(j->pool, &j->dev, false, e);
		fd = rc < 0 ? rc : device_open(j->pool, &j->dev, O_RDWR, e);
		if (fd < 0)
			return fd;
	}
	if (fd < 0)
		return err_set(e, absent.code, "%s", absent.msg);
	return ioctl(fd, BLKDISCARD, range) < 0 ? err_sys(e, -errno, "discard a part of a device") : 0;
}

/* In slices: it may be told to keep off meanwhile. */
static bool rest(const struct job *j, int ms)
{
	for (; ms > 0 && !(j->tenant && atomic_load(&j->tenant->is_kept_off)); ms -= REST_SLICE_MS)
		if (!worker_pause(&j->reaper->worker, ms < REST_SLICE_MS ? ms : REST_SLICE_MS))
			return false;
	return true;
}

/* 1: done, 0: it is to end, or the tenant has been closed. */
static int blocks_discard(const struct job *j, struct err *e)
{
	struct reaper *r = j->reaper;

	for (uint64_t at = 0; at < j->dev.size_bytes;) {
		uint64_t left = j->dev.size_bytes - at, length = left < PIECE ? left : PIECE;
		if (!job_lock(j))
			return 0;
		int64_t start = time_mono_ms();
		int rc = piece_discard(j, at, length, e);
		int64_t ms = time_mono_ms() - start;
		job_unlock(j);
		if (rc < 0)
			return rc;
		at += length;
		if (!rest(j, is_urgent(r) ? 1 : (int)ms * REST))
			return 0;
	}
	return 1;
}

static int job_finish(const struct job *j, struct err *e)
{
	if (!job_lock(j))
		return 0;
	int rc = device_down(j->pool, &j->dev, e);
	if (rc == 0)
		rc = pool_delete_now(j->pool, &j->dev, e);
	job_unlock(j);
	return rc < 0 ? rc : 1;
}

/* What stops half-way must not keep its pool up. */
static void job_down(const struct job *j)
{
	if (!job_lock(j))
		return;
	device_down(j->pool, &j->dev, NULL);
	job_unlock(j);
}

/* 1: gone. 0: not now. */
static int job_run(const struct job *j, struct err *e)
{
	struct err why = ERR_INIT;

	if (!j->dev.damage[0] && !j->reaper->store->forbids_discards) {
		int rc = blocks_discard(j, &why);
		if (rc == 0) {
			job_down(j);
			return 0;
		}
		if (rc < 0)
			log_warn("space is returned to the pool only", KV("device", device_name(j->pool, &j->dev).text),
			        KV("error", why.msg));
	}
	return job_finish(j, e);
}

static bool has_dead(const struct pool *p)
{
	AUTO_FREE struct device_row *rows = NULL;
	size_t n = 0;

	volumes_db_device_list(p->db, p->row.id, &rows, &n, NULL);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(rows[i].kind, DEVICE_DEAD))
			return true;
	return false;
}

/* How many are left that will need another round. */
static unsigned pool_reap(struct reaper *r, struct tenant *t, struct pool *p)
{
	AUTO_FREE struct device_row *rows = NULL;
	unsigned left = 0;
	size_t n = 0;

	if (p->refusal[0] || volumes_db_device_list(p->db, p->row.id, &rows, &n, NULL) < 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		struct job j = {.reaper = r, .tenant = t, .pool = p, .dev = rows[i]};
		struct err e = ERR_INIT;
		if (strcmp(rows[i].kind, DEVICE_DEAD))
			continue;
		int rc = is_held(&j) ? 0 : job_run(&j, &e);
		if (rc < 0)
			log_warn("a dead device stays for now", KV("device", device_name(p, &rows[i]).text),
			        KV("error", e.msg));
		left += rc <= 0;
		if (!worker_pause(&r->worker, 0))
			return left;
	}
	return left;
}

/* NULL unless it is open and has something dead: it may be closed when it is idle. */
static struct tenant *reference(struct tenant *t)
{
	pthread_mutex_lock(&t->lock);
	bool is_wanted = t->is_open && !atomic_load(&t->is_kept_off) && has_dead(&t->pool);
	if (is_wanted) {
		atomic_fetch_add(&t->users, 1);
		atomic_store(&t->is_reaped, true);
	}
	pthread_mutex_unlock(&t->lock);
	return is_wanted ? t : NULL;
}

static unsigned round_run(struct reaper *r)
{
	unsigned left = 0;

	for (struct tenant *t = tenants_first(r->store); t; t = t->next) {
		struct tenant *used = reference(t);
		if (!used)
			continue;
		left += pool_reap(r, t, &t->pool);
		tenant_put(used);
		atomic_store(&t->is_reaped, false);
	}
	left += pool_reap(r, NULL, &r->store->outer); /* last: what the tenants gave back was its */
	pthread_mutex_lock(&r->lock);
	r->n_rounds++;
	pthread_cond_broadcast(&r->idle);
	pthread_mutex_unlock(&r->lock);
	return left;
}

/* Closed tenants whose devices a stop or a crash has left dead. */
static void unfinished_open(struct reaper *r)
{
	AUTO_FREE struct pool_row *rows = NULL;
	size_t n = 0;

	volumes_db_pool_list(r->store->db, &rows, &n, NULL);
	for (size_t i = 0; i < n && worker_pause(&r->worker, 0); i++) {
		const struct pool p = {.db = r->store->db, .row = rows[i]};
		AUTO(tenant_cleanup) struct tenant *t = NULL;
		if (rows[i].tenant[0] && has_dead(&p))
			tenant_get(r->store, rows[i].tenant, false, &t, NULL); /* which pokes us */
	}
}

/* A repair can take minutes: the start does not wait for it. */
static void damaged_open(struct reaper *r)
{
	for (struct tenant *t = tenants_first(r->store); t && worker_pause(&r->worker, 0); t = t->next) {
		AUTO(tenant_cleanup) struct tenant *used = NULL;
		struct err e = ERR_INIT;
		pthread_mutex_lock(&t->lock);
		bool is_wanted = t->wants_repair;
		pthread_mutex_unlock(&t->lock);
		if (is_wanted && tenant_get(r->store, t->id, false, &used, &e) < 0)
			log_error("a tenant's storage cannot be opened", KV("tenant", t->id), KV("error", e.msg));
	}
}

static void *reaper_main(void *arg)
{
	struct reaper *r = arg;
	unsigned left = 0;

	volume_stop_fd_set(r->worker.stop_fd);
	damaged_open(r);
	unfinished_open(r);
	left = round_run(r); /* the host's pool may have dead ones, too, and nobody pokes for them */
	while (worker_wait(&r->worker, left ? AGAIN_MS : -1))
		left = round_run(r);
	return NULL;
}

int reaper_start(struct store *s, struct err *e)
{
	struct reaper *r = s->reaper = xcalloc(1, sizeof(*r));
	pthread_condattr_t attr;

	r->store = s;
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->idle, &attr);
	pthread_condattr_destroy(&attr);
	return worker_start(&r->worker, reaper_main, r, e);
}

void reaper_stop(struct store *s)
{
	if (!s->reaper)
		return;
	worker_stop(&s->reaper->worker);
	pthread_cond_destroy(&s->reaper->idle);
	pthread_mutex_destroy(&s->reaper->lock);
	free(STEAL(&s->reaper));
}

void reaper_poke(struct store *s)
{
	if (s->reaper)
		worker_poke(&s->reaper->worker);
}

void reaper_keep_off(struct tenant *t)
{
	int64_t deadline = time_mono_ms() + KEEP_OFF_MS;

	atomic_store(&t->is_kept_off, true);
	while (atomic_load(&t->is_reaped) && time_mono_ms() < deadline)
		usleep(5000);
}

void reaper_resume(struct store *s, struct tenant *t)
{
	atomic_store(&t->is_kept_off, false);
	reaper_poke(s);
}

/* The round that is under way may have passed what is waited for: the next one has not. */
void reaper_wait(struct store *s, int timeout_ms)
{
	struct reaper *r = s->reaper;
	struct timespec until;

	if (!r)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	pthread_mutex_lock(&r->lock);
	unsigned since = r->n_rounds;
	r->n_urgent++;
	for (int rc = 0; rc == 0 && r->n_rounds - since < 2;) {
		reaper_poke(s);
		rc = pthread_cond_timedwait(&r->idle, &r->lock, &until);
	}
	r->n_urgent--;
	pthread_mutex_unlock(&r->lock);
}
