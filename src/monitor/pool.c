/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"

/* A product that builderd-api has not counted yet. */
struct product {
	struct product *next;
	uint64_t bytes, done;
};

struct pool {
	struct pool *next;
	char tenant[TENANT_ID_MAX];
	uint64_t max, stored;
	struct pool_member *members;
	struct product *products; /* owns */
};

void pools_init(struct pools *all)
{
	*all = (struct pools){0};
	pthread_mutex_init(&all->lock, NULL);
}

static void products_drop(struct pool *p, uint64_t done_seen)
{
	for (struct product **at = &p->products; *at;) {
		struct product *x = *at;
		if (x->done > done_seen) {
			at = &x->next;
			continue;
		}
		*at = x->next;
		free(x);
	}
}

void pools_forget(struct pools *all)
{
	pthread_mutex_lock(&all->lock);
	for (struct pool *p = all->list; p; p = p->next)
		products_drop(p, UINT64_MAX);
	pthread_mutex_unlock(&all->lock);
}

void pools_free(struct pools *all)
{
	while (all->list) {
		struct pool *p = all->list;
		all->list = p->next;
		products_drop(p, UINT64_MAX);
		free(p);
	}
}

static struct pool *find(const struct pools *all, const char *tenant)
{
	struct pool *p = all->list;

	while (p && strcmp(p->tenant, tenant) != 0)
		p = p->next;
	return p;
}

/* Those that nothing depends on. */
static void sweep(struct pools *all)
{
	for (struct pool **at = &all->list; *at;) {
		struct pool *p = *at;
		if (p->members || p->products) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		free(p);
	}
}

static void wake(const struct pool *p)
{
	uint64_t one = 1;

	for (const struct pool_member *m = p->members; m; m = m->next)
		if (m->need && write(m->wake_fd, &one, sizeof(one)) < 0)
			log_warn("a build cannot be woken", KV("tenant", p->tenant));
}

void pool_set(struct pools *all, const char *tenant, uint64_t max_bytes, uint64_t stored_bytes, uint64_t done_seen)
{
	pthread_mutex_lock(&all->lock);
	struct pool *p = find(all, tenant);
	if (!p) {
		sweep(all);
		p = xcalloc(1, sizeof(*p));
		snprintf(p->tenant, sizeof(p->tenant), "%s", tenant);
		p->next = all->list;
		all->list = p;
	}
	p->max = max_bytes;
	p->stored = stored_bytes;
	products_drop(p, done_seen);
	wake(p);
	pthread_mutex_unlock(&all->lock);
}

int pool_join(struct pools *all, const char *tenant, struct pool_member *m)
{
	*m = (struct pool_member){.all = all, .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (m->wake_fd < 0)
		return -errno;
	pthread_mutex_lock(&all->lock);
	m->pool = find(all, tenant);
	if (m->pool) {
		m->next = m->pool->members;
		m->pool->members = m;
	}
	pthread_mutex_unlock(&all->lock);
	return 0;
}

void pool_leave(struct pool_member *m, uint64_t product_bytes, uint64_t done)
{
	struct pool *p = m->pool;

	if (p) {
		pthread_mutex_lock(&m->all->lock);
		for (struct pool_member **at = &p->members; *at; at = &(*at)->next)
			if (*at == m) {
				*at = m->next;
				break;
			}
		if (product_bytes) {
			struct product *x = xcalloc(1, sizeof(*x));
			*x = (struct product){.next = p->products, .bytes = product_bytes, .done = done};
			p->products = x;
		}
		wake(p);
		pthread_mutex_unlock(&m->all->lock);
	}
	m->pool = NULL;
	cleanup_close(&m->wake_fd);
}

void pool_attach(struct pool_member *m, struct channel *fs)
{
	if (!m->pool)
		return;
	pthread_mutex_lock(&m->all->lock);
	m->fs = fs;
	pthread_mutex_unlock(&m->all->lock);
}

uint64_t pool_begin(struct pool_member *m, uint64_t used)
{
	if (!m->pool)
		return UINT64_MAX;
	pthread_mutex_lock(&m->all->lock);
	/* What is there is there; for more than that it asks. */
	if (m->grant < used)
		m->grant = used;
	uint64_t grant = m->grant;
	pthread_mutex_unlock(&m->all->lock);
	return grant;
}

void pool_detach(struct pool_member *m)
{
	if (!m->pool)
		return;
	pthread_mutex_lock(&m->all->lock);
	m->fs = NULL;
	m->is_asked = false;
	m->need = 0;
	wake(m->pool);
	pthread_mutex_unlock(&m->all->lock);
}

void pool_end(struct pool_member *m, uint64_t used)
{
	if (!m->pool)
		return;
	pool_detach(m);
	pthread_mutex_lock(&m->all->lock);
	m->grant = used;
	wake(m->pool);
	pthread_mutex_unlock(&m->all->lock);
}

void pool_need(struct pool_member *m, uint64_t need)
{
	pthread_mutex_lock(&m->all->lock);
	m->need = need;
	m->has_asked = false;
	m->deadline_ms = time_mono_ms() + POOL_WAIT_MS;
	pthread_mutex_unlock(&m->all->lock);
}

bool pool_return(struct pool_member *m, uint64_t used)
{
	if (!m->pool)
		return false;
	pthread_mutex_lock(&m->all->lock);
	bool is_fine = used <= m->grant;
	if (is_fine)
		m->grant = used;
	m->is_asked = false;
	wake(m->pool);
	pthread_mutex_unlock(&m->all->lock);
	return is_fine;
}

/* What nobody has: neither stored, nor granted to others. */
static uint64_t left_for(const struct pool_member *m, bool *others_wait)
{
	uint64_t taken = m->pool->stored;

	*others_wait = false;
	for (const struct product *x = m->pool->products; x; x = x->next)
		taken += x->bytes;
	for (const struct pool_member *o = m->pool->members; o; o = o->next)
		if (o != m) {
			taken += o->grant;
			*others_wait |= o->need != 0;
		}
	return taken < m->pool->max ? m->pool->max - taken : 0;
}

/* Ask the others once; true while one has not answered. */
static bool others_owe(struct pool_member *m)
{
	const struct msg_fs_recall recall = {0};
	bool owe = false;

	for (struct pool_member *o = m->pool->members; o; o = o->next) {
		if (o == m)
			continue;
		if (!m->has_asked && !o->is_asked && o->fs)
			o->is_asked = channel_send_struct(o->fs, MSG_FS_RECALL, recall) >= 0;
		owe |= o->is_asked;
	}
	m->has_asked = true;
	return owe && time_mono_ms() < m->deadline_ms;
}

/* Under the lock. */
static bool decide(struct pool_member *m)
{
	bool others_wait;
	uint64_t left = left_for(m, &others_wait), ahead = others_wait ? 0 : POOL_STEP_BYTES;

	if (m->need <= left)
		m->grant = left - m->need < ahead ? left : m->need + ahead;
	else if (others_owe(m))
		return false;
	else if (m->grant < left)
		m->grant = left; /* to the last byte */
	return true;
}

bool pool_decide(struct pool_member *m, uint64_t *grant)
{
	uint64_t count;

	if (!m->pool)
		return false;
	pthread_mutex_lock(&m->all->lock);
	if (read(m->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_warn("a build's eventfd cannot be read", KV("tenant", m->pool->tenant));
	bool is_done = m->need && decide(m);
	if (is_done)
		m->need = 0;
	*grant = m->grant;
	pthread_mutex_unlock(&m->all->lock);
	return is_done;
}

int pool_timeout_ms(struct pool_member *m)
{
	pthread_mutex_lock(&m->all->lock);
	int64_t left = m->need ? m->deadline_ms - time_mono_ms() : -1;
	int ms = !m->need ? -1 : left < 0 ? 0 : (int)left + 1;
	pthread_mutex_unlock(&m->all->lock);
	return ms;
}
