/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A registry that speaks the OCI distribution-spec 1.1: manifests, configs and layers of one reference. */
#ifndef FETCH_REGISTRY_H
#define FETCH_REGISTRY_H

#include "fetch/reference.h"
#include "fetch/session.h"

struct registry;

/* Decide by the reference alone: allow-list (DENIED), schemes, address policy, mirror, credentials. No packet is sent.
 */
struct registry *registry_new(struct session *s, const struct reference *ref, struct err *e);
void registry_free(struct registry *g);

/* Find the image: fills IMAGE and CONFIG. */
int registry_resolve(struct registry *g, struct image *image, struct buf *config, struct err *e);
/* Download the layers of IMAGE that the session wants and has not sent yet, the first ones first. */
int registry_layers(struct registry *g, const struct image *image, struct err *e);

#endif
