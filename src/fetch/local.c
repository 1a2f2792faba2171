/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "fetch/resolve.h"
#include "fetch/tar.h"

#define LAYOUT_FILE_MAX 4096

static int bad_layout(struct err *e, int code, const char *path, const char *why)
{
	return err_kind_set(e, code, ERR_KIND_BAD_LAYOUT, "image layout: %s: %s", path, why);
}

/* PATH below the image directory: what is behind PREFIX when it is absolute. NULL: it lies elsewhere. */
static const char *strip_prefix(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	if (*path != '/')
		return path;
	while (n && prefix[n - 1] == '/')
		n--;
	if (strncmp(path, prefix, n) || (path[n] && path[n] != '/'))
		return NULL;
	path += n;
	path += strspn(path, "/");
	return *path ? path : ".";
}

static int open_error(struct err *e, int code, const char *path, const char *prefix)
{
	if (code == -ENOENT || code == -ENOTDIR)
		return err_kind_set(e, code, ERR_KIND_NOT_FOUND, "no image at \"%.200s\" below %.100s", path, prefix);
	if (code == -EXDEV || code == -ELOOP)
		return err_kind_set(
		        e, code, ERR_KIND_BAD_LAYOUT, "image path \"%.200s\" leads out of %.100s", path, prefix);
	err_sys(e, code, "open image \"%.200s\" below %.100s", path, prefix);
	e->kind = ERR_KIND_BAD_LAYOUT;
	return code;
}

int local_open(struct local *l, const char *text, int images_dir, const char *prefix, struct local_reference *ref,
        struct err *e)
{
	bool is_dir = !strncmp(text, "oci:", 4);
	const char *rest = strchr(text, ':');
	struct stat st;

	*l = (struct local){.fd = -1};
	if (!rest || (!is_dir && strncmp(text, "docker-archive:", 15)))
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_REFERENCE,
		        "image source \"%.200s\": expected oci: or docker-archive:", text);
	int rc = local_reference_parse(ref, rest + 1, e);
	if (rc < 0)
		return rc;
	const char *path = strip_prefix(ref->path, prefix);
	if (!path)
		return err_kind_set(e, -EACCES, ERR_KIND_BAD_REFERENCE, "image path \"%.200s\" is not below %.100s",
		        ref->path, prefix);
	l->fd = fd_open_beneath(images_dir, path, O_RDONLY | O_NONBLOCK | (is_dir ? O_DIRECTORY : 0), 0);
	if (l->fd < 0)
		return open_error(e, l->fd, ref->path, prefix);
	if (is_dir)
		return 0;
	if (fstat(l->fd, &st) < 0 || !S_ISREG(st.st_mode))
		rc = bad_layout(e, -EINVAL, ref->path, "is no regular file");
	else if (!(l->tar = tar_open(l->fd, (uint64_t)st.st_size, e)))
		rc = e->code;
	if (rc < 0)
		local_close(l);
	return rc;
}

void local_close(struct local *l)
{
	cleanup_close(&l->fd);
	tar_free(STEAL(&l->tar));
	for (size_t i = 0; i < ARRAY_LEN(l->paths); i++)
		free(STEAL(&l->paths[i]));
}

int member_open(const struct local *l, const char *path, struct member *m, struct err *e)
{
	struct stat st;

	*m = (struct member){.fd = l->fd};
	if (l->tar)
		return tar_find(l->tar, path, &m->offset, &m->size);
	/* O_NONBLOCK: a fifo without a writer must not hold us; it is refused below. */
	m->fd = fd_open_beneath(l->fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (m->fd == -ENOENT)
		return -ENOENT;
	if (m->fd < 0)
		return bad_layout(e, m->fd, path, m->fd == -ELOOP ? "is a symbolic link" : strerror(-m->fd));
	m->is_owned = true;
	if (fstat(m->fd, &st) == 0 && S_ISREG(st.st_mode)) {
		m->size = (uint64_t)st.st_size;
		return 0;
	}
	member_close(m);
	return bad_layout(e, -EINVAL, path, "is no regular file");
}

void member_close(struct member *m)
{
	if (m->is_owned)
		cleanup_close(&m->fd);
	m->is_owned = false;
}

int member_read(const struct local *l, const char *path, uint64_t max, struct buf *body, struct err *e)
{
	struct member m;
	int rc = member_open(l, path, &m, e);

	if (rc < 0)
		return rc;
	if (m.size > max) {
		rc = err_kind_set(e, -EFBIG, ERR_KIND_BAD_LAYOUT,
		        "image layout: %s has %llu bytes, at most %llu are allowed", path, (unsigned long long)m.size,
		        (unsigned long long)max);
	} else {
		ssize_t n = m.size ? pread(m.fd, buf_reserve(body, m.size), m.size, m.offset) : 0;
		if (n != (ssize_t)m.size)
			rc = bad_layout(e, -EIO, path, n < 0 ? strerror(errno) : "changed while it was read");
		else
			body->len += m.size;
	}
	member_close(&m);
	return rc;
}

static void blob_path(const struct digest *d, char out[DIGEST_TEXT_MAX + 8])
{
	char text[DIGEST_TEXT_MAX];

	digest_format(d, text);
	snprintf(out, DIGEST_TEXT_MAX + 8, "blobs/%s", text);
	char *colon = strchr(out, ':');
	if (colon)
		*colon = '/';
}

static int blob_missing(struct err *e, const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];

	return err_kind_set(
	        e, -ENOENT, ERR_KIND_BLOB_MISSING, "image layout: blob %s is missing", digest_format(d, text));
}

/* A size that differs is SIZE_MISMATCH before a byte is read. */
static int read_blob(void *arg, const struct descriptor *d, struct buf *body, struct err *e)
{
	char path[DIGEST_TEXT_MAX + 8], text[DIGEST_TEXT_MAX];
	struct local *l = arg;
	struct member m;

	blob_path(&d->digest, path);
	int rc = member_open(l, path, &m, e);
	if (rc == -ENOENT)
		return blob_missing(e, &d->digest);
	if (rc < 0)
		return rc;
	member_close(&m);
	if (m.size != d->size)
		return err_kind_set(e, -EINVAL, ERR_KIND_SIZE_MISMATCH,
		        "blob %s has %llu bytes, its descriptor says %llu", digest_format(&d->digest, text),
		        (unsigned long long)m.size, (unsigned long long)d->size);
	return member_read(l, path, d->size, body, e);
}

static int read_document(
        void *arg, const struct descriptor *d, struct buf *body, char type[MEDIA_TYPE_MAX], struct err *e)
{
	type[0] = 0;
	return read_blob(arg, d, body, e);
}

static int check_version(const struct local *l, const struct image_limits *limits, struct err *e)
{
	AUTO_BUF struct buf text = {0};
	const char *version = NULL;

	int rc = member_read(l, "oci-layout", LAYOUT_FILE_MAX, &text, e);
	if (rc == -ENOENT)
		return bad_layout(e, rc, "oci-layout", "is missing");
	if (rc < 0)
		return rc;
	AUTO(json_cleanup)
	struct json *j = json_load_strict(buf_cstr(&text), text.len, (unsigned)limits->json_depth, e);
	if (!j || json_get_string(j, "imageLayoutVersion", JSON_REQUIRED, &version, e) < 0) {
		e->kind = ERR_KIND_BAD_LAYOUT;
		return err_wrap(e, "image layout: oci-layout"), -EINVAL;
	}
	if (strcmp(version, "1.0.0"))
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_LAYOUT,
		        "image layout: version \"%.32s\" is not supported, expected 1.0.0", version);
	return 0;
}

static const char *entry_name(const struct json *entry)
{
	const struct json *notes = json_member(entry, "annotations");
	const char *name = json_as_string(json_member(notes, "org.opencontainers.image.ref.name"));

	return name ? name : json_as_string(json_member(notes, "io.containerd.image.name"));
}

/* The entry of index.json that NAME means: of several with that name the one for the platform wanted. Without a name
 * there must be one name at most. */
static int select_entry(const struct json *index, const char *name, const struct platform *want,
        const struct image_limits *limits, struct descriptor *out, struct err *e)
{
	const struct json *entries = json_member(index, "manifests");
	const char *first_name = NULL;
	struct index_entry entry;
	int n = index_count(index, limits, e), found = 0;

	for (int i = 0; i < n; i++) {
		const char *tag = entry_name(json_element(entries, (size_t)i));
		if (*name && (!tag || strcmp(tag, name)))
			continue;
		if (!*name && tag && first_name && strcmp(tag, first_name))
			return err_kind_set(e, -EINVAL, ERR_KIND_BAD_REFERENCE,
			        "image layout: several images, name one: \"%.100s\", \"%.100s\" ...", first_name, tag);
		first_name = tag;
		int rc = index_entry(index, (size_t)i, &entry, e);
		if (rc < 0)
			return rc;
		if (!found || (entry.has_platform && platform_matches(want, &entry.platform)))
			*out = entry.descriptor;
		found++;
	}
	if (n < 0)
		return n;
	if (!found)
		return err_kind_set(
		        e, -ENOENT, ERR_KIND_NOT_FOUND, "image layout: index.json names no image \"%.200s\"", name);
	return 0;
}

static int oci_resolve(struct local *l, const struct local_reference *ref, const struct platform *want,
        const struct image_limits *limits, struct image *image, struct buf *config, struct err *e)
{
	struct resolver r = {.arg = l, .document = read_document, .blob = read_blob, .limits = limits, .want = *want};
	AUTO(json_cleanup) struct json *index = NULL;
	AUTO_BUF struct buf text = {0}, body = {0};
	struct descriptor d;
	enum media media;

	int rc = check_version(l, limits, e);
	if (rc < 0)
		return rc;
	rc = member_read(l, "index.json", limits->max_manifest, &text, e);
	if (rc == -ENOENT)
		return bad_layout(e, rc, "index.json", "is missing");
	if (rc < 0)
		return rc;
	rc = manifest_load(buf_cstr(&text), text.len, NULL, "", limits, &index, &media, e);
	if (rc < 0)
		return err_wrap(e, "image layout: index.json"), rc;
	if (media != MEDIA_INDEX)
		return bad_layout(e, -EINVAL, "index.json", "is no image index");
	rc = select_entry(index, ref->name, want, limits, &d, e);
	if (rc < 0)
		return rc;
	if (d.size > limits->max_manifest)
		return err_kind_set(e, -EFBIG, ERR_KIND_BAD_MANIFEST, "manifest: %llu bytes, at most %llu are allowed",
		        (unsigned long long)d.size, (unsigned long long)limits->max_manifest);
	rc = read_blob(l, &d, &body, e);
	return rc < 0 ? rc : resolve_image(&r, &body, NULL, &d, image, config, e);
}

int local_resolve(struct local *l, const struct local_reference *ref, const struct platform *want,
        const struct image_limits *limits, struct image *image, struct buf *config, struct err *e)
{
	off_t offset;
	uint64_t size;

	if (l->tar && !tar_find(l->tar, "manifest.json", &offset, &size))
		return docker_archive_resolve(l, ref, want, limits, image, config, e);
	return oci_resolve(l, ref, want, limits, image, config, e);
}

int member_hash(const struct member *m, enum digest_algorithm algorithm, struct digest *out)
{
	return hash_file(m->fd, (uint64_t)m->offset, m->size, algorithm, out);
}

/* A file and the state it is in: the change time moves with every write and cannot be set. */
static void member_identity(const struct member *m, char out[128])
{
	struct stat st = {0};

	if (fstat(m->fd, &st) < 0)
		st.st_ino = 0;
	snprintf(out, 128, "%jx.%jx.%jx.%jx.%lx.%jx", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino, (uintmax_t)st.st_size,
	        (uintmax_t)st.st_ctim.tv_sec, (unsigned long)st.st_ctim.tv_nsec, (uintmax_t)m->offset);
}

/* The member with layer I, of the size that its descriptor says. */
static int layer_open(struct local *l, const struct image *image, uint32_t i, struct member *m, struct err *e)
{
	const struct descriptor *d = &image->layers[i].blob;
	char path[DIGEST_TEXT_MAX + 8], text[DIGEST_TEXT_MAX];

	blob_path(&d->digest, path);
	int rc = member_open(l, l->paths[i] ? l->paths[i] : path, m, e);
	if (rc == -ENOENT)
		return blob_missing(e, &d->digest);
	if (rc < 0 || m->size == d->size)
		return rc;
	rc = err_kind_set(e, -EINVAL, ERR_KIND_SIZE_MISMATCH, "blob %s has %llu bytes, its descriptor says %llu",
	        digest_format(&d->digest, text), (unsigned long long)m->size, (unsigned long long)d->size);
	member_close(m);
	return rc;
}

static int layer_check(const struct member *m, const struct digest *want, struct blob_store *store, struct err *e)
{
	char identity[128], a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX];
	struct digest have;

	member_identity(m, identity);
	if (blob_source_is(store, want, identity))
		return 0;
	int rc = member_hash(m, want->algorithm, &have);
	if (rc < 0)
		return bad_layout(e, rc, digest_format(want, a), strerror(-rc));
	if (!digest_equal(&have, want))
		return err_kind_set(e, -EINVAL, ERR_KIND_DIGEST_MISMATCH, "blob %s has the digest %s",
		        digest_format(want, a), digest_format(&have, b));
	blob_source_set(store, want, identity);
	return 0;
}

int local_check(struct local *l, const struct image *image, struct blob_store *store, struct err *e)
{
	for (uint32_t i = 0; i < image->n_layers; i++) {
		struct member m;
		int rc = layer_open(l, image, i, &m, e);
		if (rc >= 0) {
			rc = layer_check(&m, &image->layers[i].blob.digest, store, e);
			member_close(&m);
		}
		if (rc < 0)
			return err_wrap(e, "layer %u of %u", i + 1, image->n_layers), rc;
	}
	return 0;
}

int local_layer(struct local *l, const struct image *image, uint32_t i, struct blob_store *store, struct err *e)
{
	const struct descriptor *d = &image->layers[i].blob;
	char identity[128];
	struct blob_writer w;
	struct member m;

	int rc = layer_open(l, image, i, &m, e);
	if (rc < 0)
		return rc;
	member_identity(&m, identity);
	rc = blob_writer_open(&w, store, &d->digest, d->size, e);
	if (rc >= 0) {
		rc = blob_writer_copy(&w, m.fd, m.offset, m.size, e);
		if (rc < 0)
			blob_writer_abort(&w);
		else
			rc = blob_writer_finish(&w, e);
	}
	if (rc >= 0)
		blob_source_set(store, &d->digest, identity);
	member_close(&m);
	return rc;
}
