/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/resolve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "digest/hash.h"

/* Manifests and indexes one pull may read: an index without platforms makes us look into each entry. */
#define DOCUMENTS_MAX 64

static int resolve_document(struct resolver *r, const struct buf *data, const char *content_type,
        const struct descriptor *expected, unsigned depth, struct image *image, struct buf *config, struct err *e);

int descriptor_verify(const struct descriptor *d, const struct buf *data, const char *what, struct err *e)
{
	char want[DIGEST_TEXT_MAX], have[DIGEST_TEXT_MAX];
	struct digest is;

	if (data->len != d->size)
		return err_kind_set(e, -EINVAL, ERR_KIND_SIZE_MISMATCH, "%s %s has %zu bytes, its descriptor says %llu",
		        what, digest_format(&d->digest, want), data->len, (unsigned long long)d->size);
	hash_buffer(d->digest.algorithm, data->data ? data->data : "", data->len, &is);
	if (!digest_equal(&is, &d->digest))
		return err_kind_set(e, -EINVAL, ERR_KIND_DIGEST_MISMATCH, "%s %s has the digest %s", what,
		        digest_format(&d->digest, want), digest_format(&is, have));
	return 0;
}

static int resolve_manifest(
        struct resolver *r, const struct json *j, struct image *image, struct buf *config, struct err *e)
{
	int rc = manifest_parse(j, r->limits, image, e);
	if (rc < 0)
		return rc;
	rc = r->blob(r->arg, &image->config, config, e);
	if (rc < 0)
		return rc;
	rc = descriptor_verify(&image->config, config, "config", e);
	if (rc < 0)
		return rc;
	return config_parse(buf_cstr(config), config->len, &r->want, r->limits, image, e);
}

static int follow(struct resolver *r, const struct index_entry *entry, unsigned depth, struct image *image,
        struct buf *config, struct err *e)
{
	AUTO_BUF struct buf body = {0};
	char type[MEDIA_TYPE_MAX] = "";

	if (++r->documents > DOCUMENTS_MAX)
		return err_kind_set(e, -E2BIG, ERR_KIND_BAD_MANIFEST, "index: more than %d manifests had to be read",
		        DOCUMENTS_MAX);
	if (entry->descriptor.size > r->limits->max_manifest)
		return err_kind_set(e, -EFBIG, ERR_KIND_BAD_MANIFEST,
		        "index: a manifest of %llu bytes, at most %llu are allowed",
		        (unsigned long long)entry->descriptor.size, (unsigned long long)r->limits->max_manifest);
	int rc = r->document(r->arg, &entry->descriptor, &body, type, e);
	if (rc < 0)
		return rc;
	memset(image, 0, sizeof(*image));
	buf_free(config);
	*config = (struct buf){0};
	return resolve_document(r, &body, type, &entry->descriptor, depth, image, config, e);
}

/* "linux/arm64, windows/amd64": what an index offers, for the message. */
static void note_offer(char *offers, size_t size, const struct index_entry *entry)
{
	char text[96];
	size_t n = strlen(offers);

	if (entry->has_platform && n + 40 < size)
		snprintf(offers + n, size - n, "%s%.36s", n ? ", " : "", platform_format(&entry->platform, text));
}

/* One pass over the entries. WITH_PLATFORM: take the first that matches. Without: look into those that name no
 * platform, one after the other. 1: resolved; 0: nothing fits. */
static int try_entries(struct resolver *r, const struct json *index, int n, bool with_platform, unsigned depth,
        struct image *image, struct buf *config, char *offers, size_t offers_size, struct err *e)
{
	struct index_entry entry;

	for (int i = 0; i < n; i++) {
		int rc = index_entry(index, (size_t)i, &entry, e);
		if (rc < 0 && e->kind == ERR_KIND_UNSUPPORTED_DIGEST)
			continue; /* a sibling may use an algorithm of the future */
		if (rc < 0)
			return rc;
		if (entry.is_attestation || entry.has_platform != with_platform)
			continue;
		if (with_platform && !platform_matches(&r->want, &entry.platform)) {
			note_offer(offers, offers_size, &entry);
			continue;
		}
		rc = follow(r, &entry, depth, image, config, e);
		if (rc >= 0)
			return 1;
		bool is_other = e->kind == ERR_KIND_PLATFORM_MISMATCH || e->kind == ERR_KIND_NO_PLATFORM ||
		                e->kind == ERR_KIND_NOT_AN_IMAGE;
		if (with_platform || !is_other)
			return rc;
	}
	return 0;
}

static int resolve_index(struct resolver *r, const struct json *j, unsigned depth, struct image *image,
        struct buf *config, struct err *e)
{
	char offers[256] = "", want[96];

	if (depth >= r->limits->index_depth)
		return err_kind_set(e, -E2BIG, ERR_KIND_INDEX_DEPTH, "index: nested deeper than %llu levels",
		        (unsigned long long)r->limits->index_depth);
	int n = index_count(j, r->limits, e);
	if (n < 0)
		return n;
	int rc = try_entries(r, j, n, true, depth + 1, image, config, offers, sizeof(offers), e);
	if (!rc)
		rc = try_entries(r, j, n, false, depth + 1, image, config, offers, sizeof(offers), e);
	if (rc)
		return rc;
	return err_kind_set(e, -ENOEXEC, ERR_KIND_NO_PLATFORM, "index: no image for %s among %d entries%s%s",
	        platform_format(&r->want, want), n, offers[0] ? "; it offers " : "", offers);
}

static int resolve_document(struct resolver *r, const struct buf *data, const char *content_type,
        const struct descriptor *expected, unsigned depth, struct image *image, struct buf *config, struct err *e)
{
	AUTO(json_cleanup) struct json *j = NULL;
	enum media media;
	int rc = 0;

	if (expected->digest.algorithm)
		rc = descriptor_verify(expected, data, "manifest", e);
	if (!rc)
		rc = manifest_load(data->data ? data->data : "", data->len, content_type, expected->media_type,
		        r->limits, &j, &media, e);
	if (rc < 0)
		return rc;
	if (media == MEDIA_INDEX)
		return resolve_index(r, j, depth, image, config, e);
	if (expected->digest.algorithm)
		image->manifest = expected->digest;
	else
		hash_buffer(DIGEST_SHA256, data->data, data->len, &image->manifest);
	return resolve_manifest(r, j, image, config, e);
}

int resolve_image(struct resolver *r, const struct buf *data, const char *content_type,
        const struct descriptor *expected, struct image *image, struct buf *config, struct err *e)
{
	return resolve_document(r, data, content_type, expected, 0, image, config, e);
}
