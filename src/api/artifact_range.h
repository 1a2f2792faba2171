/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Range header of RFC 9110, 14.1.2. */
#ifndef API_ARTIFACT_RANGE_H
#define API_ARTIFACT_RANGE_H

#include <stdint.h>

struct range {
	uint64_t first, len; /* bytes */
};

enum range_kind { RANGE_WHOLE, RANGE_PART, RANGE_IMPOSSIBLE };

/* One range of SIZE bytes. A header that is not understood, or has several ranges, is ignored as the RFC allows:
 * RANGE_WHOLE. */
enum range_kind range_parse(const char *header, uint64_t size, struct range *out);

#endif
