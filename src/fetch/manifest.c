/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/manifest.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static const struct {
	const char *name;
	enum media media;
} media_types[] = {
        {"application/vnd.oci.image.manifest.v1+json", MEDIA_MANIFEST},
        {"application/vnd.docker.distribution.manifest.v2+json", MEDIA_MANIFEST},
        {"application/vnd.oci.image.index.v1+json", MEDIA_INDEX},
        {"application/vnd.docker.distribution.manifest.list.v2+json", MEDIA_INDEX},
        {"application/vnd.docker.distribution.manifest.v1+json", MEDIA_SCHEMA1},
        {"application/vnd.docker.distribution.manifest.v1+prettyjws", MEDIA_SCHEMA1},
};

/* What says nothing about a manifest: some registries and static file servers send these. */
static const char *const generic_types[] = {
        "application/json", "text/plain", "application/octet-stream", "binary/octet-stream"};

static const char *const config_types[] = {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
};

static const struct {
	const char *name;
	enum compression compression;
} layer_types[] = {
        {"application/vnd.oci.image.layer.v1.tar", COMPRESSION_NONE},
        {"application/vnd.oci.image.layer.v1.tar+gzip", COMPRESSION_GZIP},
        {"application/vnd.oci.image.layer.v1.tar+zstd", COMPRESSION_ZSTD},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar", COMPRESSION_NONE},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", COMPRESSION_GZIP},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", COMPRESSION_ZSTD},
        {"application/vnd.docker.image.rootfs.diff.tar", COMPRESSION_NONE},
        {"application/vnd.docker.image.rootfs.diff.tar.gzip", COMPRESSION_GZIP},
        {"application/vnd.docker.image.rootfs.diff.tar.zstd", COMPRESSION_ZSTD},
        {"application/vnd.docker.image.rootfs.foreign.diff.tar", COMPRESSION_NONE},
        {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", COMPRESSION_GZIP},
};

static int bad_manifest(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int bad_manifest(struct err *e, const char *fmt, ...)
{
	char text[384];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_kind_set(e, -EINVAL, ERR_KIND_BAD_MANIFEST, "manifest: %s", text);
}

/* A getter failed: its sentence gets a subject and a kind. */
static int wrap(struct err *e, enum err_kind kind, const char *subject)
{
	if (e->kind == ERR_KIND_NONE)
		e->kind = (int32_t)kind;
	err_wrap(e, "%s", subject);
	return -EINVAL;
}

/* TYPE without parameters, in lower case. */
static void media_essence(const char *type, char out[MEDIA_TYPE_MAX])
{
	size_t n = strcspn(type, "; \t");

	n = n < MEDIA_TYPE_MAX ? n : MEDIA_TYPE_MAX - 1;
	for (size_t i = 0; i < n; i++)
		out[i] = (char)tolower((unsigned char)type[i]);
	out[n] = 0;
}

enum media media_of(const char *media_type)
{
	char essence[MEDIA_TYPE_MAX];

	media_essence(media_type, essence);
	for (size_t i = 0; i < ARRAY_LEN(media_types); i++)
		if (!strcmp(essence, media_types[i].name))
			return media_types[i].media;
	return MEDIA_UNKNOWN;
}

static bool is_generic(const char *essence)
{
	for (size_t i = 0; i < ARRAY_LEN(generic_types); i++)
		if (!strcmp(essence, generic_types[i]))
			return true;
	return !*essence;
}

static int unsupported(struct err *e, const char *what, const char *type)
{
	if (media_of(type) == MEDIA_SCHEMA1)
		return err_kind_set(e, -EOPNOTSUPP, ERR_KIND_UNSUPPORTED_MEDIATYPE,
		        "%s: Docker schema 1 manifests (%.120s) are not supported: push the image again with a current "
		        "client",
		        what, type);
	return err_kind_set(e, -EOPNOTSUPP, ERR_KIND_UNSUPPORTED_MEDIATYPE,
	        "%s: media type \"%.200s\" is not supported", what, type);
}

/* One source's opinion on what the document is; all sources that have one must agree to the letter. */
static int agree(char so_far[MEDIA_TYPE_MAX], const char *type, const char *what, struct err *e)
{
	char essence[MEDIA_TYPE_MAX];

	media_essence(type ? type : "", essence);
	if (is_generic(essence))
		return 0;
	enum media media = media_of(essence);
	if (media == MEDIA_UNKNOWN || media == MEDIA_SCHEMA1)
		return unsupported(e, what, essence);
	if (so_far[0] && strcmp(so_far, essence))
		return err_kind_set(e, -EINVAL, ERR_KIND_MEDIATYPE_MISMATCH,
		        "manifest: %s says \"%s\", but it was announced as \"%s\"", what, essence, so_far);
	strcpy(so_far, essence);
	return 0;
}

/* CVE-2021-41190: a document that is a manifest to one reader and an index to another. */
static int classify(const struct json *j, const char *type, enum media *media, struct err *e)
{
	bool is_index = json_member(j, "manifests"), is_manifest = json_member(j, "layers") || json_member(j, "config");
	int64_t version = 0;

	if (is_index && is_manifest)
		return err_kind_set(e, -EINVAL, ERR_KIND_AMBIGUOUS_MANIFEST,
		        "manifest: has both \"%s\" and \"manifests\"", json_member(j, "layers") ? "layers" : "config");
	int rc = json_get_int64(j, "schemaVersion", JSON_REQUIRED, &version, e);
	if (rc < 0)
		return wrap(e, ERR_KIND_BAD_MANIFEST, "manifest");
	if (version == 1 && json_member(j, "fsLayers"))
		return unsupported(e, "manifest", "application/vnd.docker.distribution.manifest.v1+json");
	if (version != 2)
		return bad_manifest(e, "schemaVersion is %lld, expected 2", (long long)version);
	*media = is_index ? MEDIA_INDEX : MEDIA_MANIFEST;
	if (!is_index && !is_manifest)
		return bad_manifest(e, "has neither \"layers\" nor \"manifests\"");
	if (type[0] && media_of(type) != *media)
		return err_kind_set(e, -EINVAL, ERR_KIND_MEDIATYPE_MISMATCH,
		        "manifest: announced as \"%s\", but it has \"%s\"", type, is_index ? "manifests" : "layers");
	return 0;
}

int manifest_load(const char *data, size_t len, const char *content_type, const char *expected,
        const struct image_limits *limits, struct json **out, enum media *media, struct err *e)
{
	char type[MEDIA_TYPE_MAX] = "";
	const char *field = NULL;

	*out = NULL;
	int rc = agree(type, expected, "its descriptor", e);
	if (rc < 0)
		return rc;
	rc = agree(type, content_type, "the registry's Content-Type", e);
	if (rc < 0)
		return rc;
	AUTO(json_cleanup) struct json *j = json_load_strict(data, len, (unsigned)limits->json_depth, e);
	if (!j)
		return wrap(e, ERR_KIND_BAD_MANIFEST, "manifest");
	rc = json_get_string(j, "mediaType", JSON_OPTIONAL, &field, e);
	if (rc < 0)
		return wrap(e, ERR_KIND_BAD_MANIFEST, "manifest");
	if (field && media_of(field) == MEDIA_UNKNOWN)
		return unsupported(e, "manifest", field);
	rc = agree(type, field, "its mediaType", e);
	if (rc < 0)
		return rc;
	rc = classify(j, type, media, e);
	if (rc < 0)
		return rc;
	*out = STEAL(&j);
	return 0;
}

int descriptor_parse(const struct json *object, struct descriptor *out, struct err *e)
{
	const char *text = NULL, *type = NULL;
	int64_t size = 0;

	memset(out, 0, sizeof(*out));
	if (json_get_string(object, "digest", JSON_REQUIRED, &text, e) < 0 ||
	        json_get_string(object, "mediaType", JSON_OPTIONAL, &type, e) < 0 ||
	        json_get_int64(object, "size", JSON_REQUIRED, &size, e) < 0) {
		if (e->kind == ERR_KIND_NONE)
			e->kind = ERR_KIND_BAD_MANIFEST;
		return -EINVAL;
	}
	int rc = digest_parse(&out->digest, text, strlen(text), e);
	if (rc < 0)
		return rc;
	if (type && strlen(type) >= sizeof(out->media_type))
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_MANIFEST, "mediaType is longer than %zu bytes",
		        sizeof(out->media_type) - 1);
	out->size = (uint64_t)size;
	strcpy(out->media_type, type ? type : "");
	return 0;
}

static int layer_compression(struct image_layer *l, struct err *e)
{
	char essence[MEDIA_TYPE_MAX];

	media_essence(l->blob.media_type, essence);
	for (size_t i = 0; i < ARRAY_LEN(layer_types); i++)
		if (!strcmp(essence, layer_types[i].name)) {
			l->compression = layer_types[i].compression;
			return 0;
		}
	if (strstr(essence, "+encrypted"))
		return err_kind_set(e, -EOPNOTSUPP, ERR_KIND_ENCRYPTED,
		        "media type \"%s\": encrypted layers are not supported", essence);
	return err_kind_set(
	        e, -EOPNOTSUPP, ERR_KIND_UNSUPPORTED_MEDIATYPE, "layer media type \"%s\" is not supported", essence);
}

static int config_check_type(const struct json *manifest, const struct descriptor *config, struct err *e)
{
	char essence[MEDIA_TYPE_MAX];
	const char *artifact = json_as_string(json_member(manifest, "artifactType"));

	media_essence(config->media_type, essence);
	for (size_t i = 0; i < ARRAY_LEN(config_types); i++)
		if (!strcmp(essence, config_types[i]))
			return 0;
	return err_kind_set(e, -EOPNOTSUPP, ERR_KIND_NOT_AN_IMAGE,
	        "manifest: the config's media type is \"%s\"%s%.100s: this is an artifact, not a container image",
	        essence, artifact ? ", artifactType " : "", artifact ? artifact : "");
}

static int layers_parse(
        const struct json *layers, const struct image_limits *limits, struct image *image, struct err *e)
{
	size_t n = json_elements(layers);
	uint64_t max = limits->max_layers < IMAGE_LAYERS_MAX ? limits->max_layers : IMAGE_LAYERS_MAX;

	if (n > max)
		return err_kind_set(e, -E2BIG, ERR_KIND_TOO_MANY_LAYERS,
		        "manifest: %zu layers, at most %llu are allowed", n, (unsigned long long)max);
	for (size_t i = 0; i < n; i++) {
		struct image_layer *l = &image->layers[i];
		int rc = descriptor_parse(json_element(layers, i), &l->blob, e);
		if (!rc)
			rc = layer_compression(l, e);
		if (rc < 0)
			return err_wrap(e, "manifest: layer %zu of %zu", i + 1, n), rc;
		/* Sizes are below 2^63 and there are at most 127 of them: check before the sum can wrap. */
		if (l->blob.size > limits->max_image || image->compressed_bytes + l->blob.size > limits->max_image)
			return err_kind_set(e, -EFBIG, ERR_KIND_LIMIT_SIZE,
			        "manifest: the layers up to %zu have more than %llu bytes", i + 1,
			        (unsigned long long)limits->max_image);
		image->compressed_bytes += l->blob.size;
	}
	image->n_layers = (uint32_t)n;
	return 0;
}

int manifest_parse(const struct json *manifest, const struct image_limits *limits, struct image *image, struct err *e)
{
	const struct json *config = NULL, *layers = NULL;

	if (json_get_object(manifest, "config", JSON_REQUIRED, &config, e) < 0 ||
	        json_get_array(manifest, "layers", JSON_REQUIRED, &layers, e) < 0)
		return wrap(e, ERR_KIND_BAD_MANIFEST, "manifest");
	int rc = descriptor_parse(config, &image->config, e);
	if (rc < 0)
		return err_wrap(e, "manifest: config"), rc;
	rc = config_check_type(manifest, &image->config, e);
	if (rc < 0)
		return rc;
	if (image->config.size > limits->max_config)
		return err_kind_set(e, -EFBIG, ERR_KIND_BAD_CONFIG, "config: %llu bytes, at most %llu are allowed",
		        (unsigned long long)image->config.size, (unsigned long long)limits->max_config);
	return layers_parse(layers, limits, image, e);
}

int index_count(const struct json *index, const struct image_limits *limits, struct err *e)
{
	const struct json *entries = NULL;

	if (json_get_array(index, "manifests", JSON_REQUIRED, &entries, e) < 0)
		return wrap(e, ERR_KIND_BAD_MANIFEST, "index");
	if (json_elements(entries) > limits->index_entries)
		return err_kind_set(e, -E2BIG, ERR_KIND_BAD_MANIFEST, "index: %zu entries, at most %llu are allowed",
		        json_elements(entries), (unsigned long long)limits->index_entries);
	return (int)json_elements(entries);
}

/* 1: *P is filled; 0: there is none; -EINVAL. */
static int platform_parse(const struct json *object, struct platform *p, struct err *e)
{
	const char *os = NULL, *arch = NULL, *variant = NULL;

	memset(p, 0, sizeof(*p));
	if (json_get_string(object, "os", JSON_REQUIRED, &os, e) < 0 ||
	        json_get_string(object, "architecture", JSON_REQUIRED, &arch, e) < 0 ||
	        json_get_string(object, "variant", JSON_OPTIONAL, &variant, e) < 0)
		return -EINVAL;
	/* Cut names match nothing we know: no error, as siblings of other platforms may be anything. */
	snprintf(p->os, sizeof(p->os), "%s", os);
	snprintf(p->architecture, sizeof(p->architecture), "%s", arch);
	snprintf(p->variant, sizeof(p->variant), "%s", variant ? variant : "");
	platform_normalize(p);
	return 1;
}

int index_entry(const struct json *index, size_t i, struct index_entry *out, struct err *e)
{
	const struct json *entry = json_element(json_member(index, "manifests"), i), *platform = NULL;
	char subject[48];

	snprintf(subject, sizeof(subject), "index: entry %zu", i);
	memset(out, 0, sizeof(*out));
	int rc = descriptor_parse(entry, &out->descriptor, e);
	if (rc < 0)
		return err_wrap(e, "%s", subject), rc;
	rc = json_get_object(entry, "platform", JSON_OPTIONAL, &platform, e);
	if (rc > 0)
		rc = platform_parse(platform, &out->platform, e);
	if (rc < 0)
		return wrap(e, ERR_KIND_BAD_MANIFEST, subject);
	out->has_platform = rc > 0;
	const char *kind = json_as_string(json_member(json_member(entry, "annotations"), "vnd.docker.reference.type"));
	out->is_attestation = (kind && !strcmp(kind, "attestation-manifest")) ||
	                      (out->has_platform && !strcmp(out->platform.os, "unknown") &&
	                              !strcmp(out->platform.architecture, "unknown"));
	return 0;
}

/* The members of config.config that later stages read, by type. Docker writes null for empty ones. */
static int check_runtime(const struct json *config, struct err *e)
{
	static const struct {
		const char *name;
		enum json_kind kind;
	} members[] = {
	        {"Env", JSON_KIND_ARRAY},
	        {"Cmd", JSON_KIND_ARRAY},
	        {"Entrypoint", JSON_KIND_ARRAY},
	        {"User", JSON_KIND_STRING},
	        {"WorkingDir", JSON_KIND_STRING},
	        {"StopSignal", JSON_KIND_STRING},
	        {"Labels", JSON_KIND_OBJECT},
	        {"ExposedPorts", JSON_KIND_OBJECT},
	        {"Volumes", JSON_KIND_OBJECT},
	};

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		const struct json *v = json_member(config, members[i].name);
		const char *s;
		if (json_kind(v) == JSON_KIND_NULL)
			continue;
		if (json_kind(v) != members[i].kind)
			return err_set(e, -EINVAL, "config.%s is %s, expected %s", members[i].name,
			        json_kind_name(json_kind(v)), json_kind_name(members[i].kind));
		for (size_t k = 0; k < json_elements(v); k++)
			if (json_element_string(v, k, members[i].name, &s, e) < 0)
				return -EINVAL;
	}
	return 0;
}

static int diff_ids_parse(const struct json *config, struct image *image, struct err *e)
{
	const struct json *rootfs = NULL, *ids = NULL;
	const char *text = NULL;

	if (json_get_object(config, "rootfs", JSON_REQUIRED, &rootfs, e) < 0 ||
	        json_get_string(rootfs, "type", JSON_REQUIRED, &text, e) < 0)
		return -EINVAL;
	if (strcmp(text, "layers"))
		return err_set(e, -EINVAL, "rootfs.type is \"%.64s\", expected \"layers\"", text);
	if (json_get_array(rootfs, "diff_ids", image->n_layers ? JSON_REQUIRED : JSON_OPTIONAL, &ids, e) < 0)
		return -EINVAL;
	if (json_elements(ids) != image->n_layers)
		return err_set(e, -EINVAL, "%zu diff_ids for %u layers", json_elements(ids), image->n_layers);
	for (uint32_t i = 0; i < image->n_layers; i++)
		if (json_element_string(ids, i, "rootfs.diff_ids", &text, e) < 0 ||
		        digest_parse(&image->layers[i].diff_id, text, strlen(text), e) < 0)
			return -EINVAL;
	return 0;
}

int config_parse(const char *data, size_t len, const struct platform *want, const struct image_limits *limits,
        struct image *image, struct err *e)
{
	const struct json *runtime = NULL;
	struct platform have;
	char a[96], b[96];

	AUTO(json_cleanup) struct json *j = json_load_strict(data, len, (unsigned)limits->json_depth, e);
	if (!j || platform_parse(j, &have, e) < 0 || json_get_object(j, "config", JSON_OPTIONAL, &runtime, e) < 0 ||
	        check_runtime(runtime, e) < 0)
		return wrap(e, ERR_KIND_BAD_CONFIG, "config");
	if (!platform_matches(want, &have))
		return err_kind_set(e, -ENOEXEC, ERR_KIND_PLATFORM_MISMATCH,
		        "config: the image is for %s, %s is wanted", platform_format(&have, a),
		        platform_format(want, b));
	if (diff_ids_parse(j, image, e) < 0)
		return wrap(e, ERR_KIND_BAD_CONFIG, "config");
	return 0;
}
