/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a child comes to life
 *
 *   parent                                   child (only async-signal-safe calls: other threads may hold any lock)
 *   clone3(namespaces)                       arrange descriptors 0..6, close all others
 *   write uid_map, gid_map (NEWUSER)
 *   "go" 1 ---------------------------->     become root of the user namespace (NEWUSER)
 *                                            PR_SET_PDEATHSIG
 *      <---------------------------- "ready" (an empty status: all zero)
 *   "go" 2 ---------------------------->     reset signals, execveat
 *      <--------------- end of file: it runs, or a status that says which step failed and why
 *
 * The second round closes the race of PR_SET_PDEATHSIG with the parent's death: a child that gets "go" 2 had the signal
 * armed while the parent still lived, one that does not get it reads an end of file and exits. getppid() would not do:
 * it is 0 in a PID namespace. It must come after the change of uid, which disarms the signal (commit_creds()).
 *
 * A program in a PID namespace is its pid 1: signals it has no handler for are ignored there, but for SIGKILL from
 * outside, SIGKILL on the parent's death, faults and seccomp's SIGSYS. So child_end() does not try SIGTERM.
 */
#include "ipc/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/sched.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum { FD_STATUS = CHANNEL_FD + 1, FD_GO, FD_PROGRAM, FD_END };

/* Sources of the child's descriptors are kept above all targets, so that dup3 never overwrites one still needed. */
#define FD_SOURCE_MIN 16

/* What the child says through the status pipe. */
struct status {
	int32_t code; /* -errno; 0: ready */
	uint32_t step;
};

enum step { STEP_READY, STEP_FDS, STEP_WAIT, STEP_IDS, STEP_PDEATHSIG, STEP_EXEC, STEP_COUNT };

static const char *const step_names[STEP_COUNT] = {
        [STEP_READY] = "start",
        [STEP_FDS] = "arrange its descriptors",
        [STEP_WAIT] = "wait for its parent",
        [STEP_IDS] = "become root of its user namespace",
        [STEP_PDEATHSIG] = "tie its life to its parent's",
        [STEP_EXEC] = "execute",
};

struct child_fds {
	int null, stderr_copy, channel, status, go, program; /* owns; all >= FD_SOURCE_MIN */
};

static void child_fds_cleanup(struct child_fds *f)
{
	cleanup_close(&f->null);
	cleanup_close(&f->stderr_copy);
	cleanup_close(&f->channel);
	cleanup_close(&f->status);
	cleanup_close(&f->go);
	cleanup_close(&f->program);
}

/* --- the child's side ------------------------------------------------------------------------------------------ */

static void child_say(int fd, enum step step, int code)
{
	struct status st = {.code = code, .step = step};
	ssize_t n = write(fd, &st, sizeof(st)); /* less than PIPE_BUF: whole or not at all */
	(void)n;
}

static _Noreturn void child_die(int fd, enum step step)
{
	child_say(fd, step, -errno);
	_exit(127);
}

static void child_wait_go(void)
{
	char go;
	ssize_t n;

	do
		n = read(FD_GO, &go, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return;
	if (n == 0)
		_exit(127); /* the parent is gone: nobody to tell */
	child_die(FD_STATUS, STEP_WAIT);
}

static void child_arrange_fds(const struct child_fds *f)
{
	const struct {
		int from, to, flags;
	} map[] = {
	        {f->null, 0, 0},
	        {f->stderr_copy, 1, 0},
	        {f->stderr_copy, 2, 0},
	        {f->channel, CHANNEL_FD, 0},
	        {f->status, FD_STATUS, O_CLOEXEC},
	        {f->go, FD_GO, O_CLOEXEC},
	        {f->program, FD_PROGRAM, O_CLOEXEC},
	};

	for (size_t i = 0; i < ARRAY_LEN(map); i++)
		if (dup3(map[i].from, map[i].to, map[i].flags) < 0)
			child_die(f->status, STEP_FDS);
	if (syscall(SYS_close_range, FD_END, ~0u, 0) < 0)
		child_die(FD_STATUS, STEP_FDS);
}

/* The clone leaves us with the parent's uid, which the new namespace does not map. Raw calls: glibc's would signal the
 * parent's threads, which do not exist here. */
static void child_become_root(void)
{
	if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, 0, 0, 0) < 0 ||
	        syscall(SYS_setresuid, 0, 0, 0) < 0)
		child_die(FD_STATUS, STEP_IDS);
}

static void child_reset_signals(void)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL); /* fails for SIGKILL, SIGSTOP and glibc's own: nothing to reset there */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void child_run(const struct spawn *s, const struct child_fds *f)
{
	child_arrange_fds(f);
	child_wait_go();
	if (s->namespaces & CLONE_NEWUSER)
		child_become_root();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		child_die(FD_STATUS, STEP_PDEATHSIG);
	child_say(FD_STATUS, STEP_READY, 0);
	child_wait_go();
	child_reset_signals();
	syscall(SYS_execveat, FD_PROGRAM, "", s->argv, s->envp, AT_EMPTY_PATH);
	child_die(FD_STATUS, STEP_EXEC);
}

/* --- the parent's side ----------------------------------------------------------------------------------------- */

static char libexec_dir[PATH_MAX] = LIBEXECDIR;

/* In a build tree all programs are beside each other; an installed builderd is in sbin and finds nothing beside it. */
static void libexec_dir_find(void)
{
	char dir[PATH_MAX], probe[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);

	if (n <= 0)
		return;
	dir[n] = 0;
	char *slash = strrchr(dir, '/');
	if (!slash)
		return;
	*slash = 0;
	snprintf(probe, sizeof(probe), "%s/builderd-fetch", dir);
	if (access(probe, X_OK) == 0)
		memcpy(libexec_dir, dir, sizeof(dir));
}

const char *spawn_libexec_dir(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, libexec_dir_find);
	return libexec_dir;
}

static int program_open(const struct spawn *s, struct err *e)
{
	char path[PATH_MAX];
	int n = s->program[0] == '/' ? snprintf(path, sizeof(path), "%s", s->program)
	                             : snprintf(path, sizeof(path), "%s/%s", spawn_libexec_dir(), s->program);

	if (n < 0 || (size_t)n >= sizeof(path))
		return err_sys(e, -ENAMETOOLONG, "find program %.64s", s->program);
	int fd = open(path, O_PATH | O_CLOEXEC);
	return fd < 0 ? err_sys(e, -errno, "open program %s", path) : fd;
}

/* Replace *FD by a copy above the targets. */
static int fd_raise(int *fd)
{
	int up = fcntl(*fd, F_DUPFD_CLOEXEC, FD_SOURCE_MIN);

	if (up < 0)
		return -errno;
	close(*fd);
	*fd = up;
	return 0;
}

/* Fill F with the child's ends; *CHANNEL, *STATUS and *GO are ours. */
static int child_fds_open(const struct spawn *s, struct child_fds *f, int *channel, int *status, int *go, struct err *e)
{
	int pair[2];

	f->program = program_open(s, e);
	if (f->program < 0)
		return f->program;
	f->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (f->null < 0)
		return err_sys(e, -errno, "open /dev/null");
	f->stderr_copy =
	        fcntl(fcntl(STDERR_FILENO, F_GETFD) < 0 ? f->null : STDERR_FILENO, F_DUPFD_CLOEXEC, FD_SOURCE_MIN);
	if (f->stderr_copy < 0)
		return err_sys(e, -errno, "copy stderr");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, -errno, "make a channel");
	*channel = pair[0];
	f->channel = pair[1];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "make a pipe");
	*status = pair[0];
	f->status = pair[1];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "make a pipe");
	f->go = pair[0];
	*go = pair[1];
	int *const low[] = {&f->program, &f->null, &f->channel, &f->status, &f->go};
	for (size_t i = 0; i < ARRAY_LEN(low); i++) {
		int rc = fd_raise(low[i]);
		if (rc < 0)
			return err_sys(e, rc, "copy a descriptor");
	}
	return 0;
}

/* Signals stay blocked across the clone, so that no handler of ours runs in the child. */
static int child_clone(const struct spawn *s, const struct child_fds *f, struct child *out, struct err *e)
{
	int pidfd = -1;
	struct clone_args args = {
	        .flags = s->namespaces | CLONE_PIDFD,
	        .pidfd = (uint64_t)(uintptr_t)&pidfd,
	        .exit_signal = SIGCHLD,
	};
	sigset_t all, saved;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		child_run(s, f);
	int rc = pid < 0 ? -errno : 0;
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	if (rc < 0)
		return err_sys(e, rc, "start %s with namespaces 0x%lx", s->program, s->namespaces);
	out->pid = (pid_t)pid;
	out->pidfd = pidfd;
	return 0;
}

static int id_map_write(const struct child *c, const char *file, unsigned id, struct err *e)
{
	char path[64], line[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)c->pid, file);
	int n = snprintf(line, sizeof(line), "0 %u 1", id);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, -errno, "open %s", path);
	int rc = fd_write_all(fd, line, (size_t)n);
	return rc < 0 ? err_sys(e, rc, "write \"%s\" to %s", line, path) : 0;
}

/* A child that died early is reported by its status, not by EPIPE. */
static void say_go(int fd)
{
	ssize_t n = write(fd, "g", 1);
	(void)n;
}

/* 1: ready, 0: end of file (it runs, or died without a word), -errno as the child reported it. */
static int status_read(const struct spawn *s, int fd, struct err *e)
{
	struct status st;
	ssize_t n = fd_read_full(fd, &st, sizeof(st));

	if (n == 0)
		return 0;
	if (n != (ssize_t)sizeof(st))
		return err_sys(e, n < 0 ? (int)n : -EPROTO, "hear from %s", s->program);
	if (st.code == 0)
		return 1;
	return err_sys(e, st.code, "%s could not %s", s->program, step_names[st.step < STEP_COUNT ? st.step : 0]);
}

static int child_bring_up(const struct spawn *s, const struct child *c, int status, int go, struct err *e)
{
	if (s->namespaces & CLONE_NEWUSER) {
		/* setgroups stays allowed: we are privileged, and the child must be able to drop its groups. */
		int rc = id_map_write(c, "uid_map", s->uid, e);
		if (rc == 0)
			rc = id_map_write(c, "gid_map", s->uid, e);
		if (rc < 0)
			return rc;
	}
	say_go(go);
	int rc = status_read(s, status, e);
	if (rc == 0)
		return err_set(e, -ECHILD, "%s ended before it was started", s->program);
	if (rc < 0)
		return rc;
	say_go(go);
	return status_read(s, status, e);
}

int spawn_program(const struct spawn *s, struct child *out, struct err *e)
{
	__attribute__((cleanup(child_fds_cleanup))) struct child_fds f = {-1, -1, -1, -1, -1, -1};
	AUTO_CLOSE int channel = -1, status = -1, go = -1;
	sigset_t pipe_only, saved;

	*out = (struct child){.pidfd = -1};
	channel_init(&out->channel, -1, s->role);
	int rc = child_fds_open(s, &f, &channel, &status, &go, e);
	if (rc == 0)
		rc = child_clone(s, &f, out, e);
	if (rc < 0)
		return rc;
	child_fds_cleanup(&f); /* or the end of file of `status` would never come */

	/* SIGPIPE of a child that died early is ours to swallow, whatever the process does with it elsewhere. */
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &saved);
	rc = child_bring_up(s, out, status, go, e);
	if (!sigismember(&saved, SIGPIPE))
		sigtimedwait(&pipe_only, NULL, &(struct timespec){0});
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	if (rc < 0) {
		child_end(out, 0);
		return rc;
	}
	out->channel.fd = STEAL_FD(&channel);
	return 0;
}

int child_end(struct child *c, int timeout_ms)
{
	struct rusage usage = {0};
	int status = -1;

	if (c->pid > 0) {
		struct pollfd p = {.fd = c->pidfd, .events = POLLIN};
		if (poll(&p, 1, timeout_ms) <= 0) /* EINTR counts as patience lost */
			syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
		while (wait4(c->pid, &status, 0, &usage) < 0)
			if (errno != EINTR) {
				status = -1;
				break;
			}
	}
	c->peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
	channel_close(&c->channel);
	cleanup_close(&c->pidfd);
	c->pid = 0;
	return status;
}

const char *child_status_text(int status, char out[64])
{
	if (status == -1)
		snprintf(out, 64, "never ran");
	else if (WIFSIGNALED(status))
		snprintf(out, 64, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(out, 64, "exited with code %d", WEXITSTATUS(status));
	return out;
}
