/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "docker save": manifest.json lists images as { Config, RepoTags, Layers }: names of members. There are no
 * descriptors, so they are made here: the config's digest from its bytes, a layer's from its name (blobs/sha256/<hex>),
 * from its diffID when it is a plain tar, and else by hashing it. Whatever the claim, the copy that is handed out is
 * checked against it.
 */
#include "fetch/local.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "digest/hash.h"

static int bad(struct err *e, const char *why)
{
	return err_kind_set(e, -EINVAL, ERR_KIND_BAD_LAYOUT, "docker archive: %s", why);
}

/* "python" means "python:latest", "docker.io/library/python:3" the same as "python:3". */
static bool same_image(const char *a, const char *b)
{
	struct reference x, y;
	struct err e;

	if (!strcmp(a, b))
		return true;
	return !reference_parse(&x, a, &e) && !reference_parse(&y, b, &e) && !strcmp(x.domain, y.domain) &&
	       !strcmp(x.path, y.path) && !strcmp(x.tag, y.tag);
}

static bool has_tag(const struct json *image, const char *name)
{
	const struct json *tags = json_member(image, "RepoTags");

	for (size_t i = 0; i < json_elements(tags); i++) {
		const char *tag = json_as_string(json_element(tags, i));
		if (tag && same_image(tag, name))
			return true;
	}
	return false;
}

static const struct json *select_image(const struct json *list, const char *name, struct err *e)
{
	size_t n = json_elements(list);

	if (json_kind(list) != JSON_KIND_ARRAY || !n) {
		bad(e, "manifest.json is no list of images");
		return NULL;
	}
	if (!*name && n == 1)
		return json_element(list, 0);
	if (!*name) {
		err_kind_set(e, -EINVAL, ERR_KIND_BAD_REFERENCE, "docker archive: %zu images, name one of them", n);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		if (has_tag(json_element(list, i), name))
			return json_element(list, i);
	err_kind_set(e, -ENOENT, ERR_KIND_NOT_FOUND, "docker archive: no image is called \"%.200s\"", name);
	return NULL;
}

static enum compression sniff(const struct member *m)
{
	unsigned char magic[4] = {0};

	if (pread(m->fd, magic, m->size < 4 ? (size_t)m->size : 4, m->offset) < 2)
		return COMPRESSION_NONE;
	if (magic[0] == 0x1f && magic[1] == 0x8b)
		return COMPRESSION_GZIP;
	return !memcmp(magic, "\x28\xb5\x2f\xfd", 4) ? COMPRESSION_ZSTD : COMPRESSION_NONE;
}

static int find_layer(struct local *l, const char *path, struct image_layer *layer, struct err *e)
{
	static const char blobs[] = "blobs/sha256/";
	struct err ignored;
	struct member m;

	int rc = member_open(l, path, &m, e);
	if (rc == -ENOENT)
		return err_kind_set(e, rc, ERR_KIND_BLOB_MISSING, "docker archive: layer %.200s is missing", path);
	if (rc < 0)
		return rc;
	layer->blob.size = m.size;
	layer->compression = sniff(&m);
	if (layer->compression == COMPRESSION_NONE) {
		layer->blob.digest = layer->diff_id;
	} else {
		AUTO_FREE char *named =
		        xasprintf("sha256:%s", strncmp(path, blobs, sizeof(blobs) - 1) ? "" : path + sizeof(blobs) - 1);
		if (digest_parse(&layer->blob.digest, named, strlen(named), &ignored) < 0)
			rc = member_hash(&m, DIGEST_SHA256, &layer->blob.digest);
	}
	member_close(&m);
	return rc < 0 ? err_kind_set(e, rc, ERR_KIND_BAD_LAYOUT, "docker archive: layer %.200s cannot be read: %s",
	                        path, strerror(-rc))
	              : 0;
}

static int find_layers(struct local *l, const struct json *names, const struct image_limits *limits,
        struct image *image, struct err *e)
{
	for (uint32_t i = 0; i < image->n_layers; i++) {
		const char *path;
		if (json_element_string(names, i, "Layers", &path, e) < 0)
			return err_wrap(e, "docker archive: manifest.json"), e->kind = ERR_KIND_BAD_LAYOUT, -EINVAL;
		int rc = find_layer(l, path, &image->layers[i], e);
		if (rc < 0)
			return rc;
		l->paths[i] = xstrdup(path);
		image->compressed_bytes += image->layers[i].blob.size; /* both are bounded by the archive's size */
	}
	if (image->compressed_bytes > limits->max_image)
		return err_kind_set(e, -EFBIG, ERR_KIND_LIMIT_SIZE,
		        "docker archive: the layers have more than %llu bytes", (unsigned long long)limits->max_image);
	return 0;
}

int docker_archive_resolve(struct local *l, const struct local_reference *ref, const struct platform *want,
        const struct image_limits *limits, struct image *image, struct buf *config, struct err *e)
{
	const struct json *layers = NULL;
	const char *path = NULL;
	AUTO_BUF struct buf text = {0};

	int rc = member_read(l, "manifest.json", limits->max_manifest, &text, e);
	if (rc < 0)
		return rc;
	AUTO(json_cleanup)
	struct json *j = json_load_strict(buf_cstr(&text), text.len, (unsigned)limits->json_depth, e);
	if (!j)
		return err_wrap(e, "docker archive: manifest.json"), e->kind = ERR_KIND_BAD_LAYOUT, -EINVAL;
	const struct json *found = select_image(j, ref->name, e);
	if (!found)
		return e->code;
	if (json_get_string(found, "Config", JSON_REQUIRED, &path, e) < 0 ||
	        json_get_array(found, "Layers", JSON_OPTIONAL, &layers, e) < 0)
		return err_wrap(e, "docker archive: manifest.json"), e->kind = ERR_KIND_BAD_LAYOUT, -EINVAL;
	size_t n = json_elements(layers);
	if (n > limits->max_layers || n > IMAGE_LAYERS_MAX)
		return err_kind_set(e, -E2BIG, ERR_KIND_TOO_MANY_LAYERS,
		        "docker archive: %zu layers, at most %llu are allowed", n,
		        (unsigned long long)limits->max_layers);
	image->n_layers = (uint32_t)n;
	rc = member_read(l, path, limits->max_config, config, e);
	if (rc == -ENOENT)
		return err_kind_set(e, rc, ERR_KIND_BLOB_MISSING, "docker archive: config %.200s is missing", path);
	if (rc < 0)
		return rc;
	hash_buffer(DIGEST_SHA256, buf_cstr(config), config->len, &image->config.digest);
	image->config.size = config->len;
	image->manifest = image->config.digest;
	rc = config_parse(buf_cstr(config), config->len, want, limits, image, e);
	return rc < 0 ? rc : find_layers(l, layers, limits, image, e);
}
