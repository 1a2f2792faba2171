/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/ledger.h"

#include <errno.h>
#include <inttypes.h>

/* One request for more room serves many reservations: growing a volume is slow. */
#define GROW_STEP (64ull << 20)

void ledger_init(struct ledger *l, uint64_t max_bytes, uint64_t max_inodes, const struct ledger_ops *ops)
{
	*l = (struct ledger){.max_bytes = max_bytes, .max_inodes = max_inodes, .grant_bytes = UINT64_MAX, .ops = *ops};
}

uint64_t ledger_room(const struct ledger *l)
{
	return l->used_bytes < l->max_bytes ? l->max_bytes - l->used_bytes : 0;
}

uint64_t ledger_left(const struct ledger *l)
{
	uint64_t granted = l->used_bytes < l->grant_bytes ? l->grant_bytes - l->used_bytes : 0;

	return granted < ledger_room(l) ? granted : ledger_room(l);
}

static uint64_t inodes_room(const struct ledger *l)
{
	return l->used_inodes < l->max_inodes ? l->max_inodes - l->used_inodes : 0;
}

static bool fits(const struct ledger *l, uint64_t bytes, uint64_t inodes, bool with_margin)
{
	uint64_t b = with_margin ? LEDGER_MARGIN_BYTES : 0, i = with_margin ? LEDGER_MARGIN_INODES : 0;

	/* bytes is below max_bytes here, so that the sums cannot wrap */
	return l->free.bytes >= b && l->free.bytes - b >= bytes &&
	       (!inodes || (l->free.inodes >= i && l->free.inodes - i >= inodes));
}

static int volume_check(struct ledger *l, uint64_t bytes, uint64_t inodes, struct err *e)
{
	if (fits(l, bytes, inodes, true))
		return 0;
	int rc = l->ops.space(l->ops.arg, &l->free);
	if (rc < 0)
		return err_sys(e, rc, "ask the volume for its free space");
	if (!fits(l, bytes, inodes, true) && !l->is_grow_refused) {
		uint64_t want = bytes + GROW_STEP < ledger_room(l) ? bytes + GROW_STEP : ledger_room(l);
		if (l->ops.grow(l->ops.arg, &l->free, want + LEDGER_MARGIN_BYTES) < 0)
			l->is_grow_refused = true;
		rc = l->ops.space(l->ops.arg, &l->free);
		if (rc < 0)
			return err_sys(e, rc, "ask the volume for its free space");
	}
	if (fits(l, bytes, inodes, false))
		return 0;
	return err_kind_set(e, -ENOSPC, ERR_KIND_DISK_FULL,
	        "the volume is full: %" PRIu64 " bytes and %" PRIu64 " inodes are free, %" PRIu64 " and %" PRIu64
	        " are needed",
	        l->free.bytes, l->free.inodes, bytes, inodes);
}

/* BYTES more are within the quota; within the tenant's storage? */
static int tenant_check(struct ledger *l, uint64_t bytes, struct err *e)
{
	if (bytes <= ledger_left(l))
		return 0;
	int rc = l->ops.need ? l->ops.need(l->ops.arg, l->used_bytes + bytes) : -EDQUOT;
	if (rc == 0 && bytes <= ledger_left(l))
		return 0;
	if (rc < 0 && rc != -EDQUOT)
		return err_sys(e, rc, "ask for more of the tenant's storage");
	return err_kind_set(e, -EDQUOT, ERR_KIND_QUOTA_BYTES,
	        "the tenant's storage is used up: this build has %" PRIu64 " bytes of it, %" PRIu64 " more are needed",
	        l->used_bytes, bytes);
}

int ledger_reserve(struct ledger *l, uint64_t bytes, uint64_t inodes, struct err *e)
{
	if (inodes > inodes_room(l))
		return err_kind_set(e, -EDQUOT, ERR_KIND_QUOTA_INODES,
		        "the build's limit of %" PRIu64 " files and directories is used up", l->max_inodes);
	if (bytes > ledger_room(l))
		return err_kind_set(e, -EDQUOT, ERR_KIND_QUOTA_BYTES,
		        "the build's limit of %" PRIu64 " bytes is used up: %" PRIu64 " are used, %" PRIu64
		        " more are needed",
		        l->max_bytes, l->used_bytes, bytes);
	int rc = tenant_check(l, bytes, e);
	if (rc == 0)
		rc = volume_check(l, bytes, inodes, e);
	if (rc < 0)
		return rc;
	l->used_bytes += bytes;
	l->used_inodes += inodes;
	l->free.bytes -= bytes;
	l->free.inodes -= inodes < l->free.inodes ? inodes : l->free.inodes;
	return 0;
}

void ledger_credit(struct ledger *l, uint64_t bytes, uint64_t inodes)
{
	l->used_bytes -= bytes < l->used_bytes ? bytes : l->used_bytes;
	l->used_inodes -= inodes < l->used_inodes ? inodes : l->used_inodes;
}

void ledger_settle(struct ledger *l, uint64_t reserved, uint64_t was, uint64_t is)
{
	/* What was reserved and not taken is free again; what was credited may still be held by an open file. */
	if (is >= was && is - was < reserved)
		l->free.bytes += reserved - (is - was);
	l->used_bytes += is;
	ledger_credit(l, reserved + was, 0);
}
