/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tenants' keys at rest: 64 random bytes each, sealed with AES-256-GCM under the host's master key, one file a tenant.
 * Both the generation and the tenant's id are authenticated, so that no key file can stand in for another. The only
 * user of <openssl/...> here.
 *
 *   bytes 0-7 "BUILDKEY"   8-11 generation, little endian   12-23 nonce   24-87 sealed key   88-103 tag
 */
#ifndef DM_KEYS_H
#define DM_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define MASTER_KEY_BYTES 32
#define TENANT_KEY_BYTES 64

/* Memory for keys: locked, zeroed by keys_wipe. */
struct master_key {
	uint8_t bytes[MASTER_KEY_BYTES];
};
struct tenant_key {
	uint8_t bytes[TENANT_KEY_BYTES];
};
void keys_wipe(void *key, size_t size);
static inline void tenant_key_cleanup(struct tenant_key *k)
{
	keys_wipe(k, sizeof(*k));
}

/* The master key from PATH: a file of 32 bytes, root's, closed to others. -ENOENT: there is none. */
int keys_master_read(const char *path, struct master_key *out, struct err *e);

/* Make PATH with a new random key, mode 0400, durable. -EEXIST: there is one. */
int keys_master_make(const char *path, struct err *e);

/* A new key for TENANT, sealed into DIRFD/TENANT.GENERATION, durable. Replaces what was there. */
int keys_tenant_make(int dirfd, const char *tenant, uint32_t generation, const struct master_key *master,
        struct tenant_key *out, struct err *e);

/* -ENOENT: no file; -EBADMSG: damaged, another tenant's, or sealed under another master key. */
int keys_tenant_read(int dirfd, const char *tenant, uint32_t generation, const struct master_key *master,
        struct tenant_key *out, struct err *e);

#endif
