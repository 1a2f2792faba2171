/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SipHash-1-3 of Aumasson and Bernstein, with a key drawn at start: names come from an attacker, who must not choose
 * which of them collide. */
#ifndef FUSE_HASH64_H
#define FUSE_HASH64_H

#include <stddef.h>
#include <stdint.h>

/* Draw the process's key. 0 or -errno. */
int hash64_setup(void);
uint64_t hash64(uint64_t seed, const void *data, size_t len);

#endif
