/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS2 over a tenant's thin volume. The only user of <libcryptsetup.h>. aes-xts-plain64 with 512 bits, sectors of
 * 4096 bytes, data from LUKS_DATA_OFFSET on. The key that opens the key slot is 64 random bytes, so PBKDF2 runs its
 * least number of rounds: a memory-hard function would cost 1 GiB at each open and protect nothing.
 */
#ifndef DM_LUKS_H
#define DM_LUKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LUKS_DATA_OFFSET (16u << 20)
#define LUKS_METADATA_BYTES 16384                                      /* there are two of them */
#define LUKS_SLOTS_BYTES (1u << 20)                                    /* a slot takes 252 KiB; a rekey needs two */
#define LUKS_HEADER_BYTES (2 * LUKS_METADATA_BYTES + LUKS_SLOTS_BYTES) /* what of the front is written */

/* A header names its volume: UUID is 32 hex digits, and what has another one is not read. PATH is a block device, or
 * the file of a header backup where that is said. Keys are LUKS_KEY_BYTES long. */
#define LUKS_KEY_BYTES 64

/* Write a new header with a new volume key to PATH; what was on it cannot be read any more. */
int luks_format(const char *path, const char *uuid, const void *key, struct err *e);

/* Bring PATH up as NAME: the volume key goes through the kernel's keyring. -EPERM: the key opens none of its slots.
 * -EUCLEAN: it has no header that can be read, or another volume's. */
int luks_open(
        const char *path, const char *uuid, const char *name, const void *key, bool allows_discards, struct err *e);

/* The device below NAME, which is up, has grown. */
int luks_resize(const char *name, const void *key, size_t key_len, struct err *e);

/* Take NAME down and forget its key. -EBUSY: something above it is up. An absent one is fine. */
int luks_close(const char *name, struct err *e);

struct luks_info {
	char uuid[40], cipher[64], pbkdf[16];
	unsigned key_bits, sector_bytes, keyslots, iterations; /* keyslots in use; PBKDF rounds of the first */
	uint64_t data_offset;                                  /* bytes */
};

/* What the header of DEVICE says. */
int luks_describe(const char *device, struct luks_info *out, struct err *e);

/* Would KEY open it? PATH may be a backup. 0, or as luks_open. */
int luks_key_check(const char *path, const char *uuid, const void *key, struct err *e);

/* A slot more, which NEW_KEY opens. The volume may be up, and stays up. */
int luks_key_add(const char *path, const char *uuid, const void *key, const void *new_key, struct err *e);

/* Overwrite all slots but the one that KEY opens. Returns how many those were. */
int luks_keys_keep_one(const char *path, const char *uuid, const void *key, struct err *e);

/* The header and its slots as FILE, which must not exist; mode 0400, holes where no slot is used. Not durable yet. */
int luks_header_backup(const char *path, const char *uuid, const char *file, struct err *e);
int luks_header_restore(const char *path, const char *file, struct err *e);

#endif
