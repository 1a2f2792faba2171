/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a tenant of each tier may use. The tier is the operator's record, never what a request claims; the operator may
 * change each limit for a tier (the configuration) and for one tenant (its record), in one text form. */
#ifndef BUILD_TIER_H
#define BUILD_TIER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* builder.v1.TenantTier, same numbers. */
enum tenant_tier { TIER_UNSPECIFIED, TIER_FREE, TIER_PRO, TIER_ENTERPRISE, TIER_DEDICATED, TIER_COUNT };

#define TIER_LIST_MAX 512

struct tier_limits {
	const char *name; /* free, pro ... */
	int64_t concurrent_builds, daily_builds;
	int64_t timeout_seconds;
	int64_t memory_bytes, cpu_cores;
	int64_t disk_bytes;    /* of one build */
	int64_t storage_bytes; /* of all products that a tenant keeps */
	int64_t requests_per_minute, request_burst;
	int64_t weight; /* how many builds it starts while a tenant of weight 1 starts one, when slots are short */
	char registries[TIER_LIST_MAX], git_hosts[TIER_LIST_MAX]; /* comma-separated: exact, "*", "*.domain" */
};

/* The defaults of TIER; FREE's for what is not a tier. Never NULL. */
const struct tier_limits *tier_limits_of(unsigned tier);
/* By name, any case; TIER_UNSPECIFIED for an unknown one. */
enum tenant_tier tier_parse(const char *name);

/* Change L by SETTINGS: "max_daily_builds=20 max_disk_bytes=1073741824 allowed_registries=ghcr.io,*.example.org",
 * separated by blanks. -EINVAL: E names the setting; L may be changed in part. */
int tier_limits_set(struct tier_limits *l, const char *settings, struct err *e);
/* All of L in that form. */
void tier_limits_write(struct buf *b, const struct tier_limits *l);
/* SETTINGS with those of CHANGE in the place of its own; "name=" in CHANGE takes one out. -EINVAL. */
int tier_settings_merge(struct buf *out, const char *settings, const char *change, struct err *e);

#endif
