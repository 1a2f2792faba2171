/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stride scheduling (Waldspurger 1995): each start moves the tenant's pass forward by STRIDE / weight, and the eligible
 * tenant with the least pass is next. With equal weights that is round robin, so a tenant with a thousand waiting
 * builds delays another one by one build, not by a thousand; a tenant of weight 8 starts eight builds for one of weight
 * 1, and nobody starves. A tenant that comes back begins at the present pass: what it did not use is not saved up.
 */
#include "build/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct waiting {
	struct waiting *next;
	char build_id[BUILD_ID_MAX];
	unsigned limit; /* it starts while fewer builds of its tenant run */
};

#define STRIDE (1u << 20)

struct queue_tenant {
	struct queue_tenant *next; /* among equals the head is asked first */
	char id[TENANT_ID_MAX];
	struct waiting *head, **tail;
	unsigned waiting, running;
	uint64_t pass, stride;
};

struct queue {
	struct queue_tenant *head;
	unsigned slots, running, waiting;
	uint64_t pass; /* of the tenant served last */
};

struct queue *queue_new(unsigned slots)
{
	struct queue *q = xcalloc(1, sizeof(*q));

	q->slots = slots;
	return q;
}

void queue_free(struct queue *q)
{
	if (!q)
		return;
	for (struct queue_tenant *t = q->head, *next; t; t = next) {
		next = t->next;
		for (struct waiting *w = t->head, *after; w; w = after) {
			after = w->next;
			free(w);
		}
		free(t);
	}
	free(q);
}

static struct queue_tenant *tenant_find(const struct queue *q, const char *id)
{
	struct queue_tenant *t = q->head;

	while (t && strcmp(t->id, id) != 0)
		t = t->next;
	return t;
}

/* Unlink T; the caller frees it or puts it back. */
static void tenant_unlink(struct queue *q, struct queue_tenant *t)
{
	struct queue_tenant **at = &q->head;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	t->next = NULL;
}

static void tenant_append(struct queue *q, struct queue_tenant *t)
{
	struct queue_tenant **at = &q->head;

	while (*at)
		at = &(*at)->next;
	*at = t;
}

static void tenant_drop_if_idle(struct queue *q, struct queue_tenant *t)
{
	if (t->waiting || t->running)
		return;
	tenant_unlink(q, t);
	free(t);
}

static struct queue_tenant *tenant_new(struct queue *q, const char *id)
{
	struct queue_tenant *t = xcalloc(1, sizeof(*t));

	snprintf(t->id, sizeof(t->id), "%s", id);
	t->tail = &t->head;
	tenant_append(q, t);
	return t;
}

static struct waiting *waiting_new(const char *build_id, unsigned limit)
{
	struct waiting *w = xcalloc(1, sizeof(*w));

	snprintf(w->build_id, sizeof(w->build_id), "%s", build_id);
	w->limit = limit ? limit : 1;
	return w;
}

/* The tenant; one that comes new begins at the present pass. */
static struct queue_tenant *tenant_of(struct queue *q, const char *id, unsigned weight)
{
	struct queue_tenant *t = tenant_find(q, id);

	if (!t) {
		t = tenant_new(q, id);
		t->pass = q->pass;
	}
	t->stride = STRIDE / (weight ? weight : 1);
	return t;
}

void queue_push(struct queue *q, const struct queue_entry *n)
{
	struct queue_tenant *t = tenant_of(q, n->tenant_id, n->weight);
	struct waiting *w = waiting_new(n->build_id, n->tenant_limit);

	*t->tail = w;
	t->tail = &w->next;
	t->waiting++;
	q->waiting++;
}

void queue_push_front(struct queue *q, const struct queue_entry *n)
{
	struct queue_tenant *t = tenant_of(q, n->tenant_id, n->weight);
	struct waiting *w = waiting_new(n->build_id, n->tenant_limit);

	w->next = t->head;
	if (!t->head)
		t->tail = &w->next;
	t->head = w;
	t->waiting++;
	q->waiting++;
}

/* Unlink *AT from T. */
static void waiting_drop(struct queue *q, struct queue_tenant *t, struct waiting **at)
{
	struct waiting *w = *at;

	*at = w->next;
	if (!*at)
		t->tail = at;
	t->waiting--;
	q->waiting--;
	free(w);
}

bool queue_pop(struct queue *q, char build_id[BUILD_ID_MAX])
{
	struct queue_tenant *best = NULL;

	if (q->running >= q->slots)
		return false;
	for (struct queue_tenant *t = q->head; t; t = t->next)
		if (t->waiting && t->running < t->head->limit && (!best || t->pass < best->pass))
			best = t;
	if (!best)
		return false;
	memcpy(build_id, best->head->build_id, BUILD_ID_MAX);
	waiting_drop(q, best, &best->head);
	best->running++;
	q->running++;
	q->pass = best->pass > q->pass ? best->pass : q->pass;
	best->pass = q->pass + best->stride;
	tenant_unlink(q, best); /* behind its equals */
	tenant_append(q, best);
	return true;
}

void queue_finish(struct queue *q, const char *tenant_id)
{
	struct queue_tenant *t = tenant_find(q, tenant_id);

	if (!t || !t->running)
		return;
	t->running--;
	q->running--;
	tenant_drop_if_idle(q, t);
}

bool queue_remove(struct queue *q, const char *tenant_id, const char *build_id)
{
	struct queue_tenant *t = tenant_find(q, tenant_id);

	for (struct waiting **at = t ? &t->head : NULL; at && *at; at = &(*at)->next)
		if (!strcmp((*at)->build_id, build_id)) {
			waiting_drop(q, t, at);
			tenant_drop_if_idle(q, t);
			return true;
		}
	return false;
}

unsigned queue_running(const struct queue *q)
{
	return q->running;
}

unsigned queue_waiting(const struct queue *q)
{
	return q->waiting;
}

unsigned queue_tenant_running(const struct queue *q, const char *tenant_id)
{
	const struct queue_tenant *t = tenant_find(q, tenant_id);

	return t ? t->running : 0;
}

unsigned queue_tenant_waiting(const struct queue *q, const char *tenant_id)
{
	const struct queue_tenant *t = tenant_find(q, tenant_id);

	return t ? t->waiting : 0;
}
