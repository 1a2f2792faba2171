/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The API's socket for this host: it has a name for as long as builderd runs, whichever builderd-api serves it. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/local_socket.h"
#include "base/log.h"
#include "monitor/monitor.h"

/* Whoever may reach the file may connect; the API serves by the uid behind the connection. A refusal in words says more
 * than EACCES. */
#define API_SOCKET_MODE 0666

int api_socket_open(struct monitor *m, struct err *e)
{
	const char *path = m->config.api_socket;

	if (!*path)
		return 0;
	m->api_socket_fd = local_socket_listen(path, SOCK_STREAM, API_SOCKET_MODE, e);
	return m->api_socket_fd < 0 ? err_wrap(e, CONFIG_PREFIX "API_SOCKET") : 0;
}

int api_socket_hand_over(struct monitor *m)
{
	struct msg_api_listen msg = {.metald_uid = (uint32_t)m->config.metald_uid};

	if (m->api_socket_fd < 0)
		return 0;
	return channel_send(&m->api.channel, MSG_API_LISTEN, &msg, sizeof(msg), &m->api_socket_fd, 1);
}

void api_socket_close(struct monitor *m)
{
	if (m->api_socket_fd >= 0)
		unlink(m->config.api_socket);
	cleanup_close(&m->api_socket_fd);
}
