/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unpack/tar_parse.h"

#include <string.h>

enum tar_dialect header_dialect(const struct tar_header *h)
{
	if (!memcmp(h->magic, "ustar  ", 8))
		return TAR_GNU;
	if (!memcmp(h->magic, "ustar", 6))
		return memcmp(h->tail + 8, "tar", 4) ? TAR_USTAR : TAR_STAR;
	return TAR_V7;
}

bool header_checksum_is_right(const struct tar_header *h)
{
	const unsigned char *p = (const unsigned char *)h;
	int64_t want, plain = 8 * ' ', with_sign = 8 * ' ';

	if (!header_number(h->checksum, sizeof(h->checksum), &want))
		return false;
	for (size_t i = 0; i < TAR_BLOCK; i++) {
		if (i >= offsetof(struct tar_header, checksum) && i < offsetof(struct tar_header, typeflag))
			continue;
		plain += p[i];
		with_sign += (signed char)p[i]; /* old writers summed signed chars */
	}
	return want == plain || want == with_sign;
}

/* Two's complement, big-endian, bit 7 of the first byte set aside as the mark. */
static bool base256_parse(const unsigned char *p, size_t len, int64_t *out)
{
	bool is_negative = p[0] & 0x40;
	unsigned char flip = is_negative ? 0xff : 0;
	uint64_t v = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = p[i] ^ flip;
		if (i == 0)
			c &= 0x7f;
		if (v >> 56)
			return false;
		v = v << 8 | c;
	}
	if (v >> 63)
		return false;
	*out = is_negative ? (int64_t)~v : (int64_t)v;
	return true;
}

bool header_number(const char *field, size_t len, int64_t *out)
{
	uint64_t v = 0;

	if (field[0] & 0x80)
		return base256_parse((const unsigned char *)field, len, out);
	while (len && (*field == ' ' || *field == 0))
		field++, len--;
	for (; len && *field >= '0' && *field <= '7'; field++, len--)
		v = v << 3 | (uint64_t)(*field - '0'); /* at most 12 digits: 36 bits */
	if (len && *field != 0)                        /* blanks may fill the field, and nothing else may */
		for (; len && *field != 0; field++, len--)
			if (*field != ' ')
				return false;
	*out = (int64_t)v;
	return true;
}

/* Go before 1.8 wrote a prefix into GNU headers, where two times are; old layers have it. Its reader, and with it most
 * runtimes, takes what is no time for a prefix, so the name means that. */
static size_t gnu_prefix_len(const struct tar_header *h)
{
	const char *times = h->prefix;
	size_t n = strnlen(h->prefix, sizeof(h->prefix));
	int64_t ignored;

	if ((!times[0] || header_number(times, 12, &ignored)) &&
	        (!times[12] || header_number(times + 12, 12, &ignored)))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (h->prefix[i] & 0x80)
			return 0;
	return n;
}

void header_name(const struct tar_header *h, struct buf *out)
{
	enum tar_dialect d = header_dialect(h);
	size_t prefix = 0;

	out->len = 0;
	if (d == TAR_USTAR)
		prefix = strnlen(h->prefix, sizeof(h->prefix));
	else if (d == TAR_GNU)
		prefix = gnu_prefix_len(h);
	else if (d == TAR_STAR)
		prefix = strnlen(h->star.prefix, sizeof(h->star.prefix));
	if (prefix) {
		buf_append(out, h->prefix, prefix);
		buf_append(out, "/", 1);
	}
	buf_append(out, h->name, strnlen(h->name, sizeof(h->name)));
}
