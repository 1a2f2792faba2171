/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tenants stand in a ring; pop asks each once, beginning behind the one it served last. So a tenant with a thousand
 * waiting builds delays another one by one build, not by a thousand.
 */
#include "build/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct waiting {
	struct waiting *next;
	char build_id[BUILD_ID_MAX];
};

struct tenant {
	struct tenant *next; /* ring order: the head is asked first */
	char id[TENANT_ID_MAX];
	struct waiting *head, **tail;
	unsigned waiting, running, limit;
};

struct queue {
	struct tenant *head;
	unsigned slots, running, waiting;
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
	for (struct tenant *t = q->head, *next; t; t = next) {
		next = t->next;
		for (struct waiting *w = t->head, *after; w; w = after) {
			after = w->next;
			free(w);
		}
		free(t);
	}
	free(q);
}

static struct tenant *tenant_find(const struct queue *q, const char *id)
{
	struct tenant *t = q->head;

	while (t && strcmp(t->id, id) != 0)
		t = t->next;
	return t;
}

/* Unlink T; the caller frees it or puts it back. */
static void tenant_unlink(struct queue *q, struct tenant *t)
{
	struct tenant **at = &q->head;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	t->next = NULL;
}

static void tenant_append(struct queue *q, struct tenant *t)
{
	struct tenant **at = &q->head;

	while (*at)
		at = &(*at)->next;
	*at = t;
}

static void tenant_drop_if_idle(struct queue *q, struct tenant *t)
{
	if (t->waiting || t->running)
		return;
	tenant_unlink(q, t);
	free(t);
}

static struct tenant *tenant_new(struct queue *q, const char *id)
{
	struct tenant *t = xcalloc(1, sizeof(*t));

	snprintf(t->id, sizeof(t->id), "%s", id);
	t->tail = &t->head;
	tenant_append(q, t);
	return t;
}

void queue_push(struct queue *q, const char *tenant_id, const char *build_id, unsigned tenant_limit)
{
	struct tenant *t = tenant_find(q, tenant_id);
	struct waiting *w = xcalloc(1, sizeof(*w));

	if (!t)
		t = tenant_new(q, tenant_id);
	snprintf(w->build_id, sizeof(w->build_id), "%s", build_id);
	t->limit = tenant_limit ? tenant_limit : 1;
	*t->tail = w;
	t->tail = &w->next;
	t->waiting++;
	q->waiting++;
}

/* Unlink *AT from T. */
static void waiting_drop(struct queue *q, struct tenant *t, struct waiting **at)
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
	struct tenant *t = q->head;

	if (q->running >= q->slots)
		return false;
	while (t && (!t->waiting || t->running >= t->limit))
		t = t->next;
	if (!t)
		return false;
	memcpy(build_id, t->head->build_id, BUILD_ID_MAX);
	waiting_drop(q, t, &t->head);
	t->running++;
	q->running++;
	tenant_unlink(q, t); /* to the end of the ring: the others first */
	tenant_append(q, t);
	return true;
}

void queue_finish(struct queue *q, const char *tenant_id)
{
	struct tenant *t = tenant_find(q, tenant_id);

	if (!t || !t->running)
		return;
	t->running--;
	q->running--;
	tenant_drop_if_idle(q, t);
}

bool queue_remove(struct queue *q, const char *tenant_id, const char *build_id)
{
	struct tenant *t = tenant_find(q, tenant_id);

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
	const struct tenant *t = tenant_find(q, tenant_id);

	return t ? t->running : 0;
}

unsigned queue_tenant_waiting(const struct queue *q, const char *tenant_id)
{
	const struct tenant *t = tenant_find(q, tenant_id);

	return t ? t->waiting : 0;
}
