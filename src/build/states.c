/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "build/states.h"

#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

#define BIT(s) (1u << BUILD_##s)
#define ENDS (BIT(COMPLETED) | BIT(FAILED) | BIT(CANCELLED))

enum { IS_RUNNING = 1, IS_FINAL = 2 };

static const struct state_row {
	const char *name, *status;
	unsigned kind;
	unsigned next; /* bits of the states that may follow */
} rows[BUILD_STATE_COUNT] = {
        [BUILD_UNSPECIFIED] = {"BUILD_STATE_UNSPECIFIED", "UNKNOWN", 0, 0},
        /* handed to builderd, or ended before that */
        [BUILD_PENDING] = {"BUILD_STATE_PENDING", "QUEUED", 0, BIT(PULLING) | BIT(FAILED) | BIT(CANCELLED)},
        /* every later step can be empty: an identical image goes from PULLING to COMPLETED; back to PENDING: the
           network failed, and there is another try (layers are pulled while others are unpacked) */
        [BUILD_PULLING] = {"BUILD_STATE_PULLING", "RUNNING", IS_RUNNING,
                BIT(PENDING) | BIT(EXTRACTING) | BIT(BUILDING) | BIT(OPTIMIZING) | ENDS},
        [BUILD_EXTRACTING] = {"BUILD_STATE_EXTRACTING", "RUNNING", IS_RUNNING,
                BIT(PENDING) | BIT(BUILDING) | BIT(OPTIMIZING) | ENDS},
        [BUILD_BUILDING] = {"BUILD_STATE_BUILDING", "RUNNING", IS_RUNNING, BIT(OPTIMIZING) | ENDS},
        [BUILD_OPTIMIZING] = {"BUILD_STATE_OPTIMIZING", "RUNNING", IS_RUNNING, ENDS},
        [BUILD_COMPLETED] = {"BUILD_STATE_COMPLETED", "COMPLETED", IS_FINAL, BIT(CLEANING)},
        [BUILD_FAILED] = {"BUILD_STATE_FAILED", "FAILED", IS_FINAL, BIT(CLEANING)},
        [BUILD_CANCELLED] = {"BUILD_STATE_CANCELLED", "CANCELLED", IS_FINAL, BIT(CLEANING)},
        /* its row goes when builderd has said that the product is gone */
        [BUILD_CLEANING] = {"BUILD_STATE_CLEANING", "RUNNING", 0, 0},
};

static const struct state_row *row(unsigned s)
{
	return &rows[s < BUILD_STATE_COUNT ? s : BUILD_UNSPECIFIED];
}

bool state_is_valid(unsigned s)
{
	return s > BUILD_UNSPECIFIED && s < BUILD_STATE_COUNT;
}

bool state_may_follow(unsigned from, unsigned to)
{
	return state_is_valid(to) && (row(from)->next & 1u << to);
}

bool state_is_running(unsigned s)
{
	return row(s)->kind & IS_RUNNING;
}

bool state_is_final(unsigned s)
{
	return row(s)->kind & IS_FINAL;
}

const char *state_name(unsigned s)
{
	return row(s)->name;
}

const char *state_status_name(unsigned s)
{
	return row(s)->status;
}

unsigned state_mask_parse(const char *name)
{
	static const char *const prefixes[] = {"BUILD_STATE_", "BUILD_STATUS_"};
	unsigned mask = 0;

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (!strncasecmp(name, prefixes[i], strlen(prefixes[i]))) {
			name += strlen(prefixes[i]);
			break;
		}
	if (!strcasecmp(name, "TIMEOUT")) /* a timeout is a FAILED build whose error kind says so */
		return BIT(FAILED);
	for (unsigned s = BUILD_PENDING; s < BUILD_STATE_COUNT; s++)
		if (!strcasecmp(name, rows[s].status) || !strcasecmp(name, rows[s].name + strlen(prefixes[0])))
			mask |= 1u << s;
	return mask;
}
