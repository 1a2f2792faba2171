/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/artifact_range.h"

#include <stdbool.h>
#include <stddef.h>
#include <strings.h>

/* 1*DIGIT; behind it is *S. False: no digits, or more than 64 bits. */
static bool take_number(const char **s, uint64_t *out)
{
	const char *c = *s;

	for (*out = 0; *c >= '0' && *c <= '9'; c++)
		if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, (uint64_t)(*c - '0'), out))
			return false;
	bool has_digits = c != *s;
	*s = c;
	return has_digits;
}

static enum range_kind suffix(const char *s, uint64_t size, struct range *out)
{
	uint64_t n;

	if (!take_number(&s, &n) || *s)
		return RANGE_WHOLE;
	if (!n || !size)
		return RANGE_IMPOSSIBLE;
	out->len = n < size ? n : size;
	out->first = size - out->len;
	return RANGE_PART;
}

enum range_kind range_parse(const char *header, uint64_t size, struct range *out)
{
	uint64_t first, last = UINT64_MAX;

	if (strncasecmp(header, "bytes=", 6) != 0)
		return RANGE_WHOLE;
	header += 6;
	if (*header == '-')
		return suffix(header + 1, size, out);
	if (!take_number(&header, &first) || *header++ != '-')
		return RANGE_WHOLE;
	if (*header && (!take_number(&header, &last) || *header))
		return RANGE_WHOLE;
	if (last < first)
		return RANGE_WHOLE;
	if (first >= size)
		return RANGE_IMPOSSIBLE;
	out->first = first;
	out->len = (last < size ? last + 1 : size) - first;
	return RANGE_PART;
}
