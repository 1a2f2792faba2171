/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * builderd-fs: the FUSE file system that one layer, or the finishing pass, is unpacked through.
 *
 * One process serves one session: FS_START brings quota, limits, /dev/fuse of a mount that builderd made and the root
 * of the backing file system; FS_READY answers; then requests are served until FS_STOP, which drains them, writes the
 * volume out and reports what the tree takes in FS_DONE. builderd gone means the end, without a word. One thread.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "build/config.h"
#include "fuse/overlay.h"
#include "fuse/session.h"
#include "ipc/channel.h"
#include "sandbox/sandbox.h"

struct server {
	struct channel channel;
	struct fs fs;
	struct session *session; /* owns */
	bool is_granted;         /* an answer came */
	bool is_stopping;
	bool is_orphaned; /* builderd is gone, or broke the protocol: nobody to report to */
};

static int volume_space(void *arg, struct ledger_space *out)
{
	struct server *s = arg;
	struct statvfs sv;

	if (fstatvfs(s->fs.root_fd, &sv) < 0)
		return -errno;
	*out = (struct ledger_space){.bytes = (uint64_t)sv.f_bavail * sv.f_frsize, .inodes = sv.f_favail};
	return 0;
}

/* One message other than FS_START. Its type, or -errno if the conversation is over. */
static int message_take(struct server *s, struct msg_fs_grown *grown)
{
	struct err e = ERR_INIT;
	struct message m;

	if (channel_recv(&s->channel, &m, &e) <= 0) {
		s->is_orphaned = s->is_stopping = true;
		return -EPIPE;
	}
	if (m.type == MSG_FS_GROWN)
		memcpy(grown, m.payload, sizeof(*grown));
	if (m.type == MSG_FS_STOP)
		s->is_stopping = true;
	if (m.type == MSG_FS_GRANT) {
		s->fs.ledger.grant_bytes = ((const struct msg_fs_grant *)(const void *)m.payload)->grant_bytes;
		s->is_granted = true;
	}
	if (m.type == MSG_FS_RECALL) {
		const struct msg_fs_need keep = {.used_bytes = s->fs.ledger.used_bytes};
		s->fs.ledger.grant_bytes = keep.used_bytes;
		channel_send_struct(&s->channel, MSG_FS_NEED, keep); /* failing, the next receive tells */
	}
	message_release(&m);
	return (int)m.type;
}

static int volume_grow(void *arg, const struct ledger_space *free_now, uint64_t want)
{
	struct server *s = arg;
	const struct msg_fs_grow ask = {
	        .free_bytes = free_now->bytes, .free_inodes = free_now->inodes, .want_bytes = want};
	struct msg_fs_grown grown = {0};

	int rc = channel_send_struct(&s->channel, MSG_FS_GROW, ask);
	while (rc >= 0 && rc != MSG_FS_GROWN)
		rc = message_take(s, &grown);
	return rc < 0 ? rc : grown.code;
}

static int tenant_need(void *arg, uint64_t need)
{
	struct server *s = arg;
	const struct msg_fs_need ask = {.need_bytes = need, .used_bytes = s->fs.ledger.used_bytes};
	struct msg_fs_grown unused;
	int rc = channel_send_struct(&s->channel, MSG_FS_NEED, ask);

	s->is_granted = false;
	while (rc >= 0 && !s->is_granted)
		rc = message_take(s, &unused);
	return rc < 0 ? rc : 0; /* the grant is in the ledger */
}

static int start(struct server *s, struct err *e)
{
	const struct ledger_ops ops = {.space = volume_space, .grow = volume_grow, .need = tenant_need, .arg = s};
	struct message m;

	int rc = channel_recv(&s->channel, &m, e);
	if (rc <= 0) {
		s->is_orphaned = true;
		return rc ? rc : -EPIPE;
	}
	AUTO_CLOSE int fuse_fd = m.n_fds > 0 ? STEAL_FD(&m.fds[0]) : -1;
	AUTO_CLOSE int root = m.n_fds > 1 ? STEAL_FD(&m.fds[1]) : -1;
	if (m.type != MSG_FS_START || fuse_fd < 0 || root < 0) {
		message_release(&m);
		return err_set(e, -EPROTO, "expected fs-start, got %s", msg_name(m.type));
	}
	s->channel.state = MSG_STATE_RUNNING;
	rc = fs_init(&s->fs, root, (const void *)m.payload, &ops, e);
	message_release(&m);
	if (rc < 0)
		return rc;
	s->session = session_new(STEAL_FD(&fuse_fd), &s->fs, e);
	return s->session ? 0 : e->code;
}

/* Requests and messages until FS_STOP; then what is still waiting. */
static int serve(struct server *s, int fuse_fd, struct err *e)
{
	for (;;) {
		struct pollfd p[2] = {{.fd = fuse_fd, .events = POLLIN}, {.fd = s->channel.fd, .events = POLLIN}};
		struct msg_fs_grown unused;
		int n = poll(p, s->is_stopping ? 1 : 2, s->is_stopping ? 0 : -1);

		if (n < 0 && errno != EINTR)
			return err_sys(e, -errno, "wait for requests");
		if (s->is_orphaned)
			return -EPIPE;
		if (n > 0 && p[0].revents) {
			int rc = session_serve(s->session);
			if (rc < 0)
				return err_sys(e, rc, "serve a request");
			if (rc == 0) { /* unmounted: only FS_STOP is left */
				fuse_fd = -1;
				continue;
			}
		} else if (s->is_stopping) {
			return 0;
		}
		if (n > 0 && p[1].revents && !s->is_stopping)
			message_take(s, &unused);
	}
}

/* Configuration, then no way back: what comes on the channel from here on is handled without rights. */
static int enter(struct err *e)
{
	struct config conf;
	int rc = config_load(&conf, NULL, environ, e);

	if (rc >= 0) {
		log_setup("builderd-fs", LOG_LEVEL_INFO, !strcmp(conf.log_format, "json"));
		rc = sandbox_enter(ROLE_FS, &(struct sandbox_options){.uid = CONFIG_UID_FS(&conf)}, e);
	}
	config_free(&conf);
	return rc;
}

static int run(struct server *s, struct err *e)
{
	const struct msg_fs_done ready = {0};

	int rc = start(s, e);
	if (rc < 0)
		return rc;
	int fuse_fd = session_fd(s->session);
	rc = channel_send_struct(&s->channel, MSG_FS_READY, ready);
	if (rc == 0)
		rc = serve(s, fuse_fd, e);
	if (rc < 0)
		return rc;
	session_end_ingest(s->session);
	rc = s->fs.ov ? layers_close(&s->fs, e) : 0;
	if (rc == 0)
		rc = fs_settle(&s->fs, e);
	if (rc < 0)
		return rc;
	const struct msg_fs_done done = {.used_bytes = s->fs.ledger.used_bytes,
	        .used_inodes = s->fs.ledger.used_inodes,
	        .requests = session_requests(s->session)};
	return channel_send_struct(&s->channel, MSG_FS_DONE, done);
}

/* A socket that is closed with messages in it resets the other end, and our last word is lost. */
static void messages_drain(struct server *s)
{
	struct pollfd p = {.fd = s->channel.fd, .events = POLLIN};
	struct msg_fs_grown unused;

	while (!s->is_orphaned && poll(&p, 1, 0) > 0)
		message_take(s, &unused);
}

int main(void)
{
	struct server s = {.fs.root_fd = -1};
	struct err e = ERR_INIT;

	umask(0);
	channel_init(&s.channel, CHANNEL_FD, ROLE_MONITOR);
	int rc = enter(&e);
	if (rc >= 0)
		rc = run(&s, &e);
	if (rc < 0 && !s.is_orphaned) {
		channel_fail(&s.channel, MSG_FS_FAIL, &e);
		messages_drain(&s);
	}
	session_free(s.session);
	fs_free(&s.fs);
	channel_close(&s.channel);
	return rc < 0;
}
