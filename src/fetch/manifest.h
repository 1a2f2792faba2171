/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What manifests, indexes and configs say, checked: OCI image-spec 1.1 and Docker schema 2. No I/O.
 * A descriptor's "data" and "urls" are never used.
 */
#ifndef FETCH_MANIFEST_H
#define FETCH_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "fetch/platform.h"
#include "ipc/message.h"
#include "json/json.h"

#define MEDIA_TYPE_MAX 128

#define MEDIA_ACCEPT                                                                                                   \
	"application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "                        \
	"application/vnd.docker.distribution.manifest.list.v2+json, "                                                  \
	"application/vnd.docker.distribution.manifest.v2+json"

enum media { MEDIA_UNKNOWN, MEDIA_MANIFEST, MEDIA_INDEX, MEDIA_SCHEMA1 };

struct descriptor {
	struct digest digest; /* algorithm DIGEST_NONE: whatever a tag leads to */
	uint64_t size;
	char media_type[MEDIA_TYPE_MAX]; /* "": not given */
};

struct index_entry {
	struct descriptor descriptor;
	struct platform platform; /* normalized */
	bool has_platform;
	bool is_attestation; /* BuildKit's: no image */
};

struct image_layer {
	struct descriptor blob;
	enum compression compression;
	struct digest diff_id;
};

struct image {
	struct digest manifest;
	struct descriptor config;
	uint32_t n_layers;
	uint64_t compressed_bytes;
	struct image_layer layers[IMAGE_LAYERS_MAX];
};

/* What a media type stands for; parameters behind ";" and case are ignored. */
enum media media_of(const char *media_type);

/* Load a manifest or index and say which it is. CONTENT_TYPE is the registry's header ("" or NULL: none), EXPECTED the
 * media type of the descriptor that led here. Errors: BAD_MANIFEST, AMBIGUOUS_MANIFEST, MEDIATYPE_MISMATCH,
 * UNSUPPORTED_MEDIATYPE. */
int manifest_load(const char *data, size_t len, const char *content_type, const char *expected,
        const struct image_limits *limits, struct json **out, enum media *media, struct err *e);

/* Fill config and layers of IMAGE from a manifest. */
int manifest_parse(const struct json *manifest, const struct image_limits *limits, struct image *image, struct err *e);

/* Number of entries, or -errno (too many). */
int index_count(const struct json *index, const struct image_limits *limits, struct err *e);
int index_entry(const struct json *index, size_t i, struct index_entry *out, struct err *e);
/* Parse one descriptor object. Errors: BAD_MANIFEST, BAD_DIGEST, UNSUPPORTED_DIGEST. */
int descriptor_parse(const struct json *object, struct descriptor *out, struct err *e);

/* Check the config and fill the layers' diffIDs. Errors: BAD_CONFIG, BAD_DIGEST, PLATFORM_MISMATCH. */
int config_parse(const char *data, size_t len, const struct platform *want, const struct image_limits *limits,
        struct image *image, struct err *e);

#endif
