/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a backend keeps for later builds, to be dropped oldest use first. */
#ifndef DM_CACHE_LIST_H
#define DM_CACHE_LIST_H

#include <stdbool.h>
#include <stdint.h>

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

/* "sha256-" or "sha512-" and the digest: nothing else is a blob. */
bool cache_blob_name_is_valid(const char *name);

void cache_list_free(struct cache_list *l);
/* What lies in TENANT's blob directory FD, which is closed. What is neither a blob nor a download under way is removed:
 * the fetchers may write there, and one of them may have been taken over. */
void cache_list_blobs(struct cache_list *l, const char *tenant, int fd);
void cache_list_chain(struct cache_list *l, const struct chain_row *row, uint64_t bytes);

/* DROP until no more than MAX_BYTES are left; stops at the first that fails. */
int cache_list_trim(struct cache_list *l, uint64_t max_bytes,
        int (*drop)(void *arg, const struct cached *c, struct err *e), void *arg, uint64_t *freed, struct err *e);

#endif
