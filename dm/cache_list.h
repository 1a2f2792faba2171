/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a backend keeps for later builds, to be dropped oldest use first. */
#ifndef DM_CACHE_LIST_H
#define DM_CACHE_LIST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "volumes_db.h"

struct cached {
	int64_t last_use_ms;
	uint64_t bytes;
	char tenant[TENANT_ID_MAX];
	bool is_chain;
	struct digest chain;
	char *blob; /* owns: file name */
};

struct cache_list {
	struct cached *items; /* owns */
	size_t n;
	uint64_t bytes;
};

void cache_list_free(struct cache_list *l);
void cache_list_blob(struct cache_list *l, const char *tenant, const char *name, const struct stat *st);
void cache_list_chain(struct cache_list *l, const struct chain_row *row, uint64_t bytes);

/* DROP until no more than MAX_BYTES are left; stops at the first that fails. */
int cache_list_trim(struct cache_list *l, uint64_t max_bytes,
        int (*drop)(void *arg, const struct cached *c, struct err *e), void *arg, uint64_t *freed, struct err *e);

#endif
