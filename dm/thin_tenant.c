/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: which tenants are open. At the start those come up whose rootfs are leased, those that the kernel
 * still has up, and what was left half done; every other one at its first use. One that nobody uses for a while is
 * closed again, so that ten thousand tenants cost what the busy ones do.
 */
#include "thin.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"

#define IDLE_LOOK_MAX_MS 30000

/* To be looked at: what is up already stays up afterwards. */
static int look_begin(struct store *s, struct tenant *t, struct err *e)
{
	struct dm_state crypt;

	t->pool.is_look = s->access == STORE_LOOK;
	if (!t->pool.is_look)
		return 0;
	int rc = dm_state_get(thin_name(&s->outer.row, "crypt", t->outer.id).text, &crypt, e);
	t->was_up = rc == 0 && crypt.exists;
	return rc;
}

#define CLOSED "cannot be opened: "

/* The pool's state says why its tenant cannot be opened; what else it says is others'. */
static void state_note(struct store *s, struct tenant *t, const char *why)
{
	struct pool_row row;
	bool was_closed;

	if (s->access == STORE_LOOK || volumes_db_pool_get(s->db, t->id, &row, NULL) < 0)
		return;
	was_closed = !strncmp(row.state, CLOSED, strlen(CLOSED));
	if (!was_closed && (!*why || row.state[0])) /* a repair has said more, and goes by it (thin_repair.c) */
		return;
	snprintf(row.state, sizeof(row.state), "%s%s", *why ? CLOSED : "", why);
	if (volumes_db_pool_update(s->db, &row, NULL) == 0)
		snprintf(t->pool.row.state, sizeof(t->pool.row.state), "%s", row.state);
}

/* Under t->lock. */
static int tenant_ensure(struct store *s, struct tenant *t, bool may_create, struct err *e)
{
	struct err ignored = ERR_INIT;
	int rc;

	if (t->is_open)
		return 0;
	rc = s->access == STORE_LOOK ? 0 : tenant_dying_finish(s, t, NULL, e);
	if (rc < 0)
		return rc;
	rc = volumes_db_device_get(s->db, s->outer.row.id, "tenant", t->id, &t->outer, e);
	bool exists = rc == 0 && t->outer.is_ready;
	if (rc == 0 && !exists && s->access != STORE_LOOK)
		rc = stack_wreck_remove(s, t, e);
	if (rc == 0)
		rc = look_begin(s, t, e);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (!exists && !may_create)
		return -ENOENT;
	if (exists && t->outer.damage[0])
		return err_kind_set(e, -EUCLEAN, ERR_KIND_INTERNAL, "the storage of tenant %s is not usable: %s", t->id,
		        t->outer.damage);
	rc = exists ? stack_open(s, t, e) : stack_make(s, t, e);
	if (rc < 0) {
		if (!t->was_up)
			stack_down(s, t, &ignored);
		t->pool.db = NULL;
		err_wrap(e, "open the storage of tenant %s", t->id);
	}
	state_note(s, t, rc < 0 && e ? e->msg : "");
	t->is_open = rc == 0;
	if (rc == 0)
		reaper_poke(s);
	return rc;
}

struct tenant *tenant_find(struct store *s, const char *id)
{
	pthread_mutex_lock(&s->lock);
	struct tenant *t = s->tenants;
	while (t && strcmp(t->id, id))
		t = t->next;
	if (!t) {
		t = xcalloc(1, sizeof(*t));
		snprintf(t->id, sizeof(t->id), "%s", id);
		pthread_mutex_init(&t->lock, NULL);
		pthread_mutex_init(&t->pool.lock, NULL);
		t->cache_fd = -1;
		t->pool.store = s;
		t->next = s->tenants;
		s->tenants = t;
	}
	pthread_mutex_unlock(&s->lock);
	return t;
}

struct tenant *tenants_first(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	struct tenant *t = s->tenants;
	pthread_mutex_unlock(&s->lock);
	return t;
}

int tenant_get(struct store *s, const char *id, bool may_create, struct tenant **out, struct err *e)
{
	struct tenant *t = tenant_find(s, id);

	pthread_mutex_lock(&t->lock);
	int rc = tenant_ensure(s, t, may_create, e);
	if (rc == 0)
		atomic_fetch_add(&t->users, 1);
	pthread_mutex_unlock(&t->lock);
	*out = rc == 0 ? t : NULL;
	return rc;
}

void tenant_put(struct tenant *t)
{
	if (!t)
		return;
	atomic_store(&t->last_use_ms, time_mono_ms());
	atomic_fetch_sub(&t->users, 1);
}

bool tenant_is_leased(struct store *s, const char *id)
{
	AUTO_FREE struct lease_row *rows = NULL;
	size_t n = 0;

	return volumes_db_lease_list(s->db, id, "", &rows, &n, NULL) < 0 || n > 0;
}

/* --- idle -------------------------------------------------------------------------------------------------------- */

/* Under t->lock, and only there the number of users grows. */
static void idle_close(struct store *s, struct tenant *t)
{
	struct err e = ERR_INIT;

	if (!t->is_open || atomic_load(&t->users) ||
	        time_mono_ms() - atomic_load(&t->last_use_ms) < (int64_t)s->tenant_idle_ms)
		return;
	int rc = stack_let_go(s, t, &e);
	if (rc == 0)
		log_debug("an idle tenant was closed", KV("tenant", t->id));
	else if (rc < 0)
		log_warn("an idle tenant cannot be closed", KV("tenant", t->id), KV("error", e.msg));
	if (rc)
		atomic_store(&t->last_use_ms, time_mono_ms());
}

static void *idle_main(void *arg)
{
	struct store *s = arg;
	uint64_t look_ms = s->tenant_idle_ms / 4 < IDLE_LOOK_MAX_MS ? s->tenant_idle_ms / 4 + 1 : IDLE_LOOK_MAX_MS;
	struct timespec at;

	pthread_mutex_lock(&s->idle_lock);
	while (!s->is_closing) {
		clock_gettime(CLOCK_MONOTONIC, &at);
		uint64_t ns = (uint64_t)at.tv_nsec + look_ms % 1000 * 1000000;
		at.tv_sec += (time_t)(look_ms / 1000 + ns / 1000000000);
		at.tv_nsec = (long)(ns % 1000000000);
		if (pthread_cond_timedwait(&s->idle_wake, &s->idle_lock, &at) == 0)
			continue;
		pthread_mutex_unlock(&s->idle_lock);
		for (struct tenant *t = tenants_first(s); t; t = t->next)
			if (pthread_mutex_trylock(&t->lock) == 0) {
				idle_close(s, t);
				pthread_mutex_unlock(&t->lock);
			}
		pthread_mutex_lock(&s->idle_lock);
	}
	pthread_mutex_unlock(&s->idle_lock);
	return NULL;
}

static int idle_start(struct store *s, struct err *e)
{
	pthread_condattr_t attr;
	sigset_t all, before;

	if (!s->tenant_idle_ms)
		return 0;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->idle_wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&s->idle_lock, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&s->idle_thread, NULL, idle_main, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	s->has_idle_thread = rc == 0;
	return rc ? err_sys(e, -rc, "start a thread") : 0;
}

static void idle_stop(struct store *s)
{
	if (!s->has_idle_thread)
		return;
	pthread_mutex_lock(&s->idle_lock);
	s->is_closing = true;
	pthread_cond_signal(&s->idle_wake);
	pthread_mutex_unlock(&s->idle_lock);
	pthread_join(s->idle_thread, NULL);
	pthread_cond_destroy(&s->idle_wake);
	pthread_mutex_destroy(&s->idle_lock);
}

/* --- start and stop ---------------------------------------------------------------------------------------------- */

/* Leased, half made, dying, or up in the kernel because builderd died and the kernel did not. */
static bool is_wanted(struct store *s, const struct device_row *row)
{
	struct dm_state state = {0};

	if (strcmp(row->kind, "tenant"))
		return !strcmp(row->kind, TENANT_DYING); /* else it is dead */
	return !row->is_ready || tenant_is_leased(s, row->name) ||
	       dm_state_get(device_name(&s->outer, row).text, &state, NULL) < 0 || state.exists;
}

int tenants_open(struct store *s, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	size_t n = 0;
	int rc = volumes_db_device_list(s->db, s->outer.row.id, &rows, &n, e);

	for (size_t i = 0; i < n && rc == 0; i++) {
		AUTO(tenant_cleanup) struct tenant *t = NULL;
		struct err why = ERR_INIT;
		if (!is_wanted(s, &rows[i]))
			continue;
		int one = tenant_get(s, rows[i].name, false, &t, &why);
		if (one < 0 && one != -ENOENT)
			log_error("a tenant's storage cannot be opened", KV("tenant", rows[i].name),
			        KV("error", why.msg));
	}
	return rc < 0 ? rc : idle_start(s, e);
}

bool tenants_close(struct store *s)
{
	bool all_down = true;

	idle_stop(s);
	while (s->tenants) {
		struct tenant *t = s->tenants;
		struct err e = ERR_INIT;
		s->tenants = t->next;
		int rc = t->is_open && !t->was_up ? stack_down(s, t, &e) : 0;
		if (rc < 0)
			log_warn("a tenant's storage stays up", KV("tenant", t->id), KV("error", e.msg));
		else if (rc > 0)
			log_info("a tenant's storage stays up: its rootfs are leased", KV("tenant", t->id));
		all_down = all_down && rc == 0;
		cleanup_close(&t->cache_fd);
		pthread_mutex_destroy(&t->pool.lock);
		pthread_mutex_destroy(&t->lock);
		free(t);
	}
	return all_down;
}
