/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "store/page.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "digest/hash.h"

#define MAC_BYTES 16

/* What base64url carries: 16 + 8 + 40 bytes make 86 characters. */
struct page_token {
	uint8_t mac[MAC_BYTES];
	uint8_t created[8]; /* big-endian */
	char build_id[BUILD_ID_MAX];
};
_Static_assert(sizeof(struct page_token) == MAC_BYTES + 8 + BUILD_ID_MAX, "no padding");
_Static_assert((sizeof(struct page_token) * 4 + 2) / 3 < PAGE_TOKEN_MAX, "fits");

/* HMAC-SHA256, RFC 2104, of the token and the list it belongs to, cut to 128 bits. */
static void token_mac(
        const uint8_t secret[32], const struct job_filter *f, const struct page_token *t, uint8_t out[MAC_BYTES])
{
	uint8_t pad[64];
	uint64_t list[3] = {f->states, (uint64_t)f->from_ms, (uint64_t)f->to_ms};
	char tenant[TENANT_ID_MAX] = "";
	struct digest d;

	strncpy(tenant, f->tenant_id, sizeof(tenant) - 1);
	memset(pad, 0x36, sizeof(pad));
	for (int i = 0; i < 32; i++)
		pad[i] ^= secret[i];
	AUTO(hash_cleanup) struct hash *inner = hash_new(DIGEST_SHA256);
	hash_update(inner, pad, sizeof(pad));
	hash_update(inner, tenant, sizeof(tenant));
	hash_update(inner, list, sizeof(list));
	hash_update(inner, (const uint8_t *)t + MAC_BYTES, sizeof(*t) - MAC_BYTES);
	hash_final(inner, &d);

	for (int i = 0; i < 64; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	AUTO(hash_cleanup) struct hash *outer = hash_new(DIGEST_SHA256);
	hash_update(outer, pad, sizeof(pad));
	hash_update(outer, d.bytes, 32);
	hash_final(outer, &d);
	memcpy(out, d.bytes, MAC_BYTES);
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"; /* RFC 4648, 5 */

static void base64url_write(const uint8_t *in, size_t len, char *out)
{
	uint32_t bits = 0;
	unsigned have = 0;

	for (size_t i = 0; i < len; i++)
		for (bits = bits << 8 | in[i], have += 8; have >= 6; have -= 6)
			*out++ = alphabet[bits >> (have - 6) & 63];
	if (have)
		*out++ = alphabet[bits << (6 - have) & 63];
	*out = 0;
}

/* Exactly LEN bytes, or false. */
static bool base64url_read(const char *in, uint8_t *out, size_t len)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0;

	if (strlen(in) != (len * 4 + 2) / 3)
		return false;
	for (; *in; in++) {
		const char *at = strchr(alphabet, *in);
		if (!at)
			return false;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		have += 6;
		if (have >= 8 && n < len)
			out[n++] = (uint8_t)(bits >> (have -= 8));
	}
	return n == len && !(bits & ((1u << have) - 1)); /* one token has one spelling */
}

void page_token_make(const uint8_t secret[32], const struct job_filter *f, int64_t created_ms, const char *build_id,
        char out[PAGE_TOKEN_MAX])
{
	struct page_token t = {0};

	for (int i = 0; i < 8; i++)
		t.created[i] = (uint8_t)((uint64_t)created_ms >> (56 - 8 * i));
	strncpy(t.build_id, build_id, sizeof(t.build_id) - 1);
	token_mac(secret, f, &t, t.mac);
	base64url_write((const uint8_t *)&t, sizeof(t), out);
}

int page_token_read(const uint8_t secret[32], struct job_filter *f, const char *token)
{
	struct page_token t;
	uint8_t mac[MAC_BYTES], differ = 0;
	uint64_t created = 0;

	if (!base64url_read(token, (uint8_t *)&t, sizeof(t)))
		return -EINVAL;
	token_mac(secret, f, &t, mac);
	for (int i = 0; i < MAC_BYTES; i++) /* constant time */
		differ |= (uint8_t)(mac[i] ^ t.mac[i]);
	if (differ || t.build_id[BUILD_ID_MAX - 1])
		return -EINVAL;
	for (int i = 0; i < 8; i++)
		created = created << 8 | t.created[i];
	f->after_ms = (int64_t)created;
	memcpy(f->after_id, t.build_id, BUILD_ID_MAX);
	return 0;
}
