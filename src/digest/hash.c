/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "digest/hash.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

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
