/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unpack/ring.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/buf.h"

struct ring {
	pthread_mutex_t lock;
	pthread_cond_t filled, freed;
	unsigned char *slots; /* owns */
	size_t len[RING_SLOTS];
	unsigned head, count; /* of the filled slots; the consumer holds the one at head while is_held */
	bool is_held, is_closed, is_cancelled;
	struct err why;
};

struct ring *ring_new(void)
{
	struct ring *r = xcalloc(1, sizeof(*r));

	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->filled, NULL);
	pthread_cond_init(&r->freed, NULL);
	r->slots = xcalloc(RING_SLOTS, RING_SLOT_BYTES);
	return r;
}

void ring_free(struct ring *r)
{
	if (!r)
		return;
	pthread_cond_destroy(&r->freed);
	pthread_cond_destroy(&r->filled);
	pthread_mutex_destroy(&r->lock);
	free(r->slots);
	free(r);
}

unsigned char *ring_reserve(struct ring *r)
{
	unsigned char *p = NULL;

	pthread_mutex_lock(&r->lock);
	while (r->count == RING_SLOTS && !r->is_cancelled)
		pthread_cond_wait(&r->freed, &r->lock);
	if (!r->is_cancelled)
		p = r->slots + (size_t)((r->head + r->count) % RING_SLOTS) * RING_SLOT_BYTES;
	pthread_mutex_unlock(&r->lock);
	return p;
}

void ring_commit(struct ring *r, size_t len)
{
	pthread_mutex_lock(&r->lock);
	r->len[(r->head + r->count) % RING_SLOTS] = len;
	r->count++;
	pthread_cond_signal(&r->filled);
	pthread_mutex_unlock(&r->lock);
}

void ring_close(struct ring *r, const struct err *why)
{
	pthread_mutex_lock(&r->lock);
	r->is_closed = true;
	if (why)
		r->why = *why;
	pthread_cond_signal(&r->filled);
	pthread_mutex_unlock(&r->lock);
}

ssize_t ring_next(struct ring *r, const unsigned char **data, struct err *e)
{
	ssize_t n = 0;

	pthread_mutex_lock(&r->lock);
	if (r->is_held) {
		r->head = (r->head + 1) % RING_SLOTS;
		r->count--;
		r->is_held = false;
		pthread_cond_signal(&r->freed);
	}
	while (!r->count && !r->is_closed)
		pthread_cond_wait(&r->filled, &r->lock);
	if (r->count) {
		r->is_held = true;
		*data = r->slots + (size_t)r->head * RING_SLOT_BYTES;
		n = (ssize_t)r->len[r->head];
	} else if (r->why.code) {
		*e = r->why;
		n = r->why.code;
	}
	pthread_mutex_unlock(&r->lock);
	return n;
}

void ring_cancel(struct ring *r)
{
	pthread_mutex_lock(&r->lock);
	r->is_cancelled = true;
	pthread_cond_signal(&r->freed);
	pthread_mutex_unlock(&r->lock);
}
