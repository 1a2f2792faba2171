/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cache_list.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

void cache_list_free(struct cache_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i].blob);
	free(l->items);
}

static struct cached *add(struct cache_list *l, const char *tenant, uint64_t bytes, int64_t last_use_ms)
{
	l->items = xrealloc(l->items, (l->n + 1) * sizeof(*l->items));
	struct cached *c = &l->items[l->n++];

	*c = (struct cached){.bytes = bytes, .last_use_ms = last_use_ms};
	snprintf(c->tenant, sizeof(c->tenant), "%s", tenant);
	l->bytes += bytes;
	return c;
}

void cache_list_blob(struct cache_list *l, const char *tenant, const char *name, const struct stat *st)
{
	int64_t used_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;

	add(l, tenant, (uint64_t)st->st_blocks * 512, used_ms)->blob = xstrdup(name);
}

void cache_list_chain(struct cache_list *l, const struct chain_row *row, uint64_t bytes)
{
	struct cached *c = add(l, row->tenant, bytes, row->last_use_ms);

	c->is_chain = true;
	c->chain = row->chain;
}

static int oldest_first(const void *a, const void *b)
{
	const struct cached *x = a, *y = b;

	return (x->last_use_ms > y->last_use_ms) - (x->last_use_ms < y->last_use_ms);
}

int cache_list_trim(struct cache_list *l, uint64_t max_bytes,
        int (*drop)(void *arg, const struct cached *c, struct err *e), void *arg, uint64_t *freed, struct err *e)
{
	int rc = 0;

	*freed = 0;
	if (l->bytes <= max_bytes)
		return 0;
	qsort(l->items, l->n, sizeof(*l->items), oldest_first);
	for (size_t i = 0; i < l->n && l->bytes > max_bytes && rc == 0; i++) {
		rc = drop(arg, &l->items[i], e);
		if (rc == 0) {
			l->bytes -= l->items[i].bytes;
			*freed += l->items[i].bytes;
		}
	}
	return rc;
}
