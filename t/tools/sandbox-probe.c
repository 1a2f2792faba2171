/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tries, inside each role's sandbox, what must not work and what must. `sandbox-probe ROLE DIR` starts one child per
 * attempt with spawn_program() and prints "attempt: outcome", where outcome is "worked", the errno that refused it, or
 * the signal. DIR is the directory an API keeps. `sandbox-probe ROLE DIR DEVICE...` tries only to open those devices.
 */
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

const char *probe_keep_dir;
static pid_t outside_pid; /* the parent, as the host numbers it */
int probe_root;           /* a directory opened before the sandbox: what builderd-fs is given */
int probe_oom;            /* /proc/self/oom_score_adj, opened before */
enum role probe_role;
static const char *device; /* to be opened, and its number */
static dev_t device_number;

/* 0 or -errno out of a call that returns -1 and errno. */
int probe_rc(long rc)
{
	return rc < 0 ? -errno : 0;
}

int probe_open(const char *path, int flags)
{
	AUTO_CLOSE int fd = open(path, flags | O_CLOEXEC, 0600);

	return probe_rc(fd);
}

static int try_socket(int domain, int type)
{
	AUTO_CLOSE int fd = socket(domain, type, 0);

	return probe_rc(fd);
}

/* --- what must not work ------------------------------------------------------------------------------------------ */

static int open_passwd(void)
{
	return probe_open("/etc/passwd", O_RDONLY);
}

static int open_proc_1_root(void)
{
	return probe_open("/proc/1/root/etc/passwd", O_RDONLY);
}

static int open_proc_kernel(void)
{
	return probe_open("/proc/sys/kernel/core_pattern", O_RDONLY);
}

static int open_proc_parent(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)outside_pid);
	return probe_open(path, O_RDONLY);
}

static int open_self_mem(void)
{
	return probe_open("/proc/self/mem", O_RDWR);
}

static int open_device(void)
{
	return probe_open("/dev/loop0", O_RDONLY);
}

static int open_dotdot(void)
{
	return probe_open("/../../../../etc/hostname", O_RDONLY);
}

static int create_in_root(void)
{
	return probe_open("/x", O_WRONLY | O_CREAT);
}

static int make_device(void)
{
	return probe_rc(mknodat(AT_FDCWD, "/x", S_IFBLK | 0600, makedev(7, 0)));
}

static int socket_inet(void)
{
	return try_socket(AF_INET, SOCK_STREAM);
}

static int socket_unix(void)
{
	return try_socket(AF_UNIX, SOCK_STREAM);
}

static int socket_netlink(void)
{
	return try_socket(AF_NETLINK, SOCK_RAW);
}

static int socket_packet(void)
{
	return try_socket(AF_PACKET, SOCK_RAW);
}

static int socket_vsock(void)
{
	return try_socket(AF_VSOCK, SOCK_STREAM);
}

static int bind_low_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? -errno : probe_rc(bind(fd, (struct sockaddr *)&a, sizeof(a)));
}

static int trace_me(void)
{
	return probe_rc(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int read_other_memory(void)
{
	char c;
	struct iovec mine = {&c, 1}, theirs = {&c, 1};

	return probe_rc(syscall(SYS_process_vm_readv, outside_pid, &mine, 1, &theirs, 1, 0));
}

static int signal_parent(void)
{
	return probe_rc(kill(outside_pid, 0));
}

static int signal_all(void)
{
	return probe_rc(kill(-1, 0));
}

static int pidfd_other(void)
{
	return probe_rc(syscall(SYS_pidfd_open, 1, 0));
}

static int mount_tmpfs(void)
{
	return probe_rc(mount("tmpfs", "/", "tmpfs", 0, NULL));
}

static int remount_root(void)
{
	return probe_rc(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
}

static int fs_open(void)
{
	return probe_rc(syscall(SYS_fsopen, "ext4", 0));
}

static int unmount_root(void)
{
	return probe_rc(syscall(SYS_umount2, "/", MNT_DETACH));
}

static int change_root(void)
{
	return probe_rc(chroot("/"));
}

static int new_user_namespace(void)
{
	return probe_rc(unshare(CLONE_NEWUSER));
}

static int enter_namespace(void)
{
	return probe_rc(setns(CHANNEL_FD, 0));
}

static int fork_process(void)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return probe_rc(pid);
}

static int fork_by_clone3(void)
{
	uint64_t args[8] = {[4] = SIGCHLD};
	long pid = syscall(SYS_clone3, args, sizeof(args));

	if (pid == 0)
		_exit(0);
	return probe_rc(pid);
}

static int vfork_process(void)
{
	return probe_rc(syscall(SYS_vfork));
}

static int execute_shell(void)
{
	return probe_rc(execl("/bin/sh", "sh", "-c", "true", NULL));
}

static int execute_memfile(void)
{
	char *argv[] = {NULL};
	AUTO_CLOSE int fd = memfd_create("x", 0);

	return fd < 0 ? -errno : probe_rc(syscall(SYS_execveat, fd, "", argv, argv, AT_EMPTY_PATH));
}

static int map_executable(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
	               ? -errno
	               : 0;
}

static int protect_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -errno : probe_rc(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int become_root(void)
{
	return probe_role == ROLE_UNPACK ? probe_rc(syscall(SYS_setresuid, 1, 1, 1))
	                                 : probe_rc(syscall(SYS_setresuid, 0, 0, 0));
}

static int join_group(void)
{
	gid_t g = 0;

	return probe_rc(syscall(SYS_setgroups, 1, &g));
}

static int raise_caps(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {{.effective = 1u << CAP_SYS_ADMIN, .permitted = 1u << CAP_SYS_ADMIN}};

	return probe_rc(syscall(SYS_capset, &h, d));
}

static int raise_limit(void)
{
	struct rlimit r = {RLIM_INFINITY, RLIM_INFINITY};

	return probe_rc(setrlimit(RLIMIT_NOFILE, &r));
}

static int key_add(void)
{
	return probe_rc(syscall(SYS_add_key, "user", "x", "y", 1, -4));
}

static int key_control(void)
{
	return probe_rc(syscall(SYS_keyctl, 0, -4, 1));
}

static int load_bpf(void)
{
	return probe_rc(syscall(SYS_bpf, 0, NULL, 0));
}

static int perf_open(void)
{
	return probe_rc(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
}

static int fault_handler(void)
{
	return probe_rc(syscall(SYS_userfaultfd, O_CLOEXEC));
}

static int ring_setup(void)
{
	char params[120] = {0};

	return probe_rc(syscall(SYS_io_uring_setup, 4, params));
}

static int load_module(void)
{
	return probe_rc(syscall(SYS_init_module, "", 0, ""));
}

static int restart_host(void)
{
	return probe_rc(
	        syscall(SYS_reboot, 0, 0, RB_DISABLE_CAD, NULL)); /* wrong magic: harmless if it comes through */
}

static int set_clock(void)
{
	return probe_rc(syscall(SYS_clock_settime, CLOCK_MONOTONIC, NULL));
}

static int io_ports(void)
{
	return probe_rc(syscall(SYS_iopl, 0));
}

static int terminal_inject(void)
{
	return probe_rc(ioctl(STDERR_FILENO, TIOCSTI, "x"));
}

static int own_descriptor(void)
{
	return probe_rc(fcntl(CHANNEL_FD, F_SETOWN, outside_pid));
}

static int own_descriptor_ex(void)
{
	struct f_owner_ex owner = {F_OWNER_PID, outside_pid};

	return probe_rc(fcntl(CHANNEL_FD, F_SETOWN_EX, &owner));
}

static int choose_signal(void)
{
	return probe_rc(fcntl(CHANNEL_FD, F_SETSIG, SIGKILL));
}

static int signal_driven(void)
{
	return probe_rc(fcntl(CHANNEL_FD, F_SETFL, O_RDWR | O_ASYNC));
}

static int signal_driven_ioctl(void)
{
	int on = 1;

	return probe_rc(ioctl(CHANNEL_FD, FIOASYNC, &on));
}

static int own_by_ioctl(void)
{
	return probe_rc(ioctl(CHANNEL_FD, SIOCSPGRP, &outside_pid));
}

static int own_by_fio(void)
{
	return probe_rc(ioctl(CHANNEL_FD, FIOSETOWN, &outside_pid));
}

static int leave_notice(void)
{
	return probe_rc(fcntl(probe_root, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
}

static int become_dumpable(void)
{
	return probe_rc(prctl(PR_SET_DUMPABLE, 1));
}

static int leave_pdeathsig(void)
{
	return probe_rc(prctl(PR_SET_PDEATHSIG, 0));
}

static int wrong_abi(void)
{
	/* getpid by the x32 numbering: a filter that forgets it lets the whole second table through */
	return probe_rc(syscall(0x40000000 | SYS_getpid));
}

static int many_files(void)
{
	for (int i = 0; i < 10000; i++)
		if (dup(CHANNEL_FD) < 0)
			return -errno;
	return 0;
}

static int memory_file(void)
{
	AUTO_CLOSE int fd = memfd_create("x", MFD_CLOEXEC);

	return probe_rc(fd);
}

static int shared_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -errno : 0;
}

#ifndef WITH_SANITIZE /* the limit is not set there: the shadow memory counts as data */
static int much_memory(void)
{
	return mmap(NULL, 8ul << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) ==
	                       MAP_FAILED
	               ? -errno
	               : 0;
}
#endif

#ifndef WITH_SANITIZE
static int many_addresses(void)
{
	return mmap(NULL, 1ul << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED
	               ? -errno
	               : 0;
}
#endif

static int device_by_path(void)
{
	return probe_open(device, O_RDONLY);
}

/* Where the role may write, if anywhere: an API in its directory, builderd-fs in its tree. */
static int device_by_node(void)
{
	int rc = probe_rc(mknodat(probe_root, "node", S_IFBLK | 0666, device_number));
	AUTO_CLOSE int fd = rc < 0 ? rc : openat(probe_root, "node", O_RDONLY | O_CLOEXEC);

	if (rc == 0)
		rc = probe_rc(fd);
	unlinkat(probe_root, "node", 0);
	return rc;
}

/* --------------------------------------------------------------------------------------------------------------------
 */

#define A (1u << ROLE_API)
#define F (1u << ROLE_FETCH)
#define U (1u << ROLE_UNPACK)
#define S (1u << ROLE_FS)
#define ANY (A | F | U | S)
#define DEVICE 8 /* bits from here on: tried for each device, not otherwise */

static const struct attempt {
	const char *name;
	int (*run)(void);
	unsigned roles; /* that try it */
} attempts[] = {
        {"open a host's file", open_passwd, ANY},
        {"open a file by /proc/1/root", open_proc_1_root, ANY},
        {"open a kernel setting", open_proc_kernel, ANY},
        {"read the parent's environment", open_proc_parent, ANY},
        {"write to own memory by /proc", open_self_mem, ANY},
        {"open a raw device", open_device, ANY},
        {"climb out by dots", open_dotdot, ANY},
        {"create a file in the root", create_in_root, ANY},
        {"make a device in the root", make_device, ANY},
        {"socket inet", socket_inet, U | S},
        {"socket unix", socket_unix, ANY},
        {"socket netlink", socket_netlink, ANY},
        {"socket packet", socket_packet, ANY},
        {"socket vsock", socket_vsock, ANY},
        {"bind port 80", bind_low_port, ANY},
        {"ptrace", trace_me, ANY},
        {"process_vm_readv", read_other_memory, ANY},
        {"signal the parent", signal_parent, ANY},
        {"signal everyone", signal_all, ANY},
        {"pidfd_open", pidfd_other, ANY},
        {"mount", mount_tmpfs, ANY},
        {"remount the root writable", remount_root, ANY},
        {"fsopen", fs_open, ANY},
        {"unmount the root", unmount_root, ANY},
        {"chroot", change_root, ANY},
        {"unshare a user namespace", new_user_namespace, ANY},
        {"setns", enter_namespace, ANY},
        {"fork", fork_process, ANY},
        {"fork by clone3", fork_by_clone3, ANY},
        {"vfork", vfork_process, ANY},
        {"execve", execute_shell, ANY},
        {"execute a memory file", execute_memfile, ANY},
        {"map memory executable", map_executable, ANY},
        {"make memory executable", protect_executable, ANY},
        {"setresuid", become_root, ANY},
        {"setgroups", join_group, ANY},
        {"capset", raise_caps, ANY},
        {"raise a limit", raise_limit, ANY},
        {"add_key", key_add, ANY},
        {"keyctl", key_control, ANY},
        {"bpf", load_bpf, ANY},
        {"perf_event_open", perf_open, ANY},
        {"userfaultfd", fault_handler, ANY},
        {"io_uring_setup", ring_setup, ANY},
        {"init_module", load_module, ANY},
        {"reboot", restart_host, ANY},
        {"clock_settime", set_clock, ANY},
        {"iopl", io_ports, ANY},
        {"TIOCSTI", terminal_inject, ANY},
        {"F_SETOWN", own_descriptor, ANY},
        {"F_SETOWN_EX", own_descriptor_ex, ANY},
        {"F_SETSIG", choose_signal, ANY},
        {"O_ASYNC", signal_driven, ANY},
        {"FIOASYNC", signal_driven_ioctl, ANY},
        {"SIOCSPGRP", own_by_ioctl, ANY},
        {"FIOSETOWN", own_by_fio, ANY},
        {"F_NOTIFY", leave_notice, ANY},
        {"become dumpable", become_dumpable, ANY},
        {"disarm PDEATHSIG", leave_pdeathsig, ANY},
        {"a call of another ABI", wrong_abi, ANY},
        {"a memory file", memory_file, U | S},
        {"shared memory", shared_memory, U | S},
        {"10000 descriptors", many_files, ANY},
#ifndef WITH_SANITIZE
        {"8 GiB of memory", much_memory, ANY},
        {"1 GiB of addresses", many_addresses, U},
#endif
        {"device by path", device_by_path, ANY << DEVICE},
        {"device by a node", device_by_node, ANY << DEVICE},
        {"must: threads", must_thread, ANY},
        {"must: memory and stdio", must_stdio, ANY},
        {"must: own uid, not dumpable", must_be_unprivileged, ANY},
        {"must: descriptor flags", must_flags, ANY},
        {"must: the OOM killer's order", must_go_first, ANY},
        {"must: a PID namespace of its own", must_be_alone, F | U | S},
        {"must: the kept directory", must_keep_dir, A},
        {"must: listen", must_listen, A},
        {"must: resolve a name", must_resolve, F},
        {"must: read the CAs", must_read_ca, F},
        {"must: serve a tree", must_serve, S},
};

static int child_main(char **argv)
{
	struct sandbox_options o = {.uid = PROBE_UID};
	struct err e = ERR_INIT;
	size_t i = (size_t)atoi(argv[3]);
	struct stat st;

	probe_role = (enum role)atoi(argv[2]);
	probe_keep_dir = o.keep_dir = argv[4];
	outside_pid = atoi(argv[5]);
	probe_root = open(probe_keep_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	device = argv[6];
	if (device && stat(device, &st) == 0)
		device_number = st.st_rdev;
	probe_oom = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
	int rc = sandbox_enter(probe_role, &o, &e);
	if (rc < 0) {
		fprintf(stderr, "%s\n", e.msg);
		return 99;
	}
	rc = attempts[i].run();
	return write(CHANNEL_FD, &rc, sizeof(rc)) == sizeof(rc) ? 0 : 98;
}

static void attempt_report(enum role role, size_t i, const char *self, const char *dir, const char *path)
{
	char role_text[16], index_text[16], pid_text[16], text[64];
	const char *const argv[] = {self, "--child", role_text, index_text, dir, pid_text, path, NULL}, *const envp[] =
	                                                                                                        {NULL};
	struct spawn s = {
	        .role = role,
	        .program = self,
	        .argv = argv,
	        .envp = envp,
	        .namespaces = sandbox_namespaces(role),
	        .uid = PROBE_UID,
	};
	struct child c;
	struct err e = ERR_INIT;
	int rc = 0;

	snprintf(role_text, sizeof(role_text), "%d", (int)role);
	snprintf(index_text, sizeof(index_text), "%zu", i);
	snprintf(pid_text, sizeof(pid_text), "%d", (int)getpid());
	if (path)
		printf("%s: ", path);
	if (spawn_program(&s, &c, &e) < 0) {
		printf("%s: not started: %s\n", attempts[i].name, e.msg);
		return;
	}
	ssize_t n = read(c.channel.fd, &rc, sizeof(rc));
	int status = child_end(&c, 5000);
	if (n == (ssize_t)sizeof(rc))
		printf("%s: %s\n", attempts[i].name, rc ? strerror(-rc) : "worked");
	else
		printf("%s: %s\n", attempts[i].name, child_status_text(status, text));
}

int main(int argc, char **argv)
{
	static const char *const names[ROLE_COUNT] = {"", "api", "fetch", "unpack", "fs"};
	static char self[4096];

	if (argc >= 6 && !strcmp(argv[1], "--child"))
		return child_main(argv);
	if (argc < 3 || readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int role = ROLE_API; role < ROLE_COUNT; role++)
		for (size_t i = 0; i < ARRAY_LEN(attempts) && !strcmp(argv[1], names[role]); i++) {
			if (argc == 3 && attempts[i].roles & 1u << role)
				attempt_report((enum role)role, i, self, argv[2], NULL);
			for (int k = 3; k < argc && attempts[i].roles & 1u << (role + DEVICE); k++)
				attempt_report((enum role)role, i, self, argv[2], argv[k]);
		}
	return 0;
}
