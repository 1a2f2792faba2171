/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/specs.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "digest/hash.h"
#include "json/json.h"

static void put_text(struct buf *b, const char *s)
{
	json_put_string(b, s, strlen(s));
}

/* ,"name":"value" with the comma unless it is the first member */
static void put_member(struct buf *b, const char *name, const char *value)
{
	if (b->data[b->len - 1] != '{')
		buf_puts(b, ",");
	put_text(b, name);
	buf_puts(b, ":");
	put_text(b, value);
}

static void put_list(struct buf *b, const char *name, char *const *list, size_t n)
{
	if (!n)
		return;
	buf_printf(b, "%s\"%s\":[", b->data[b->len - 1] != '{' ? "," : "", name);
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_puts(b, ",");
		put_text(b, list[i]);
	}
	buf_puts(b, "]");
}

void source_spec_write(struct buf *b, const char *reference, const Builder__V1__DockerAuth *auth)
{
	/* Room for everything at once: a growing buffer leaves copies of secrets behind. */
	buf_reserve(
	        b, 4096 + 6 * (strlen(reference) + (auth ? strlen(auth->username) + strlen(auth->password) +
	                                                                   strlen(auth->token) + strlen(auth->registry)
	                                                 : 0)));
	buf_puts(b, "{");
	put_member(b, "reference", reference);
	if (auth) {
		buf_puts(b, ",\"auth\":{");
		put_member(b, "username", auth->username);
		put_member(b, "password", auth->password);
		put_member(b, "token", auth->token);
		put_member(b, "registry", auth->registry);
		buf_puts(b, "}");
	}
	buf_puts(b, ",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\",\"variant\":\"\"}}");
}

void spec_wipe(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	buf_free(b);
}

static int by_key(const void *a, const void *b)
{
	const Builder__V1__RuntimeConfig__EnvironmentEntry *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

static void put_environment(struct buf *b, const Builder__V1__RuntimeConfig *r)
{
	size_t n = r->n_environment;

	if (!n)
		return;
	AUTO_FREE Builder__V1__RuntimeConfig__EnvironmentEntry **sorted = xcalloc(n, sizeof(*sorted));
	memcpy(sorted, r->environment, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_key);
	buf_printf(b, "%s\"environment\":{", b->data[b->len - 1] != '{' ? "," : "");
	for (size_t i = 0; i < n; i++)
		put_member(b, sorted[i]->key, sorted[i]->value);
	buf_puts(b, "}");
}

static const char *strategy_name(const Builder__V1__MicroVMRootfs *m)
{
	switch ((int)(m ? m->init_strategy : 0)) {
	case BUILDER__V1__INIT_STRATEGY__INIT_STRATEGY_DIRECT:
		return "DIRECT";
	case BUILDER__V1__INIT_STRATEGY__INIT_STRATEGY_CUSTOM:
		return "CUSTOM";
	default:
		return "TINI";
	}
}

void runtime_spec_write(struct buf *b, const Builder__V1__BuildConfig *c)
{
	static const Builder__V1__RuntimeConfig nothing = BUILDER__V1__RUNTIME_CONFIG__INIT;
	const Builder__V1__MicroVMRootfs *m = c->target ? c->target->microvm_rootfs : NULL;
	const Builder__V1__RuntimeConfig *r = m && m->runtime_config ? m->runtime_config : &nothing;

	buf_puts(b, "{");
	put_list(b, "command", r->command, r->n_command);
	put_list(b, "entrypoint", r->entrypoint, r->n_entrypoint);
	put_environment(b, r);
	put_list(b, "exposed_ports", r->exposed_ports, r->n_exposed_ports);
	buf_printf(b, "%s\"finishing\":%s", b->data[b->len - 1] != '{' ? "," : "",
	        m && m->skip_finishing ? "false" : "true");
	put_member(b, "init_strategy", strategy_name(m));
	if (*r->working_dir)
		put_member(b, "working_dir", r->working_dir);
	buf_puts(b, "}");
}

void runtime_spec_key(const struct buf *spec, struct digest *out)
{
	hash_buffer(DIGEST_SHA256, spec->data, spec->len, out);
}
