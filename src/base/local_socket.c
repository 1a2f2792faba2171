/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/local_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

#define BACKLOG 128

static int address_make(const char *path, struct sockaddr_un *out, struct err *e)
{
	size_t len = strlen(path);

	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (path[0] != '/' || len >= sizeof(out->sun_path))
		return err_set(e, -EINVAL, "socket \"%.200s\": expected an absolute path of at most %zu bytes", path,
		        sizeof(out->sun_path) - 1);
	memcpy(out->sun_path, path, len);
	return 0;
}

/* What a program left that did not end well is removed; nothing else is. */
static int stale_remove(const struct sockaddr_un *a, int type, struct err *e)
{
	struct stat st;

	if (lstat(a->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "look at %s", a->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, -EEXIST, "%s exists and is no socket", a->sun_path);
	AUTO_CLOSE int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, -errno, "make a socket");
	if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno != ECONNREFUSED)
		return err_set(e, -EADDRINUSE, "%s is used by another program", a->sun_path);
	return unlink(a->sun_path) < 0 ? err_sys(e, -errno, "remove the old socket %s", a->sun_path) : 0;
}

int local_socket_listen(const char *path, int type, mode_t mode, struct err *e)
{
	struct sockaddr_un a;
	int rc = address_make(path, &a, e);

	if (rc == 0)
		rc = stale_remove(&a, type, e);
	if (rc < 0)
		return rc;
	AUTO_CLOSE int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(e, -errno, "make the socket %s", path);
	if (chmod(path, mode) < 0 || listen(fd, BACKLOG) < 0) {
		rc = err_sys(e, -errno, "listen on %s", path);
		unlink(path);
		return rc;
	}
	return STEAL_FD(&fd);
}

int local_socket_peer(int fd, uid_t *uid, pid_t *pid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*uid = cred.uid;
	*pid = cred.pid;
	return 0;
}
