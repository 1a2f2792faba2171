/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Incremental SHA-256 and SHA-512. The only user of <openssl/evp.h>. */
#ifndef DIGEST_HASH_H
#define DIGEST_HASH_H

#include <stddef.h>

#include "base/digest.h"

struct hash;

/* NULL only when out of memory or for an unknown algorithm. The caller frees with hash_free. */
struct hash *hash_new(enum digest_algorithm algorithm);
void hash_free(struct hash *h);
void hash_update(struct hash *h, const void *data, size_t len);
/* Writes the digest; the hash can only be freed afterwards. */
void hash_final(struct hash *h, struct digest *out);
/* One-shot. */
void hash_buffer(enum digest_algorithm algorithm, const void *data, size_t len, struct digest *out);

/* LENGTH bytes of FD from OFFSET, by pread. 0, -EIO if the file ends before, or -errno. */
int hash_file(int fd, uint64_t offset, uint64_t length, enum digest_algorithm algorithm, struct digest *out);

static inline void hash_cleanup(struct hash **h)
{
	hash_free(*h);
}

#endif
