/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a tenant of each tier may use, by default. The tier is the operator's record, never what a request claims. */
#ifndef BUILD_TIER_H
#define BUILD_TIER_H

#include <stdbool.h>
#include <stdint.h>

/* builder.v1.TenantTier, same numbers. */
enum tenant_tier { TIER_UNSPECIFIED, TIER_FREE, TIER_PRO, TIER_ENTERPRISE, TIER_DEDICATED, TIER_COUNT };

struct tier_limits {
	const char *name; /* free, pro ... */
	int32_t concurrent_builds, daily_builds;
	int32_t timeout_seconds;
	int64_t memory_bytes;
	int32_t cpu_cores;
	int64_t disk_bytes;                 /* of one build, and of all that a tenant stores */
	bool is_network_limited;            /* to the registries and git hosts below */
	const char *registries, *git_hosts; /* comma-separated; "*" = all */
};

/* The row of TIER; FREE for what is not a tier. Never NULL. */
const struct tier_limits *tier_limits_of(unsigned tier);
/* By name, any case; TIER_UNSPECIFIED for an unknown one. */
enum tenant_tier tier_parse(const char *name);

#endif
