/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both sides of spawn_program(), for t/0510-spawn.sh. As the parent: spawn-driver CASE; prints what the child saw.
 * As the child (argv[1] = "--child"): reports its descriptors, ids, signals on its channel.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "ipc/spawn.h"

static const char *self;

/* --- child ---------------------------------------------------------------------------------------------------------
 */

static int child_main(void)
{
	AUTO_BUF struct buf b = {0};
	int pdeathsig = 0;
	sigset_t mask;

	prctl(PR_GET_PDEATHSIG, &pdeathsig);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	bool blocked = false, ignored = false;
	for (int sig = 1; sig < 32; sig++) {
		struct sigaction sa;
		blocked |= sigismember(&mask, sig) == 1;
		ignored |= sigaction(sig, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN;
	}
	buf_puts(&b, "fds=");
	for (int fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			buf_printf(&b, "%s%d", fd ? "," : "", fd);
	buf_printf(&b, " uid=%u gid=%u groups=%d pid1=%d pdeathsig=%d blocked=%d ignored=%d", getuid(), getgid(),
	        getgroups(0, NULL), getpid() == 1, pdeathsig, blocked, ignored);
	if (send(CHANNEL_FD, b.data, b.len, 0) < 0)
		return 1;
	char c;
	return recv(CHANNEL_FD, &c, 1, 0) == 1 && c == 'w' ? pause() : 7; /* end of file: leave */
}

/* --- parent --------------------------------------------------------------------------------------------------------
 */

static int start(const char *program, unsigned long namespaces, struct child *c)
{
	const char *const argv[] = {program, "--child", NULL}, *const envp[] = {"A=b", NULL};
	struct spawn s = {
	        .role = ROLE_UNPACK,
	        .program = program,
	        .argv = argv,
	        .envp = envp,
	        .namespaces = namespaces,
	        .uid = 543210,
	};
	struct err e = ERR_INIT;
	int rc = spawn_program(&s, c, &e);

	if (rc < 0)
		printf("error: %s\n", e.msg);
	return rc;
}

static void hear(struct child *c)
{
	char text[512] = "";

	if (recv(c->channel.fd, text, sizeof(text) - 1, 0) < 0)
		printf("no word: %s\n", strerror(errno));
	else
		printf("%s\n", text);
}

static void finish(struct child *c, int timeout_ms)
{
	char text[64];

	printf("%s\n", child_status_text(child_end(c, timeout_ms), text));
}

static void run_plain(unsigned long namespaces)
{
	struct child c;

	signal(SIGUSR1, SIG_IGN);
	if (start(self, namespaces, &c) < 0)
		return;
	hear(&c);
	shutdown(c.channel.fd, SHUT_RDWR);
	finish(&c, 5000);
}

/* A child that waits for ever, as pid 1 too, ends by child_end's SIGKILL. */
static void run_kill(void)
{
	struct child c;

	if (start(self, CLONE_NEWPID, &c) < 0)
		return;
	hear(&c);
	if (send(c.channel.fd, "w", 1, 0) < 0)
		printf("send: %s\n", strerror(errno));
	finish(&c, 50);
}

/* The parent dies without a word; the caller sees whether the child, whose pid is printed, is gone. */
static void run_orphan(unsigned long namespaces)
{
	struct child c;

	if (start(self, namespaces, &c) < 0)
		return;
	hear(&c);
	if (send(c.channel.fd, "w", 1, 0) < 0)
		printf("send: %s\n", strerror(errno));
	if (fcntl(c.channel.fd, F_DUPFD, 20) < 0)
		printf("dup: %s\n", strerror(errno));
	printf("pid=%d\n", (int)c.pid);
	fflush(stdout);
	raise(SIGKILL);
}

static void *thread_main(void *arg)
{
	struct child c;
	char text[512];
	long bad = 0;

	for (int i = 0; i < 50; i++) {
		free(malloc(64 + (size_t)i));
		if (start(self, i % 2 ? CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS : 0, &c) < 0) {
			bad++;
			continue;
		}
		bad += recv(c.channel.fd, text, sizeof(text), 0) < 5;
		shutdown(c.channel.fd, SHUT_RDWR);
		int status = child_end(&c, 5000);
		bad += !(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	}
	return (void *)bad;
}

static int fd_count(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void run_threads(void)
{
	pthread_t t[8];
	long bad = 0;
	int before = fd_count();

	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		if (pthread_create(&t[i], NULL, thread_main, NULL))
			abort();
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		void *one;
		pthread_join(t[i], &one);
		bad += (long)one;
	}
	printf("bad=%ld leaked=%d\n", bad, fd_count() - before);
}

static void run_missing(void)
{
	struct child c;

	start("/nonexistent/program", 0, &c);
	finish(&c, 0);
	start("/etc/passwd", 0, &c);
	finish(&c, 0);
}

int main(int argc, char **argv)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (argc == 2 && !strcmp(argv[1], "--child"))
		return child_main();
	if (n < 0)
		return 2;
	self = path;
	const char *what = argc > 1 ? argv[1] : "";
	if (!strcmp(what, "plain"))
		run_plain(0);
	else if (!strcmp(what, "namespaces"))
		run_plain(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
		          CLONE_NEWCGROUP);
	else if (!strcmp(what, "kill"))
		run_kill();
	else if (!strcmp(what, "orphan"))
		run_orphan(0);
	else if (!strcmp(what, "orphan-namespaces"))
		run_orphan(CLONE_NEWUSER | CLONE_NEWPID);
	else if (!strcmp(what, "threads"))
		run_threads();
	else if (!strcmp(what, "missing"))
		run_missing();
	else
		return 2;
	return 0;
}
