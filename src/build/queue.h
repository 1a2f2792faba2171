/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which build starts next: first in, first out within a tenant; fair between tenants, in proportion to their weights;
 * at most SLOTS at a time in all and at most a tenant's own limit for each. Pure logic: no clock, no I/O. Memory is one
 * small node for each waiting build and one for each tenant that has builds waiting or running.
 */
#ifndef BUILD_QUEUE_H
#define BUILD_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/message.h"

struct queue;

struct queue *queue_new(unsigned slots);
void queue_free(struct queue *q);

struct queue_entry {
	const char *tenant_id, *build_id;
	unsigned tenant_limit; /* it starts while fewer builds of the tenant run; at least 1 */
	unsigned weight;       /* of the tenant, at least 1; the latest value counts */
};

/* Add a build behind the tenant's others. */
void queue_push(struct queue *q, const struct queue_entry *n);
/* Before them: it was popped, and could not be started. */
void queue_push_front(struct queue *q, const struct queue_entry *n);
/* Take the next build that may run and count it as running. False: nothing may start now. */
bool queue_pop(struct queue *q, char build_id[BUILD_ID_MAX]);
/* A build that pop returned has ended. */
void queue_finish(struct queue *q, const char *tenant_id);
/* Forget a waiting build. False: it does not wait here. */
bool queue_remove(struct queue *q, const char *tenant_id, const char *build_id);

unsigned queue_running(const struct queue *q);
unsigned queue_waiting(const struct queue *q);
unsigned queue_tenant_running(const struct queue *q, const char *tenant_id);
unsigned queue_tenant_waiting(const struct queue *q, const char *tenant_id);

#endif
