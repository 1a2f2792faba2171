/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unpack/effective.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "json/json.h"

#define JSON_DEPTH 512 /* fetch has checked the config against the configured limit */

static int bad_config(struct err *e, const char *what)
{
	e->kind = ERR_KIND_BAD_CONFIG;
	return err_wrap(e, "%s", what);
}

static int too_much(struct err *e, const char *name)
{
	return err_kind_set(e, -E2BIG, ERR_KIND_BAD_CONFIG, "%s: more than %u entries or %u bytes in one of them", name,
	        EFFECTIVE_ITEMS_MAX, EFFECTIVE_STRING_MAX);
}

static void strings_free(struct strings *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->items[i]);
	free(s->items);
	*s = (struct strings){0};
}

static void pairs_free(struct pairs *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->items[i].key);
		free(p->items[i].value);
	}
	free(p->items);
	*p = (struct pairs){0};
}

static int strings_add(struct strings *s, const char *item, const char *name, struct err *e)
{
	if (s->n >= EFFECTIVE_ITEMS_MAX || strlen(item) > EFFECTIVE_STRING_MAX)
		return too_much(e, name);
	s->items = xrealloc(s->items, (s->n + 1) * sizeof(*s->items));
	s->items[s->n++] = xstrdup(item);
	return 0;
}

/* A later value replaces an earlier one in its place. */
static int pairs_set(
        struct pairs *p, const char *key, size_t key_len, const char *value, const char *name, struct err *e)
{
	size_t i = 0;

	while (i < p->n && (strncmp(p->items[i].key, key, key_len) != 0 || p->items[i].key[key_len]))
		i++;
	if (i >= EFFECTIVE_ITEMS_MAX || key_len + strlen(value) > EFFECTIVE_STRING_MAX)
		return too_much(e, name);
	if (i < p->n) {
		free(p->items[i].value);
		p->items[i].value = xstrdup(value);
		return 0;
	}
	p->items = xrealloc(p->items, (p->n + 1) * sizeof(*p->items));
	p->items[p->n++] = (struct pair){xasprintf("%.*s", (int)key_len, key), xstrdup(value)};
	return 0;
}

static const char *pairs_get(const struct pairs *p, const char *key)
{
	for (size_t i = 0; i < p->n; i++)
		if (!strcmp(p->items[i].key, key))
			return p->items[i].value;
	return NULL;
}

/* --- members --------------------------------------------------------------------------------------------------------
 */

/* The strings of an array. 1: replaced OUT; 0: absent, null or empty. */
static int take_strings(struct strings *out, const struct json *o, const char *member, struct err *e)
{
	const struct json *list = NULL;
	const char *item;

	if (json_get_array(o, member, JSON_OPTIONAL, &list, e) < 0)
		return bad_config(e, "config");
	if (!json_elements(list))
		return 0;
	strings_free(out);
	for (size_t i = 0; i < json_elements(list); i++) {
		if (json_element_string(list, i, member, &item, e) < 0)
			return bad_config(e, "config");
		if (strings_add(out, item, member, e) < 0)
			return e->code;
	}
	return 1;
}

/* The keys of an object: Docker's form of a set. */
static int take_keys(struct strings *out, const struct json *o, const char *member, struct err *e)
{
	const struct json *set = NULL, *value;
	const char *key;

	if (json_get_object(o, member, JSON_OPTIONAL, &set, e) < 0)
		return bad_config(e, "config");
	for (void *it = NULL; set && (it = json_next(set, it, &key, &value));)
		if (strings_add(out, key, member, e) < 0)
			return e->code;
	return 0;
}

static int take_pairs(struct pairs *out, const struct json *o, const char *member, struct err *e)
{
	const struct json *map = NULL, *value;
	const char *key;

	if (json_get_object(o, member, JSON_OPTIONAL, &map, e) < 0)
		return bad_config(e, "config");
	for (void *it = NULL; map && (it = json_next(map, it, &key, &value));) {
		if (json_kind(value) != JSON_KIND_STRING)
			return err_kind_set(e, -EINVAL, ERR_KIND_BAD_CONFIG,
			        "config: %s has a value that is %s, not a string", member,
			        json_kind_name(json_kind(value)));
		if (pairs_set(out, key, strlen(key), json_as_string(value), member, e) < 0)
			return e->code;
	}
	return 0;
}

/* A string that replaces *OUT unless it is absent or empty. */
static int take_string(char **out, const struct json *o, const char *member, struct err *e)
{
	const char *s = "";

	if (json_get_string(o, member, JSON_OPTIONAL, &s, e) < 0)
		return bad_config(e, "config");
	if (strlen(s) > EFFECTIVE_STRING_MAX)
		return too_much(e, member);
	if (*s) {
		free(*out);
		*out = xstrdup(s);
	}
	return 0;
}

static int take_env(struct pairs *env, const struct json *o, struct err *e)
{
	struct strings list = {0};
	int rc = take_strings(&list, o, "Env", e);

	for (size_t i = 0; rc >= 0 && i < list.n; i++) {
		const char *equals = strchr(list.items[i], '=');
		if (equals && equals != list.items[i])
			rc = pairs_set(env, list.items[i], (size_t)(equals - list.items[i]), equals + 1, "Env", e);
	}
	strings_free(&list);
	return rc;
}

/* --- the two documents ----------------------------------------------------------------------------------------------
 */

int64_t rfc3339_parse(const char *s)
{
	struct tm tm = {0};
	int zone_h, zone_m, n = 0;
	char sign[2];

	if (sscanf(s, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
	            &tm.tm_sec, &n) != 6 ||
	        !n)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	int64_t t = timegm(&tm);
	s += n;
	if (*s == '.')
		s += 1 + strspn(s + 1, "0123456789");
	if (sscanf(s, "%1[+-]%2d:%2d", sign, &zone_h, &zone_m) == 3)
		t -= (sign[0] == '-' ? -60 : 60) * (zone_h * 60 + zone_m);
	else if (*s != 'Z' && *s != 'z')
		return 0;
	return t > 0 ? t : 0;
}

char *path_absolute(const char *path)
{
	AUTO_BUF struct buf b = {0};

	while (*path) {
		size_t n = strcspn(path, "/");
		if (n == 2 && !memcmp(path, "..", 2)) {
			while (b.len && b.data[--b.len] != '/')
				;
		} else if (n && !(n == 1 && *path == '.')) {
			buf_puts(&b, "/");
			buf_append(&b, path, n);
		}
		path += n;
		path += *path == '/';
	}
	return xstrdup(b.len ? buf_cstr(&b) : "/");
}

static int config_read(struct effective *x, const struct json *doc, struct err *e)
{
	const struct json *c = NULL;
	const char *created = "";

	if (json_get_object(doc, "config", JSON_OPTIONAL, &c, e) < 0)
		return bad_config(e, "config");
	if (json_get_string(doc, "created", JSON_OPTIONAL, &created, e) < 0)
		return bad_config(e, "config");
	x->created_sec = rfc3339_parse(created);
	if (!c)
		return 0;
	if (take_strings(&x->entrypoint, c, "Entrypoint", e) < 0 || take_strings(&x->command, c, "Cmd", e) < 0 ||
	        take_env(&x->env, c, e) < 0 || take_string(&x->user, c, "User", e) < 0 ||
	        take_string(&x->working_dir, c, "WorkingDir", e) < 0 ||
	        take_string(&x->stop_signal, c, "StopSignal", e) < 0 ||
	        take_keys(&x->ports, c, "ExposedPorts", e) < 0 || take_keys(&x->volumes, c, "Volumes", e) < 0 ||
	        take_pairs(&x->labels, c, "Labels", e) < 0)
		return e->code;
	return 0;
}

static int strategy_read(struct effective *x, const struct json *o, struct err *e)
{
	static const char *const names[] = {[INIT_TINI] = "TINI", [INIT_DIRECT] = "DIRECT", [INIT_CUSTOM] = "CUSTOM"};
	const char *s = names[INIT_TINI];

	if (json_get_string(o, "init_strategy", JSON_OPTIONAL, &s, e) < 0)
		return bad_config(e, "request");
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(names[i], s)) {
			x->strategy = (enum init_strategy)i;
			return 0;
		}
	return err_kind_set(e, -EINVAL, ERR_KIND_BAD_CONFIG, "request: init_strategy \"%.40s\" is not known", s);
}

static int runtime_read(struct effective *x, const struct json *o, struct err *e)
{
	x->is_finishing = true;
	if (json_get_bool(o, "finishing", JSON_OPTIONAL, &x->is_finishing, e) < 0)
		return bad_config(e, "request");
	if (strategy_read(x, o, e) < 0)
		return e->code;
	int rc = take_strings(&x->entrypoint, o, "entrypoint", e);
	if (rc > 0)
		strings_free(&x->command);
	if (rc < 0 || take_strings(&x->command, o, "command", e) < 0 ||
	        take_string(&x->working_dir, o, "working_dir", e) < 0 || take_pairs(&x->env, o, "environment", e) < 0 ||
	        take_strings(&x->ports, o, "exposed_ports", e) < 0)
		return e->code;
	return 0;
}

static size_t strings_bytes(const struct strings *s)
{
	size_t sum = 0;

	for (size_t i = 0; i < s->n; i++)
		sum += strlen(s->items[i]) + 1 + sizeof(char *);
	return sum;
}

/* Defaults, and what only the whole shows. */
static int effective_finish(struct effective *x, struct err *e)
{
	size_t sum = strings_bytes(&x->entrypoint) + strings_bytes(&x->command);
	char *cwd = path_absolute(x->working_dir ? x->working_dir : "");
	const char *init = pairs_get(&x->labels, EFFECTIVE_INIT_LABEL);

	free(x->working_dir);
	x->working_dir = cwd;
	x->user = x->user ? x->user : xstrdup("");
	x->stop_signal = x->stop_signal ? x->stop_signal : xstrdup("");
	if (!pairs_get(&x->env, "PATH") && pairs_set(&x->env, "PATH", 4, EFFECTIVE_PATH, "Env", e) < 0)
		return e->code;
	if (x->strategy == INIT_CUSTOM)
		x->init_path = init && *init ? path_absolute(init) : xstrdup("/sbin/init");
	else
		x->init_path = xstrdup(EFFECTIVE_INIT);
	for (size_t i = 0; i < x->env.n; i++)
		sum += strlen(x->env.items[i].key) + strlen(x->env.items[i].value) + 2 + sizeof(char *);
	if (sum > EFFECTIVE_BYTES_MAX)
		return err_kind_set(e, -E2BIG, ERR_KIND_BAD_CONFIG,
		        "command and environment take %zu bytes, more than the %u that can be run", sum,
		        EFFECTIVE_BYTES_MAX);
	return 0;
}

static struct json *object_load(const char *text, size_t len, const char *what, struct err *e)
{
	struct json *doc = json_load_strict(text, len, JSON_DEPTH, e);

	if (!doc) {
		bad_config(e, what);
		return NULL;
	}
	if (json_kind(doc) == JSON_KIND_OBJECT)
		return doc;
	err_kind_set(
	        e, -EINVAL, ERR_KIND_BAD_CONFIG, "%s: %s instead of an object", what, json_kind_name(json_kind(doc)));
	json_release(doc);
	return NULL;
}

int effective_load(struct effective *x, const char *config, size_t config_len, const char *runtime, size_t runtime_len,
        struct err *e)
{
	AUTO(json_cleanup) struct json *c = object_load(config, config_len, "config", e);
	AUTO(json_cleanup) struct json *r = c ? object_load(runtime, runtime_len, "request", e) : NULL;

	*x = (struct effective){0};
	if (!c || !r)
		return e->code;
	int rc = config_read(x, c, e);
	if (rc >= 0)
		rc = runtime_read(x, r, e);
	return rc < 0 ? rc : effective_finish(x, e);
}

void effective_free(struct effective *x)
{
	strings_free(&x->entrypoint);
	strings_free(&x->command);
	strings_free(&x->ports);
	strings_free(&x->volumes);
	pairs_free(&x->env);
	pairs_free(&x->labels);
	free(x->working_dir);
	free(x->user);
	free(x->stop_signal);
	free(x->init_path);
	*x = (struct effective){0};
}

const char *init_strategy_name(enum init_strategy s)
{
	static const char *const names[] = {[INIT_TINI] = "tini", [INIT_DIRECT] = "direct", [INIT_CUSTOM] = "custom"};

	return names[s];
}
