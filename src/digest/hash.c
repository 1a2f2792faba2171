/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "digest/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/cleanup.h"

#define BLOCK_BYTES ((size_t)256 * 1024)

struct hash {
	EVP_MD_CTX *ctx; /* owns */
	uint32_t algorithm;
};

struct hash *hash_new(enum digest_algorithm algorithm)
{
	struct hash *h;

	if (!digest_size(algorithm) || !(h = calloc(1, sizeof(*h))))
		return NULL;
	h->algorithm = algorithm;
	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx || !EVP_DigestInit_ex(h->ctx, algorithm == DIGEST_SHA256 ? EVP_sha256() : EVP_sha512(), NULL)) {
		hash_free(h);
		return NULL;
	}
	return h;
}

void hash_free(struct hash *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

void hash_update(struct hash *h, const void *data, size_t len)
{
	if (!EVP_DigestUpdate(h->ctx, data, len))
		abort();
}

void hash_final(struct hash *h, struct digest *out)
{
	memset(out, 0, sizeof(*out));
	if (!EVP_DigestFinal_ex(h->ctx, out->bytes, NULL))
		abort();
	out->algorithm = h->algorithm;
}

void hash_buffer(enum digest_algorithm algorithm, const void *data, size_t len, struct digest *out)
{
	struct hash *h = hash_new(algorithm);

	if (!h)
		abort();
	hash_update(h, data, len);
	hash_final(h, out);
	hash_free(h);
}

int hash_file(int fd, uint64_t offset, uint64_t length, enum digest_algorithm algorithm, struct digest *out)
{
	AUTO_FREE char *block = malloc(BLOCK_BYTES);
	AUTO(hash_cleanup) struct hash *h = hash_new(algorithm);

	if (!block || !h)
		return -ENOMEM;
	while (length) {
		ssize_t n = pread(fd, block, length < BLOCK_BYTES ? (size_t)length : BLOCK_BYTES, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		hash_update(h, block, (size_t)n);
		offset += (uint64_t)n;
		length -= (uint64_t)n;
	}
	hash_final(h, out);
	return 0;
}
