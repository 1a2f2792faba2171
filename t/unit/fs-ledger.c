/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>

#include "fuse/ledger.h"

static struct ledger_space volume;
static unsigned asked, grows;
static uint64_t grow_by;

static int space(void *arg, struct ledger_space *out)
{
	asked++;
	*out = volume;
	return 0;
}

static int grow(void *arg, const struct ledger_space *now, uint64_t want)
{
	grows++;
	volume.bytes += grow_by;
	return grow_by ? 0 : -ENOSPC;
}

static struct ledger ledger(uint64_t max_bytes, uint64_t max_inodes, uint64_t free_bytes)
{
	const struct ledger_ops ops = {.space = space, .grow = grow};
	struct ledger l;

	volume = (struct ledger_space){.bytes = free_bytes, .inodes = 1000};
	asked = grows = 0;
	grow_by = 0;
	ledger_init(&l, max_bytes, max_inodes, &ops);
	return l;
}

Test(ledger, limits_are_exact)
{
	struct ledger l = ledger(8192, 2, 1ull << 30);
	struct err e = ERR_INIT;

	cr_assert_eq(ledger_reserve(&l, 8192, 1, &e), 0);
	cr_assert_eq(ledger_room(&l), 0);
	cr_assert_eq(ledger_reserve(&l, 1, 0, &e), -EDQUOT);
	cr_assert_eq(e.kind, ERR_KIND_QUOTA_BYTES);
	cr_assert_eq(ledger_reserve(&l, 0, 2, &e), -EDQUOT);
	cr_assert_eq(e.kind, ERR_KIND_QUOTA_INODES);
	cr_assert_eq(ledger_reserve(&l, 0, 1, &e), 0);
	cr_assert_eq(l.used_bytes, 8192);
	cr_assert_eq(l.used_inodes, 2);
}

Test(ledger, nothing_wraps)
{
	struct ledger l = ledger(UINT64_MAX, UINT64_MAX, 1ull << 30);

	cr_assert_eq(ledger_reserve(&l, 4096, 1, NULL), 0);
	cr_assert_eq(ledger_reserve(&l, UINT64_MAX, 1, NULL), -EDQUOT);
	cr_assert_eq(ledger_reserve(&l, UINT64_MAX - 4096, 1, NULL), -ENOSPC);
	cr_assert_eq(ledger_reserve(&l, 0, UINT64_MAX, NULL), -EDQUOT);
	ledger_credit(&l, 1 << 20, 5);
	cr_assert_eq(l.used_bytes, 0);
	cr_assert_eq(l.used_inodes, 0);
}

Test(ledger, settle_gives_back_the_difference)
{
	struct ledger l = ledger(1 << 20, 10, 1ull << 30);

	cr_assert_eq(ledger_reserve(&l, 40960, 1, NULL), 0);
	ledger_settle(&l, 40960, 0, 8192); /* a new file */
	cr_assert_eq(l.used_bytes, 8192);
	cr_assert_eq(ledger_reserve(&l, 4096, 0, NULL), 0);
	ledger_settle(&l, 4096, 8192, 12288); /* it grew */
	cr_assert_eq(l.used_bytes, 12288);
	ledger_settle(&l, 0, 12288, 4096); /* it was cut */
	cr_assert_eq(l.used_bytes, 4096);
	ledger_settle(&l, 0, 4096, 8192); /* writeback added a tree block */
	cr_assert_eq(l.used_bytes, 8192);
}

Test(ledger, the_volume_is_asked_seldom)
{
	struct ledger l = ledger(1ull << 30, 1000, 512ull << 20);

	for (int i = 0; i < 500; i++) {
		cr_assert_eq(ledger_reserve(&l, 12288, 1, NULL), 0);
		ledger_settle(&l, 12288, 0, 4096);
	}
	cr_assert_eq(asked, 1);
	cr_assert_eq(grows, 0);
}

Test(ledger, a_volume_that_grows)
{
	struct ledger l = ledger(1ull << 30, 1000, 6ull << 20);

	grow_by = 128ull << 20;
	cr_assert_eq(ledger_reserve(&l, 1 << 20, 1, NULL), 0);
	cr_assert_eq(grows, 0);
	cr_assert_eq(ledger_reserve(&l, 8ull << 20, 1, NULL), 0);
	cr_assert_eq(grows, 1);
}

Test(ledger, a_volume_that_does_not)
{
	struct ledger l = ledger(1ull << 30, 1000, 6ull << 20);
	struct err e = ERR_INIT;

	cr_assert_eq(ledger_reserve(&l, 5ull << 20, 1, &e), 0, "the margin is used when there is no more");
	volume.bytes = 1 << 20;
	cr_assert_eq(ledger_reserve(&l, 2 << 20, 0, &e), -ENOSPC);
	cr_assert_eq(e.kind, ERR_KIND_DISK_FULL);
	cr_assert_eq(grows, 1, "asked once");
	cr_assert_eq(l.used_bytes, 5ull << 20, "a refused reservation leaves nothing");
}
