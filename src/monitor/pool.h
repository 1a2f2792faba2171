/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The storage that a tenant has, shared by its builds that run.
 *
 * builderd owns the figures. A build may have charged what it was granted and no byte more; its builderd-fs asks before
 * it goes beyond, and gets a step ahead of what it needs. What is granted and not used counts as used: so when a grant
 * does not fit, the other builds of the tenant are asked for what they do not use, and only when all have answered is
 * the answer no. One that does not answer is not waited for longer than POOL_WAIT_MS; it keeps what it was granted.
 *
 * A finished product counts here until builderd-api says that it knows it: its word on what is stored comes with the
 * number of products that it has heard of.
 *
 * Thread-safe: builds call from their threads, the rest comes from the main thread.
 */
#ifndef MONITOR_POOL_H
#define MONITOR_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/channel.h"

#define POOL_STEP_BYTES (16ull << 20)
#define POOL_WAIT_MS 3000

struct pool;

struct pools {
	pthread_mutex_t lock;
	struct pool *list; /* owns */
};

/* A running build. */
struct pool_member {
	struct pool_member *next;
	struct pools *all;
	struct pool *pool;   /* NULL: its tenant has no limit */
	uint64_t grant;      /* bytes that it may have charged */
	uint64_t need;       /* what it wants to have granted in all, and waits for; 0: nothing */
	bool has_asked;      /* the others were asked for this need */
	bool is_asked;       /* by another; not answered yet */
	int64_t deadline_ms; /* of what it needs */
	struct channel *fs;  /* its builderd-fs; NULL: none runs */
	int wake_fd;         /* owns: eventfd, readable when it should look again */
};

void pools_init(struct pools *all);
/* builderd-api is a new one: what it says from now on has all products in it. */
void pools_forget(struct pools *all);
/* No member may be left. */
void pools_free(struct pools *all);

/* What builderd-api says of a tenant: its limit, what it stores, the number of BUILD_DONE that are in that. */
void pool_set(struct pools *all, const char *tenant, uint64_t max_bytes, uint64_t stored_bytes, uint64_t done_seen);

/* 0 or -errno. */
int pool_join(struct pools *all, const char *tenant, struct pool_member *m);
/* PRODUCT_BYTES: of its product, 0 without one; DONE: the number of its BUILD_DONE. */
void pool_leave(struct pool_member *m, uint64_t product_bytes, uint64_t done);

/* A builderd-fs starts (USED bytes are charged before it does anything) or has ended (with what it left). The grant:
 * UINT64_MAX without a limit. Once it was sent its first message, it can be asked by others: pool_attach(). */
uint64_t pool_begin(struct pool_member *m, uint64_t used);
void pool_attach(struct pool_member *m, struct channel *fs);
void pool_end(struct pool_member *m, uint64_t used);
/* Before the channel of its builderd-fs is closed. */
void pool_detach(struct pool_member *m);

/* It wants NEED bytes in all; pool_decide() answers, now or later. */
void pool_need(struct pool_member *m, uint64_t need);
/* It answers that it keeps USED bytes. False: that is more than it was granted. */
bool pool_return(struct pool_member *m, uint64_t used);
/* True: *GRANT is the answer; less than it needs means no. Call after pool_need, when wake_fd is readable (which it
 * then no longer is), and after pool_timeout_ms (-1: it waits for nothing). */
bool pool_decide(struct pool_member *m, uint64_t *grant);
int pool_timeout_ms(struct pool_member *m);

#endif
