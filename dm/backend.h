/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which backend a configuration means, and with which options: for builderd and builder-volume alike. */
#ifndef DM_BACKEND_H
#define DM_BACKEND_H

#include "build/config.h"
#include "dm/volume.h"

#define BACKENDS 2

/* In the order in which "auto" takes them. */
extern const struct volume_ops *const backends[BACKENDS];

/* Who names a pool wants its encryption: "auto" never takes the clear-text backend in its place. */
bool backend_is_wanted(const struct config *c, const struct volume_ops *ops);

/* The texts are C's. */
struct store_options backend_options(const struct config *c);

#endif
