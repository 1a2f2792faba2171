/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the first document of a source to the image for one platform: indexes, manifest, config; every hash and size
 * checked. */
#ifndef FETCH_RESOLVE_H
#define FETCH_RESOLVE_H

#include "base/buf.h"
#include "fetch/manifest.h"

struct resolver {
	void *arg;
	/* Append manifest D to BODY (at most limits->max_manifest bytes) and write the Content-Type, if there is one.
	 */
	int (*document)(
	        void *arg, const struct descriptor *d, struct buf *body, char type[MEDIA_TYPE_MAX], struct err *e);
	/* Append the blob D (a config, small) to BODY. */
	int (*blob)(void *arg, const struct descriptor *d, struct buf *body, struct err *e);
	const struct image_limits *limits;
	struct platform want;
	unsigned documents; /* read so far */
};

/* DATA was read for EXPECTED: a digest of DIGEST_NONE is computed (a tag), otherwise digest and size must match. Fills
 * IMAGE and CONFIG (the text of the config). Errors: every kind of manifest.h, DIGEST_MISMATCH, SIZE_MISMATCH,
 * NO_PLATFORM, INDEX_DEPTH. */
int resolve_image(struct resolver *r, const struct buf *data, const char *content_type,
        const struct descriptor *expected, struct image *image, struct buf *config, struct err *e);

/* Size and hash of DATA are D's? WHAT opens the sentence: "manifest", "config". */
int descriptor_verify(const struct descriptor *d, const struct buf *data, const char *what, struct err *e);

#endif
