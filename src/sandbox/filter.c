/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system calls of each role. The only user of <seccomp.h>.
 *
 * One table: call, roles, what happens, conditions on arguments. What is not in it kills the process. Calls that
 * libraries try on their own and do without get an errno instead. Several rows for one call are alternatives, which the
 * library wants with arguments that exclude each other.
 */
#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/fuse.h>

#include "base/cleanup.h"

enum {
	API = 1 << ROLE_API,
	FETCH = 1 << ROLE_FETCH,
	UNPACK = 1 << ROLE_UNPACK,
	FS = 1 << ROLE_FS,
	NET = API | FETCH,
	FILES = API | FETCH | FS, /* roles that open, make and remove files */
	ALL = API | FETCH | UNPACK | FS,
};

struct rule {
	int call;
	unsigned roles;
	uint32_t action;
	unsigned n_args;
	struct scmp_arg_cmp args[2];
};

#define OK(roles, name)                                                                                                \
	{                                                                                                              \
		SCMP_SYS(name), roles, SCMP_ACT_ALLOW, 0,                                                              \
		{                                                                                                      \
			{                                                                                              \
				0                                                                                      \
			}                                                                                              \
		}                                                                                                      \
	}
#define FAIL(roles, name, error)                                                                                       \
	{                                                                                                              \
		SCMP_SYS(name), roles, SCMP_ACT_ERRNO(error), 0,                                                       \
		{                                                                                                      \
			{                                                                                              \
				0                                                                                      \
			}                                                                                              \
		}                                                                                                      \
	}
#define OK_IF(roles, name, arg)                                                                                        \
	{                                                                                                              \
		SCMP_SYS(name), roles, SCMP_ACT_ALLOW, 1,                                                              \
		{                                                                                                      \
			arg                                                                                            \
		}                                                                                                      \
	}
#define OK_IF2(roles, name, arg, arg2)                                                                                 \
	{                                                                                                              \
		SCMP_SYS(name), roles, SCMP_ACT_ALLOW, 2,                                                              \
		{                                                                                                      \
			arg, arg2                                                                                      \
		}                                                                                                      \
	}
#define FAIL_IF(roles, name, error, arg)                                                                               \
	{                                                                                                              \
		SCMP_SYS(name), roles, SCMP_ACT_ERRNO(error), 1,                                                       \
		{                                                                                                      \
			arg                                                                                            \
		}                                                                                                      \
	}

/* A new thread, not a process, and no namespace with it. */
#define CLONE_MASK                                                                                                     \
	(CLONE_THREAD | CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |      \
	        CLONE_NEWCGROUP | CLONE_PTRACE)

static const struct rule rules[] = {
        /* memory; nothing becomes executable after the start */
        OK(ALL, brk),
        OK(ALL, munmap),
        OK(ALL, mremap),
        OK(ALL, madvise),
        OK_IF(NET, mmap, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)),
        /* Shared memory is in no limit of a process but RLIMIT_AS, memory files are in none at all. */
        OK_IF2(UNPACK | FS, mmap, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
                SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_SHARED, 0)),
        FAIL_IF(ALL, mmap, EACCES, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC)),
        OK_IF(ALL, mprotect, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)),
        FAIL_IF(ALL, mprotect, EACCES, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC)),

        /* threads and signals */
        OK_IF(ALL, clone, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_MASK, CLONE_THREAD)),
        FAIL(ALL, clone3, ENOSYS), /* its flags are in memory, out of a filter's reach; glibc falls back to clone */
        OK(ALL, futex),
        OK(ALL, set_robust_list),
        OK(ALL, rseq),
        OK(ALL, set_tid_address),
        OK(ALL, gettid),
        OK(ALL, sched_yield),
        OK(ALL, sched_getaffinity), /* number of CPUs */
        FAIL(ALL, sched_setaffinity, EPERM),
        FAIL(ALL, sched_setscheduler, EPERM),
        FAIL(ALL, sched_getscheduler, EPERM),
        FAIL(ALL, sched_getparam, EPERM),
        FAIL(ALL, setpriority, EPERM),
        FAIL(ALL, membarrier, ENOSYS),
        OK(ALL, rt_sigaction),
        OK(ALL, rt_sigprocmask),
        OK(ALL, rt_sigreturn),
        OK(ALL, rt_sigtimedwait),
        OK(ALL, sigaltstack),
        OK(ALL, restart_syscall),
        OK(ALL, pause),
        OK(ALL, exit),
        OK(ALL, exit_group),

        /* about oneself and the time */
        OK(ALL, getpid),
        OK(ALL, getppid),
        OK(ALL, getuid),
        OK(ALL, geteuid),
        OK(ALL, getgid),
        OK(ALL, getegid),
        OK(ALL, getrandom),
        OK(ALL, uname),
        OK(ALL, sysinfo),
        OK(ALL, getrusage),
        OK(ALL, times),
        OK(ALL, umask),
        OK(ALL, clock_gettime),
        OK(ALL, clock_getres),
        OK(ALL, clock_nanosleep),
        OK(ALL, nanosleep),
        OK(ALL, gettimeofday),
        OK(ALL, time),
        OK(ALL, timer_create), /* alarms of libraries; they end with the process */
        OK(ALL, timer_settime),
        OK(ALL, timer_delete),
        OK(ALL, timerfd_create),
        OK(ALL, timerfd_settime),
        OK(ALL, setitimer),
        OK(ALL, alarm),
        OK_IF2(ALL, prlimit64, SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0)), /* read one's own */
        OK(ALL, getrlimit),
        OK_IF(ALL, prctl, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME)),
        OK_IF(ALL, prctl, SCMP_A0(SCMP_CMP_EQ, PR_GET_NAME)),
        OK_IF(ALL, prctl, SCMP_A0(SCMP_CMP_EQ, PR_GET_DUMPABLE)),
        FAIL_IF(ALL, prctl, EINVAL, SCMP_A0(SCMP_CMP_EQ, 0x53564d41 /* PR_SET_VMA: names of malloc's areas */)),

        /* descriptors that are there */
        OK(ALL, read),
        OK(ALL, readv),
        OK(ALL, pread64),
        OK(ALL, preadv),
        OK(ALL, preadv2),
        OK(ALL, write),
        OK(ALL, writev),
        OK(ALL, pwrite64),
        OK(ALL, pwritev),
        OK(ALL, pwritev2),
        OK(ALL, lseek),
        OK(ALL, close),
        OK(ALL, close_range),
        OK(ALL, dup),
        OK(ALL, dup2),
        OK(ALL, dup3),
        /* Not F_SETOWN, F_SETSIG, O_ASYNC: with them the kernel sends signals that kill() may not, to whoever has the
         * same uid. The ioctls to the same end, FIOASYNC, FIOSETOWN and SIOCSPGRP, are not in this table either. */
        OK_IF(ALL, fcntl, SCMP_A1(SCMP_CMP_EQ, F_DUPFD)),
        OK_IF(ALL, fcntl, SCMP_A1(SCMP_CMP_EQ, F_DUPFD_CLOEXEC)),
        OK_IF(ALL, fcntl, SCMP_A1(SCMP_CMP_EQ, F_GETFD)),
        OK_IF(ALL, fcntl, SCMP_A1(SCMP_CMP_EQ, F_SETFD)),
        OK_IF(ALL, fcntl, SCMP_A1(SCMP_CMP_EQ, F_GETFL)),
        OK_IF2(ALL, fcntl, SCMP_A1(SCMP_CMP_EQ, F_SETFL), SCMP_A2(SCMP_CMP_MASKED_EQ, O_ASYNC, 0)),
        OK_IF(ALL, fcntl, SCMP_A1(SCMP_CMP_EQ, F_ADD_SEALS)),
        OK_IF(ALL, fcntl, SCMP_A1(SCMP_CMP_EQ, F_GET_SEALS)),
        OK_IF(API, fcntl, SCMP_A1(SCMP_CMP_EQ, F_GETLK)), /* SQLite's locks */
        OK_IF(API, fcntl, SCMP_A1(SCMP_CMP_EQ, F_SETLK)),
        OK_IF(API, fcntl, SCMP_A1(SCMP_CMP_EQ, F_SETLKW)),
        OK_IF(FS, fcntl, SCMP_A1(SCMP_CMP_EQ, F_SETPIPE_SZ)), /* libfuse splices */
        OK_IF(FS, fcntl, SCMP_A1(SCMP_CMP_EQ, F_GETPIPE_SZ)),
        OK(ALL, fstat),
        OK(ALL, newfstatat), /* fstat() of glibc 2.33 to 2.38 */
        OK(ALL, statx),
        OK(ALL, ftruncate),
        OK(ALL, fallocate),
        OK(ALL, fadvise64),
        OK(ALL, fsync),
        OK(ALL, fdatasync),
        OK(ALL, pipe2),
        OK(ALL, eventfd2),
        OK(NET, memfd_create), /* specs, image configs */
        OK(ALL, poll),
        OK(ALL, ppoll),
        OK(ALL, select),
        OK(ALL, pselect6),
        OK(ALL, epoll_create1),
        OK(ALL, epoll_ctl),
        OK(ALL, epoll_wait),
        OK(ALL, epoll_pwait),
        OK(ALL, signalfd4),
        OK(ALL, splice),
        OK(ALL, copy_file_range),
        OK(ALL, sendfile),
        FAIL_IF(ALL, ioctl, ENOTTY, SCMP_A1(SCMP_CMP_EQ, TCGETS)), /* isatty() of stdio */
        OK_IF(ALL, ioctl, SCMP_A1(SCMP_CMP_EQ, FIONREAD)),
        OK_IF(ALL, ioctl, SCMP_A1(SCMP_CMP_EQ, FIONBIO)),
        /* the channel; send() and recv() are the first two */
        OK(ALL, sendto),
        OK(ALL, recvfrom),
        OK(ALL, sendmsg),
        OK(ALL, recvmsg),
        OK(ALL, shutdown),
        OK(ALL, getsockopt),

        /* Libraries look for configuration (locale, time zone, number of CPUs); the root is empty. */
        FAIL(UNPACK, openat, EPERM),
        FAIL(UNPACK, open, EPERM),
        FAIL(UNPACK, access, EPERM),
        FAIL(UNPACK, faccessat2, EPERM),
        FAIL(UNPACK, readlink, EPERM),
        FAIL(UNPACK, readlinkat, EPERM),
        FAIL(UNPACK, stat, EPERM),
        FAIL(UNPACK, lstat, EPERM),
        FAIL(UNPACK, getcwd, EPERM),
        FAIL(UNPACK | FS, socket, EPERM), /* syslog(), the name service's cache */

        /* files */
        OK(FILES, open),
        OK(FILES, openat),
        OK(FILES, openat2),
        OK(FILES, stat),
        OK(FILES, lstat),
        OK(FILES, access),
        OK(FILES, faccessat),
        OK(FILES, faccessat2),
        OK(FILES, readlink),
        OK(FILES, readlinkat),
        OK(FILES, getdents64),
        OK(FILES, getcwd),
        OK(FILES, mkdir),
        OK(FILES, mkdirat),
        OK(FILES, rmdir),
        OK(FILES, unlink),
        OK(FILES, unlinkat),
        OK(FILES, rename),
        OK(FILES, renameat),
        OK(FILES, renameat2),
        OK(FILES, linkat),
        OK(FILES, fchmod),
        OK(FILES, fchmodat),
        OK(FILES, utimensat),
        OK(FILES, flock),
        OK(FILES, statfs),
        OK(FILES, fstatfs),
        OK(FILES, sync_file_range),
        OK(FILES, truncate),
        FAIL(API | FETCH, fchown, EPERM), /* SQLite copies owners where it may */

        /* builderd-fs: every kind of inode, by handle */
        OK(FS, symlinkat),
        OK(FS, mknodat), /* devices are made as inodes of the image; every mount it sees is nodev */
        OK(FS, fchown),
        OK(FS, fchownat),
        OK(FS, lchown),
        OK(FS, chown),
        OK(FS, fchdir),
        OK(FS, chdir),
        OK(FS, name_to_handle_at),
        OK(FS, open_by_handle_at), /* no fd per inode; reaches only file systems it holds a descriptor of */
        OK(FS | FETCH, fsetxattr), /* FETCH marks the blobs it verified */
        OK(FS | FETCH, fgetxattr),
        OK(FS, flistxattr),
        OK(FS, fremovexattr),
        OK(FS, setxattr), /* on /proc/self/fd/N: a link or a device cannot be opened for the f* calls */
        OK(FS, getxattr),
        OK(FS, listxattr),
        OK(FS, removexattr),
        OK(FS, lsetxattr),
        OK(FS, lgetxattr),
        OK(FS, llistxattr),
        OK(FS, lremovexattr),
        OK(FS, syncfs),
        OK(FS, vmsplice),
        OK(FS, tee),
        FAIL(FS, umount2, EPERM), /* libfuse's way out; the mount is builderd's */
        OK_IF(FS, ioctl, SCMP_A1(SCMP_CMP_EQ, FUSE_DEV_IOC_CLONE)),
        OK_IF(FS, ioctl, SCMP_A1(SCMP_CMP_EQ, FICLONE)),
        OK_IF(FS, ioctl, SCMP_A1(SCMP_CMP_EQ, FICLONERANGE)),
        OK_IF(FS, ioctl, SCMP_A1(SCMP_CMP_EQ, FS_IOC_GETFLAGS)),

        /* network: IP only */
        OK_IF(NET, socket, SCMP_A0(SCMP_CMP_EQ, AF_INET)),
        OK_IF(NET, socket, SCMP_A0(SCMP_CMP_EQ, AF_INET6)),
        FAIL_IF(NET, socket, EAFNOSUPPORT, SCMP_A0(SCMP_CMP_EQ, AF_UNIX)),    /* the name service's cache */
        FAIL_IF(NET, socket, EAFNOSUPPORT, SCMP_A0(SCMP_CMP_EQ, AF_NETLINK)), /* getaddrinfo() does without */
        OK_IF(NET, socketpair, SCMP_A0(SCMP_CMP_EQ, AF_UNIX)),                /* libcurl wakes itself */
        OK(NET, connect),
        OK(NET, getsockname),
        OK(NET, getpeername),
        OK(NET, setsockopt),
        OK(NET, sendmmsg), /* both questions of the resolver at once */
        OK(NET, recvmmsg),
        OK(API, bind),
        OK(API, listen),
        OK(API, accept),
        OK(API, accept4),
        FAIL(FETCH, bind, EPERM),

#ifdef WITH_SANITIZE
        /* Reports: symbols, maps, thread lists. */
        OK(ALL, getpgrp),
        OK(ALL, wait4),
        OK(ALL, personality),
        OK(UNPACK, fchdir),
#endif
};

/* Raising signals in one's own process, abort() for one; its pid is known only now. */
static int own_signals_add(scmp_filter_ctx ctx)
{
	scmp_datum_t pid = (scmp_datum_t)getpid();
	int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, pid));

	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1, SCMP_A0(SCMP_CMP_EQ, pid));
	return rc;
}

#ifdef WITH_SANDBOX_TRAP
static void trap_report(int sig, siginfo_t *info, void *context)
{
	char line[128];
	char *name = seccomp_syscall_resolve_num_arch(info->si_arch, info->si_syscall); /* allocates: we end anyway */
	int n = snprintf(line, sizeof(line), "sandbox: %s (system call %d) is not in this program's list\n",
	        name ? name : "?", info->si_syscall);
	ssize_t w = write(STDERR_FILENO, line, (size_t)n);

	(void)w;
	_exit(128 + SIGSYS);
}

static uint32_t default_action(void)
{
	struct sigaction sa = {.sa_sigaction = trap_report, .sa_flags = SA_SIGINFO};

	sigaction(SIGSYS, &sa, NULL);
	return SCMP_ACT_TRAP;
}
#else
static uint32_t default_action(void)
{
	return SCMP_ACT_KILL_PROCESS;
}
#endif

#ifdef WITH_SANITIZE
/* The leak check at exit stops the world with ptrace and reads /proc, neither of which is there; the unit tests check
 * for leaks. */
int __lsan_is_turned_off(void);
static bool is_filtered;

int __lsan_is_turned_off(void)
{
	return is_filtered;
}
#endif

static void ctx_cleanup(scmp_filter_ctx *ctx)
{
	seccomp_release(*ctx);
}

int filter_load(enum role role, struct err *e)
{
	AUTO(ctx_cleanup) scmp_filter_ctx ctx = seccomp_init(default_action());
	int rc = 0;

	if (!ctx)
		return err_set(e, -ENOMEM, "no memory for a system call filter");
	for (size_t i = 0; i < ARRAY_LEN(rules) && rc == 0; i++) {
		const struct rule *r = &rules[i];
		if (!(r->roles & 1u << role))
			continue;
		rc = seccomp_rule_add_array(ctx, r->action, r->call, r->n_args, r->args);
		if (rc == -EDOM || rc == -EFAULT) /* a call this architecture has not */
			rc = 0;
		if (rc < 0)
			return err_sys(e, rc, "add system call %d (row %zu) to the filter", r->call, i);
	}
	if (rc == 0)
		rc = own_signals_add(ctx);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: fewer steps a call */
	if (rc == 0)
		rc = seccomp_load(ctx);
	if (rc < 0)
		return err_sys(e, rc, "load the system call filter");
#ifdef WITH_SANITIZE
	is_filtered = true;
#endif
	return 0;
}
