/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/sched.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/loop.h"
#include "dm/volume.h"

#define NOBODY 65534
#define ADDRESS_SPACE (4ull << 30)

static __thread int stop_fd = -1; /* borrowed */

void volume_stop_fd_set(int fd)
{
	stop_fd = fd;
}

int tool_stop_check(struct err *e)
{
	struct pollfd p = {.fd = stop_fd, .events = POLLIN}; /* poll() passes over a negative one */

	if (poll(&p, 1, 0) > 0 && p.revents & POLLIN)
		return err_set(e, -ECANCELED, "work on a volume was stopped");
	return 0;
}

/* Between clone and exec: async-signal-safe calls only, builderd has threads. */
static _Noreturn void child_run(const char *const *argv, const int fds[2], int out)
{
	const int last = fds[1] < 0 ? TOOL_FD : TOOL_FD + 1;
	/* No mke2fs.conf: what an image looks like is our decision, not the host's. */
	const char *const env[] = {"PATH=/sbin:/usr/sbin:/bin:/usr/bin", "LC_ALL=C", "MKE2FS_CONFIG=/dev/null",
	        "E2FSCK_CONFIG=/dev/null", "MKE2FS_SKIP_CHECK_MSG=1", NULL};
	struct rlimit space = {ADDRESS_SPACE, ADDRESS_SPACE}, none = {0, 0};
	int in = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t no_signals;

	sigemptyset(&no_signals);
	if (dup2(fds[0], TOOL_FD) < 0 || (last > TOOL_FD && dup2(fds[1], last) < 0) || in < 0 || dup2(in, 0) < 0 ||
	        dup2(out, 1) < 0 || dup2(out, 2) < 0 || syscall(SYS_close_range, last + 1, ~0u, 0) < 0)
		_exit(126);
	setrlimit(RLIMIT_AS, &space);
	setrlimit(RLIMIT_CORE, &none);
	if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) < 0 ||
	        syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	        prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(126);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigprocmask(SIG_SETMASK, &no_signals, NULL);
	execve(argv[0], (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
	_exit(127);
}

static int child_clone(const char *const *argv, const int fds[2], int out, int *pidfd)
{
	struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)pidfd, .exit_signal = SIGCHLD};
	sigset_t all, saved;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		child_run(argv, fds, out);
	int rc = pid < 0 ? -errno : (int)pid;
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	return rc;
}

/* Append to R->text what fits; the rest is read and dropped, so that the program never blocks. */
static void text_append(struct tool_result *r, const char *data, size_t n)
{
	size_t have = strlen(r->text);

	for (size_t i = 0; i < n && have < sizeof(r->text) - 4; i++) {
		if (data[i] != '\n')
			r->text[have++] = data[i] >= ' ' && data[i] < 0x7f ? data[i] : '?';
		else if (have && r->text[have - 1] != ' ')
			have = (size_t)(stpcpy(r->text + have, " / ") - r->text);
	}
	r->text[have] = 0;
}

/* Until the program closes its output. -ETIMEDOUT: the time is over, -ECANCELED: the thread is to stop. */
static int output_read(int fd, int64_t deadline, struct tool_result *r, struct buf *said, size_t max)
{
	char data[1024];

	for (;;) {
		struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};
		int64_t left = deadline - time_mono_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(p, 2, (int)left) <= 0)
			continue;
		if (p[1].revents & POLLIN)
			return -ECANCELED;
		ssize_t n = read(fd, data, sizeof(data));
		if (n == 0)
			return 0;
		if (n > 0)
			text_append(r, data, (size_t)n);
		if (n > 0 && said)
			buf_append(said, data, (size_t)n < max - said->len ? (size_t)n : max - said->len);
	}
}

/* Above what the program gets, or the child's dup2 calls could overwrite each other's sources. */
static int copy_above(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, TOOL_FD + 2);
}

static int output_follow(const char *const *argv, int pidfd, int pid, int rd, int timeout_ms, struct tool_result *out,
        struct buf *said, size_t max, struct err *e)
{
	int rc = output_read(rd, time_mono_ms() + timeout_ms, out, said, max);

	if (rc < 0)
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	while (waitpid(pid, &out->status, 0) < 0 && errno == EINTR)
		;
	if (rc == -ECANCELED)
		return err_set(e, rc, "%s was stopped", argv[0]);
	if (rc < 0)
		return err_set(e, rc, "%s took longer than %d ms", argv[0], timeout_ms);
	if (WIFEXITED(out->status) && WEXITSTATUS(out->status) == 127)
		return err_set(
		        e, -ENOENT, "%s cannot be executed: install e2fsprogs and thin-provisioning-tools", argv[0]);
	return 0;
}

int tool_run_2(const char *const *argv, int fd, int fd_2, int timeout_ms, size_t max, char **said,
        struct tool_result *out, struct err *e)
{
	AUTO_CLOSE int pidfd = -1;
	AUTO_BUF struct buf all = {0};
	int ends[2];

	*out = (struct tool_result){0};
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "make a pipe for %s", argv[0]);
	AUTO_CLOSE int rd = ends[0];
	AUTO_CLOSE int wr = ends[1];
	AUTO_CLOSE int image = copy_above(fd);
	AUTO_CLOSE int image_2 = fd_2 < 0 ? -1 : copy_above(fd_2);
	AUTO_CLOSE int output = copy_above(wr);
	if (image < 0 || output < 0 || (fd_2 >= 0 && image_2 < 0))
		return err_sys(e, -errno, "copy a descriptor for %s", argv[0]);
	int pid = child_clone(argv, (const int[2]){image, image_2}, output, &pidfd);
	if (pid < 0)
		return err_sys(e, pid, "start %s", argv[0]);
	cleanup_close(&wr);
	cleanup_close(&output);
	int rc = output_follow(argv, pidfd, pid, rd, timeout_ms, out, said ? &all : NULL, max, e);
	if (rc == 0 && said) {
		buf_cstr(&all);
		*said = STEAL(&all.data);
	}
	return rc;
}

int tool_run(const char *const *argv, int fd, int timeout_ms, struct tool_result *out, struct err *e)
{
	return tool_run_2(argv, fd, -1, timeout_ms, 0, NULL, out, e);
}

int tool_succeeded(const struct tool_result *r)
{
	return WIFEXITED(r->status) && WEXITSTATUS(r->status) == 0;
}
