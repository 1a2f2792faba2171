/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registry credentials for one build. They never come from argv, and go nowhere but into the request. */
#ifndef CTL_AUTH_H
#define CTL_AUTH_H

#include "base/buf.h"
#include "base/err.h"
#include "tools/ctl/options.h"

/* Append the request's "auth" member, with a comma in front, for IMAGE; nothing if none were asked for. The caller
 * wipes B. -EINVAL and others: they were asked for and cannot be had. */
int auth_put(struct buf *b, const struct options *o, const char *image, struct err *e);

/* "docker.io/library/x" -> "docker.io", "x" -> "docker.io", "host:5000/x" -> "host:5000"; up to OUT's 256 bytes. */
const char *auth_registry(const char *image, char out[256]);

#endif
