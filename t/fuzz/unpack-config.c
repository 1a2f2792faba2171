/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An image's config and a request's runtime spec, a NUL byte between them; what leaves the finishing pass must be JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json/json.h"
#include "unpack/metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_load(const struct buf *b)
{
	struct err e = ERR_INIT;
	AUTO(json_cleanup) struct json *j = json_load_strict(b->data, b->len, 16, &e);

	if (!j)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct msg_unpack_finish job;
	const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
	size_t config = nul ? (size_t)(nul - data) : size;
	const char *runtime = nul ? (const char *)nul + 1 : "{}";
	struct err e = ERR_INIT;
	struct effective x = {0};

	if (effective_load(&x, (const char *)data, config, runtime, nul ? size - config - 1 : 2, &e) >= 0) {
		AUTO_BUF struct buf command = {0}, environment = {0}, image = {0};
		metadata_command(&command, &x);
		metadata_environment(&environment, &x);
		metadata_image(&image, &x, &job);
		must_load(&command);
		must_load(&environment);
		must_load(&image);
		if (*x.working_dir != '/' || strstr(x.working_dir, "/../"))
			abort();
	} else if (!*e.msg) {
		abort();
	}
	effective_free(&x);
	return 0;
}
