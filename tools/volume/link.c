/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/volume/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "dm/admin.h"
#include "dm/backend.h"
#include "ipc/channel.h"

#define ANSWER_MAX (1u << 30)

/* --- progress ------------------------------------------------------------------------------------------------------
 */

static bool is_shown; /* a line without an end is on the terminal */

static void progress_show(const char *text, uint64_t done, uint64_t total)
{
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%.60s", text);
	if (total)
		fprintf(stderr, " %3d %%", (int)((double)done * 100 / (double)total));
	fputs("\033[K", stderr);
	is_shown = true;
}

static void progress_clear(void)
{
	if (is_shown)
		fputs("\r\033[K", stderr);
	is_shown = false;
}

static void say(void *arg, const char *text, uint64_t done, uint64_t total)
{
	progress_show(text, done, total);
}

/* --- through builderd ----------------------------------------------------------------------------------------------
 */

/* The socket, -ENOENT: nobody listens there. */
static int daemon_connect(const char *path, struct err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (!*path)
		return -ENOENT;
	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(e, -EINVAL, CONFIG_PREFIX "VOLUME_SOCKET=\"%.200s\" is too long", path);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (fd < 0)
		return err_sys(e, -errno, "make a socket");
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0)
		return STEAL_FD(&fd);
	if (errno == ENOENT || errno == ECONNREFUSED)
		return -ENOENT;
	return err_sys(e, -errno, "speak to builderd at %s", path);
}

static int answer_take(struct link *l, struct message *msg, struct buf *json, struct err *e)
{
	struct msg_admin_answer *a = (void *)msg->payload;
	AUTO_FREE char *text = NULL;
	size_t len = 0;

	err_sanitize(&a->err);
	l->is_reached = true;
	l->result_fd = STEAL_FD(&msg->fds[1]);
	int rc = msg->fds[0] >= 0 ? fd_slurp(msg->fds[0], ANSWER_MAX, &text, &len) : 0;
	if (rc < 0)
		return err_sys(e, rc, "read builderd's answer");
	buf_append(json, text ? text : "", len);
	if (a->err.code)
		*e = a->err;
	return a->err.code;
}

static int daemon_run(struct link *l, int fd, const struct msg_admin_request *r, const int *fds, uint32_t n_fds,
        struct buf *json, struct err *e)
{
	struct channel c;
	struct message msg;
	int rc;

	channel_init(&c, fd, ROLE_MONITOR);
	c.state = MSG_STATE_RUNNING;
	rc = channel_send(&c, MSG_ADMIN_REQUEST, r, sizeof(*r), fds, n_fds);
	if (rc == -EPIPE)
		rc = 0; /* it refused before it was asked: the reason is on its way */
	if (rc < 0)
		err_sys(e, rc, "ask builderd");
	for (bool is_done = false; rc >= 0 && !is_done; message_release(&msg)) {
		const struct msg_admin_progress *p = (void *)msg.payload;
		rc = channel_recv(&c, &msg, e);
		if (rc == 0)
			rc = err_set(e, -EPIPE, "builderd ended the connection without an answer");
		if (rc < 0)
			break;
		is_done = msg.type == MSG_ADMIN_ANSWER;
		if (is_done)
			rc = answer_take(l, &msg, json, e);
		else
			progress_show(p->text, p->done, p->total);
	}
	progress_clear();
	channel_close(&c);
	return rc < 0 ? rc : 0;
}

/* --- while none runs -----------------------------------------------------------------------------------------------
 */

static const struct volume_ops *backend_find(const struct config *c)
{
	for (size_t i = 0; i < BACKENDS; i++)
		if (backend_is_wanted(c, backends[i]) &&
		        (backends[i] != &volume_dm_ops || strcmp(c->storage_backend, "auto") != 0 ||
		                c->dm_data_device[0] || c->dm_loop_file[0]))
			return backends[i];
	return &volume_file_ops;
}

/* Before a check of everything: without the host's pool nothing of it can be opened. One that is up (builderd was
 * killed) is well enough to be up. */
static int host_check(const struct volume_ops *ops, const struct store_options *o, bool is_repair, struct err *e)
{
	struct err why = ERR_INIT;
	char text[400] = "";
	int rc = ops->host_repair ? ops->host_repair(o, is_repair, text, &why) : 0;

	if (rc == -EBUSY)
		return 0;
	if (rc > 0)
		fprintf(stderr, "builder-volume: the host's pool was damaged and has been repaired: %s\n", text);
	if (rc < 0)
		*e = why;
	return rc < 0 ? rc : 0;
}

static int store_run(struct link *l, const struct msg_admin_request *r, const int *fds, uint32_t n_fds,
        struct buf *json, struct err *e)
{
	const struct volume_ops *ops = backend_find(l->config);
	struct store_options o = backend_options(l->config);
	struct admin_call call = {.request = r, .fds = fds, .say = say};
	struct store *s = NULL;
	int rc = admin_request_check(r, n_fds, e);

	if (rc == 0)
		rc = ops->probe(&o, e);
	if (rc < 0)
		return rc;
	o.access = admin_access(r);
	rc = r->command == ADMIN_FSCK ? host_check(ops, &o, r->flags & ADMIN_REPAIR, e) : 0;
	if (rc == 0)
		rc = ops->open(&o, &s, e);
	if (rc == -EWOULDBLOCK)
		return err_set(e, rc, "a builderd has the storage in %s open, but does not listen at %s",
		        l->config->state_dir, l->config->volume_socket[0] ? l->config->volume_socket : "any socket");
	if (rc < 0)
		return err_wrap(e, "no builderd runs, and its storage cannot be opened");
	l->is_reached = true;
	rc = admin_run(ops, s, &call, n_fds, json, e);
	l->result_fd = call.result_fd;
	progress_clear();
	ops->close(s);
	return rc;
}

int link_run(struct link *l, const struct msg_admin_request *r, const int *fds, uint32_t n_fds, struct buf *json,
        struct err *e)
{
	l->result_fd = -1;
	if (geteuid() != 0)
		return err_set(e, -EPERM, "only root may administer volumes");
	int fd = daemon_connect(l->config->volume_socket, e);
	if (fd >= 0)
		return daemon_run(l, fd, r, fds, n_fds, json, e);
	return fd == -ENOENT ? store_run(l, r, fds, n_fds, json, e) : fd;
}
