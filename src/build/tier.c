/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "build/tier.h"

#include <strings.h>

#define MIB(n) ((int64_t)(n) << 20)
#define GIB(n) ((int64_t)(n) << 30)

static const struct tier_limits tiers[TIER_COUNT] = {
        /*                   name          builds  daily  seconds memory    cpus disk       limited registries       git
           hosts */
        [TIER_FREE] = {"free", 1, 5, 300, MIB(512), 1, GIB(1), true, "docker.io,ghcr.io", "github.com,gitlab.com"},
        [TIER_PRO] = {"pro", 3, 100, 900, GIB(2), 2, GIB(10), false, "*", "*"},
        [TIER_ENTERPRISE] = {"enterprise", 10, 1000, 1800, GIB(8), 4, GIB(100), false, "*", "*"},
        [TIER_DEDICATED] = {"dedicated", 50, 10000, 3600, GIB(32), 16, GIB(1024), false, "*", "*"},
};

const struct tier_limits *tier_limits_of(unsigned tier)
{
	return &tiers[tier > TIER_UNSPECIFIED && tier < TIER_COUNT ? tier : TIER_FREE];
}

enum tenant_tier tier_parse(const char *name)
{
	for (unsigned t = TIER_FREE; t < TIER_COUNT; t++)
		if (!strcasecmp(name, tiers[t].name))
			return (enum tenant_tier)t;
	return TIER_UNSPECIFIED;
}
