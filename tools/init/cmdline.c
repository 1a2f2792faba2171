/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/init/cmdline.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "tools/init/say.h"

/* Cut one parameter out of *POS. *VALUE is NULL for one without '='. False at the end. */
static bool cmdline_next(char **pos, char **name, char **value)
{
	char *p = *pos, *equals = NULL;
	bool is_quoted = false, is_word_quoted;

	while (isspace((unsigned char)*p))
		p++;
	if (!*p)
		return false;
	is_word_quoted = *p == '"';
	if (is_word_quoted) {
		p++;
		is_quoted = true;
	}
	*name = p;
	for (; *p && (is_quoted || !isspace((unsigned char)*p)); p++) {
		if (*p == '=' && !equals)
			equals = p;
		else if (*p == '"')
			is_quoted = !is_quoted;
	}
	*pos = *p ? p + 1 : p;
	*p = 0;
	*value = equals ? equals + 1 : NULL;
	if (equals)
		*equals = 0;
	if (equals && **value == '"') {
		++*value;
		is_word_quoted = true;
	}
	if (is_word_quoted && p > *name && p[-1] == '"')
		p[-1] = 0;
	return true;
}

static void set_env(struct cmdline *c, const char *name, const char *value)
{
	struct err e = ERR_INIT;

	if (env_set(&c->env, name + strlen("env."), value, &e) < 0)
		say("kernel parameter %s=: %s, skipped", name, e.msg);
}

static void set_path(char **where, const char *name, const char *value)
{
	if (*value != '/') {
		say("kernel parameter %s=%s is not an absolute path, skipped", name, value);
		return;
	}
	free(*where);
	*where = xstrdup(value);
}

static void set_workdir(struct cmdline *c, const char *name, const char *value)
{
	set_path(&c->workdir, name, value);
}

static void set_metadata(struct cmdline *c, const char *name, const char *value)
{
	set_path(&c->metadata, name, value);
}

static void set_hostname(struct cmdline *c, const char *name, const char *value)
{
	free(c->hostname);
	c->hostname = xstrdup(value);
}

static void add_nameserver(struct cmdline *c, const char *name, const char *value)
{
	if (!*value || value[strspn(value, "0123456789abcdefABCDEF.:%")])
		say("kernel parameter %s=%s is not an address, skipped", name, value);
	else if (c->n_nameservers == CMDLINE_MAX_NAMESERVERS)
		say("kernel parameter %s=%s is one too many, skipped", name, value);
	else
		c->nameservers[c->n_nameservers++] = xstrdup(value);
}

/* "k", "t,k", "k,force": admin-guide/kernel-parameters.txt, reboot=. Words like "panic_warm" have a k that means none.
 */
static void set_reboot(struct cmdline *c, const char *name, const char *value)
{
	while (*value) {
		size_t len = strcspn(value, ",");
		if ((len == 1 && *value == 'k') || (len == 3 && !strncmp(value, "kbd", 3)))
			c->is_reset = true;
		value += len + (value[len] == ',');
	}
}

static const struct {
	const char *name;
	bool is_prefix;
	void (*set)(struct cmdline *c, const char *name, const char *value);
} parameters[] = {
        {"env.", true, set_env},
        {"workdir", false, set_workdir},
        {"metadata", false, set_metadata},
        {"hostname", false, set_hostname},
        {"nameserver", false, add_nameserver},
        {"reboot", false, set_reboot},
};

void cmdline_parse(struct cmdline *c, const char *text)
{
	AUTO_FREE char *copy = xstrdup(text);
	char *pos = copy, *name, *value;

	while (cmdline_next(&pos, &name, &value)) {
		if (!strcmp(name, "--") && !value)
			break;
		if (!value)
			continue;
		for (size_t i = 0; i < ARRAY_LEN(parameters); i++)
			if (parameters[i].is_prefix ? !strncmp(name, parameters[i].name, strlen(parameters[i].name))
			                            : !strcmp(name, parameters[i].name))
				parameters[i].set(c, name, value);
	}
}

void cmdline_free(struct cmdline *c)
{
	env_free(&c->env);
	free(c->workdir);
	free(c->metadata);
	free(c->hostname);
	for (size_t i = 0; i < c->n_nameservers; i++)
		free(c->nameservers[i]);
	*c = (struct cmdline){0};
}
