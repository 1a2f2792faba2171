/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Build ids: "build_" and a ULID: 48 bits of milliseconds, 80 random bits, Crockford's base 32, upper case. */
#ifndef BUILD_ULID_H
#define BUILD_ULID_H

#include <stdint.h>

#include "ipc/message.h"

#define ULID_CHARS 26

/* TIME_MS and RANDOM as 26 characters and a NUL. */
void ulid_format(uint64_t time_ms, const uint8_t random[10], char out[ULID_CHARS + 1]);

/* A new id. *LAST_MS keeps the time part from going back when the clock does; all 80 bits are fresh each time, so an id
 * cannot be guessed from its neighbour (the ULID specification's increment within a millisecond could be). 0 or -errno.
 */
int ulid_build_id(uint64_t now_ms, uint64_t *last_ms, char out[BUILD_ID_MAX]);

#endif
