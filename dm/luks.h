/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS2 over a tenant's thin volume. The only user of <libcryptsetup.h>. aes-xts-plain64 with 512 bits, sectors of
 * 4096 bytes, data from LUKS_DATA_OFFSET on. The key that opens the key slot is 64 random bytes, so PBKDF2 runs its
 * least number of rounds: a memory-hard function would cost 1 GiB at each open and protect nothing.
 */
#ifndef DM_LUKS_H
#define DM_LUKS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LUKS_DATA_OFFSET (16u << 20)

/* Write a new header with a new volume key to DEVICE (a path); what was on it cannot be read any more. */
int luks_format(const char *device, const void *key, size_t key_len, struct err *e);

/* Bring DEVICE up as NAME: the volume key goes through the kernel's keyring, discards pass. */
int luks_open(const char *device, const char *name, const void *key, size_t key_len, struct err *e);

/* Take NAME down and forget its key. -EBUSY: something above it is up. An absent one is fine. */
int luks_close(const char *name, struct err *e);

struct luks_info {
	char uuid[40], cipher[64], pbkdf[16];
	unsigned key_bits, sector_bytes, keyslots, iterations; /* keyslots in use; PBKDF rounds of the first */
	uint64_t data_offset;                                  /* bytes */
};

/* What the header of DEVICE says. */
int luks_describe(const char *device, struct luks_info *out, struct err *e);

#endif
