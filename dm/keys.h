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

/* The file FROM takes the place of TO, whose old bytes are overwritten. Durable. */
int keys_master_replace(const char *from, const char *to, struct err *e);

/* A new key for TENANT, sealed into DIRFD/TENANT.GENERATION, durable. Replaces what was there. */
int keys_tenant_make(int dirfd, const char *tenant, uint32_t generation, const struct master_key *master,
        struct tenant_key *out, struct err *e);

/* -ENOENT: no file; -EBADMSG: damaged, another tenant's, or sealed under another master key. */
int keys_tenant_read(int dirfd, const char *tenant, uint32_t generation, const struct master_key *master,
        struct tenant_key *out, struct err *e);

/* Seal all keys in DIRFD under NEXT. Some may be already, from a run that was interrupted. A key that neither opens
 * stays as it is and ends it: -EBADMSG. */
int keys_reseal_all(int dirfd, const struct master_key *now, const struct master_key *next, struct err *e);

/* --- files called TENANT.GENERATION, keys and header backups alike ------------------------------------------------ */

struct generation_name {
	char text[128];
};
struct generation_name keys_file_name(const char *tenant, uint32_t generation);
bool keys_file_exists(int dirfd, const char *tenant, uint32_t generation);

/* Overwrite the file with random bytes, then remove it, durably. What the medium keeps of the old bytes besides, a copy
 * on write below us, a remapped flash block, a journal with data, is out of reach. An absent one is fine. */
int keys_file_shred(int dirfd, const char *name, struct err *e);
/* What writers of DIRFD's files had begun when they died. */
void keys_leftovers_remove(int dirfd);
/* All of TENANT's, begun ones too. Returns how many those were. */
int keys_files_shred(int dirfd, const char *tenant, struct err *e);

#endif
