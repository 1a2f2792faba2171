/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sources on this host: OCI layouts (a directory, or a tar of one) and "docker save" archives, below the operator's
 * image directory. Files are opened beneath it, no last component is a symbolic link, everything is a regular file;
 * what is handed out later is a verified copy, as the operator's file may change at any time.
 */
#ifndef FETCH_LOCAL_H
#define FETCH_LOCAL_H

#include "fetch/blob.h"
#include "fetch/manifest.h"
#include "fetch/reference.h"

struct tar;

struct local {
	int fd;                        /* owns: the layout's directory or the archive */
	struct tar *tar;               /* owns; NULL: a directory */
	char *paths[IMAGE_LAYERS_MAX]; /* own: where a docker archive has layer i; NULL: blobs/<algorithm>/<hex> */
};

/* TEXT is the spec's reference with its "oci:" or "docker-archive:". An absolute path must lie below PREFIX, which is
 * what IMAGES_DIR (a descriptor) stands for. Errors: BAD_REFERENCE, BAD_LAYOUT, NOT_FOUND. */
int local_open(struct local *l, const char *text, int images_dir, const char *prefix, struct local_reference *ref,
        struct err *e);
/* Find REF's image. For an archive without a manifest of its own image->manifest is the digest of the config, the image
 * id. */
int local_resolve(struct local *l, const struct local_reference *ref, const struct platform *want,
        const struct image_limits *limits, struct image *image, struct buf *config, struct err *e);
/* Compare every layer of IMAGE with its descriptor, so that the outcome does not depend on what caches hold: a layer
 * that is stored and was compared with this very file before is not read again. BLOB_MISSING, SIZE_MISMATCH,
 * DIGEST_MISMATCH, BAD_LAYOUT. */
int local_check(struct local *l, const struct image *image, struct blob_store *store, struct err *e);
/* Copy layer I into the store and verify it: a read-only fd. */
int local_layer(struct local *l, const struct image *image, uint32_t i, struct blob_store *store, struct err *e);
void local_close(struct local *l);

/* A regular file: a whole one or a part of an archive. */
struct member {
	int fd; /* read with pread; close with member_close */
	bool is_owned;
	off_t offset;
	uint64_t size;
};
/* -ENOENT without a sentence when there is none; BAD_LAYOUT when it is no regular file. */
int member_open(const struct local *l, const char *path, struct member *m, struct err *e);
void member_close(struct member *m);
int member_hash(const struct member *m, enum digest_algorithm algorithm, struct digest *out);
/* The whole member behind BODY, at most MAX bytes. */
int member_read(const struct local *l, const char *path, uint64_t max, struct buf *body, struct err *e);

/* docker_archive.c: an archive with a manifest.json. */
int docker_archive_resolve(struct local *l, const struct local_reference *ref, const struct platform *want,
        const struct image_limits *limits, struct image *image, struct buf *config, struct err *e);

#endif
