/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A table of SETS * WAYS buckets that never grows. A tenant that is not in it has a full bucket; where all ways of a
 * set are taken the fullest one is given up, so that what is lost is the least that can be: nothing, as long as one of
 * the eight has been quiet for as long as a burst takes to refill.
 */
#include "api/rate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "ipc/message.h"

#define SETS 512
#define WAYS 8
#define UNIT 60000 /* of a request: what one request a minute brings in a millisecond is 1 */

struct bucket {
	char key[TENANT_ID_MAX]; /* "": free */
	int64_t units;           /* at AT_MS */
	int64_t at_ms;
	int64_t per_minute, full; /* of the last request: units, too */
};

struct rate {
	uint64_t seed;
	struct bucket buckets[SETS][WAYS];
};

struct rate *rate_new(uint64_t seed)
{
	struct rate *r = xcalloc(1, sizeof(*r));

	r->seed = seed;
	return r;
}

void rate_free(struct rate *r)
{
	free(r);
}

/* FNV-1a from a secret start. */
static uint64_t hash_of(const struct rate *r, const char *key)
{
	uint64_t h = 0xcbf29ce484222325u ^ r->seed;

	for (; *key; key++)
		h = (h ^ (uint8_t)*key) * 0x100000001b3u;
	return h ^ h >> 32;
}

static void refill(struct bucket *b, int64_t now_ms)
{
	int64_t passed = now_ms - b->at_ms, gain;

	b->at_ms = now_ms;
	if (passed <= 0)
		return;
	if (__builtin_mul_overflow(passed, b->per_minute, &gain) || gain > b->full - b->units)
		b->units = b->full;
	else
		b->units += gain;
}

static struct bucket *bucket_of(struct rate *r, const char *key, int64_t now_ms)
{
	struct bucket *set = r->buckets[hash_of(r, key) % SETS], *best = NULL;

	for (int i = 0; i < WAYS; i++) {
		struct bucket *b = &set[i];
		if (!strcmp(b->key, key))
			return b;
		if (*b->key)
			refill(b, now_ms);
		if (!best || (*best->key && (!*b->key || best->full - best->units > b->full - b->units)))
			best = b;
	}
	*best = (struct bucket){.units = INT64_MAX, .at_ms = now_ms};
	snprintf(best->key, sizeof(best->key), "%s", key);
	return best;
}

/* Seconds until UNITS more have come, rounded up. */
static int64_t seconds_for(const struct bucket *b, int64_t units)
{
	int64_t per_second = b->per_minute * 1000;

	return units <= 0 ? 0 : (units + per_second - 1) / per_second;
}

bool rate_take(
        struct rate *r, const char *key, int64_t per_minute, int64_t burst, int64_t now_ms, struct rate_state *out)
{
	struct bucket *b = bucket_of(r, key, now_ms);

	b->per_minute = per_minute;
	b->full = burst * UNIT;
	refill(b, now_ms);
	if (b->units > b->full)
		b->units = b->full;
	bool is_served = b->units >= UNIT;
	if (is_served)
		b->units -= UNIT;
	*out = (struct rate_state){.limit = per_minute,
	        .remaining = b->units / UNIT,
	        .reset_s = seconds_for(b, b->full - b->units),
	        .retry_after_s = is_served ? 0 : seconds_for(b, UNIT - b->units)};
	return is_served;
}
