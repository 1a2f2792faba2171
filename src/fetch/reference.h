/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Image references: [domain/]path[:tag][@digest] as in distribution/reference, and the local forms oci:DIR[:TAG] and
 * docker-archive:FILE[:REF]. Text only: nothing is resolved here.
 */
#ifndef FETCH_REFERENCE_H
#define FETCH_REFERENCE_H

#include <stdbool.h>

#include "base/digest.h"
#include "base/err.h"

#define REFERENCE_NAME_MAX 255 /* bytes of domain/path */
#define REFERENCE_TAG_MAX 128
#define REFERENCE_TEXT_MAX 512 /* room for name:tag@sha512:... without the longest names: struct msg_fetch_image */

struct reference {
	char domain[REFERENCE_NAME_MAX + 1]; /* lower case: "docker.io", "127.0.0.1:5000", "[::1]:5000" */
	char path[REFERENCE_NAME_MAX + 1];
	char tag[REFERENCE_TAG_MAX + 1]; /* "" when a digest decides */
	struct digest digest;            /* algorithm DIGEST_NONE: none given */
};

/* -EINVAL, BAD_REFERENCE (or a digest's kind), with a sentence that quotes TEXT. */
int reference_parse(struct reference *r, const char *text, struct err *e);
/* domain/path:tag or domain/path@digest. */
void reference_format(const struct reference *r, char out[REFERENCE_TEXT_MAX]);

/* Split DOMAIN (host[:port], IPv6 in brackets) into HOST without brackets and PORT (0: none). False for a wrong form.
 */
bool reference_split_domain(const char *domain, char host[REFERENCE_NAME_MAX + 1], unsigned *port);

struct local_reference {
	char path[4096];
	char name[REFERENCE_TEXT_MAX]; /* tag or reference behind the path, "" when absent */
};

/* TEXT behind "oci:" or "docker-archive:"; the first ":" ends the path, as in skopeo. */
int local_reference_parse(struct local_reference *l, const char *text, struct err *e);

#endif
