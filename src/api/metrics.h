/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters and histograms of this process since its start, in the text format of Prometheus 0.0.4. No tenant, image or
 * other text of a client ever becomes a label: the number of series does not grow with use. */
#ifndef API_METRICS_H
#define API_METRICS_H

#include "api/rpc.h"
#include "base/buf.h"
#include "build/tier.h"
#include "store/store.h"

struct metrics;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m); /* takes NULL */

/* A build has become COMPLETED, FAILED or CANCELLED. */
void metrics_build_ended(struct metrics *m, const struct job *j, enum tenant_tier tier);
/* Something was refused because of the quota of that name, one of quota_names. */
void metrics_quota_exceeded(struct metrics *m, const char *quota);
/* A remote procedure call is over. METHOD's name is borrowed for good. */
void metrics_call_ended(struct metrics *m, const char *method, enum rpc_code code, double seconds);

void metrics_write(struct buf *b, const struct metrics *m);
/* One value without labels, with its two lines of comment. TYPE is "gauge" or "counter". */
void metrics_write_value(struct buf *b, const char *name, const char *type, const char *help, double value);

struct metrics_totals {
	uint64_t completed, failed, cancelled, calls;
	double build_seconds; /* of the completed ones, in all */
};
void metrics_totals(const struct metrics *m, struct metrics_totals *out);

#endif
