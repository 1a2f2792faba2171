/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Manifests, indexes, configs, the source spec and docker's config.json: the first byte says which. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fetch/credentials.h"
#include "fetch/manifest.h"
#include "fetch/spec.h"

static const struct image_limits limits = {.index_depth = 4,
        .index_entries = 8,
        .json_depth = 16,
        .max_config = 1u << 16,
        .max_image = 1u << 30,
        .max_layers = 4,
        .max_manifest = 1u << 16};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void manifest_run(const char *text, size_t len)
{
	AUTO(json_cleanup) struct json *j = NULL;
	AUTO_FREE struct image *image = xcalloc(1, sizeof(*image));
	struct index_entry en;
	struct err e = ERR_INIT;
	enum media media;

	if (manifest_load(text, len, "", "", &limits, &j, &media, &e) < 0) {
		must(*e.msg);
		return;
	}
	if (media == MEDIA_MANIFEST && manifest_parse(j, &limits, image, &e) >= 0) {
		must(image->n_layers <= limits.max_layers && image->compressed_bytes <= limits.max_image);
		must(image->config.size <= limits.max_config && image->config.digest.algorithm);
		for (uint32_t i = 0; i < image->n_layers; i++)
			must(image->layers[i].blob.digest.algorithm &&
			        image->layers[i].compression < COMPRESSION_COUNT);
	}
	int n = media == MEDIA_INDEX ? index_count(j, &limits, &e) : 0;
	must(n <= (int)limits.index_entries);
	for (int i = 0; i < n; i++)
		index_entry(j, (size_t)i, &en, &e);
}

static void config_run(const char *text, size_t len)
{
	static struct image image; /* big */
	struct platform want = {"linux", "amd64", ""};
	struct err e = ERR_INIT;

	memset(&image, 0, sizeof(image));
	image.n_layers = 2;
	if (config_parse(text, len, &want, &limits, &image, &e) >= 0)
		must(image.layers[0].diff_id.algorithm && image.layers[1].diff_id.algorithm);
	else
		must(*e.msg);
}

static void spec_run(const char *text, size_t len)
{
	struct spec s;
	struct err e = ERR_INIT;

	if (spec_parse(&s, text, len, &e) < 0)
		must(*e.msg);
	spec_wipe(&s);
}

static void credentials_run(const char *text, size_t len)
{
	struct credentials c = {0};
	struct err e = ERR_INIT;
	char basic[6000];

	if (credentials_find(&c, text, len, "r.example:5000", &e) == 1)
		credentials_basic(&c, basic, sizeof(basic));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const runs[])(const char *text, size_t len) = {
	        manifest_run, config_run, spec_run, credentials_run};

	if (size)
		runs[data[0] % ARRAY_LEN(runs)]((const char *)data + 1, size - 1);
	return 0;
}
