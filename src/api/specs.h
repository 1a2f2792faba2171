/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two JSON texts that a build starts with; the programs that read them know nothing of protobuf. */
#ifndef API_SPECS_H
#define API_SPECS_H

#include "api/validate.h"
#include "base/buf.h"
#include "base/digest.h"

/* For builderd-fetch: {"reference":..., "auth":{...}, "platform":{...}}. Has secrets: wipe it with spec_wipe. AUTH may
 * be NULL. */
void source_spec_write(struct buf *b, const char *reference, const Builder__V1__DockerAuth *auth);
/* For the finishing pass. Members in byte order of their names, those of environment too: equal requests give equal
 * texts. */
void runtime_spec_write(struct buf *b, const Builder__V1__BuildConfig *c);
/* SHA-256 of the runtime spec: with the layer chain it decides whether a product exists already. */
void runtime_spec_key(const struct buf *spec, struct digest *out);
void spec_wipe(struct buf *b);

#endif
