/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CreateBuildRequest out of options. What was not asked for is left out, so that the server's defaults count. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "tools/ctl/auth.h"
#include "tools/ctl/commands.h"

static void put_string(struct buf *b, const char *s)
{
	json_put_string(b, s, strlen(s));
}

/* The words as a JSON array; a single word that begins with '[' is one already. */
static int put_words(struct buf *b, const char *before, const char *name, const struct words *w, struct err *e)
{
	if (!w->n)
		return 0;
	buf_printf(b, "%s\"%s\":", before, name);
	if (w->n == 1 && *w->v[0] == '[') {
		AUTO(json_cleanup) struct json *doc = json_load_strict(w->v[0], strlen(w->v[0]), 2, e);
		if (!doc)
			return err_wrap(e, "--%s: %s is no JSON array", name, w->v[0]);
		json_put_value(b, doc);
		return 0;
	}
	for (size_t i = 0; i < w->n; i++) {
		buf_puts(b, i ? "," : "[");
		put_string(b, w->v[i]);
	}
	buf_puts(b, "]");
	return 0;
}

/* K=V pairs as a JSON object. A K alone takes its value from our own environment if FROM_ENV. Of a K given twice the
 * last one counts: JSON must not have it twice. */
static int put_pairs(
        struct buf *b, const char *before, const char *name, const struct words *w, bool from_env, struct err *e)
{
	const char *comma = "";

	if (!w->n)
		return 0;
	buf_printf(b, "%s\"%s\":{", before, name);
	for (size_t i = 0; i < w->n; i++) {
		const char *pair = w->v[i], *value = NULL;
		size_t len = strcspn(pair, "="), later = i + 1;
		AUTO_FREE char *key = strndup(pair, len);
		value = pair[len] ? pair + len + 1 : from_env ? getenv(pair) : NULL;
		if (!len || !value)
			return err_set(e, -EINVAL, "\"%s\" is not NAME=VALUE%s", pair,
			        from_env && len ? ", nor a variable that is set here" : "");
		while (later < w->n && !(strcspn(w->v[later], "=") == len && !strncmp(w->v[later], pair, len)))
			later++;
		if (later < w->n)
			continue;
		buf_puts(b, comma);
		put_string(b, key);
		buf_puts(b, ":");
		put_string(b, value);
		comma = ",";
	}
	buf_puts(b, "}");
	return 0;
}

static int put_runtime(struct buf *b, const struct options *o, struct err *e)
{
	AUTO_BUF struct buf runtime = {0};

	if (put_words(&runtime, ",", "command", &o->cmd, e) < 0 ||
	        put_words(&runtime, ",", "entrypoint", &o->entrypoint, e) < 0 ||
	        put_pairs(&runtime, ",", "environment", &o->env, true, e) < 0)
		return -EINVAL;
	if (o->workdir) {
		buf_puts(&runtime, ",\"workingDir\":");
		put_string(&runtime, o->workdir);
	}
	if (runtime.len)
		buf_printf(b, ",\"runtimeConfig\":{%s}", buf_cstr(&runtime) + 1);
	return 0;
}

static int put_target(struct buf *b, const struct options *o, struct err *e)
{
	static const char *const strategies[][2] = {
	        {"tini", "INIT_STRATEGY_TINI"}, {"direct", "INIT_STRATEGY_DIRECT"}, {"custom", "INIT_STRATEGY_CUSTOM"}};
	const char *strategy = o->init ? NULL : strategies[0][1];

	for (size_t i = 0; o->init && i < ARRAY_LEN(strategies); i++)
		if (!strcasecmp(o->init, strategies[i][0]))
			strategy = strategies[i][1];
	if (!strategy)
		return err_set(e, -EINVAL, "--init %s: tini, direct or custom", o->init);
	buf_printf(b, ",\"target\":{\"microvmRootfs\":{\"initStrategy\":\"%s\"", strategy);
	if (put_runtime(b, o, e) < 0)
		return -EINVAL;
	buf_puts(b, "}}");
	return 0;
}

static void put_limits(struct buf *b, const struct options *o)
{
	const char *before = ",\"limits\":{";

	if (o->max_disk_bytes) {
		buf_printf(b, "%s\"maxDiskBytes\":\"%lld\"", before, (long long)o->max_disk_bytes);
		before = ",";
	}
	if (o->timeout_s) {
		buf_printf(b, "%s\"timeoutSeconds\":%lld", before, (long long)o->timeout_s);
		before = ",";
	}
	if (*before == ',' && !before[1])
		buf_puts(b, "}");
}

int request_put(struct buf *b, const struct options *o, struct err *e)
{
	const char *image = o->args.v[0];

	buf_puts(b, "{\"config\":{\"source\":{\"dockerImage\":{\"imageUri\":");
	put_string(b, image);
	if (auth_put(b, o, image, e) < 0)
		return e->code;
	buf_puts(b, "}}");
	if (put_target(b, o, e) < 0 || put_pairs(b, ",", "labels", &o->label, false, e) < 0)
		return -EINVAL;
	put_limits(b, o);
	if (o->name) {
		buf_puts(b, ",\"buildName\":");
		put_string(b, o->name);
	}
	if (o->tenant) {
		buf_puts(b, ",\"tenant\":{\"tenantId\":");
		put_string(b, o->tenant);
		buf_puts(b, "}");
	}
	buf_puts(b, "}}");
	return 0;
}
