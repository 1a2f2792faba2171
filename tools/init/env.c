/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/init/env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* The slot of NAME (LEN bytes), or NULL. */
static char **env_find(const struct env *env, const char *name, size_t len)
{
	for (size_t i = 0; i < env->n; i++)
		if (!strncmp(env->vars[i], name, len) && env->vars[i][len] == '=')
			return &env->vars[i];
	return NULL;
}

/* Takes VAR, whose name is its first LEN bytes. */
static void env_put(struct env *env, char *var, size_t len)
{
	char **slot = env_find(env, var, len);

	if (slot) {
		free(*slot);
		*slot = var;
		return;
	}
	env->vars = xrealloc(env->vars, (env->n + 2) * sizeof(*env->vars));
	env->vars[env->n++] = var;
	env->vars[env->n] = NULL;
}

int env_set(struct env *env, const char *name, const char *value, struct err *e)
{
	if (!*name)
		return err_set(e, -EINVAL, "a variable without a name");
	if (strchr(name, '='))
		return err_set(e, -EINVAL, "variable name \"%s\" has a '=' in it", name);
	env_put(env, xasprintf("%s=%s", name, value), strlen(name));
	return 0;
}

int env_default(struct env *env, const char *name, const char *value, struct err *e)
{
	return env_get(env, name) ? 0 : env_set(env, name, value, e);
}

void env_merge(struct env *env, const struct env *from)
{
	for (size_t i = 0; i < from->n; i++)
		env_put(env, xstrdup(from->vars[i]), strcspn(from->vars[i], "="));
}

const char *env_get(const struct env *env, const char *name)
{
	size_t len = strlen(name);
	char **slot = env_find(env, name, len);

	return slot ? *slot + len + 1 : NULL;
}

void env_free(struct env *env)
{
	for (size_t i = 0; i < env->n; i++)
		free(env->vars[i]);
	free(env->vars);
	*env = (struct env){0};
}
