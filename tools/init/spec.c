/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/init/spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "json/json.h"
#include "tools/init/say.h"

#define SPEC_MAX_DEPTH 32

static void argv_free(char **argv)
{
	for (size_t i = 0; argv && argv[i]; i++)
		free(argv[i]);
	free(argv);
}

/* Append the strings of LIST (NULL: none) to *ARGV, which has N. */
static int argv_append(char ***argv, size_t *n, const struct json *list, const char *name, struct err *e)
{
	size_t add = json_elements(list);
	const char *arg;

	*argv = xrealloc(*argv, (*n + add + 1) * sizeof(**argv));
	(*argv)[*n] = NULL;
	for (size_t i = 0; i < add; i++) {
		if (json_element_string(list, i, name, &arg, e) < 0)
			return e ? e->code : -EINVAL;
		(*argv)[(*n)++] = xstrdup(arg);
		(*argv)[*n] = NULL;
	}
	return 0;
}

int spec_parse_command(struct spec *s, const char *text, size_t len, struct err *e)
{
	AUTO(json_cleanup) struct json *doc = json_load_strict(text, len, SPEC_MAX_DEPTH, e);
	char **argv = NULL;
	size_t n = 0;

	if (!doc)
		return -EINVAL;
	if (json_kind(doc) != JSON_KIND_ARRAY)
		return err_set(e, -EINVAL, "is %s, not an array of strings", json_kind_name(json_kind(doc)));
	if (argv_append(&argv, &n, doc, "command", e) < 0) {
		argv_free(argv);
		return -EINVAL;
	}
	argv_free(s->argv);
	s->argv = argv;
	if (!n) {
		s->argv = xrealloc(argv, 2 * sizeof(*argv));
		s->argv[0] = xstrdup("/bin/sh");
		s->argv[1] = NULL;
	}
	return 0;
}

/* A string member for *WHERE, unless that is set already or the member is absent or empty. */
static void take_string(char **where, const struct json *doc, const char *member, const char *file)
{
	struct err e = ERR_INIT;
	const char *value = "";

	if (json_get_string(doc, member, JSON_OPTIONAL, &value, &e) < 0)
		say("%s: %s, skipped", file, e.msg);
	else if (*value && !*where)
		*where = xstrdup(value);
}

/* The members of "env" that are not set yet. */
static void take_env(struct env *env, const struct json *doc, const char *file)
{
	const struct json *vars = NULL, *value;
	struct err e = ERR_INIT;
	const char *name;

	if (json_get_object(doc, "env", JSON_OPTIONAL, &vars, &e) < 0)
		say("%s: %s, skipped", file, e.msg);
	if (!vars)
		return;
	for (void *it = NULL; (it = json_next(vars, it, &name, &value));) {
		if (json_kind(value) != JSON_KIND_STRING)
			say("%s: variable \"%s\" is %s, not a string, skipped", file, name,
			        json_kind_name(json_kind(value)));
		else if (env_default(env, name, json_as_string(value), &e) < 0)
			say("%s: %s, skipped", file, e.msg);
	}
}

static struct json *load_object(const char *text, size_t len, struct err *e)
{
	struct json *doc = json_load_strict(text, len, SPEC_MAX_DEPTH, e);

	if (doc && json_kind(doc) != JSON_KIND_OBJECT) {
		err_set(e, -EINVAL, "is %s, not an object", json_kind_name(json_kind(doc)));
		json_release(doc);
		return NULL;
	}
	return doc;
}

int spec_parse_environment(struct spec *s, const char *text, size_t len, struct err *e)
{
	static const char file[] = "/container.env";
	AUTO(json_cleanup) struct json *doc = load_object(text, len, e);
	AUTO_FREE char *strategy = NULL;

	if (!doc)
		return -EINVAL;
	take_string(&s->working_dir, doc, "working_dir", file);
	take_string(&s->user, doc, "user", file);
	take_env(&s->env, doc, file);
	take_string(&strategy, doc, "init_strategy", file);
	s->is_direct = strategy && !strcasecmp(strategy, "direct");
	if (strategy && !s->is_direct && strcasecmp(strategy, "tini"))
		say("%s: init_strategy \"%s\" is neither tini nor direct, taken as tini", file, strategy);
	return 0;
}

/* OCI image-spec config.md: what runs is Entrypoint followed by Cmd. */
static void take_command(struct spec *s, const struct json *doc)
{
	const struct json *entrypoint = NULL, *command = NULL;
	struct err e = ERR_INIT;
	char **argv = NULL;
	size_t n = 0;

	if (json_get_array(doc, "entrypoint", JSON_OPTIONAL, &entrypoint, &e) < 0 ||
	        json_get_array(doc, "command", JSON_OPTIONAL, &command, &e) < 0 ||
	        argv_append(&argv, &n, entrypoint, "entrypoint", &e) < 0 ||
	        argv_append(&argv, &n, command, "command", &e) < 0)
		say("metadata: %s, command skipped", e.msg);
	else if (n)
		s->argv = STEAL(&argv);
	argv_free(argv);
}

int spec_parse_metadata(struct spec *s, const char *text, size_t len, struct err *e)
{
	static const char file[] = "metadata";
	AUTO(json_cleanup) struct json *doc = load_object(text, len, e);

	if (!doc)
		return -EINVAL;
	take_string(&s->working_dir, doc, "working_dir", file);
	take_string(&s->user, doc, "user", file);
	take_env(&s->env, doc, file);
	if (!s->argv)
		take_command(s, doc);
	return 0;
}

void spec_finish(struct spec *s, const struct cmdline *c)
{
	env_merge(&s->env, &c->env);
	env_default(&s->env, "PATH", SPEC_DEFAULT_PATH, NULL);
	if (c->workdir) {
		free(s->working_dir);
		s->working_dir = xstrdup(c->workdir);
	}
	if (s->working_dir && *s->working_dir != '/') {
		char *absolute = xasprintf("/%s", s->working_dir);
		free(s->working_dir);
		s->working_dir = absolute;
	}
	if (!s->working_dir)
		s->working_dir = xstrdup("/");
	if (!s->user)
		s->user = xstrdup("");
}

void spec_free(struct spec *s)
{
	argv_free(s->argv);
	env_free(&s->env);
	free(s->working_dir);
	free(s->user);
	*s = (struct spec){0};
}
