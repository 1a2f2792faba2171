/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image metadata that the finishing pass wrote: JSON on its way in, builder.v1.ImageMetadata on its way out. */
#ifndef API_METADATA_H
#define API_METADATA_H

#include <stddef.h>

#include "base/err.h"
#include "builder.pb-c.h"

#define METADATA_MAX_BYTES (1u << 20)
#define METADATA_MAX_DEPTH 8

/* Every member that is there has its type. -EINVAL with kind internal: what we wrote is not what we read. */
int metadata_check(const char *text, size_t len, struct err *e);
/* NULL for a text that does not pass. Free with builder__v1__image_metadata__free_unpacked(m, NULL). */
Builder__V1__ImageMetadata *metadata_read(const char *text, size_t len, struct err *e);

/* Its init_path; "" if it names none. */
char *metadata_init_path(const char *text, size_t len);

#endif
