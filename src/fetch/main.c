/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * builderd-fetch: one image, from a registry or from this host, for one build.
 *
 *   builderd            builderd-fetch
 *   FETCH_START  ---->  reference, manifest, config: found and checked
 *                <----  FETCH_IMAGE (config), FETCH_LAYER x n
 *   FETCH_WANT   ---->  layers from "first" on: those in the tenant's blobs at once, the others downloaded in parallel
 *                <----  FETCH_BLOB (fd) each as it is verified, FETCH_PROGRESS
 *                <----  FETCH_DONE, or FETCH_FAIL at any point
 *
 * Configuration and the operator's credentials are read before the sandbox; nothing hostile is. Afterwards there are
 * only the network, the descriptors of FETCH_START, and the resolver's and TLS's files.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "fetch/local.h"
#include "fetch/registry.h"
#include "fetch/session.h"
#include "sandbox/sandbox.h"

#define SPEC_MAX 65536
#define AUTH_FILE_MAX (1024 * 1024)

extern char **environ;

static int read_auth_file(struct session *s, struct err *e)
{
	const char *path = s->config.registry_auth_file;

	if (!path || !*path)
		return 0;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int rc = fd < 0 ? -errno : fd_slurp(fd, AUTH_FILE_MAX, &s->auth_file, &s->auth_file_len);
	return rc < 0 ? err_sys(e, rc, "read the registry credentials %s", path) : 0;
}

/* Everything that needs rights or paths, and then none are left. */
static int prepare(struct session *s, struct err *e)
{
	blob_store_init(&s->store);
	int rc = config_load(&s->config, NULL, environ, e);
	if (rc < 0)
		return rc;
	rc = read_auth_file(s, e);
	if (rc < 0)
		return rc;
	const struct sandbox_options options = {.uid = CONFIG_UID_FETCH(&s->config)};
	return sandbox_enter(ROLE_FETCH, &options, e);
}

static int receive(struct session *s, struct message *m, uint32_t type, struct err *e)
{
	int rc = channel_recv(&s->channel, m, e);

	if (rc == 0)
		return err_kind_set(e, -EPIPE, ERR_KIND_CANCELLED, "builderd closed the channel");
	if (rc < 0)
		return rc;
	if (m->type == type)
		return 0;
	message_release(m);
	return err_kind_set(
	        e, -EPROTO, ERR_KIND_INTERNAL, "%s came, %s was expected", msg_name(m->type), msg_name(type));
}

static int check_start(const struct session *s, struct err *e)
{
	if (!msg_build_id_is_valid(s->start.build_id) || s->start.source_kind >= SOURCE_KIND_COUNT)
		return err_kind_set(
		        e, -EPROTO, ERR_KIND_INTERNAL, "FETCH_START has an impossible build id or source kind");
	if (s->start.source_kind != SOURCE_REGISTRY && s->images_dir < 0)
		return err_kind_set(
		        e, -EPROTO, ERR_KIND_INTERNAL, "FETCH_START for a local image came without its directory");
	return 0;
}

static int take_start(struct session *s, struct err *e)
{
	struct message m;
	AUTO_FREE char *text = NULL;
	size_t len;

	int rc = receive(s, &m, MSG_FETCH_START, e);
	if (rc < 0)
		return rc;
	memcpy(&s->start, m.payload, sizeof(s->start));
	s->store.dir = STEAL_FD(&m.fds[1]);
	s->images_dir = STEAL_FD(&m.fds[2]);
	rc = fd_slurp(m.fds[0], SPEC_MAX, &text, &len);
	message_release(&m);
	if (rc < 0)
		return err_sys(e, rc, "read the source spec");
	rc = check_start(s, e);
	if (rc < 0)
		return rc;
	memcpy(s->store.build_id, s->start.build_id, sizeof(s->store.build_id));
	uint64_t timeout = s->start.timeout_ms ? s->start.timeout_ms : s->config.pull_timeout_ms;
	s->deadline_ms = time_mono_ms() + (int64_t)timeout;
	s->channel.state = MSG_STATE_PLANNED;
	rc = spec_parse(&s->spec, text, len, e);
	explicit_bzero(text, len);
	return rc;
}

static int send_plan(struct session *s, const struct buf *config, struct err *e)
{
	const struct image *im = &s->image;
	struct msg_fetch_image image = {.manifest = im->manifest,
	        .config = im->config.digest,
	        .layers = im->n_layers,
	        .compressed_bytes = im->compressed_bytes};
	AUTO_CLOSE int fd = fd_memfile("config", config->data, config->len);

	if (fd < 0)
		return err_sys(e, fd, "hold the image's config in memory");
	snprintf(image.reference, sizeof(image.reference), "%s", s->reference);
	int rc = channel_send(&s->channel, MSG_FETCH_IMAGE, &image, sizeof(image), &fd, 1);
	for (uint32_t i = 0; i < im->n_layers && rc >= 0; i++) {
		const struct image_layer *l = &im->layers[i];
		const struct msg_fetch_layer layer = {.index = i,
		        .compression = l->compression,
		        .size = l->blob.size,
		        .blob = l->blob.digest,
		        .diff_id = l->diff_id};
		rc = channel_send_struct(&s->channel, MSG_FETCH_LAYER, layer);
	}
	return rc < 0 ? err_sys(e, rc, "report the image") : 0;
}

static int take_want(struct session *s, struct err *e)
{
	struct message m;
	struct msg_fetch_want want;

	int rc = receive(s, &m, MSG_FETCH_WANT, e);
	if (rc < 0)
		return rc;
	memcpy(&want, m.payload, sizeof(want));
	message_release(&m);
	if (want.first > s->image.n_layers)
		return err_kind_set(
		        e, -EPROTO, ERR_KIND_INTERNAL, "layer %u of %u is wanted", want.first, s->image.n_layers);
	s->first = want.first;
	for (uint32_t i = s->first; i < s->image.n_layers; i++)
		s->bytes_total += s->image.layers[i].blob.size;
	return 0;
}

/* What the tenant has already. */
static int send_stored(struct session *s, struct err *e)
{
	for (uint32_t i = s->first; i < s->image.n_layers; i++) {
		const struct descriptor *d = &s->image.layers[i].blob;
		if (s->is_sent[i])
			continue;
		AUTO_CLOSE int fd = blob_lookup(&s->store, &d->digest, d->size, e);
		if (fd < 0 && fd != -ENOENT)
			return fd;
		int rc = fd < 0 ? 0 : session_blob(s, i, fd, true, e);
		if (rc < 0)
			return rc;
	}
	for (uint32_t i = s->first; i < s->image.n_layers; i++)
		if (s->is_sent[i])
			s->bytes_total -= s->image.layers[i].blob.size;
	return 0;
}

/* Plan, question, stored layers: the part between resolving and downloading is the same for every source. */
static int announce(struct session *s, const struct buf *config, struct err *e)
{
	int rc = send_plan(s, config, e);

	if (rc >= 0)
		rc = take_want(s, e);
	return rc < 0 ? rc : send_stored(s, e);
}

static int fetch_registry(struct session *s, struct err *e)
{
	struct reference ref;
	AUTO_BUF struct buf config = {0};

	int rc = reference_parse(&ref, s->spec.reference, e);
	if (rc < 0)
		return rc;
	reference_format(&ref, s->reference);
	struct registry *g = registry_new(s, &ref, e);
	if (!g)
		return e->code;
	rc = registry_resolve(g, &s->image, &config, e);
	if (rc >= 0)
		rc = announce(s, &config, e);
	if (rc >= 0)
		rc = registry_layers(g, &s->image, e);
	registry_free(g);
	return rc;
}

static int copy_layers(struct session *s, struct local *l, struct err *e)
{
	for (uint32_t i = s->first; i < s->image.n_layers; i++) {
		if (s->is_sent[i])
			continue;
		AUTO_CLOSE int fd = local_layer(l, &s->image, i, &s->store, e);
		if (fd < 0)
			return err_wrap(e, "layer %u of %u", i + 1, s->image.n_layers), e->code;
		session_progress(s, (int64_t)s->image.layers[i].blob.size);
		int rc = session_blob(s, i, fd, false, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int fetch_local(struct session *s, struct err *e)
{
	struct local l;
	struct local_reference ref;
	AUTO_BUF struct buf config = {0};

	snprintf(s->reference, sizeof(s->reference), "%.*s", (int)sizeof(s->reference) - 1, s->spec.reference);
	int rc = local_open(&l, s->spec.reference, s->images_dir, s->config.local_images_dir, &ref, e);
	if (rc < 0)
		return rc;
	rc = local_resolve(&l, &ref, &s->spec.platform, &s->start.limits, &s->image, &config, e);
	if (rc >= 0)
		rc = local_check(&l, &s->image, &s->store, e);
	if (rc < 0)
		err_wrap(e, "%.200s", s->reference);
	else
		rc = announce(s, &config, e);
	if (rc >= 0)
		rc = copy_layers(s, &l, e);
	local_close(&l);
	return rc;
}

static int run(struct session *s, struct err *e)
{
	int rc = prepare(s, e);

	if (rc >= 0)
		rc = take_start(s, e);
	if (rc >= 0)
		rc = s->start.source_kind == SOURCE_REGISTRY ? fetch_registry(s, e) : fetch_local(s, e);
	if (rc < 0)
		return rc;
	const struct msg_fetch_progress done = {.bytes_done = s->bytes_done, .bytes_total = s->bytes_total};
	rc = channel_send_struct(&s->channel, MSG_FETCH_DONE, done);
	return rc < 0 ? err_sys(e, rc, "report the end") : 0;
}

int main(void)
{
	static struct session s; /* large: 127 layers */
	struct err e = ERR_INIT;

	log_setup("builderd-fetch", LOG_LEVEL_INFO, false);
	s.images_dir = s.store.dir = -1;
	channel_init(&s.channel, CHANNEL_FD, ROLE_MONITOR);
	int rc = run(&s, &e);
	spec_wipe(&s.spec);
	if (rc >= 0)
		return 0;
	if (e.kind == ERR_KIND_NONE)
		e.kind = ERR_KIND_INTERNAL;
	err_sanitize(&e);
	channel_fail(&s.channel, MSG_FETCH_FAIL, &e);
	return 1;
}
