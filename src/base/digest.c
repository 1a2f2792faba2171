/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/digest.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	size_t size;
} algorithms[] = {[DIGEST_SHA256] = {"sha256", 32}, [DIGEST_SHA512] = {"sha512", 64}};

size_t digest_size(uint32_t algorithm)
{
	return algorithm == DIGEST_SHA256 || algorithm == DIGEST_SHA512 ? algorithms[algorithm].size : 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* algorithm ::= component (separator component)*, component ::= [a-z0-9]+, separator ::= [+._-]; encoded ::=
 * [a-zA-Z0-9=_-]+ */
static bool is_well_formed(const char *text, size_t len, size_t colon)
{
	if (!colon || colon + 1 >= len)
		return false;
	for (size_t i = 0; i < colon; i++) {
		bool is_sep = memchr("+._-", text[i], 4) != NULL;
		if (is_sep ? !i || i + 1 == colon || memchr("+._-", text[i - 1], 4)
		           : !(islower((unsigned char)text[i]) || isdigit((unsigned char)text[i])))
			return false;
	}
	for (size_t i = colon + 1; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && !memchr("=_-", text[i], 3))
			return false;
	return true;
}

static int bad(struct err *e, enum err_kind kind, const char *text, size_t len, const char *what)
{
	char shown[96];
	size_t n = len < sizeof(shown) - 1 ? len : sizeof(shown) - 1;

	for (size_t i = 0; i < n; i++)
		shown[i] = isprint((unsigned char)text[i]) ? text[i] : '?';
	shown[n] = 0;
	return err_kind_set(e, -EINVAL, kind, "digest \"%s\"%s: %s", shown, n < len ? "..." : "", what);
}

int digest_parse(struct digest *d, const char *text, size_t len, struct err *e)
{
	const char *colon = memchr(text, ':', len);
	size_t name_len = colon ? (size_t)(colon - text) : 0;

	memset(d, 0, sizeof(*d));
	if (!colon || len > 512 || !is_well_formed(text, len, name_len))
		return bad(e, ERR_KIND_BAD_DIGEST, text, len, "expected algorithm:hex");
	for (uint32_t a = DIGEST_SHA256; a <= DIGEST_SHA512; a++) {
		if (strlen(algorithms[a].name) != name_len || memcmp(algorithms[a].name, text, name_len))
			continue;
		const char *hex = colon + 1;
		if (len - name_len - 1 != 2 * algorithms[a].size)
			return bad(e, ERR_KIND_BAD_DIGEST, text, len, "wrong number of hex digits");
		for (size_t i = 0; i < algorithms[a].size; i++) {
			int hi = hex_value(hex[2 * i]), lo = hex_value(hex[2 * i + 1]);
			if (hi < 0 || lo < 0) {
				memset(d, 0, sizeof(*d));
				return bad(e, ERR_KIND_BAD_DIGEST, text, len, "expected lower-case hex digits");
			}
			d->bytes[i] = (uint8_t)(hi << 4 | lo);
		}
		d->algorithm = a;
		return 0;
	}
	return bad(e, ERR_KIND_UNSUPPORTED_DIGEST, text, len, "only sha256 and sha512 are supported");
}

const char *digest_hex(const struct digest *d, char out[DIGEST_TEXT_MAX])
{
	static const char hex[] = "0123456789abcdef";
	size_t n = digest_size(d->algorithm);

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = hex[d->bytes[i] >> 4];
		out[2 * i + 1] = hex[d->bytes[i] & 15];
	}
	out[2 * n] = 0;
	return out;
}

const char *digest_format(const struct digest *d, char out[DIGEST_TEXT_MAX])
{
	if (!digest_size(d->algorithm)) {
		strcpy(out, "none");
		return out;
	}
	memcpy(out, algorithms[d->algorithm].name, 6);
	out[6] = ':';
	char hex[DIGEST_TEXT_MAX];
	memcpy(out + 7, digest_hex(d, hex), 2 * digest_size(d->algorithm) + 1);
	return out;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return a->algorithm == b->algorithm && !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool digest_is_valid(const struct digest *d)
{
	static const uint8_t zero[DIGEST_MAX_BYTES];
	size_t n = digest_size(d->algorithm);

	return n && !memcmp(d->bytes + n, zero, sizeof(zero) - n);
}
