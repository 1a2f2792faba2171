/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tenants, tokens, usage and quotas in the store; the rate limit's buckets; who is named in a request. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/auth.h"
#include "api/rate.h"
#include "base/cleanup.h"
#include "store/store.h"

static char dir[] = "/tmp/tenants-test.XXXXXX";
static struct store *store;
static struct err err;

static void open_store(void)
{
	cr_assert(store_open(dir, &store, &err) >= 0, "%s", err.msg);
}

static void setup(void)
{
	cr_assert(mkdtemp(dir));
	open_store();
}

static void teardown(void)
{
	store_close(store);
	AUTO_FREE char *command = xasprintf("rm -r %s", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(tenants, .init = setup, .fini = teardown);

#define DAY 86400000LL

static int add(const char *id, int64_t created, const struct store_quota *q, struct store_excess *x)
{
	struct job j = {.created_ms = created, .state = BUILD_PENDING, .source = (char *)"img:1"};

	snprintf(j.build_id, sizeof(j.build_id), "%s", id);
	strcpy(j.tenant_id, "t");
	return store_job_add_within(store, &j, NULL, q, x, &err);
}

static int move(const char *id, unsigned from, unsigned to, int64_t bytes, const struct store_quota *q)
{
	AUTO_JOB struct job j;
	struct store_excess x;

	cr_assert_eq(store_job_get(store, NULL, id, &j, &err), 0);
	j.state = to;
	j.completed_ms = j.created_ms;
	j.total_ms = 100;
	j.downloaded_bytes = 7;
	j.disk_bytes = bytes;
	free(j.rootfs_checksum);
	j.rootfs_checksum = xstrdup(to == BUILD_COMPLETED || from == BUILD_COMPLETED ? "sha256:0" : "");
	return store_job_update_within(store, &j, from, NULL, q, &x, &err);
}

static struct store_usage usage(int64_t day)
{
	struct store_usage u;

	cr_assert_eq(store_usage_get(store, "t", day, &u, &err), 0);
	return u;
}

Test(tenants, record_round_trip)
{
	struct tenant t = {.customer_id = (char *)"c", .tier = TIER_PRO, .limits = (char *)"max_daily_builds=7"};
	AUTO_TENANT struct tenant a, b;

	strcpy(t.tenant_id, "acme");
	t.created_ms = 5;
	cr_assert_eq(store_tenant_get(store, "acme", &a, &err), -ENOENT);
	cr_assert_eq(store_tenant_put(store, &t, &err), 0, "%s", err.msg);
	t.is_disabled = true;
	t.created_ms = 99; /* stays as it was */
	t.updated_ms = 6;
	cr_assert_eq(store_tenant_put(store, &t, &err), 0, "%s", err.msg);
	store_close(store);
	open_store();
	cr_assert_eq(store_tenant_get(store, "acme", &b, &err), 0);
	cr_assert_str_eq(b.customer_id, "c");
	cr_assert_str_eq(b.organization_id, "");
	cr_assert_str_eq(b.limits, "max_daily_builds=7");
	cr_assert(b.tier == TIER_PRO && b.is_disabled && b.created_ms == 5 && b.updated_ms == 6);
}

Test(tenants, one_with_builds_is_not_removed)
{
	struct tenant t = {.tier = TIER_FREE};
	struct token k = {.scope = SCOPE_READ};
	char text[TOKEN_TEXT_MAX];
	AUTO_TOKEN struct token back;

	strcpy(t.tenant_id, "t");
	cr_assert_eq(store_tenant_put(store, &t, &err), 0);
	cr_assert_eq(token_make(&k, text), 0);
	strcpy(k.tenant_id, "t");
	cr_assert_eq(store_token_add(store, &k, &err), 0, "%s", err.msg);
	cr_assert_eq(add("build_A", 1, NULL, NULL), 0);
	cr_assert_eq(store_tenant_remove(store, "t", &err), -EBUSY);
	cr_assert_eq(store_job_remove(store, "build_A", &err), 0);
	cr_assert_eq(store_tenant_remove(store, "t", &err), 0, "%s", err.msg);
	cr_assert_eq(store_tenant_remove(store, "t", &err), -ENOENT);
	cr_assert_eq(store_token_get(store, k.hash, &back, &err), -ENOENT, "its tokens went along");
}

Test(tenants, tokens)
{
	struct token k = {.scope = SCOPE_BUILD, .description = (char *)"d", .expires_ms = 9}, other = {0};
	char text[TOKEN_TEXT_MAX], again[TOKEN_TEXT_MAX];
	uint8_t hash[32];
	AUTO_TOKEN struct token back;

	cr_assert_eq(token_make(&k, text), 0);
	cr_assert_eq(token_make(&other, again), 0);
	cr_assert_eq(strlen(text), 4 + 64);
	cr_assert(!strncmp(text, "bld_", 4) && strcmp(text, again) && strcmp(k.token_id, other.token_id));
	token_hash(text, hash);
	cr_assert_eq(memcmp(hash, k.hash, 32), 0);
	cr_assert_eq(store_token_add(store, &k, &err), 0, "%s", err.msg);
	cr_assert_eq(store_token_add(store, &k, &err), -EEXIST);
	cr_assert_eq(store_token_get(store, other.hash, &back, &err), -ENOENT);
	cr_assert_eq(store_token_revoke(store, k.token_id, 77, &err), 0);
	cr_assert_eq(store_token_revoke(store, k.token_id, 78, &err), -ENOENT);
	cr_assert_eq(store_token_get(store, hash, &back, &err), 0);
	cr_assert(back.revoked_ms == 77 && back.expires_ms == 9 && back.scope == SCOPE_BUILD);
	cr_assert_str_eq(back.description, "d");
}

Test(tenants, scopes)
{
	for (int64_t s = SCOPE_READ; s < SCOPE_COUNT; s++)
		cr_assert_eq(scope_parse(scope_name(s)), (enum token_scope)s);
	cr_assert_eq(scope_parse(""), SCOPE_NONE);
	cr_assert_eq(scope_parse("root"), SCOPE_NONE);
	cr_assert_str_eq(scope_name(99), "");
}

Test(tenants, daily_quota_is_of_the_day)
{
	const struct store_quota two = {.daily_builds = 2, .storage_bytes = 1};
	struct store_excess x = {0};

	cr_assert_eq(add("build_A", 5 * DAY, &two, &x), 0, "%s", err.msg);
	cr_assert_eq(add("build_B", 6 * DAY - 1, &two, &x), 0);
	cr_assert_eq(add("build_C", 6 * DAY - 1, &two, &x), -EDQUOT);
	cr_assert_str_eq(x.quota, "max_daily_builds");
	cr_assert(x.current == 2 && x.limit == 2);
	cr_assert_eq(add("build_C", 6 * DAY, &two, &x), 0, "a new day");
	cr_assert_eq(store_job_remove(store, "build_A", &err), 0);
	cr_assert_eq(usage(5).builds, 2, "what was deleted was built");
	cr_assert_eq(usage(6).builds, 1);
	cr_assert_eq(usage(7).builds, 0);
}

Test(tenants, a_refused_build_leaves_nothing)
{
	const struct store_quota none = {.daily_builds = 0, .storage_bytes = 1};
	AUTO_JOB struct job j;
	struct store_excess x;

	cr_assert_eq(add("build_A", DAY, &none, &x), -EDQUOT);
	cr_assert_eq(store_job_get(store, NULL, "build_A", &j, &err), -ENOENT);
	cr_assert_eq(usage(1).builds, 0);
}

Test(tenants, storage_is_what_products_take)
{
	const struct store_quota q = {.daily_builds = 100, .storage_bytes = 100};
	struct store_excess x;

	cr_assert_eq(add("build_A", DAY, &q, &x), 0);
	cr_assert_eq(add("build_B", DAY, &q, &x), 0);
	cr_assert_eq(move("build_A", BUILD_PENDING, BUILD_PULLING, 0, NULL), 0);
	cr_assert_eq(move("build_B", BUILD_PENDING, BUILD_PULLING, 0, NULL), 0);
	cr_assert_eq(move("build_A", BUILD_PULLING, BUILD_COMPLETED, 60, &q), 0, "%s", err.msg);
	cr_assert_eq(move("build_B", BUILD_PULLING, BUILD_COMPLETED, 41, &q), -EDQUOT);
	cr_assert_eq(usage(1).stored_bytes, 60);
	cr_assert_eq(usage(1).completed, 1, "a move that was taken back counts nothing");
	cr_assert_eq(move("build_B", BUILD_PULLING, BUILD_COMPLETED, 40, &q), 0, "exactly full is fine");
	cr_assert_eq(add("build_C", DAY, &q, &x), -EDQUOT);
	cr_assert_str_eq(x.quota, "max_storage_bytes");
	cr_assert_eq(move("build_A", BUILD_COMPLETED, BUILD_CLEANING, 60, NULL), 0);
	cr_assert_eq(usage(1).stored_bytes, 100, "until builderd has said that it is gone");
	cr_assert_eq(store_job_remove(store, "build_A", &err), 0);
	cr_assert_eq(usage(1).stored_bytes, 40);
}

Test(tenants, a_refused_deletion_is_no_second_end)
{
	cr_assert_eq(add("build_A", DAY, NULL, NULL), 0);
	cr_assert_eq(move("build_A", BUILD_PENDING, BUILD_PULLING, 0, NULL), 0);
	cr_assert_eq(move("build_A", BUILD_PULLING, BUILD_COMPLETED, 60, NULL), 0);
	cr_assert_eq(move("build_A", BUILD_COMPLETED, BUILD_CLEANING, 60, NULL), 0);
	cr_assert_eq(move("build_A", BUILD_CLEANING, BUILD_COMPLETED, 60, NULL), 0);
	cr_assert(usage(1).completed == 1 && usage(1).compute_ms == 100 && usage(1).stored_bytes == 60);
}

Test(tenants, each_try_is_counted_once)
{
	cr_assert_eq(add("build_A", DAY, NULL, NULL), 0);
	cr_assert_eq(move("build_A", BUILD_PENDING, BUILD_PULLING, 0, NULL), 0);
	cr_assert_eq(usage(1).compute_ms, 0);
	cr_assert_eq(move("build_A", BUILD_PULLING, BUILD_PENDING, 0, NULL), 0); /* the network failed */
	cr_assert(usage(1).compute_ms == 100 && usage(1).pulled_bytes == 7 && usage(1).failed == 0);
	cr_assert_eq(move("build_A", BUILD_PENDING, BUILD_CANCELLED, 0, NULL), 0);
	cr_assert(usage(1).compute_ms == 100 && usage(1).cancelled == 1 && usage(1).builds == 1);
}

Test(tenants, the_end_of_the_audit_log_is_kept)
{
	struct audit_end end = {.seq = 3, .hash = {1, 2, 3}}, back;

	cr_assert_eq(store_audit_end_get(store, &back, &err), 0);
	cr_assert_eq(back.seq, 0);
	cr_assert_eq(store_audit_end_set(store, &end, &err), 0);
	end.seq = 4;
	cr_assert_eq(store_audit_end_set(store, &end, &err), 0);
	cr_assert_eq(store_flush(store, &err), 0);
	store_close(store);
	open_store();
	cr_assert_eq(store_audit_end_get(store, &back, &err), 0);
	cr_assert(back.seq == 4 && !memcmp(back.hash, end.hash, 32));
}

/* --- rate limit ------------------------------------------------------------------------------------------------ */

Test(rate, burst_then_the_rate)
{
	struct rate *r = rate_new(1);
	struct rate_state s;

	for (int i = 0; i < 10; i++)
		cr_assert(rate_take(r, "a", 60, 10, 1000, &s));
	cr_assert(s.remaining == 0 && s.limit == 60 && s.reset_s == 10 && s.retry_after_s == 0);
	cr_assert(!rate_take(r, "a", 60, 10, 1000, &s));
	cr_assert_eq(s.retry_after_s, 1);
	cr_assert(!rate_take(r, "a", 60, 10, 1999, &s));
	cr_assert(rate_take(r, "a", 60, 10, 2000, &s)); /* one a second */
	cr_assert(!rate_take(r, "a", 60, 10, 2000, &s));
	cr_assert(rate_take(r, "b", 60, 10, 2000, &s), "another tenant's bucket is its own");
	cr_assert_eq(s.remaining, 9);
	cr_assert(rate_take(r, "a", 60, 10, 1000000, &s)); /* long after: full, not fuller */
	cr_assert_eq(s.remaining, 9);
	rate_free(r);
	rate_free(NULL);
}

Test(rate, changed_limits_count_at_once)
{
	struct rate *r = rate_new(1);
	struct rate_state s;

	cr_assert(rate_take(r, "a", 60, 100, 0, &s));
	cr_assert_eq(s.remaining, 99);
	cr_assert(rate_take(r, "a", 60, 5, 0, &s));
	cr_assert_eq(s.remaining, 4, "what is over a smaller burst is lost");
	cr_assert(rate_take(r, "a", INT64_MAX / 100000, 5, 1, &s), "no overflow");
	cr_assert(rate_take(r, "a", 60, 5, INT64_MAX / 2, &s));
	cr_assert(rate_take(r, "a", 60, 5, 0, &s), "a clock that goes back takes nothing");
	rate_free(r);
}

Test(rate, many_tenants_do_not_free_a_busy_one)
{
	struct rate *r = rate_new(42);
	struct rate_state s;
	int served = 0;

	for (int i = 0; i < 20000; i++) { /* far more than it has places */
		char key[32];
		snprintf(key, sizeof(key), "tenant-%d", i);
		rate_take(r, key, 60000, 100, i, &s);
		served += rate_take(r, "busy", 60, 10, i, &s);
	}
	/* 10 and one a second for twenty seconds; a quiet bucket is given up before a busy one */
	cr_assert_leq(served, 31);
	cr_assert_geq(served, 29);
	rate_free(r);
}

/* --- names ----------------------------------------------------------------------------------------------------- */

Test(names, header_and_body)
{
	struct tenant_names out;

	cr_assert_eq(
	        tenant_names_resolve(&out, &(struct tenant_names){"a", ""}, &(struct tenant_names){NULL, "c"}, &err),
	        0);
	cr_assert_str_eq(out.tenant_id, "a");
	cr_assert_str_eq(out.customer_id, "c");
	cr_assert_eq(
	        tenant_names_resolve(&out, &(struct tenant_names){"a", NULL}, &(struct tenant_names){"b", NULL}, &err),
	        -EACCES);
	cr_assert_eq(
	        tenant_names_resolve(&out, &(struct tenant_names){NULL, "c"}, &(struct tenant_names){"a", "d"}, &err),
	        -EACCES);
	cr_assert_eq(tenant_names_resolve(&out, &(struct tenant_names){"../x", NULL}, &(struct tenant_names){0}, &err),
	        -EINVAL);
	cr_assert_eq(tenant_names_resolve(&out, &(struct tenant_names){0}, &(struct tenant_names){0}, &err), 0);
	cr_assert_str_eq(out.tenant_id, "");
}
