/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a test runs as the command of a rootfs. Static, needs nothing else in the image. One word says what to do. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

static int probe_show(char **args)
{
	gid_t groups[64];
	char cwd[4096];
	struct utsname uts;
	int n = getgroups(64, groups), tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	uid_t ruid, euid, suid;

	getresuid(&ruid, &euid, &suid);
	uname(&uts);
	printf("uid=%u euid=%u suid=%u gid=%u groups=", ruid, euid, suid, getgid());
	for (int i = 0; i < n; i++)
		printf("%s%u", i ? "," : "", groups[i]);
	printf("\ncwd=%s host=%s pid=%d ppid=%d leader=%d tty=%d\n", getcwd(cwd, sizeof(cwd)), uts.nodename,
	        getpid() == 1, getppid(), getsid(0) == getpid() && getpgrp() == getpid(), tty >= 0);
	for (; *args; args++)
		printf("%s=%s\n", *args, getenv(*args) ? getenv(*args) : "(unset)");
	return 0;
}

static int probe_mounts(char **args)
{
	for (; *args; args++) {
		struct statfs st;
		struct stat s;
		if (statfs(*args, &st) < 0 || lstat(*args, &s) < 0)
			printf("%s: %s\n", *args, strerror(errno));
		else
			printf("%s: type=%lx mode=%o\n", *args, (unsigned long)st.f_type, s.st_mode);
	}
	return 0;
}

static int probe_cat(char **args)
{
	char line[4096];
	FILE *f = fopen(*args, "re");

	if (!f)
		return 1;
	while (fgets(line, sizeof(line), f))
		fputs(line, stdout);
	fclose(f);
	return 0;
}

static int probe_exit(char **args)
{
	return atoi(*args);
}

static int probe_kill(char **args)
{
	kill(getpid(), atoi(*args));
	pause();
	return 1;
}

/* Leave N grandchildren behind that end at once; then look whether PID 1 has taken them all. */
static int probe_orphans(char **args)
{
	int n = atoi(*args), left = 0;

	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		if (!pid) {
			fork();
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	for (int tries = 0; tries < 100; tries++) {
		char path[64], state = 0;
		left = 0;
		for (int pid = 2; pid < 3 * n + 64; pid++) {
			snprintf(path, sizeof(path), "/proc/%d/stat", pid);
			FILE *f = fopen(path, "re");
			if (f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1 && state == 'Z')
				left++;
			if (f)
				fclose(f);
		}
		if (!left)
			break;
		usleep(20000);
	}
	printf("zombies=%d\n", left);
	return left != 0;
}

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
	caught = sig;
}

/* Say "ready", wait for a signal, say which. */
static int probe_signal(char **args)
{
	static const int all[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
	sigset_t set, was;

	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, &was);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		sigaction(all[i], &(struct sigaction){.sa_handler = on_signal}, NULL);
	puts("ready");
	fflush(stdout);
	while (!caught)
		sigsuspend(&was);
	printf("caught=%d\n", (int)caught);
	return 0;
}

/* End while a child stays that does not listen to SIGTERM. */
static int probe_linger(char **args)
{
	if (!fork()) {
		signal(SIGTERM, SIG_IGN);
		setsid();
		sleep(60);
		_exit(0);
	}
	usleep(100000);
	return 3;
}

static int probe_write(char **args)
{
	int fd = open(*args, O_WRONLY | O_CLOEXEC);

	if (fd < 0) {
		printf("%s: %s\n", *args, strerror(errno));
		return 1;
	}
	return dprintf(fd, "written to %s\n", *args) < 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(char **args);
		int need;
	} words[] = {
	        {"show", probe_show, 0},
	        {"mounts", probe_mounts, 0},
	        {"cat", probe_cat, 1},
	        {"exit", probe_exit, 1},
	        {"kill", probe_kill, 1},
	        {"orphans", probe_orphans, 1},
	        {"signal", probe_signal, 0},
	        {"linger", probe_linger, 0},
	        {"write", probe_write, 1},
	};

	for (size_t i = 0; argc > 1 && i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(argv[1], words[i].name) && argc - 2 >= words[i].need)
			return words[i].run(argv + 2);
	fprintf(stderr, "guest-probe: what?\n");
	return 2;
}
