/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/build.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "build/chain.h"

/* --- telling the client ------------------------------------------------------------------------------------------ */

void build_log(struct build *b, enum log_level level, const char *component, const char *fmt, ...)
{
	struct msg_build_log l = {.level = level};
	va_list ap;

	memcpy(l.build_id, b->start.build_id, sizeof(l.build_id));
	snprintf(l.component, sizeof(l.component), "%s", component);
	va_start(ap, fmt);
	vsnprintf(l.text, sizeof(l.text), fmt, ap);
	va_end(ap);
	monitor_post(b->m, MSG_BUILD_LOG, &l, sizeof(l), -1);
}

/* Share of the work done, by compressed bytes: a third for the download, the rest for unpacking. Finishing is the last
 * 5 %. */
static uint32_t percent_now(const struct build *b, enum build_state state)
{
	uint64_t total = b->plan.image.compressed_bytes ? b->plan.image.compressed_bytes : 1;
	uint64_t pulled = b->result.downloaded_bytes < total ? b->result.downloaded_bytes : total;
	uint64_t unpacked = b->unpacked_bytes + (state == BUILD_EXTRACTING ? b->progress.bytes_done : 0);

	if (state >= BUILD_BUILDING)
		return state == BUILD_COMPLETED ? 100 : 96;
	if (b->is_fetch_done)
		pulled = total;
	if (unpacked > total)
		unpacked = total;
	return (uint32_t)(1 + 94 * (pulled + 2 * unpacked) / (3 * total));
}

void build_progress(struct build *b, enum build_state state, const char *fmt, ...)
{
	char before[sizeof(b->progress.step)];
	bool is_new = b->progress.state != (uint32_t)state;
	va_list ap;
	uint32_t percent = percent_now(b, state);

	memcpy(before, b->progress.step, sizeof(before));
	b->progress.state = state;
	if (percent > b->progress.percent)
		b->progress.percent = percent;
	va_start(ap, fmt);
	vsnprintf(b->progress.step, sizeof(b->progress.step), fmt, ap);
	va_end(ap);
	/* A new state or step is told at once, the rest ten times a second. */
	is_new |= strcmp(before, b->progress.step) != 0;
	if (!is_new && time_mono_ms() - b->t_progress < 100)
		return;
	b->t_progress = time_mono_ms();
	monitor_post(b->m, MSG_BUILD_PROGRESS, &b->progress, sizeof(b->progress), -1);
}

void build_mark(struct build *b, const char *what)
{
	int64_t now = time_mono_ms();

	log_debug("step", KV("build", b->start.build_id), KV("what", what), KV_U("ms", now - b->t_mark));
	b->t_mark = now;
}

uint32_t build_step_ms(struct build *b)
{
	int64_t now = time_mono_ms(), took = now - b->t_step;

	b->t_step = now;
	return (uint32_t)took;
}

/* --- pulling ------------------------------------------------------------------------------------------------------ */

static int fetch_start(struct build *b, struct err *e)
{
	struct monitor *m = b->m;
	AUTO_CLOSE int blobs = m->ops->blob_dir(m->store, b->start.tenant_id, e);
	struct msg_fetch_start start = {.source_kind = b->start.source_kind,
	        .timeout_ms = (uint32_t)m->config.pull_timeout_ms,
	        .limits = m->config.limits};
	const int fds[] = {b->source_fd, blobs, m->local_images_fd};
	bool is_local = b->start.source_kind != SOURCE_REGISTRY;

	if (blobs < 0)
		return blobs;
	if (is_local && m->local_images_fd < 0)
		return err_kind_set(e, -EACCES, ERR_KIND_DENIED,
		        "local images are refused: the operator has not set " CONFIG_PREFIX "LOCAL_IMAGES_DIR");
	int rc = build_child_start(b, ROLE_FETCH, &b->fetch, e);
	if (rc < 0)
		return rc;
	memcpy(start.build_id, b->start.build_id, sizeof(start.build_id));
	rc = channel_send(&b->fetch.channel, MSG_FETCH_START, &start, sizeof(start), fds, is_local ? 3 : 2);
	if (rc < 0)
		return err_sys(e, rc, "start builderd-fetch");
	b->fetch.channel.state = MSG_STATE_RUNNING;
	return 0;
}

static bool is_planned(const struct build *b)
{
	return b->plan.config_fd >= 0 && b->plan.n_known == b->plan.image.layers;
}

/* Manifest and config were verified by builderd-fetch; the names of the chains are computed here. */
static int plan_make(struct build *b, struct err *e)
{
	struct image_plan *p = &b->plan;
	char text[DIGEST_TEXT_MAX];
	int rc = fetch_start(b, e);

	if (rc >= 0)
		rc = build_wait(b, is_planned, e);
	if (rc < 0)
		return rc;
	const struct digest *parent = NULL;
	struct digest apart;
	if (b->start.preserves_layers) {
		chain_id_layers(&apart);
		parent = &apart;
	}
	for (uint32_t i = 0; i < p->image.layers; i++) {
		chain_id_next(parent, &p->layers[i].info.diff_id, &p->layers[i].chain_id);
		parent = &p->layers[i].chain_id;
	}
	b->result.layers_total = p->image.layers;
	b->result.image_digest = p->image.manifest;
	b->result.original_bytes = p->image.compressed_bytes;
	build_log(b, LOG_LEVEL_INFO, "fetch", "%s is %s: %u layers, %llu bytes", p->image.reference,
	        digest_format(&p->image.manifest, text), p->image.layers,
	        (unsigned long long)p->image.compressed_bytes);
	return 0;
}

/* --- sealing ---------------------------------------------------------------------------------------------------------
 */

static bool is_hashed(const struct build *b)
{
	return b->session->is_unpack_done;
}

static int hash_start(struct build *b, struct session *s, struct err *e)
{
	AUTO_CLOSE int raw = b->m->ops->open_raw(b->volume, e);
	const struct msg_unpack_hash job = {.size = b->m->ops->size(b->volume)};

	if (raw < 0)
		return raw;
	int rc = build_child_start(b, ROLE_UNPACK, &s->unpack, e);
	if (rc < 0)
		return rc;
	rc = channel_send(&s->unpack.channel, MSG_UNPACK_HASH, &job, sizeof(job), &raw, 1);
	if (rc < 0)
		return err_sys(e, rc, "hand the volume to builderd-unpack");
	s->unpack.channel.state = MSG_STATE_RUNNING;
	return 0;
}

/* e2fsck and SHA-256 read the same pages on two CPUs. */
static int volume_verify(struct build *b, struct digest *checksum, struct err *e)
{
	struct session s = {.root_fd = -1, .mount_fd = -1, .control_fd = -1};

	s.fs.channel.fd = s.unpack.channel.fd = -1;
	b->session = &s;
	int rc = hash_start(b, &s, e);
	if (rc >= 0)
		rc = b->m->ops->check(b->volume, e);
	build_mark(b, "e2fsck");
	if (rc >= 0)
		rc = build_wait(b, is_hashed, e);
	build_mark(b, "checksum");
	build_child_end(b, &s.unpack, s.is_unpack_done);
	b->session = NULL;
	*checksum = s.unpack_result.digest;
	if (rc >= 0 && checksum->algorithm != DIGEST_SHA256)
		return err_kind_set(e, -EPROTO, ERR_KIND_INTERNAL, "builderd-unpack sent an impossible checksum");
	return rc;
}

static void result_rootfs(struct build *b, const struct rootfs_info *info)
{
	b->result.checksum = info->checksum;
	b->result.rootfs_bytes = info->size_bytes;
	b->result.disk_bytes = info->used_bytes;
	b->result.inodes = info->used_inodes;
	memcpy(b->result.rootfs_path, info->path, sizeof(b->result.rootfs_path));
}

static int finish_and_seal(struct build *b, const struct digest *key, char **metadata, size_t *len, struct err *e)
{
	struct rootfs_info info = {0};

	build_progress(b, BUILD_BUILDING, "finishing the root file system");
	int rc = session_finish(b, metadata, len, e);
	b->result.build_ms = build_step_ms(b);
	if (rc < 0)
		return rc;
	if (b->m->config.rootfs_journal)
		rc = b->m->ops->journal(b->volume, e);
	build_mark(b, "journal");
	if (rc < 0)
		return rc;
	build_progress(b, BUILD_BUILDING, "checking and sealing");
	rc = volume_verify(b, &info.checksum, e);
	if (rc < 0)
		return rc;
	info.used_bytes = b->used_bytes;
	info.used_inodes = b->used_inodes;
	info.size_bytes = b->m->ops->size(b->volume);
	rc = b->m->ops->seal(STEAL(&b->volume), key, *metadata, *len, &info, e);
	b->result.seal_ms = build_step_ms(b);
	build_mark(b, "seal");
	if (rc >= 0)
		result_rootfs(b, &info);
	return rc;
}

static void key_make(struct build *b, struct digest *key)
{
	const struct image_plan *p = &b->plan;
	const struct product_inputs in = {
	        .chain_id = p->image.layers ? &p->layers[p->image.layers - 1].chain_id : NULL,
	        .manifest = &p->image.manifest,
	        .config = &p->image.config,
	        .runtime_key = &b->start.runtime_key,
	        .init_program = &b->m->init_digest,
	        .reference = p->image.reference,
	        .preserves_layers = b->start.preserves_layers,
	};

	product_key(&in, key);
}

/* *METADATA is the caller's. */
static int build_run(struct build *b, char **metadata, size_t *len, struct err *e)
{
	struct monitor *m = b->m;
	struct rootfs_info info = {0};
	struct digest key;

	build_progress(b, BUILD_PULLING, "resolving the image");
	int rc = plan_make(b, e);
	if (rc < 0)
		return rc;
	key_make(b, &key);
	rc = m->ops->share(m->store, b->start.tenant_id, b->start.build_id, &key, &info, metadata, len, e);
	if (rc >= 0) {
		b->result.layers_cached = b->plan.image.layers;
		b->result.pull_ms = build_step_ms(b);
		result_rootfs(b, &info);
		build_log(b, LOG_LEVEL_INFO, "storage",
		        "an identical image was built before: its root file system is shared");
		build_child_end(b, &b->fetch, false); /* it waits to be told what to download: nothing */
		return 0;
	}
	if (rc != -ENOENT)
		return rc;
	*e = (struct err)ERR_INIT;
	rc = layers_unpack(b, e);
	if (rc >= 0)
		rc = layers_room(b, e);
	return rc < 0 ? rc : finish_and_seal(b, &key, metadata, len, e);
}

/* --- the thread
 * -------------------------------------------------------------------------------------------------------- */

static void outcome_set(struct build *b, int rc, struct err *e)
{
	struct msg_build_done *r = &b->result;
	int why = atomic_load(&b->stop);

	memcpy(r->build_id, b->start.build_id, sizeof(r->build_id));
	r->total_ms = (uint32_t)(time_mono_ms() - b->t_start);
	r->memory_peak_bytes = b->fetch_peak + b->fs_peak + b->unpack_peak;
	r->state = rc < 0 ? BUILD_FAILED : BUILD_COMPLETED;
	if (rc >= 0)
		return;
	if (why == BUILD_STOP_CANCEL) {
		r->state = BUILD_CANCELLED;
		err_kind_set(e, -ECANCELED, ERR_KIND_CANCELLED, "the build was cancelled");
	} else if (why == BUILD_STOP_TIMEOUT) {
		err_kind_set(e, -ETIMEDOUT, ERR_KIND_TIMEOUT, "the build ran longer than its limit of %u s",
		        b->start.timeout_ms / 1000);
	} else if (why == BUILD_STOP_SHUTDOWN) {
		err_kind_set(e, -ESHUTDOWN, ERR_KIND_RESTARTED, "builderd was stopped while the build ran");
	}
	r->err = *e;
	if (!r->err.code)
		r->err.code = rc;
	if (r->err.kind == ERR_KIND_NONE)
		r->err.kind = ERR_KIND_INTERNAL;
}

static void build_report(struct build *b, const char *metadata, size_t len)
{
	const struct msg_build_done *r = &b->result;

	if (r->state == BUILD_COMPLETED) {
		b->metadata_fd = fd_memfile("metadata.json", metadata ? metadata : "", metadata ? len : 0);
		build_progress(b, BUILD_COMPLETED, "done");
		log_info("build completed", KV("build", r->build_id), KV("image", b->plan.image.reference),
		        KV_U("layers", r->layers_total), KV_U("cached", r->layers_cached), KV_U("ms", r->total_ms));
	} else {
		log_warn(r->state == BUILD_CANCELLED ? "build cancelled" : "build failed", KV("build", r->build_id),
		        KV("kind", err_kind_name(r->err.kind)), KV("error", r->err.msg), KV_U("ms", r->total_ms));
	}
	/* The main thread sends the result once the build's slot is free again: the next build starts on that word. */
	monitor_post(b->m, MSG_NONE, &b, sizeof(b), -1);
}

static void *build_thread(void *arg)
{
	struct build *b = arg;
	struct err e = ERR_INIT, ignored = ERR_INIT;
	AUTO_FREE char *metadata = NULL;
	size_t len = 0;
	uint64_t freed;

	b->t_start = b->t_step = b->t_mark = time_mono_ms();
	int rc = build_run(b, &metadata, &len, &e);
	/* Sealed means done: a stop that came later does not undo a product that exists. */
	build_child_end(b, &b->fetch, rc >= 0);
	b->m->ops->discard(STEAL(&b->volume));
	b->m->ops->trim(b->m->store, &freed, &ignored);
	outcome_set(b, rc, &e);
	build_report(b, metadata, len);
	return NULL;
}

static void build_release(struct build *b)
{
	pool_leave(&b->pool, 0, 0); /* once more does no harm */
	int *fds[] = {&b->source_fd, &b->runtime_fd, &b->stop_fd, &b->plan.config_fd, &b->metadata_fd};

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		cleanup_close(fds[i]);
	for (size_t i = 0; i < IMAGE_LAYERS_MAX; i++)
		cleanup_close(&b->plan.layers[i].blob_fd);
	pthread_mutex_destroy(&b->children_lock);
	free(b);
}

static struct build *build_new(struct monitor *m, const struct msg_build_start *start)
{
	struct build *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->m = m;
	b->start = *start;
	b->pool.wake_fd = -1;
	b->source_fd = b->runtime_fd = b->plan.config_fd = b->metadata_fd = -1;
	b->fetch.channel.fd = b->fetch.pidfd = -1;
	pthread_mutex_init(&b->children_lock, NULL);
	memset(b->children, 0xff, sizeof(b->children));
	for (size_t i = 0; i < IMAGE_LAYERS_MAX; i++)
		b->plan.layers[i].blob_fd = -1;
	memcpy(b->progress.build_id, start->build_id, sizeof(b->progress.build_id));
	b->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return b;
}

static bool slot_is_used(const struct monitor *m, unsigned slot)
{
	for (const struct build *b = m->builds; b; b = b->next)
		if (b->slot == slot)
			return true;
	return false;
}

static void on_timeout(void *arg)
{
	struct build *b = arg;

	b->timeout = NULL;
	build_stop(b, BUILD_STOP_TIMEOUT);
}

int build_start(struct monitor *m, const struct msg_build_start *start, int source_fd, int runtime_fd, struct err *e)
{
	struct build *b = build_new(m, start);
	sigset_t all, old;

	if (!b || b->stop_fd < 0 || pool_join(&m->pools, start->tenant_id, &b->pool) < 0) {
		close(source_fd);
		close(runtime_fd);
		if (b)
			build_release(b);
		return err_sys(e, -ENOMEM, "start a build");
	}
	b->source_fd = source_fd;
	b->runtime_fd = runtime_fd;
	while (slot_is_used(m, b->slot))
		b->slot++;
	if (b->start.timeout_ms > m->config.build_timeout_ms)
		b->start.timeout_ms = (uint32_t)m->config.build_timeout_ms;
	b->timeout = loop_timer_add(m->loop, b->start.timeout_ms, on_timeout, b);
	if (!b->timeout) {
		build_release(b);
		return err_sys(e, -ENOMEM, "set the timeout of a build");
	}
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	int rc = pthread_create(&b->thread, NULL, build_thread, b);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		loop_timer_del(b->timeout);
		build_release(b);
		return err_sys(e, -rc, "start a thread");
	}
	b->next = m->builds;
	m->builds = b;
	m->n_builds++;
	log_info("build started", KV("build", start->build_id), KV("tenant", start->tenant_id));
	return 0;
}

void build_stop(struct build *b, enum build_stop why)
{
	int none = BUILD_GO_ON;
	uint64_t one = 1;

	atomic_compare_exchange_strong(&b->stop, &none, (int)why);
	if (write(b->stop_fd, &one, sizeof(one)) < 0)
		log_warn("a build's stop descriptor is full", KV("build", b->start.build_id));
	pthread_mutex_lock(&b->children_lock);
	for (size_t i = 0; i < ARRAY_LEN(b->children); i++)
		if (b->children[i] >= 0)
			syscall(SYS_pidfd_send_signal, b->children[i], SIGKILL, NULL, 0);
	pthread_mutex_unlock(&b->children_lock);
}

struct build *build_find(struct monitor *m, const char *build_id)
{
	struct build *b = m->builds;

	while (b && strcmp(b->start.build_id, build_id))
		b = b->next;
	return b;
}

void build_free(struct build *b)
{
	struct monitor *m = b->m;

	pthread_join(b->thread, NULL);
	loop_timer_del(b->timeout);
	for (struct build **p = &m->builds; *p; p = &(*p)->next)
		if (*p == b) {
			*p = b->next;
			break;
		}
	m->n_builds--;
	build_release(b);
}
