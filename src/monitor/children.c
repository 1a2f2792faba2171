/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A build's children: starting and ending them, and serving what they say. One handler per message; what is legal when
 * is in MSG_TABLE and was checked by channel_recv. What a child says is data to check again, never to believe. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "monitor/build.h"
#include "sandbox/sandbox.h"

static const char *const program_names[ROLE_COUNT] = {
        [ROLE_FETCH] = "builderd-fetch",
        [ROLE_UNPACK] = "builderd-unpack",
        [ROLE_FS] = "builderd-fs",
};

/* build_stop() may kill what is registered here, from the main thread. */
static void children_add(struct build *b, int pidfd)
{
	pthread_mutex_lock(&b->children_lock);
	for (size_t i = 0; i < ARRAY_LEN(b->children); i++)
		if (b->children[i] < 0) {
			b->children[i] = pidfd;
			break;
		}
	pthread_mutex_unlock(&b->children_lock);
}

static void children_remove(struct build *b, int pidfd)
{
	pthread_mutex_lock(&b->children_lock);
	for (size_t i = 0; i < ARRAY_LEN(b->children); i++)
		if (b->children[i] == pidfd)
			b->children[i] = -1;
	pthread_mutex_unlock(&b->children_lock);
}

int build_child_start(struct build *b, enum role role, struct child *c, struct err *e)
{
	const char *const argv[] = {program_names[role], NULL};
	const struct spawn s = {.role = role,
	        .program = program_names[role],
	        .argv = argv,
	        .envp = (const char *const *)b->m->child_env,
	        .namespaces = sandbox_namespaces(role),
	        .uid = CONFIG_UID_UNPACK(&b->m->config, b->slot)};
	int rc = atomic_load(&b->stop) ? err_set(e, -ECANCELED, "the build is to stop") : spawn_program(&s, c, e);

	if (rc < 0)
		return rc;
	children_add(b, c->pidfd);
	/* A stop that came between the check and the registration did not see this child. */
	return atomic_load(&b->stop) ? err_set(e, -ECANCELED, "the build is to stop") : 0;
}

int build_child_end(struct build *b, struct child *c, bool is_done)
{
	if (!c->pid)
		return -1;
	enum role role = c->channel.peer;
	struct pollfd p = {.fd = c->pidfd, .events = POLLIN};
	/* An unpacker in the middle of a request dies when builderd-fs answers, or is gone. */
	if (role == ROLE_UNPACK && b->session && b->session->fs.pid && poll(&p, 1, is_done ? 1000 : 0) <= 0) {
		syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
		if (poll(&p, 1, 200) <= 0) {
			b->session->is_fs_killed = true;
			syscall(SYS_pidfd_send_signal, b->session->fs.pidfd, SIGKILL, NULL, 0);
		}
	}
	children_remove(b, c->pidfd);
	if (role == ROLE_FS)
		pool_detach(&b->pool);
	int status = child_end(c, is_done ? 1000 : 0);
	uint64_t *peak = role == ROLE_FETCH ? &b->fetch_peak : role == ROLE_FS ? &b->fs_peak : &b->unpack_peak;
	if (c->peak_bytes > *peak)
		*peak = c->peak_bytes;
	return status;
}

/* --- handlers: 0 or -errno with the sentence in E ------------------------------------------------------------ */

/* Many times what an honest build says: progress comes ten times a second. */
#define MESSAGES_MAX 200000
#define LOG_LINES_MAX 10000

typedef int handler_fn(struct build *b, struct child *from, struct message *m, struct err *e);

static int breach(const char *what, struct err *e)
{
	return err_kind_set(e, -EPROTO, ERR_KIND_INTERNAL, "%s", what);
}

static int on_fail(struct build *b, struct child *from, struct message *m, struct err *e)
{
	const struct msg_fail *f = (const void *)m->payload;

	from->channel.state = MSG_STATE_DONE;
	*e = f->err;
	err_sanitize(e);
	if (!e->code)
		e->code = -EIO;
	return e->code;
}

static int on_log(struct build *b, struct child *from, struct message *m, struct err *e)
{
	struct msg_build_log *l = (void *)m->payload;

	if (++b->log_lines > LOG_LINES_MAX)
		return 0;
	l->component[sizeof(l->component) - 1] = 0;
	l->text[sizeof(l->text) - 1] = 0;
	if (l->level > LOG_LEVEL_ERROR)
		return breach("a child logged with a level that does not exist", e);
	for (char *p = l->component; *p; p++)
		if (*p < 'a' || *p > 'z')
			*p = '?';
	build_log(b, l->level, l->component, "%s", l->text);
	return 0;
}

/* A socket would be a network for the unpacker, which has none. */
static bool is_plain_file(int fd, bool is_read_only)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || flags < 0)
		return false;
	return !is_read_only || (flags & O_ACCMODE) == O_RDONLY;
}

static int on_image(struct build *b, struct child *from, struct message *m, struct err *e)
{
	const struct msg_fetch_image *i = (const void *)m->payload;

	if (i->layers > b->m->config.limits.max_layers || i->layers > IMAGE_LAYERS_MAX)
		return err_kind_set(e, -E2BIG, ERR_KIND_TOO_MANY_LAYERS, "image has %u layers, the limit is %llu",
		        i->layers, (unsigned long long)b->m->config.limits.max_layers);
	if (!digest_is_valid(&i->manifest) || !digest_is_valid(&i->config))
		return breach("builderd-fetch sent an impossible digest", e);
	if (!is_plain_file(m->fds[0], false))
		return breach("builderd-fetch sent a configuration that is no file", e);
	b->plan.image = *i;
	b->plan.image.reference[sizeof(i->reference) - 1] = 0;
	b->plan.config_fd = STEAL_FD(&m->fds[0]);
	from->channel.state = MSG_STATE_PLANNED;
	return 0;
}

static int on_layer(struct build *b, struct child *from, struct message *m, struct err *e)
{
	const struct msg_fetch_layer *l = (const void *)m->payload;

	if (l->index != b->plan.n_known || l->index >= b->plan.image.layers || l->compression >= COMPRESSION_COUNT ||
	        !digest_is_valid(&l->blob) || !digest_is_valid(&l->diff_id))
		return breach("builderd-fetch described an impossible layer", e);
	b->plan.layers[b->plan.n_known++].info = *l;
	return 0;
}

static int on_blob(struct build *b, struct child *from, struct message *m, struct err *e)
{
	const struct msg_fetch_blob *blob = (const void *)m->payload;

	if (blob->index >= b->plan.n_known || b->plan.layers[blob->index].blob_fd >= 0)
		return breach("builderd-fetch sent a blob nobody asked for", e);
	if (!is_plain_file(m->fds[0], true))
		return breach("builderd-fetch sent a blob that is no read-only file", e);
	b->plan.layers[blob->index].blob_fd = STEAL_FD(&m->fds[0]);
	return 0;
}

static int on_fetch_progress(struct build *b, struct child *from, struct message *m, struct err *e)
{
	const struct msg_fetch_progress *p = (const void *)m->payload;

	b->result.downloaded_bytes = p->bytes_done;
	if (b->session)
		return 0; /* the layer being unpacked is what a person watches */
	b->progress.bytes_done = p->bytes_done;
	b->progress.bytes_total = p->bytes_total;
	build_progress(b, BUILD_PULLING, "downloading layers");
	return 0;
}

static int on_fetch_done(struct build *b, struct child *from, struct message *m, struct err *e)
{
	on_fetch_progress(b, from, m, e);
	from->channel.state = MSG_STATE_DONE;
	b->is_fetch_done = true;
	b->result.pull_ms = (uint32_t)(time_mono_ms() - b->t_start);
	return 0;
}

static int on_unpack_progress(struct build *b, struct child *from, struct message *m, struct err *e)
{
	const struct msg_unpack_progress *p = (const void *)m->payload;
	uint32_t n = b->plan.image.layers;

	if (b->layer >= n)
		return 0; /* the finishing pass is over in a moment */
	b->progress.bytes_done = p->bytes_done;
	b->progress.bytes_total = b->plan.layers[b->layer].info.size;
	build_progress(b, BUILD_EXTRACTING, "layer %u/%u: unpacking", b->layer + 1, n);
	return 0;
}

static int on_unpack_done(struct build *b, struct child *from, struct message *m, struct err *e)
{
	from->channel.state = MSG_STATE_DONE;
	if (!b->session)
		return breach("builderd-unpack is done with nothing", e);
	memcpy(&b->session->unpack_result, m->payload, sizeof(b->session->unpack_result));
	b->session->is_unpack_done = true;
	return 0;
}

static int on_fs_ready(struct build *b, struct child *from, struct message *m, struct err *e)
{
	b->session->is_fs_ready = true;
	return 0;
}

/* builderd-fs says what it uses; the volume knows better, but for ext4's own blocks. A liar would store at the cost of
 * its tenant's other builds. */
static bool is_credible(const struct build *b, uint64_t used)
{
	struct statvfs sv;

	if (fstatvfs(b->session->root_fd, &sv) < 0)
		return false;
	uint64_t disk = (uint64_t)(sv.f_blocks - sv.f_bfree) * sv.f_frsize;
	return used + disk / 16 + (64ull << 20) >= disk;
}

static int on_fs_done(struct build *b, struct child *from, struct message *m, struct err *e)
{
	from->channel.state = MSG_STATE_DONE;
	memcpy(&b->session->fs_result, m->payload, sizeof(b->session->fs_result));
	if (!is_credible(b, b->session->fs_result.used_bytes))
		return breach("builderd-fs says that the tree takes less than the volume holds", e);
	b->session->is_fs_done = true;
	return 0;
}

/* The quota allows more than the volume holds: make the volume bigger, in big steps, up to what the quota can need. The
 * cap leaves room for ext4's own blocks (inode tables are 1/32 of the volume at one inode per 8 KiB). */
static int on_fs_grow(struct build *b, struct child *from, struct message *m, struct err *e)
{
	const struct msg_fs_grow *g = (const void *)m->payload;
	uint64_t size = b->m->ops->size(b->volume), cap = b->start.max_bytes + b->start.max_bytes / 8 + (256ull << 20);
	uint64_t inode_cap = (b->start.max_inodes + 65536) * 8192;
	struct msg_fs_grown answer = {0};
	struct err why = ERR_INIT;

	if (cap < inode_cap && g->free_inodes < g->free_bytes / 8192)
		cap = inode_cap;
	uint64_t step = size / 2 > g->want_bytes ? size / 2 : g->want_bytes < cap ? g->want_bytes : cap;
	uint64_t want = size + step < cap ? size + step : cap;
	if (want <= size)
		answer.code = -ENOSPC;
	else
		answer.code = b->m->ops->grow(b->volume, b->session->root_fd, want, &why);
	b->is_grow_refused = answer.code == -EPERM;
	if (answer.code < 0)
		build_log(b, LOG_LEVEL_WARN, "storage", "the volume cannot grow beyond %llu bytes: %s",
		        (unsigned long long)size, why.code ? why.msg : "the build's quota allows no more");
	int rc = channel_send_struct(&from->channel, MSG_FS_GROWN, answer);
	return rc < 0 ? err_sys(e, rc, "answer builderd-fs") : 0;
}

static int grant_answer(struct build *b, struct err *e)
{
	struct msg_fs_grant grant;
	int rc = 0;

	bool is_answer = pool_decide(&b->pool, &grant.grant_bytes);
	if (is_answer && b->session && b->session->fs.pid)
		rc = channel_send_struct(&b->session->fs.channel, MSG_FS_GRANT, grant);
	return rc < 0 ? err_sys(e, rc, "answer builderd-fs") : 0;
}

static int on_fs_need(struct build *b, struct child *from, struct message *m, struct err *e)
{
	const struct msg_fs_need *n = (const void *)m->payload;

	if (!b->pool.pool || n->need_bytes > b->start.max_bytes || !is_credible(b, n->used_bytes))
		return breach("builderd-fs made impossible claims on the tenant's storage", e);
	if (!n->need_bytes)
		return pool_return(&b->pool, n->used_bytes)
		               ? 0
		               : breach("builderd-fs keeps more of the tenant's storage than it was granted", e);
	pool_need(&b->pool, n->need_bytes);
	return grant_answer(b, e);
}

static handler_fn *const handlers[MSG_TYPE_COUNT] = {
        [MSG_FETCH_IMAGE] = on_image,
        [MSG_FETCH_LAYER] = on_layer,
        [MSG_FETCH_BLOB] = on_blob,
        [MSG_FETCH_PROGRESS] = on_fetch_progress,
        [MSG_FETCH_DONE] = on_fetch_done,
        [MSG_FETCH_LOG] = on_log,
        [MSG_FETCH_FAIL] = on_fail,
        [MSG_UNPACK_PROGRESS] = on_unpack_progress,
        [MSG_UNPACK_DONE] = on_unpack_done,
        [MSG_UNPACK_LOG] = on_log,
        [MSG_UNPACK_FAIL] = on_fail,
        [MSG_FS_READY] = on_fs_ready,
        [MSG_FS_GROW] = on_fs_grow,
        [MSG_FS_NEED] = on_fs_need,
        [MSG_FS_DONE] = on_fs_done,
        [MSG_FS_LOG] = on_log,
        [MSG_FS_FAIL] = on_fail,
};

/* --- waiting ---------------------------------------------------------------------------------------------------- */

/* A child closed its channel before its last word: how it ended is the reason. */
static int child_lost(struct build *b, struct child *c, struct err *e)
{
	const char *name = program_names[c->channel.peer];
	char status[64];

	if (atomic_load(&b->stop))
		return err_set(e, -ECANCELED, "the build is to stop");
	/* It may be about to exit by itself: give its status a moment to be the true one. */
	return err_kind_set(
	        e, -EIO, ERR_KIND_KILLED, "%s %s", name, child_status_text(build_child_end(b, c, true), status));
}

static int child_serve(struct build *b, struct child *c, struct err *e)
{
	struct message m;
	int rc = channel_recv(&c->channel, &m, e);

	if (rc < 0)
		return rc;
	if (!rc)
		return child_lost(b, c, e);
	if (++b->messages > MESSAGES_MAX) {
		message_release(&m);
		return breach("a child does not stop talking", e);
	}
	rc = handlers[m.type] ? handlers[m.type](b, c, &m, e) : breach("a message without a handler", e);
	message_release(&m);
	return rc;
}

/* Children that may still say something, in the order in which they are heard: the file system first, since its failure
 * explains the unpacker's. */
static size_t listeners(struct build *b, struct child *out[3])
{
	struct child *all[3] = {
	        b->session ? &b->session->fs : NULL, b->session ? &b->session->unpack : NULL, &b->fetch};
	size_t n = 0;

	for (size_t i = 0; i < 3; i++)
		if (all[i] && all[i]->pid && all[i]->channel.fd >= 0 && all[i]->channel.state != MSG_STATE_DONE)
			out[n++] = all[i];
	return n;
}

int build_wait(struct build *b, build_condition *is_met, struct err *e)
{
	while (!is_met(b)) {
		struct child *who[3];
		struct pollfd p[5];
		size_t n = listeners(b, who);

		if (!n)
			return err_kind_set(e, -EIO, ERR_KIND_INTERNAL, "nobody is left to wait for");
		for (size_t i = 0; i < n; i++)
			p[i] = (struct pollfd){.fd = who[i]->channel.fd, .events = POLLIN};
		p[n] = (struct pollfd){.fd = b->stop_fd, .events = POLLIN};
		p[n + 1] = (struct pollfd){.fd = b->pool.wake_fd, .events = POLLIN};
		if (poll(p, n + 2, pool_timeout_ms(&b->pool)) < 0 && errno != EINTR)
			return err_sys(e, -errno, "poll");
		if (atomic_load(&b->stop))
			return err_set(e, -ECANCELED, "the build is to stop");
		if (grant_answer(b, e) < 0)
			return e->code;
		for (size_t i = 0; i < n && !is_met(b); i++) {
			int rc = p[i].revents ? child_serve(b, who[i], e) : 0;
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}
