/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "build/queue.h"
#include "build/states.h"
#include "build/tier.h"
#include "build/ulid.h"

/* --- states ---------------------------------------------------------------------------------------------------- */

Test(states, every_move)
{
	/* rows: from 0..9 and one beyond; columns: to 0..9 and one beyond */
	static const char *const legal[] = {
	        "00000000000", /* UNSPECIFIED */
	        "00100001100", /* PENDING */
	        "01011111100", /* PULLING */
	        "01001111100", /* EXTRACTING */
	        "00000111100", /* BUILDING */
	        "00000011100", /* OPTIMIZING */
	        "00000000010", /* COMPLETED */
	        "00000000010", /* FAILED */
	        "00000000010", /* CANCELLED */
	        "00000000000", /* CLEANING */
	        "00000000000",
	};

	for (unsigned from = 0; from <= BUILD_STATE_COUNT; from++)
		for (unsigned to = 0; to <= BUILD_STATE_COUNT; to++)
			cr_assert_eq(state_may_follow(from, to), legal[from][to] == '1', "%s to %s", state_name(from),
			        state_name(to));
}

Test(states, kinds_and_names)
{
	cr_assert(!state_is_running(BUILD_PENDING) && !state_is_final(BUILD_PENDING));
	cr_assert(state_is_running(BUILD_PULLING) && state_is_running(BUILD_OPTIMIZING));
	cr_assert(state_is_final(BUILD_COMPLETED) && state_is_final(BUILD_FAILED) && state_is_final(BUILD_CANCELLED));
	cr_assert(!state_is_final(BUILD_CLEANING) && !state_is_running(99) && !state_is_final(99));
	cr_assert(!state_is_valid(0) && state_is_valid(9) && !state_is_valid(10));
	cr_assert_str_eq(state_name(BUILD_FAILED), "BUILD_STATE_FAILED");
	cr_assert_str_eq(state_name(77), "BUILD_STATE_UNSPECIFIED");
	cr_assert_str_eq(state_status_name(BUILD_PENDING), "QUEUED");
	cr_assert_str_eq(state_status_name(0), "UNKNOWN");
}

Test(states, masks)
{
	cr_assert_eq(state_mask_parse("BUILD_STATUS_QUEUED"), 1u << BUILD_PENDING);
	cr_assert_eq(state_mask_parse("build_state_pending"), 1u << BUILD_PENDING);
	cr_assert_eq(state_mask_parse("RUNNING"), 0x3cu | 1u << BUILD_CLEANING);
	cr_assert_eq(state_mask_parse("timeout"), 1u << BUILD_FAILED);
	cr_assert_eq(state_mask_parse("completed"), 1u << BUILD_COMPLETED);
	cr_assert_eq(state_mask_parse("UNKNOWN"), 0);
	cr_assert_eq(state_mask_parse("unspecified"), 0);
	cr_assert_eq(state_mask_parse(""), 0);
	cr_assert_eq(state_mask_parse("rubbish"), 0);
}

/* --- ids ------------------------------------------------------------------------------------------------------- */

Test(ulid, format)
{
	static const uint8_t zero[10], ones[10] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
	                               one[10] = {[9] = 1};
	char out[ULID_CHARS + 1];

	ulid_format(0, zero, out);
	cr_assert_str_eq(out, "00000000000000000000000000");
	ulid_format((1ull << 48) - 1, ones, out); /* the largest, by the specification */
	cr_assert_str_eq(out, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
	ulid_format(1469918176385ull, one, out); /* the specification's example of a time */
	cr_assert_str_eq(out, "01ARYZ6S410000000000000001");
}

Test(ulid, ids_are_legal_sorted_and_differ)
{
	uint64_t last = 0;
	char a[BUILD_ID_MAX], b[BUILD_ID_MAX], c[BUILD_ID_MAX];

	cr_assert_eq(ulid_build_id(1000, &last, a), 0);
	cr_assert_eq(ulid_build_id(900, &last, b), 0); /* the clock went back */
	cr_assert_eq(ulid_build_id(1001, &last, c), 0);
	cr_assert(msg_build_id_is_valid(a));
	cr_assert_eq(strncmp(a, b, 6 + 10), 0);
	cr_assert_neq(strcmp(a, b), 0);
	cr_assert(strcmp(c, b) > 0 && strcmp(c, a) > 0);
}

/* --- tiers ----------------------------------------------------------------------------------------------------- */

Test(tier, names_and_defaults)
{
	cr_assert_eq(tier_parse("FREE"), TIER_FREE);
	cr_assert_eq(tier_parse("dedicated"), TIER_DEDICATED);
	cr_assert_eq(tier_parse("gold"), TIER_UNSPECIFIED);
	cr_assert_eq(tier_limits_of(0), tier_limits_of(TIER_FREE));
	cr_assert_eq(tier_limits_of(99), tier_limits_of(TIER_FREE));
	cr_assert_eq(tier_limits_of(TIER_PRO)->concurrent_builds, 3);
	cr_assert_eq(tier_limits_of(TIER_DEDICATED)->disk_bytes, 1ll << 40);
	for (unsigned t = TIER_FREE + 1; t < TIER_COUNT; t++)
		cr_assert_gt(tier_limits_of(t)->memory_bytes, tier_limits_of(t - 1)->memory_bytes);
}

Test(tier, settings)
{
	struct tier_limits l = *tier_limits_of(TIER_FREE);
	struct err e = ERR_INIT;
	AUTO_BUF struct buf all = {0}, again = {0};

	cr_assert_eq(tier_limits_set(&l, "  max_daily_builds=7\tallowed_registries=ghcr.io,*.example.org  ", &e), 0);
	cr_assert(l.daily_builds == 7 && l.concurrent_builds == 1);
	cr_assert_str_eq(l.registries, "ghcr.io,*.example.org");
	tier_limits_write(&all, &l);
	struct tier_limits back = *tier_limits_of(TIER_PRO);
	cr_assert_eq(tier_limits_set(&back, buf_cstr(&all), &e), 0, "%s", e.msg);
	tier_limits_write(&again, &back);
	cr_assert_str_eq(buf_cstr(&all), buf_cstr(&again));
}

Test(tier, settings_refused)
{
	static const char *const bad[] = {"max_daily_builds", "max_daily_builds=", "max_daily_builds=-1",
	        "max_daily_builds=1x", "max_daily_builds= 1", "max_dailybuilds=1", "=1", "max_concurrent_builds=0",
	        "max_daily_builds=99999999999", "allowed_registries=", "allowed_registries=a/b",
	        "allowed_registries=a;b"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct tier_limits l = *tier_limits_of(TIER_FREE);
		struct err e = ERR_INIT;
		cr_assert_eq(tier_limits_set(&l, bad[i], &e), -EINVAL, "%s", bad[i]);
		cr_assert(*e.msg);
	}
}

Test(tier, settings_merge)
{
	AUTO_BUF struct buf a = {0}, b = {0}, c = {0};
	struct err e = ERR_INIT;

	cr_assert_eq(tier_settings_merge(&a, "", "max_daily_builds=7 queue_weight=3", &e), 0);
	cr_assert_str_eq(buf_cstr(&a), "max_daily_builds=7 queue_weight=3");
	cr_assert_eq(tier_settings_merge(&b, buf_cstr(&a), "max_daily_builds= max_cpu_cores=2", &e), 0);
	cr_assert_str_eq(buf_cstr(&b), "max_cpu_cores=2 queue_weight=3");
	cr_assert_eq(tier_settings_merge(&c, buf_cstr(&a), "rubbish=1", &e), -EINVAL);
}

/* --- queue ----------------------------------------------------------------------------------------------------- */

static void push(struct queue *q, const char *tenant, const char *build, unsigned limit)
{
	queue_push(q, &(struct queue_entry){tenant, build, limit, 1});
}

static const char *pop(struct queue *q)
{
	static char id[BUILD_ID_MAX];
	return queue_pop(q, id) ? id : "";
}

Test(queue, first_in_first_out_within_a_tenant)
{
	struct queue *q = queue_new(10);

	push(q, "a", "1", 10);
	push(q, "a", "2", 10);
	push(q, "a", "3", 10);
	cr_assert_str_eq(pop(q), "1");
	cr_assert_str_eq(pop(q), "2");
	cr_assert_str_eq(pop(q), "3");
	cr_assert_str_eq(pop(q), "");
	queue_free(q);
}

Test(queue, fair_between_tenants)
{
	struct queue *q = queue_new(100);
	char got[8] = "";

	for (int i = 0; i < 3; i++)
		push(q, "a", "a", 100);
	push(q, "b", "b", 100);
	push(q, "c", "c", 100);
	push(q, "b", "b", 100);
	for (int i = 0; i < 6; i++)
		strcat(got, pop(q));
	cr_assert_str_eq(got, "abcaba");
	queue_free(q);
}

Test(queue, slots_and_tenant_limits)
{
	struct queue *q = queue_new(2);

	push(q, "a", "a1", 1);
	push(q, "a", "a2", 1);
	push(q, "b", "b1", 0); /* 0 counts as 1 */
	push(q, "c", "c1", 1);
	cr_assert_str_eq(pop(q), "a1");
	cr_assert_str_eq(pop(q), "b1"); /* a is at its limit */
	cr_assert_str_eq(pop(q), "");   /* no slot */
	cr_assert(queue_running(q) == 2 && queue_waiting(q) == 2);
	queue_finish(q, "b");
	cr_assert_str_eq(pop(q), "c1");
	queue_finish(q, "a");
	cr_assert_str_eq(pop(q), "a2");
	cr_assert(queue_tenant_running(q, "a") == 1 && queue_tenant_waiting(q, "a") == 0);
	queue_finish(q, "a");
	queue_finish(q, "a"); /* nothing of it runs: no effect */
	queue_finish(q, "unknown");
	cr_assert_eq(queue_running(q), 1);
	queue_free(q);
}

Test(queue, remove)
{
	struct queue *q = queue_new(3);

	push(q, "a", "1", 3);
	push(q, "a", "2", 3);
	push(q, "a", "3", 3);
	cr_assert(queue_remove(q, "a", "3"));
	push(q, "a", "4", 3); /* behind the removed tail */
	cr_assert(queue_remove(q, "a", "1"));
	cr_assert(!queue_remove(q, "a", "1") && !queue_remove(q, "b", "2"));
	cr_assert_str_eq(pop(q), "2");
	cr_assert_str_eq(pop(q), "4");
	push(q, "b", "5", 3);
	cr_assert(queue_remove(q, "b", "5"));
	cr_assert_eq(queue_tenant_waiting(q, "b"), 0);
	cr_assert_eq(queue_waiting(q), 0);
	push(q, "left", "over", 1);
	queue_free(q);
	queue_free(NULL);
}

Test(queue, weights_share_the_slots)
{
	struct queue *q = queue_new(1000);
	int got[128] = {0};

	for (int i = 0; i < 90; i++) {
		queue_push(q, &(struct queue_entry){"a", "a", 1000, 1});
		queue_push(q, &(struct queue_entry){"b", "b", 1000, 2});
		queue_push(q, &(struct queue_entry){"c", "c", 1000, 8});
	}
	for (int i = 0; i < 88; i++)
		got[(int)*pop(q)]++;
	cr_assert(got['a'] >= 7 && got['a'] <= 9, "%d", got['a']);
	cr_assert(got['b'] >= 15 && got['b'] <= 17, "%d", got['b']);
	cr_assert(got['c'] >= 62 && got['c'] <= 66, "%d", got['c']);
	queue_free(q);
}

Test(queue, a_tenant_that_comes_late_gets_no_more_than_its_share)
{
	struct queue *q = queue_new(1000);
	int late = 0;

	for (int i = 0; i < 40; i++)
		push(q, "a", "a", 1000);
	for (int i = 0; i < 20; i++)
		pop(q);
	for (int i = 0; i < 40; i++)
		push(q, "b", "b", 1000);
	for (int i = 0; i < 10; i++)
		late += *pop(q) == 'b';
	cr_assert(late >= 4 && late <= 6, "%d", late);
	queue_free(q);
}

Test(queue, what_could_not_start_goes_first_again)
{
	struct queue *q = queue_new(2);

	push(q, "a", "1", 3);
	push(q, "a", "2", 3);
	cr_assert_str_eq(pop(q), "1");
	queue_finish(q, "a");
	queue_push_front(q, &(struct queue_entry){"a", "1", 3, 1});
	cr_assert_str_eq(pop(q), "1");
	cr_assert_str_eq(pop(q), "2");
	queue_finish(q, "a");
	queue_finish(q, "a");
	queue_push_front(q, &(struct queue_entry){"a", "3", 3, 1}); /* into an empty line */
	push(q, "a", "4", 3);
	cr_assert_str_eq(pop(q), "3");
	cr_assert_str_eq(pop(q), "4");
	queue_free(q);
}

Test(queue, a_build_may_ask_for_fewer_beside_it)
{
	struct queue *q = queue_new(10);

	push(q, "a", "1", 3);
	push(q, "a", "2", 1); /* alone only */
	cr_assert_str_eq(pop(q), "1");
	cr_assert_str_eq(pop(q), "");
	queue_finish(q, "a");
	cr_assert_str_eq(pop(q), "2");
	queue_free(q);
}
