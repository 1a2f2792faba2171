/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WWW-Authenticate, RFC 9110 section 11.6.1: several challenges in one field, quoted strings, token68. */
#ifndef FETCH_CHALLENGE_H
#define FETCH_CHALLENGE_H

#include <stddef.h>

#include "base/err.h"

struct challenge {
	char scheme[24]; /* lower case */
	char realm[1024];
	char service[256];
	char scope[1024];
	char error[64]; /* "insufficient_scope", "invalid_token": RFC 6750 section 3.1 */
};

/* Several header lines are to be joined with ", " before. Returns how many of the first MAX challenges were stored;
 * -EINVAL for a malformed field, a value that is too long, or a parameter given twice. */
int challenge_parse(const char *field, struct challenge *out, size_t max, struct err *e);

#endif
