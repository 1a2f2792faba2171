/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "build/ulid.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

static const char crockford[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void ulid_format(uint64_t time_ms, const uint8_t random[10], char out[ULID_CHARS + 1])
{
	for (int i = 9; i >= 0; i--, time_ms >>= 5)
		out[i] = crockford[time_ms & 31];
	for (unsigned i = 0; i < 16; i++) { /* 80 bits = 16 characters of 5, most significant bit first */
		unsigned value = 0;
		for (unsigned bit = i * 5; bit < i * 5 + 5; bit++)
			value = value << 1 | (random[bit / 8] >> (7 - bit % 8) & 1);
		out[10 + i] = crockford[value];
	}
	out[ULID_CHARS] = 0;
}

int ulid_build_id(uint64_t now_ms, uint64_t *last_ms, char out[BUILD_ID_MAX])
{
	uint8_t random[10];
	char ulid[ULID_CHARS + 1];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	if (now_ms > *last_ms)
		*last_ms = now_ms;
	ulid_format(*last_ms, random, ulid);
	snprintf(out, BUILD_ID_MAX, "build_%s", ulid);
	return 0;
}
