/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registry credentials: of the request, or from the operator's docker config.json. Credential helpers are never run. */
#ifndef FETCH_CREDENTIALS_H
#define FETCH_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct credentials {
	char username[256];
	char password[4096];
	char token[8192]; /* a bearer token for the registry, or an identity (refresh) token for its token server */
};

bool credentials_given(const struct credentials *c);

/* Find DOMAIN ("docker.io" matches Docker's "https://index.docker.io/v1/") in the text of a docker config.json. 1:
 * filled; 0: it has none; -EINVAL: the file is malformed (the sentence quotes no secret). */
int credentials_find(struct credentials *c, const char *data, size_t len, const char *domain, struct err *e);

/* "user:password" in base64 into OUT (for Basic). False when it does not fit. */
bool credentials_basic(const struct credentials *c, char *out, size_t size);

#endif
