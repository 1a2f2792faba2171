/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sandbox-probe: what must work inside a role's sandbox. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/capability.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "ipc/spawn.h"
#include "sandbox/sandbox.h"
#include "sandbox-probe.h"

static void *thread_main(void *arg)
{
	return arg;
}

static int thread_token; /* only its address is used */

int must_thread(void)
{
	pthread_t t;
	void *out = NULL;
	int rc = pthread_create(&t, NULL, thread_main, &thread_token);

	if (rc)
		return -rc;
	pthread_join(t, &out);
	return out == &thread_token ? 0 : -EIO;
}

int must_stdio(void)
{
	AUTO_FREE char *p = malloc(64 << 20);

	if (!p)
		return -ENOMEM;
	memset(p, 1, 64 << 20);
	return fprintf(stderr, "%s", "") < 0 ? -EIO : 0;
}

int must_be_unprivileged(void)
{
	if (getuid() != (probe_role == ROLE_UNPACK ? 0 : PROBE_UID))
		return -EPERM;
	return prctl(PR_GET_DUMPABLE) ? -EBUSY : 0;
}

int must_flags(void)
{
	AUTO_CLOSE int fd = fcntl(CHANNEL_FD, F_DUPFD_CLOEXEC, 10);

	if (fd < 10 || fd_set_nonblock(fd, true) < 0 || fd_set_cloexec(fd, false) < 0)
		return -errno;
	return probe_rc(fcntl(fd, F_DUPFD, 20));
}

int must_go_first(void)
{
	char text[16] = "";

	if (pread(probe_oom, text, sizeof(text) - 1, 0) < 0)
		return -errno;
	return (atoi(text) == 1000) == (probe_role != ROLE_API) ? 0 : -ERANGE;
}

/* A PID namespace of its own: nobody else can be named. */
int must_be_alone(void)
{
	return getpid() == 1 ? 0 : -ESRCH;
}

int must_keep_dir(void)
{
	char from[4200], to[4200];

	snprintf(from, sizeof(from), "%s/a", probe_keep_dir);
	snprintf(to, sizeof(to), "%s/b", probe_keep_dir);
	AUTO_CLOSE int fd = open(from, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	struct flock lock = {.l_type = F_WRLCK};
	if (write(fd, "x", 1) != 1 || fsync(fd) < 0 || fcntl(fd, F_SETLK, &lock) < 0 || ftruncate(fd, 4096) < 0)
		return -errno;
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	return probe_rc(rename(from, to)) ?: probe_rc(unlink(to));
}

int must_listen(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1) < 0)
		return -errno;
	return 0;
}

int must_resolve(void)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	int rc = getaddrinfo("localhost", "80", &hints, &list);

	if (list)
		freeaddrinfo(list);
	return rc ? -EADDRNOTAVAIL : 0;
}

int must_read_ca(void)
{
	return probe_open("/etc/ssl/certs/ca-certificates.crt", O_RDONLY);
}

/* A tree on a descriptor that was open before: every kind of inode, owners, xattrs of a link by /proc/self/fd, handles.
 */
int must_serve(void)
{
	union {
		struct file_handle h;
		char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u = {.h.handle_bytes = MAX_HANDLE_SZ};
	char proc[64];
	int mount_id, dir = probe_root;

	if (symlinkat("nowhere", dir, "link") < 0 || mknodat(dir, "dev", S_IFCHR | 0600, makedev(1, 3)) < 0 ||
	        mknodat(dir, "file", S_IFREG | 0600, 0) < 0 || mkdirat(dir, "dir", 0700) < 0 ||
	        linkat(dir, "file", dir, "hard", 0) < 0)
		return -errno;
	if (fchownat(dir, "link", 4711, 4712, AT_SYMLINK_NOFOLLOW) < 0 || fchownat(dir, "file", 1, 2, 0) < 0 ||
	        fchmodat(dir, "file", 04755, 0) < 0)
		return -errno;
	AUTO_CLOSE int link_fd = openat(dir, "dev", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", link_fd);
	if (syscall(SYS_setxattr, proc, "security.capability", "\1\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0) < 0)
		return -errno;
	if (name_to_handle_at(dir, "file", &u.h, &mount_id, 0) < 0)
		return -errno;
	AUTO_CLOSE int fd = open_by_handle_at(dir, &u.h, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : 0;
}
