/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OCI digests: grammar and text form only; hashing is src/digest/hash.h.
 * Source: OCI image-spec descriptor.md, "Digests": algorithm ":" encoded; sha256 is 64 and sha512 128 lower-case hex
 * digits.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum digest_algorithm { DIGEST_NONE = 0, DIGEST_SHA256 = 1, DIGEST_SHA512 = 2 };

#define DIGEST_MAX_BYTES 64
#define DIGEST_TEXT_MAX (7 + 2 * DIGEST_MAX_BYTES + 1) /* "sha512:" hex NUL */

/* Plain data: crosses a socket as it is. Bytes past the algorithm's length are zero, so memcmp compares. */
struct digest {
	uint32_t algorithm; /* enum digest_algorithm */
	uint8_t bytes[DIGEST_MAX_BYTES];
};

/* 32, 64, or 0 for an unknown algorithm. */
size_t digest_size(uint32_t algorithm);

/* Parse LEN bytes of TEXT. -EINVAL with kind BAD_DIGEST for a wrong form, UNSUPPORTED_DIGEST for a well-formed digest
 * of an algorithm we do not know. */
int digest_parse(struct digest *d, const char *text, size_t len, struct err *e);

/* "sha256:..." into OUT; returns OUT. */
const char *digest_format(const struct digest *d, char out[DIGEST_TEXT_MAX]);
/* The hex part only; returns OUT. */
const char *digest_hex(const struct digest *d, char out[DIGEST_TEXT_MAX]);
bool digest_equal(const struct digest *a, const struct digest *b);
/* False for a digest that no parse can have made (checked on everything that came over a socket). */
bool digest_is_valid(const struct digest *d);

#endif
