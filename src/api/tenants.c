/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/tenants.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The tier as the operator configured it. */
static int tier_of(const struct config *c, enum tenant_tier tier, struct tenant_policy *out, struct err *e)
{
	out->tier = tier;
	out->limits = *tier_limits_of(tier);
	return tier_limits_set(&out->limits, c->tier_limits[tier], e);
}

int tenant_policy_of(const struct config *c, const struct tenant *t, struct tenant_policy *out, struct err *e)
{
	*out = (struct tenant_policy){
	        .has_record = true, .is_disabled = t->is_disabled, .needs_encryption = t->needs_encryption};
	snprintf(out->tenant_id, sizeof(out->tenant_id), "%s", t->tenant_id);
	snprintf(out->customer_id, sizeof(out->customer_id), "%s", t->customer_id ? t->customer_id : "");
	int rc = tier_of(c, (enum tenant_tier)t->tier, out, e);
	return rc < 0 || !t->limits ? rc : tier_limits_set(&out->limits, t->limits, e);
}

int tenant_policy_get(
        struct store *s, const struct config *c, const char *tenant_id, struct tenant_policy *out, struct err *e)
{
	AUTO_TENANT struct tenant t;
	int rc = store_tenant_get(s, tenant_id, &t, e);

	if (rc >= 0)
		return tenant_policy_of(c, &t, out, e);
	if (rc != -ENOENT)
		return rc;
	*e = (struct err)ERR_INIT;
	*out = (struct tenant_policy){0};
	snprintf(out->tenant_id, sizeof(out->tenant_id), "%s", tenant_id);
	return tier_of(c, tier_parse(c->default_tier), out, e);
}

static int64_t min64(int64_t a, uint64_t b)
{
	return b < (uint64_t)a ? (int64_t)b : a;
}

int64_t tenant_policy_disk_bytes(const struct tenant_policy *p, const struct config *c)
{
	return min64(p->limits.disk_bytes, c->build_max_bytes);
}

int64_t tenant_policy_timeout_ms(const struct tenant_policy *p, const struct config *c)
{
	return min64(p->limits.timeout_seconds * 1000, c->build_timeout_ms);
}
