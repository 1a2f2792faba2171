/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a tenant may do: the operator's record over the limits of its tier over what the program has built in. */
#ifndef API_TENANTS_H
#define API_TENANTS_H

#include "build/config.h"
#include "build/tier.h"
#include "store/store.h"

#define CUSTOMER_ID_MAX 257

struct tenant_policy {
	char tenant_id[TENANT_ID_MAX];
	char customer_id[CUSTOMER_ID_MAX]; /* of the record; "" without one */
	enum tenant_tier tier;
	struct tier_limits limits;
	bool has_record;
	bool is_disabled;      /* nothing is done for it */
	bool needs_encryption; /* nothing of it is kept in clear text */
};

/* The policy of TENANT_ID. A tenant without a record gets TENANT_DEFAULT_TIER: whether there may be such a one is the
 * caller's question. -errno: the store cannot be read, or its record makes no sense. */
int tenant_policy_get(
        struct store *s, const struct config *c, const char *tenant_id, struct tenant_policy *out, struct err *e);
/* Of a record that may not be stored yet. -EINVAL: its limits are none. */
int tenant_policy_of(const struct config *c, const struct tenant *t, struct tenant_policy *out, struct err *e);

/* "unlimited" in the operator's configuration is the whole host: what is granted is the smaller of both. */
int64_t tenant_policy_disk_bytes(const struct tenant_policy *p, const struct config *c);
int64_t tenant_policy_timeout_ms(const struct tenant_policy *p, const struct config *c);

#endif
