/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The states of a build and the moves between them, one table. The numbers are builder.v1.BuildState's.
 * PENDING means: builderd does not have it, so it can be queued again after a restart. Everything after it and before a
 * final state is "running". A build goes back only to PENDING, for another try.
 */
#ifndef BUILD_STATES_H
#define BUILD_STATES_H

#include <stdbool.h>

#include "ipc/message.h"

bool state_is_valid(unsigned s); /* a real state: not UNSPECIFIED, not out of range */
bool state_may_follow(unsigned from, unsigned to);
bool state_is_running(unsigned s); /* builderd works on it */
bool state_is_final(unsigned s);   /* COMPLETED, FAILED, CANCELLED: nothing will change but its deletion */

/* "BUILD_STATE_PENDING"; "BUILD_STATE_UNSPECIFIED" for what is not a state. */
const char *state_name(unsigned s);
/* The documented status of the older forms: QUEUED, RUNNING ...; UNKNOWN for what is not a state. */
const char *state_status_name(unsigned s);
/* The other way, with or without "BUILD_STATE_" or "BUILD_STATUS_", any case: a set of states as bits 1 << state. 0: no
 * such name. */
unsigned state_mask_parse(const char *name);

#endif
