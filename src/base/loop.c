/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

struct loop_source {
	struct loop *loop;
	int fd; /* borrowed; -1 once removed */
	loop_fd_fn *fn;
	void *arg;
	struct loop_source *next_dead;
};

struct loop_timer {
	struct loop *loop;
	int64_t due_ms;
	uint64_t serial; /* equal times fire in the order they were set */
	size_t slot;     /* index in the heap */
	loop_timer_fn *fn;
	void *arg;
};

struct loop {
	int epoll_fd;
	bool is_stopped;
	int code;
	struct loop_source *dead; /* removed in this round, freed at its end */
	struct loop_timer **heap; /* owns: binary heap by due time */
	size_t heap_len, heap_cap;
	uint64_t serial;
};

int64_t time_mono_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t time_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct loop *loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		free(l);
		return NULL;
	}
	return l;
}

static void bury(struct loop *l)
{
	while (l->dead) {
		struct loop_source *s = l->dead;
		l->dead = s->next_dead;
		free(s);
	}
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	bury(l);
	for (size_t i = 0; i < l->heap_len; i++)
		free(l->heap[i]);
	free(l->heap);
	close(l->epoll_fd);
	free(l);
}

struct loop_source *loop_fd_add(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *arg)
{
	struct loop_source *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	*s = (struct loop_source){.loop = l, .fd = fd, .fn = fn, .arg = arg};
	struct epoll_event ev = {.events = events, .data.ptr = s};
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		free(s);
		return NULL;
	}
	return s;
}

void loop_fd_set(struct loop_source *s, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};

	epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_MOD, s->fd, &ev);
}

void loop_fd_del(struct loop_source *s)
{
	if (!s)
		return;
	epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
	s->fd = -1;
	s->next_dead = s->loop->dead;
	s->loop->dead = s;
}

static bool is_before(const struct loop_timer *a, const struct loop_timer *b)
{
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->serial < b->serial;
}

static void heap_put(struct loop *l, size_t i, struct loop_timer *t)
{
	l->heap[i] = t;
	t->slot = i;
}

static void heap_up(struct loop *l, size_t i)
{
	struct loop_timer *t = l->heap[i];

	for (; i && is_before(t, l->heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap_put(l, i, l->heap[(i - 1) / 2]);
	heap_put(l, i, t);
}

static void heap_down(struct loop *l, size_t i)
{
	struct loop_timer *t = l->heap[i];

	for (;;) {
		size_t kid = 2 * i + 1;
		if (kid >= l->heap_len)
			break;
		if (kid + 1 < l->heap_len && is_before(l->heap[kid + 1], l->heap[kid]))
			kid++;
		if (!is_before(l->heap[kid], t))
			break;
		heap_put(l, i, l->heap[kid]);
		i = kid;
	}
	heap_put(l, i, t);
}

static void heap_remove(struct loop *l, size_t i)
{
	struct loop_timer *last = l->heap[--l->heap_len];

	if (i == l->heap_len)
		return;
	heap_put(l, i, last);
	heap_up(l, i);
	heap_down(l, last->slot);
}

struct loop_timer *loop_timer_add(struct loop *l, int64_t delay_ms, loop_timer_fn *fn, void *arg)
{
	struct loop_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	*t = (struct loop_timer){
	        .loop = l, .due_ms = time_mono_ms() + (delay_ms > 0 ? delay_ms : 0), .fn = fn, .arg = arg};
	t->serial = l->serial++;
	if (l->heap_len == l->heap_cap) {
		l->heap_cap = l->heap_cap ? l->heap_cap * 2 : 16;
		l->heap = xrealloc(l->heap, l->heap_cap * sizeof(struct loop_timer *));
	}
	l->heap[l->heap_len++] = t;
	heap_up(l, l->heap_len - 1);
	return t;
}

void loop_timer_del(struct loop_timer *t)
{
	if (!t)
		return;
	heap_remove(t->loop, t->slot);
	free(t);
}

static int next_timeout_ms(const struct loop *l)
{
	if (!l->heap_len)
		return -1;
	int64_t wait = l->heap[0]->due_ms - time_mono_ms();
	if (wait < 0)
		return 0;
	return wait > 60000 ? 60000 : (int)wait;
}

static void fire_timers(struct loop *l)
{
	int64_t now = time_mono_ms();

	while (l->heap_len && l->heap[0]->due_ms <= now && !l->is_stopped) {
		struct loop_timer *t = l->heap[0];
		loop_timer_fn *fn = t->fn;
		void *arg = t->arg;
		heap_remove(l, 0);
		free(t);
		fn(arg);
	}
}

int loop_run(struct loop *l)
{
	l->is_stopped = false;
	while (!l->is_stopped) {
		struct epoll_event ev[64];
		int n = epoll_wait(l->epoll_fd, ev, 64, next_timeout_ms(l));
		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n && !l->is_stopped; i++) {
			struct loop_source *s = ev[i].data.ptr;
			if (s->fd >= 0)
				s->fn(s->arg, ev[i].events);
		}
		bury(l);
		fire_timers(l);
		bury(l);
	}
	return l->code;
}

void loop_stop(struct loop *l, int code)
{
	l->is_stopped = true;
	l->code = code;
}
