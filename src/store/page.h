/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page tokens: where a list goes on, opaque to clients. A token is the last job's time and id under a MAC that covers
 * tenant and filter too, so that it cannot be made up, moved to another tenant, or used with another filter.
 */
#ifndef STORE_PAGE_H
#define STORE_PAGE_H

#include "store/store.h"

#define PAGE_TOKEN_MAX 128

/* The token behind job (CREATED_MS, BUILD_ID) of the list F, NUL-terminated base64url. */
void page_token_make(const uint8_t secret[32], const struct job_filter *f, int64_t created_ms, const char *build_id,
        char out[PAGE_TOKEN_MAX]);
/* Set F's after_ms and after_id from TOKEN. -EINVAL: not a token of ours for this tenant and filter. */
int page_token_read(const uint8_t secret[32], struct job_filter *f, const char *token);

#endif
