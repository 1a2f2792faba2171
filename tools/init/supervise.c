/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One thread, every signal blocked, sigtimedwait: no handler, so no race between a signal and the call it should
 * interrupt. In a pid namespace a blocked signal from the parent namespace is queued like any other (signal(7)), so the
 * loop works the same there.
 */
#include "tools/init/supervise.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tools/init/say.h"

#define GRACE_MS 2000 /* between SIGTERM and SIGKILL for what the command left behind */
#define KILL_MS 1000  /* for SIGKILL to take effect; a process in uninterruptible sleep would hold us for ever */

/* What a user or a VM manager sends on purpose. The rest is either about PID 1 itself or means nothing to a command. */
static const int forwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};

static void signal_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	for (size_t i = 0; i < ARRAY_LEN(forwarded); i++)
		sigaddset(set, forwarded[i]);
}

void supervise_begin(void)
{
	sigset_t set;

	signal_set(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* The terminal, if there is one, becomes the session's and the user's: /dev/stdout must open for him, too. */
static void take_console(const struct user *u)
{
	setsid();
	if (!isatty(STDIN_FILENO))
		return;
	ioctl(STDIN_FILENO, TIOCSCTTY, 1);
	for (int fd = 0; fd <= 2; fd++)
		if (isatty(fd) && fchown(fd, u->uid, (gid_t)-1) < 0 && u->uid)
			say("cannot give the console to uid %u: %s", u->uid, strerror(errno));
}

/* The saved ids stay root's until execve makes them those of the user, too (credentials(7)): where that fails, PID 1
 * can still go back and power off. */
static int become(const struct user *u)
{
	if (setgroups(u->n_groups, u->groups) < 0 || setresgid(u->gid, u->gid, (gid_t)-1) < 0)
		return -errno;
	return setresuid(u->uid, u->uid, (uid_t)-1) < 0 ? -errno : 0;
}

/* Returns errno. */
static int exec_as_user(const struct spec *s, const struct user *u)
{
	sigset_t none, was;
	char **ours = environ;
	int r = become(u);

	if (r < 0) {
		say("cannot become uid %u gid %u: %s", u->uid, u->gid, strerror(-r));
		return -r;
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, &was);
	environ = s->env.vars; /* execvp looks along the command's PATH, not ours */
	execvp(s->argv[0], s->argv);
	r = errno;
	environ = ours;
	sigprocmask(SIG_SETMASK, &was, NULL);
	if (setresuid(0, 0, 0) < 0 || setresgid(0, 0, 0) < 0)
		say("cannot become root again: %s", strerror(errno));
	say("cannot start %s: %s", s->argv[0], strerror(r));
	return r;
}

int command_exec(const struct spec *s, const struct user *u)
{
	int r;

	take_console(u);
	if (chdir(s->working_dir) < 0) {
		say("cannot enter working directory %s: %s; running in /", s->working_dir, strerror(errno));
		if (chdir("/") < 0)
			return 126;
	}
	r = exec_as_user(s, u);
	return r == ENOENT || r == ENOTDIR ? 127 : 126;
}

/* Reap all that has ended. Returns true and sets *STATUS when MAIN is among it. */
static bool reap(pid_t main, int *status)
{
	bool is_over = false;
	int st;

	for (;;) {
		pid_t pid = waitpid(-1, &st, WNOHANG);
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			return is_over;
		if (pid == main) {
			*status = st;
			is_over = true;
		}
	}
}

static int status_report(int status)
{
	if (WIFEXITED(status)) {
		say("command exited with code %d", WEXITSTATUS(status));
		return WEXITSTATUS(status);
	}
	say("command killed by signal %d (%s)%s", WTERMSIG(status), strsignal(WTERMSIG(status)),
	        WCOREDUMP(status) ? ", core dumped" : "");
	return 128 + WTERMSIG(status);
}

int supervise_command(const struct spec *s, const struct user *u)
{
	sigset_t set;
	int status;
	pid_t pid;

	/* Ctrl-Alt-Del, which is also Firecracker's SendCtrlAltDel, becomes a SIGINT to PID 1 instead of a reset. */
	reboot(RB_DISABLE_CAD);
	pid = fork();
	if (pid < 0) {
		say("cannot start a process: %s", strerror(errno));
		return status_report(W_EXITCODE(126, 0));
	}
	if (!pid)
		_exit(command_exec(s, u));
	/* Here as well as in the child, so that no forwarded signal meets a group that is not there yet. */
	signal_set(&set);
	while (!reap(pid, &status)) {
		int sig = sigwaitinfo(&set, NULL);
		/* Before its setsid() the child is in no group of its own. */
		if (sig > 0 && sig != SIGCHLD && kill(-pid, sig) < 0 && errno == ESRCH)
			kill(pid, sig);
	}
	return status_report(status);
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Reap until there are no children (true) or TIMEOUT_MS have passed. */
static bool drain(int timeout_ms)
{
	long end = now_ms() + timeout_ms;
	sigset_t set;
	int status;

	signal_set(&set);
	for (;;) {
		reap(0, &status);
		if (waitpid(-1, &status, WNOHANG) < 0 && errno == ECHILD)
			return true;
		long left = end - now_ms();
		if (left <= 0)
			return false;
		struct timespec ts = {left / 1000, left % 1000 * 1000000};
		sigtimedwait(&set, NULL, &ts);
	}
}

void supervise_end(void)
{
	/* Everybody's parent is, in the end, PID 1: no children means no processes. */
	if (kill(-1, SIGTERM) < 0 && errno == ESRCH && drain(0))
		return;
	kill(-1, SIGCONT); /* a stopped process takes no SIGTERM */
	if (drain(GRACE_MS))
		return;
	say("processes are left after %d ms: killing them", GRACE_MS);
	kill(-1, SIGKILL);
	if (!drain(KILL_MS))
		say("processes are left that cannot be killed");
}
