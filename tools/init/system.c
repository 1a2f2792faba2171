/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/init/system.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "tools/init/layers.h"
#include "tools/init/say.h"

#define SMALL_FILE_BYTES 4096

void system_stdio(void)
{
	for (int want = 0; want <= 2; want++) {
		if (fcntl(want, F_GETFD) >= 0)
			continue;
		/* The lowest free number is WANT: all below it are open. */
		int fd = open("/dev/console", O_RDWR | O_NOCTTY);
		if (fd < 0)
			fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			return;
	}
}

/* Something is mounted on PATH when it is on another device than /. */
static bool is_mounted(const char *path)
{
	struct stat root, st;

	return !stat("/", &root) && !stat(path, &st) && root.st_dev != st.st_dev;
}

static bool is_empty_dir(const char *path)
{
	AUTO_DIR DIR *dir = opendir(path);
	struct dirent *d;

	if (!dir)
		return errno == ENOENT;
	while ((d = readdir(dir)))
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			return false;
	return true;
}

static const struct {
	const char *path, *type;
	unsigned long flags;
	const char *options;
	bool if_empty; /* what the image has there must stay visible */
} mounts[] = {
        {"/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false},
        {"/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false},
        {"/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755", false},
        /* gid 5 is tty wherever there is one; ptmxmode for programs that open /dev/pts/ptmx (filesystems/devpts.rst).
         */
        {"/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666", false},
        {"/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777", false},
        {"/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755", true},
        {"/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777", true},
};

/* On top of the other device below /dev: /dev/pts has /dev's device number until it is mounted. */
static bool is_submounted(const char *path)
{
	struct stat dev, st;

	return !stat("/dev", &dev) && !stat(path, &st) && dev.st_dev != st.st_dev;
}

static void mount_one(size_t i)
{
	const char *path = mounts[i].path;

	if (strncmp(path, "/dev/", 5) ? is_mounted(path) : is_submounted(path))
		return;
	if (mounts[i].if_empty && !is_empty_dir(path))
		return;
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		say("cannot create %s: %s", path, strerror(errno));
	if (mount(mounts[i].type, path, mounts[i].type, mounts[i].flags, mounts[i].options) < 0)
		say("cannot mount %s on %s: %s", mounts[i].type, path, strerror(errno));
}

void system_mount(void)
{
	static const char *const links[][2] = {
	        {"/proc/self/fd", "/dev/fd"},
	        {"/proc/self/fd/0", "/dev/stdin"},
	        {"/proc/self/fd/1", "/dev/stdout"},
	        {"/proc/self/fd/2", "/dev/stderr"},
	};

	for (size_t i = 0; i < ARRAY_LEN(mounts); i++)
		mount_one(i);
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			say("cannot create %s: %s", links[i][1], strerror(errno));
}

int system_mkdirs(const char *path)
{
	AUTO_FREE char *copy = xstrdup(path);

	for (char *p = copy + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char was = *p;
		*p = 0;
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return -errno;
		*p = was;
		if (!was)
			return 0;
	}
}

char *system_read(const char *path, size_t max, size_t *len, struct err *e)
{
	/* Neither a FIFO nor a terminal may hold up the boot. */
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	char *text;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err_sys(e, -errno, "cannot open %s", path);
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		err_set(e, -EINVAL, "%s is not a regular file", path);
		return NULL;
	}
	r = fd_slurp(fd, max, &text, len);
	if (r == -EFBIG)
		err_set(e, r, "%s is larger than %zu bytes", path, max);
	else if (r < 0)
		err_sys(e, r, "cannot read %s", path);
	return r < 0 ? NULL : text;
}

/* Container images carry these files empty, or not at all: runtimes mount theirs on top. */
static void write_if_empty(const char *path, const char *text)
{
	const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	AUTO_CLOSE int fd = open(path, flags, 0644);
	struct stat st;
	int r;

	/* A link to where some resolver daemon would put it. */
	if (fd < 0 && errno == ENOENT && !unlink(path))
		fd = open(path, flags, 0644);
	if (fd < 0) {
		say("cannot open %s: %s", path, strerror(errno));
		return;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size)
		return;
	r = fd_write_all(fd, text, strlen(text));
	if (r < 0)
		say("cannot write %s: %s", path, strerror(-r));
}

static void set_directories(void)
{
	static const char *const dirs[] = {"/etc", "/var/log", "/var/cache"};
	int r;

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if ((r = system_mkdirs(dirs[i])) < 0)
			say("cannot create %s: %s", dirs[i], strerror(-r));
	if (symlink("/run", "/var/run") < 0 && errno != EEXIST)
		say("cannot create /var/run: %s", strerror(errno));
}

/* The kernel line, else what the kernel set from it, else the image's /etc/hostname, else localhost. */
static void set_hostname(const char *given)
{
	struct err e = ERR_INIT;
	struct utsname uts;
	size_t len;

	if (!given && (uname(&uts) < 0 || (*uts.nodename && strcmp(uts.nodename, "(none)"))))
		return;
	AUTO_FREE char *file = given ? NULL : system_read("/etc/hostname", SMALL_FILE_BYTES, &len, &e);
	const char *name = given ? given : file ? file : "localhost";
	len = strcspn(name, " \t\r\n");
	if (!len) {
		name = "localhost";
		len = strlen(name);
	}
	if (sethostname(name, len) < 0)
		say("cannot set the host name to %.*s: %s", (int)len, name, strerror(errno));
}

static void set_loopback(void)
{
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {.ifr_name = "lo"};

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0) {
		say("no loopback interface: %s", strerror(errno));
		return;
	}
	if (ifr.ifr_flags & IFF_UP)
		return;
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		say("cannot bring loopback up: %s", strerror(errno));
}

/* The kernel line's servers, else those that the kernel learned from ip= (admin-guide/nfs/nfsroot.rst: /proc/net/pnp
 * has the form of resolv.conf). */
static void set_resolver(const struct cmdline *c)
{
	AUTO_BUF struct buf text = {0};
	struct err e = ERR_INIT;
	size_t len;

	for (size_t i = 0; i < c->n_nameservers; i++)
		buf_printf(&text, "nameserver %s\n", c->nameservers[i]);
	if (!text.len) {
		AUTO_FREE char *pnp = system_read("/proc/net/pnp", SMALL_FILE_BYTES, &len, &e);
		if (pnp && strstr(pnp, "nameserver "))
			buf_puts(&text, pnp);
	}
	if (text.len)
		write_if_empty("/etc/resolv.conf", buf_cstr(&text));
}

void system_setup(const struct cmdline *c)
{
	set_directories();
	set_hostname(c->hostname);
	set_loopback();
	write_if_empty("/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n");
	set_resolver(c);
}

/* The pid namespace that the kernel booted with has a fixed number (include/linux/proc_ns.h, PROC_PID_INIT_INO). In any
 * other the root file system belongs to somebody else. */
static bool is_machine(void)
{
	struct stat st;

	return !stat("/proc/self/ns/pid", &st) && st.st_ino == 0xEFFFFFFCU;
}

void system_end(bool is_reset)
{
	int first = is_reset ? RB_AUTOBOOT : RB_POWER_OFF;
	int second = is_reset ? RB_POWER_OFF : RB_HALT_SYSTEM;

	sync();
	/* So that the next boot finds a clean journal. EBUSY where something still writes: the sync has to do. */
	if (is_machine()) {
		mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
		layers_end();
	}
	reboot(first);
	say("cannot %s: %s", is_reset ? "reset" : "power off", strerror(errno));
	reboot(second);
}
