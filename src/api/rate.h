/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A token bucket for each tenant, in bounded memory. Pure logic: the caller has the clock. */
#ifndef API_RATE_H
#define API_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct rate;

/* SEED: random, so that nobody can choose ids that meet in one place of the table. */
struct rate *rate_new(uint64_t seed);
void rate_free(struct rate *r); /* takes NULL */

/* What the answer's headers say. */
struct rate_state {
	int64_t limit;         /* requests a minute */
	int64_t remaining;     /* requests that would be served now */
	int64_t reset_s;       /* until the bucket is full again */
	int64_t retry_after_s; /* until there is one request; 0: now */
};

/* One request of KEY at NOW_MS (monotonic). False: it is over the limit. BURST is the bucket's size, both at least 1.
 */
bool rate_take(
        struct rate *r, const char *key, int64_t per_minute, int64_t burst, int64_t now_ms, struct rate_state *out);

#endif
