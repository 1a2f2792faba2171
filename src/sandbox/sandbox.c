/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/capability.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "ipc/channel.h"
#include "parts.h"

#define CAP(name) (1ull << CAP_##name)
#define MIB (1024ull * 1024)

struct role_row {
	const char *name; /* what ps shows: execution by descriptor leaves a number there on kernels before 6.14 */
	unsigned long namespaces;
	const char *const *read_only; /* paths of the host that stay visible */
	bool has_proc;
	uint64_t caps;     /* what is kept */
	rlim_t files;      /* RLIMIT_NOFILE */
	rlim_t data_bytes; /* RLIMIT_DATA: private writable memory; the filter leaves UNPACK and FS no other */
	rlim_t addresses;  /* RLIMIT_AS, all mappings; 0: no limit */
	bool is_essential; /* else it goes first when the host is out of memory */
	rlim_t processes;  /* RLIMIT_NPROC counts all threads of the uid: tight only where a uid has one process */
};

/* What name resolution and certificate checks read, on Debian and its kin. */
static const char *const fetch_paths[] = {
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/nsswitch.conf",
        "/etc/host.conf",
        "/etc/gai.conf",
        "/etc/services",
        "/etc/ssl",
        "/etc/pki",
        "/etc/ca-certificates",
        "/usr/lib/ssl", /* openssl.cnf and the default certificate directory, links into /etc/ssl */
        "/usr/share/ca-certificates",
        "/usr/local/share/ca-certificates",
        NULL,
};

static const struct role_row role_table[ROLE_COUNT] = {
        [ROLE_API] =
                {
                        .name = "builderd-api",
                        .namespaces = CLONE_NEWNS,
                        .files = 8192, /* connections */
                        .data_bytes = 4096 * MIB,
                        .is_essential = true,
                        .processes = 1024,
                },
        [ROLE_FETCH] =
                {
                        .name = "builderd-fetch",
                        .namespaces = CLONE_NEWNS | CLONE_NEWPID, /* all fetches have one uid: none sees another */
                        .read_only = fetch_paths,
                        .files = 1024,
                        .data_bytes = 1024 * MIB,
                        .processes = 4096, /* one uid for all fetches, each with resolver threads */
                },
        [ROLE_UNPACK] =
                {
                        .name = "builderd-unpack",
                        .namespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                                      CLONE_NEWUTS | CLONE_NEWCGROUP,
                        .files = 64,
                        .data_bytes = 512 * MIB, /* a 128 MiB window twice, buffers, thread stacks */
                        .addresses = 1024 * MIB,
                        .processes = 32, /* up to two unpackers of a build overlap */
                },
        [ROLE_FS] =
                {
                        .name = "builderd-fs",
                        .namespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC,
                        .has_proc = true, /* xattrs of links and devices: only by /proc/self/fd/N */
                        .caps = CAP(CHOWN) | CAP(FOWNER) | CAP(FSETID) | CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) |
                                CAP(MKNOD) | CAP(SETFCAP),
                        .files = 8192,
                        .data_bytes = 1024 * MIB,
                        .processes = 4096,
                },
};

unsigned long sandbox_namespaces(enum role role)
{
	return role > ROLE_MONITOR && role < ROLE_COUNT ? role_table[role].namespaces : 0;
}

static bool is_in_user_namespace(const struct role_row *r)
{
	return r->namespaces & CLONE_NEWUSER;
}

/* Capabilities, no_new_privs and PDEATHSIG are per thread: a second thread would keep what it has. */
static int check_start(const struct role_row *r, const struct sandbox_options *o, struct err *e)
{
	struct stat st;

	if (geteuid() != 0)
		return err_set(e, -EPERM, "%s must be started as root, by builderd", r->name);
	if (!is_in_user_namespace(r) && o->uid == 0)
		return err_set(e, -EINVAL, "%s was given no uid to run under", r->name);
	if (stat("/proc/self/task", &st) == 0 && st.st_nlink != 3)
		return err_set(e, -EBUSY, "%s has %ju threads before it entered its sandbox", r->name,
		        (uintmax_t)st.st_nlink - 2);
	return 0;
}

/* The bounding set first: dropping from it needs SETPCAP. */
static int bounding_set_cut(uint64_t keep, struct err *e)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if ((cap > 63 || !(keep & 1ull << cap)) && prctl(PR_CAPBSET_DROP, cap) < 0)
			return err_sys(e, -errno, "drop capability %lu", cap);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_sys(e, -errno, "clear the ambient capabilities");
	return 0;
}

static int ids_become(const struct role_row *r, const struct sandbox_options *o, struct err *e)
{
	unsigned uid = is_in_user_namespace(r) ? 0 : o->uid;

	if (prctl(PR_SET_KEEPCAPS, r->caps != 0) < 0)
		return err_sys(e, -errno, "keep capabilities over the change of uid");
	if (setgroups(0, NULL) < 0)
		return err_sys(e, -errno, "leave all groups");
	if (setresgid(uid, uid, uid) < 0)
		return err_sys(e, -errno, "become gid %u", uid);
	if (setresuid(uid, uid, uid) < 0)
		return err_sys(e, -errno, "become uid %u", uid);
	return 0;
}

/* To exactly KEEP, inheritable none; and prove it. */
static int caps_set(uint64_t keep, struct err *e)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct set[2] =
	        {
	                {.effective = (uint32_t)keep, .permitted = (uint32_t)keep},
	                {.effective = (uint32_t)(keep >> 32), .permitted = (uint32_t)(keep >> 32)},
	        },
	                              got[2] = {0};

	if (syscall(SYS_capset, &h, set) < 0)
		return err_sys(e, -errno, "reduce the capabilities to 0x%llx", (unsigned long long)keep);
	if (syscall(SYS_capget, &h, got) < 0 || memcmp(set, got, sizeof(set)))
		return err_set(
		        e, -EPERM, "the capabilities are not 0x%llx after they were set", (unsigned long long)keep);
	return 0;
}

/* Downward only: raising a hard limit takes a capability that builderd may lack. */
static int limit_lower(int resource, rlim_t want, struct err *e)
{
	struct rlimit now;

	if (getrlimit(resource, &now) < 0)
		return err_sys(e, -errno, "read resource limit %d", resource);
	if (now.rlim_max == RLIM_INFINITY || want < now.rlim_max)
		now.rlim_max = want;
	now.rlim_cur = now.rlim_max;
	return setrlimit(resource, &now) < 0 ? err_sys(e, -errno, "set resource limit %d", resource) : 0;
}

static int limits_set(const struct role_row *r, const struct sandbox_options *o, struct err *e)
{
	int rc = limit_lower(RLIMIT_CORE, 0, e);

	if (rc == 0)
		rc = limit_lower(RLIMIT_NOFILE, o->keep_fd_limit ? o->keep_fd_limit : r->files, e);
	if (rc == 0)
		rc = limit_lower(RLIMIT_NPROC, r->processes, e);
	if (rc == 0)
		rc = limit_lower(RLIMIT_MEMLOCK, 0, e);
	if (rc == 0)
		rc = limit_lower(RLIMIT_MSGQUEUE, 0, e);
#ifndef WITH_SANITIZE /* the shadow memory counts as data */
	if (rc == 0)
		rc = limit_lower(RLIMIT_DATA, r->data_bytes, e);
	if (rc == 0 && r->addresses)
		rc = limit_lower(RLIMIT_AS, r->addresses, e);
#endif
	return rc;
}

/* A build is lost to the OOM killer sooner than builderd is. Advice to the kernel, so where /proc is read-only there is
 * none. */
static void oom_offer(const struct role_row *r)
{
	AUTO_CLOSE int fd = r->is_essential ? -1 : open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		fd_write_all(fd, "1000", 4);
}

/* The changes of uid disarmed PDEATHSIG (commit_creds()). If the parent died in between, its end of our channel is
 * closed. */
static int life_bind(struct err *e)
{
	struct pollfd p = {.fd = CHANNEL_FD};

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_sys(e, -errno, "tie the process's life to its parent's");
	if (poll(&p, 1, 0) > 0 && p.revents & POLLHUP)
		return err_set(e, -EPIPE, "builderd is gone");
	return 0;
}

int sandbox_enter(enum role role, const struct sandbox_options *o, struct err *e)
{
	if (role <= ROLE_MONITOR || role >= ROLE_COUNT)
		return err_set(e, -EINVAL, "there is no sandbox for role %d", (int)role);
	const struct role_row *r = &role_table[role];
	const struct root_plan plan = {
	        .read_only = r->read_only,
	        .writable = role == ROLE_API ? o->keep_dir : NULL,
	        .has_proc = r->has_proc,
	};
	int rc = check_start(r, o, e);

	if (rc == 0)
		oom_offer(r);
	if (rc == 0)
		rc = root_enter(&plan, e);
	if (rc == 0)
		rc = bounding_set_cut(r->caps, e);
	if (rc == 0)
		rc = ids_become(r, o, e);
	if (rc == 0)
		rc = caps_set(r->caps, e);
	if (rc == 0)
		rc = limits_set(r, o, e);
	if (rc == 0)
		rc = life_bind(e);
	if (rc < 0)
		return err_wrap(e, "sandbox of %s", r->name);
	prctl(PR_SET_NAME, r->name);
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, -errno, "sandbox of %s: give up dumps and new privileges", r->name);
	rc = filter_load(role, e);
	return rc < 0 ? err_wrap(e, "sandbox of %s", r->name) : 0;
}
