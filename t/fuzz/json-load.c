/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The strict JSON loader: what it takes, written out again, must be taken again and be the same text. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned depth_of(const struct json *v)
{
	const struct json *value;
	const char *key;
	unsigned max = 0;

	for (size_t i = 0; i < json_elements(v); i++) {
		unsigned d = depth_of(json_element(v, i));
		max = d > max ? d : max;
	}
	for (void *it = NULL; (it = json_next(v, it, &key, &value));) {
		unsigned d = depth_of(value);
		max = d > max ? d : max;
		if (json_member(v, key) != value) /* no key twice, none cut short */
			abort();
	}
	return max + (json_kind(v) == JSON_KIND_ARRAY || json_kind(v) == JSON_KIND_OBJECT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_BUF struct buf once = {0}, twice = {0};
	struct err e = ERR_INIT;
	AUTO(json_cleanup) struct json *j = json_load_strict((const char *)data, size, 16, &e);

	if (!j) {
		if (e.code >= 0 || !*e.msg)
			abort();
		return 0;
	}
	if (depth_of(j) > 16)
		abort();
	json_put_value(&once, j);
	AUTO(json_cleanup) struct json *again = json_load_strict(once.data, once.len, 16, &e);
	if (!again)
		abort();
	json_put_value(&twice, again);
	if (once.len != twice.len || memcmp(once.data, twice.data, once.len))
		abort();
	return 0;
}
