/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Quotas as a tenant sees them. */
#ifndef API_QUOTAS_H
#define API_QUOTAS_H

#include "api/jobs.h"
#include "api/rpc.h"
#include "base/err.h"
#include "builder.pb-c.h"

/* When the quota of that name has room again by itself, ms since the epoch; 0: never. */
int64_t quota_reset_ms(const char *quota, int64_t now_ms);
/* The sentence: which quota, how much is used, how much there is, when it is reset. */
void quota_sentence(struct err *e, const struct store_excess *x, int64_t now_ms);
/* Fail with that sentence and a builder.v1.QuotaFailure. */
void quota_fail(struct rpc_call *c, const struct store_excess *x);
/* What a tenant uses now, and did today. */
void quota_usage_message(
        Builder__V1__TenantUsageStats *m, const struct store_usage *u, const struct jobs *jobs, const char *tenant_id);

#endif
