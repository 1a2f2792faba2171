/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The environment of the command: an ordered list of NAME=value, each name once. */
#ifndef INIT_ENV_H
#define INIT_ENV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct env {
	char **vars; /* owns; NULL-terminated once something was set */
	size_t n;
};

/* Set NAME, replacing what it was. Any name goes that execve(2) can carry, lower case, dots and dashes included;
 * -EINVAL for an empty one and one with '='. */
int env_set(struct env *env, const char *name, const char *value, struct err *e);
/* Set NAME unless it is set. */
int env_default(struct env *env, const char *name, const char *value, struct err *e);
/* Set everything that FROM has. */
void env_merge(struct env *env, const struct env *from);
/* The value of NAME, borrowed until the next change; NULL if it is not set. */
const char *env_get(const struct env *env, const char *name);
void env_free(struct env *env);

#endif
