/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Quotas as a tenant sees them. */
#ifndef API_QUOTAS_H
#define API_QUOTAS_H

#include "api/rpc.h"
#include "base/err.h"
#include "store/store.h"

/* When the quota of that name has room again by itself, ms since the epoch; 0: never. */
int64_t quota_reset_ms(const char *quota, int64_t now_ms);
/* The sentence: which quota, how much is used, how much there is, when it is reset. */
void quota_sentence(struct err *e, const struct store_excess *x, int64_t now_ms);
/* Fail with that sentence and a builder.v1.QuotaFailure. */
void quota_fail(struct rpc_call *c, const struct store_excess *x);

#endif
