/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tenant's storage under its builds: threads stand for builds, their other ends for builderd-fs. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor/pool.h"

#define MIB (1ull << 20)

struct party {
	struct pool_member member;
	struct channel ours, theirs;
	uint64_t used, grant, wanted; /* of the pretended builderd-fs */
	bool is_deaf;                 /* never answers a recall */
	unsigned seed, refusals;
};

static struct pools pools;

static void party_begin(struct party *p)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	channel_init(&p->ours, fds[0], ROLE_FS);
	channel_init(&p->theirs, fds[1], ROLE_MONITOR);
	p->theirs.state = MSG_STATE_RUNNING;
	cr_assert_eq(pool_join(&pools, "tenant", &p->member), 0);
	p->grant = pool_begin(&p->member, p->used);
	pool_attach(&p->member, &p->ours);
}

static void party_end(struct party *p)
{
	pool_leave(&p->member, 0, 0);
	channel_close(&p->ours);
	channel_close(&p->theirs);
}

/* What builderd-fs does with a recall, and builderd with the answer. */
static void recall_serve(struct party *p)
{
	struct pollfd fd = {.fd = p->theirs.fd, .events = POLLIN};
	struct err e = ERR_INIT;
	struct message m;

	while (!p->is_deaf && poll(&fd, 1, 0) > 0) {
		cr_assert_eq(channel_recv(&p->theirs, &m, &e), 1, "%s", e.msg);
		cr_assert_eq(m.type, MSG_FS_RECALL);
		message_release(&m);
		p->grant = p->used;
		cr_assert(pool_return(&p->member, p->used));
	}
}

/* As ledger_reserve: true if BYTES more fit. */
static bool reserve(struct party *p, uint64_t bytes)
{
	if (p->used + bytes > p->grant) {
		uint64_t grant = 0;
		pool_need(&p->member, p->used + bytes);
		while (!pool_decide(&p->member, &grant)) {
			struct pollfd fds[2] = {{p->member.wake_fd, POLLIN, 0}, {p->theirs.fd, POLLIN, 0}};
			poll(fds, p->is_deaf ? 1 : 2, pool_timeout_ms(&p->member));
			recall_serve(p);
		}
		p->grant = grant;
	}
	if (p->used + bytes > p->grant)
		return false;
	p->used += bytes;
	return true;
}

static void setup(uint64_t max, uint64_t stored)
{
	pools_init(&pools);
	pool_set(&pools, "tenant", max, stored, 0);
}

static void teardown(void)
{
	pools_free(&pools);
}

Test(pool, no_limit_without_a_word, .init = NULL)
{
	struct party p = {0};

	pools_init(&pools);
	party_begin(&p);
	cr_assert_eq(p.grant, UINT64_MAX);
	party_end(&p);
	teardown();
}

Test(pool, to_the_last_byte)
{
	struct party p = {.used = 4 * MIB};

	setup(100 * MIB, 10 * MIB);
	party_begin(&p);
	cr_assert(reserve(&p, 86 * MIB - 1));
	cr_assert(reserve(&p, 1));
	cr_assert_not(reserve(&p, 1));
	cr_assert_eq(p.grant, 90 * MIB);
	pool_set(&pools, "tenant", 100 * MIB + 5, 10 * MIB, 0); /* raised while it runs */
	cr_assert(reserve(&p, 5));
	cr_assert_not(reserve(&p, 1));
	party_end(&p);
	teardown();
}

Test(pool, what_others_do_not_use_comes_back)
{
	struct party a = {0}, b = {0};
	uint64_t grant;

	setup(20 * MIB, 0);
	party_begin(&a);
	party_begin(&b);
	cr_assert(reserve(&a, 1)); /* and a step ahead: 16 MiB */
	cr_assert_eq(a.grant, 16 * MIB + 1);
	pool_need(&b.member, 19 * MIB);
	cr_assert_not(pool_decide(&b.member, &grant), "not before A was asked");
	recall_serve(&a);
	cr_assert_eq(a.grant, 1);
	cr_assert(pool_decide(&b.member, &grant));
	cr_assert_geq(grant, 19 * MIB);
	cr_assert_leq(grant, 20 * MIB - 1);
	party_end(&a);
	party_end(&b);
	teardown();
}

Test(pool, who_does_not_answer_keeps_what_it_has, .timeout = 60)
{
	struct party a = {.is_deaf = true}, b = {0};

	setup(20 * MIB, 0);
	party_begin(&a);
	party_begin(&b);
	cr_assert(reserve(&a, 1));
	cr_assert_not(reserve(&b, 19 * MIB), "after the wait the answer is no");
	cr_assert(reserve(&b, 4 * MIB - 1));
	cr_assert_not(pool_return(&a.member, 17 * MIB), "more than it was granted");
	pool_detach(&a.member);
	pool_end(&a.member, 1);
	cr_assert(reserve(&b, 12 * MIB), "its end frees the rest");
	party_end(&a);
	party_end(&b);
	teardown();
}

Test(pool, products_count_once)
{
	struct party a = {0}, b = {0};

	setup(100 * MIB, 0);
	party_begin(&a);
	cr_assert(reserve(&a, 60 * MIB));
	pool_end(&a.member, a.used);
	pool_leave(&a.member, 60 * MIB, 1);
	pool_set(&pools, "tenant", 100 * MIB, 0, 0); /* it has not heard of the product */
	party_begin(&b);
	cr_assert_not(reserve(&b, 41 * MIB));
	pool_set(&pools, "tenant", 100 * MIB, 60 * MIB, 1);
	cr_assert_not(reserve(&b, 41 * MIB));
	cr_assert(reserve(&b, 40 * MIB));
	party_end(&b);
	party_end(&a);
	teardown();
}

/* --- many builds at once --------------------------------------------------------------------------------------------
 */

#define PARTIES 6
#define ROUNDS 3000

static atomic_uint_fast64_t in_use;

static void *party_run(void *arg)
{
	struct party *p = arg;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t bytes = 4096 * (1 + (uint64_t)rand_r(&p->seed) % 512);
		recall_serve(p);
		if (rand_r(&p->seed) % 5 < 3) {
			if (!reserve(p, bytes)) {
				p->refusals++;
				continue;
			}
			cr_assert_leq(atomic_fetch_add(&in_use, bytes) + bytes, 64 * MIB, "more than the limit in use");
		} else if (p->used) {
			uint64_t back = bytes < p->used ? bytes : p->used;
			atomic_fetch_sub(&in_use, back);
			p->used -= back;
		}
	}
	pool_end(&p->member, p->used);
	p->grant = p->used; /* the rest is for the others, who may still run */
	return NULL;
}

Test(pool, builds_at_once_stay_within, .timeout = 120)
{
	struct party p[PARTIES] = {0};
	pthread_t threads[PARTIES];
	unsigned refusals = 0;
	uint64_t used = 0;

	setup(64 * MIB, 0);
	for (int i = 0; i < PARTIES; i++) {
		p[i].seed = (unsigned)i + 1;
		party_begin(&p[i]);
	}
	for (int i = 0; i < PARTIES; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, party_run, &p[i]), 0);
	for (int i = 0; i < PARTIES; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < PARTIES; i++) {
		used += p[i].used;
		refusals += p[i].refusals;
	}
	cr_assert_eq(used, atomic_load(&in_use));
	cr_assert_gt(refusals, 0, "the limit was met");
	/* All of the rest can be had by one. */
	cr_assert(reserve(&p[0], 64 * MIB - used));
	cr_assert_not(reserve(&p[0], 1));
	for (int i = 0; i < PARTIES; i++)
		party_end(&p[i]);
	teardown();
}
