/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include <libdevmapper.h>
#include <linux/dm-ioctl.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/loop.h"

#define NODE_DIR "/dev/builderd"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char said[200]; /* the library's last complaint; under lock */
static atomic_uint_least64_t calls;

static __attribute__((format(printf, 5, 6))) void on_log(
        int level, const char *file, int line, int class, const char *fmt, ...)
{
	va_list ap;

	if ((level & LOG_PRIMASK) > LOG_ERR) /* the library adds flags above syslog's levels */
		return;
	va_start(ap, fmt);
	vsnprintf(said, sizeof(said), fmt, ap);
	va_end(ap);
}

void dm_init(void)
{
	setenv("DM_DISABLE_UDEV", "1", 1); /* for children: the library has read it when it was loaded */
	dm_udev_set_sync_support(0);       /* libcryptsetup asks for it, too */
}

void dm_lock(void)
{
	pthread_mutex_lock(&lock);
	dm_log_with_errno_init(on_log); /* libcryptsetup takes it away */
	said[0] = 0;
}

void dm_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

uint64_t dm_calls(void)
{
	return atomic_load(&calls);
}

/* --- one task ---------------------------------------------------------------------------------------------------- */

/* Between task_begin and task_end the lock is held. */
struct task {
	struct dm_task *t; /* owns */
	bool is_bad;       /* a part could not be set */
};

static void task_end(struct task *k)
{
	if (k->t)
		dm_task_destroy(k->t);
	dm_unlock();
}

static struct task task_begin(int type, const char *name)
{
	struct task k;

	dm_lock();
	k.t = dm_task_create(type);
	k.is_bad = !k.t || (name && !dm_task_set_name(k.t, name));
	return k;
}

static void task_table(struct task *k, const struct dm_table *t)
{
	if (k->is_bad)
		return;
	k->is_bad = (t->is_read_only && !dm_task_set_ro(k->t)) ||
	            !dm_task_add_target(k->t, 0, t->size_bytes / DM_SECTOR, t->type, t->params);
}

static int task_run(struct task *k, const char *what, const char *name, struct err *e)
{
	if (k->is_bad)
		return err_set(e, -ENOMEM, "%s %s: %s", what, name, said[0] ? said : "the request cannot be made");
	atomic_fetch_add(&calls, 1);
	bool has_run = dm_task_run(k->t);
	int code = dm_task_get_errno(k->t);
	dm_task_update_nodes(); /* what it would leave to udev */
	if (has_run)
		return 0;
	if (!code)
		code = EIO;
	return err_sys(e, -code, "%s %s%s%s%s", what, name, said[0] ? " (" : "", said, said[0] ? ")" : "");
}

static int simple(int type, const char *what, const char *name, struct err *e)
{
	AUTO(task_end) struct task k = task_begin(type, name);

	return task_run(&k, what, name, e);
}

/* --- devices ----------------------------------------------------------------------------------------------------- */

int dm_target_version(const char *target, uint32_t version[3], struct err *e)
{
	AUTO(task_end) struct task k = task_begin(DM_DEVICE_GET_TARGET_VERSION, target);
	struct dm_versions *v;

	if (!k.is_bad && dm_task_run(k.t) && (v = dm_task_get_versions(k.t))) {
		memcpy(version, v->version, sizeof(v->version));
		return 0;
	}
	return err_set(
	        e, -EOPNOTSUPP, "the kernel has no device-mapper target \"%s\"%s%s", target, said[0] ? ": " : "", said);
}

int dm_target_check(const char *target, struct err *e)
{
	uint32_t version[3];

	return dm_target_version(target, version, e);
}

struct details {
	struct dm_state state;
	bool has_table, is_leaving; /* is_leaving: it goes when the last who has it open closes it */
	char uuid[DM_DEVICE_UUID_MAX];
};

static int details_get(const char *name, struct details *out, struct err *e)
{
	AUTO(task_end) struct task k = task_begin(DM_DEVICE_INFO, name);
	struct dm_info info;
	int rc = task_run(&k, "look at device", name, e);

	*out = (struct details){0};
	if (rc < 0)
		return rc;
	if (!dm_task_get_info(k.t, &info))
		return err_set(e, -EIO, "look at device %s: no answer", name);
	if (!info.exists)
		return 0;
	out->state = (struct dm_state){.exists = true,
	        .is_suspended = info.suspended,
	        .is_read_only = info.read_only,
	        .opens = (unsigned)info.open_count,
	        .dev = makedev(info.major, info.minor)};
	out->has_table = info.live_table;
	out->is_leaving = info.deferred_remove;
	snprintf(out->uuid, sizeof(out->uuid), "%s", dm_task_get_uuid(k.t) ? dm_task_get_uuid(k.t) : "");
	return 0;
}

int dm_state_get(const char *name, struct dm_state *out, struct err *e)
{
	struct details d;
	int rc = details_get(name, &d, e);

	*out = d.state;
	return rc;
}

/* Without a table. */
static int create_empty(const char *name, const char *uuid, struct err *e)
{
	AUTO(task_end) struct task k = task_begin(DM_DEVICE_CREATE, name);

	k.is_bad = k.is_bad || !dm_task_set_uuid(k.t, uuid) || !dm_task_set_mode(k.t, 0600);
	return task_run(&k, "bring up device", name, e);
}

static int size_get(const char *name, uint64_t *bytes, struct err *e)
{
	AUTO(task_end) struct task k = task_begin(DM_DEVICE_TABLE, name);
	uint64_t start = 0, length = 0;
	char *target, *params;
	int rc = task_run(&k, "ask device", name, e);

	if (rc == 0)
		dm_get_next_target(k.t, NULL, &start, &length, &target, &params);
	*bytes = length * DM_SECTOR;
	return rc;
}

/* A program that dies between making a device and making its node leaves one without. */
static int node_ensure(const char *name, struct err *e)
{
	char path[sizeof(DM_DIR) + DM_DEVICE_NAME_MAX];

	snprintf(path, sizeof(path), DM_DIR "%s", name);
	return access(path, F_OK) == 0 ? 0 : simple(DM_DEVICE_MKNODES, "make a node of device", name, e);
}

int dm_remains(const char *name, struct err *e)
{
	struct details d;
	int rc = details_get(name, &d, e);

	if (rc < 0 || !d.state.exists)
		return rc;
	if (!d.has_table)
		return simple(DM_DEVICE_REMOVE, "take down device", name, e);
	rc = node_ensure(name, e);
	return rc < 0 ? rc : 1;
}

/* What a builderd that died has left: perhaps without a table, perhaps smaller than by now it should be. */
static int adopt(const char *name, const struct details *d, const struct dm_table *t, struct err *e)
{
	uint64_t bytes;
	int rc = d->is_leaving ? dm_message(name, "@cancel_deferred_remove", e) : 0;

	if (rc == 0)
		rc = node_ensure(name, e);
	if (rc < 0)
		return rc;
	if (!d->has_table)
		return dm_reload(name, t, e);
	rc = size_get(name, &bytes, e);
	if (rc == 0 && bytes < t->size_bytes)
		return dm_reload(name, t, e);
	return rc == 0 && d->state.is_suspended ? dm_resume(name, e) : rc;
}

int dm_activate(const char *name, const char *uuid, const struct dm_table *t, struct err *e)
{
	struct details d;
	struct err why = ERR_INIT;
	int rc = create_empty(name, uuid, &why);

	if (rc == 0) {
		rc = dm_reload(name, t, e);
		if (rc < 0)
			simple(DM_DEVICE_REMOVE, "take down device", name, NULL);
		return rc;
	}
	if (rc == -EBUSY || rc == -EEXIST) { /* perhaps because it is there */
		int looked = details_get(name, &d, e);
		if (looked < 0)
			return looked;
		if (d.state.exists && !strcmp(d.uuid, uuid))
			return adopt(name, &d, t, e);
		if (d.state.exists)
			return err_set(e, -EEXIST, "a device named %s exists and is not ours: its uuid is \"%s\"", name,
			        d.uuid);
	}
	*(e ? e : &why) = why;
	return rc;
}

int dm_deactivate(const char *name, const char *uuid, int timeout_ms, struct err *e)
{
	int64_t deadline = time_mono_ms() + timeout_ms;
	struct details d;

	for (long wait_ms = 1;; wait_ms = wait_ms < 50 ? wait_ms * 2 : 50) {
		struct err why = ERR_INIT;
		int rc = details_get(name, &d, e);
		if (rc < 0 || !d.state.exists || strcmp(d.uuid, uuid))
			return rc;
		if (d.state.is_suspended && d.has_table)
			dm_resume(name, NULL); /* who has it open waits for I/O, and would for ever */
		rc = simple(DM_DEVICE_REMOVE, "take down device", name, &why);
		if (rc != -EBUSY || time_mono_ms() >= deadline) {
			if (rc < 0 && rc != -ENXIO)
				*(e ? e : &why) = why;
			return rc == -ENXIO ? 0 : rc;
		}
		nanosleep(&(struct timespec){.tv_nsec = wait_ms * 1000000}, NULL);
	}
}

static int remove_later(const char *name, struct err *e)
{
	AUTO(task_end) struct task k = task_begin(DM_DEVICE_REMOVE, name);

	k.is_bad = k.is_bad || !dm_task_deferred_remove(k.t);
	return task_run(&k, "take down device", name, e);
}

/* Never of a suspended one (containerd#4234): who opens what is suspended and leaving hangs. */
int dm_deactivate_later(const char *name, const char *uuid, int timeout_ms, struct err *e)
{
	struct err busy = ERR_INIT;
	struct dm_state state = {0};
	int rc = dm_deactivate(name, uuid, timeout_ms, &busy);

	if (rc != -EBUSY) {
		*(e ? e : &busy) = busy;
		return rc;
	}
	rc = remove_later(name, e);
	if (rc == 0 || rc == -ENXIO)
		rc = dm_state_get(name, &state, e);
	return rc < 0 ? rc : state.exists;
}

int dm_suspend(const char *name, struct err *e)
{
	return simple(DM_DEVICE_SUSPEND, "suspend device", name, e);
}

int dm_resume(const char *name, struct err *e)
{
	return simple(DM_DEVICE_RESUME, "resume device", name, e);
}

static int load(const char *name, const struct dm_table *t, struct err *e)
{
	AUTO(task_end) struct task k = task_begin(DM_DEVICE_RELOAD, name);

	task_table(&k, t);
	return task_run(&k, "give a new table to device", name, e);
}

/* A resume swaps the tables, and suspends what is in use for that moment. */
int dm_reload(const char *name, const struct dm_table *t, struct err *e)
{
	int rc = load(name, t, e);

	return rc < 0 ? rc : dm_resume(name, e);
}

int dm_message(const char *name, const char *text, struct err *e)
{
	AUTO(task_end) struct task k = task_begin(DM_DEVICE_TARGET_MSG, name);
	char what[96];

	k.is_bad = k.is_bad || !dm_task_set_message(k.t, text) || !dm_task_set_sector(k.t, 0);
	snprintf(what, sizeof(what), "send \"%s\" to", text);
	return task_run(&k, what, name, e);
}

static int params_get(int type, const char *name, char *out, size_t size, struct err *e)
{
	AUTO(task_end) struct task k = task_begin(type, name);
	char *target = NULL, *params = NULL;
	uint64_t start, length;

	if (!k.is_bad)
		dm_task_no_flush(k.t); /* a pool asked for its status would commit its metadata first */
	int rc = task_run(&k, "ask device", name, e);

	if (rc < 0)
		return rc;
	dm_get_next_target(k.t, NULL, &start, &length, &target, &params);
	if (!target || !params || strlen(params) >= size)
		return err_set(e, -EIO, "device %s has no table that can be read", name);
	memcpy(out, params, strlen(params) + 1);
	return 0;
}

int dm_status(const char *name, char *out, size_t size, struct err *e)
{
	return params_get(DM_DEVICE_STATUS, name, out, size, e);
}

int dm_live_table(const char *name, char *out, size_t size, struct err *e)
{
	return params_get(DM_DEVICE_TABLE, name, out, size, e);
}

/* The names of all devices that could be ours, each NUL-terminated, an empty one at the end. */
static int names_get(char **out, struct err *e)
{
	AUTO(task_end) struct task k = task_begin(DM_DEVICE_LIST, NULL);
	AUTO_BUF struct buf b = {0};
	int rc = task_run(&k, "list devices", "", e);
	const struct dm_names *names = rc < 0 ? NULL : dm_task_get_names(k.t);

	if (rc < 0 || !names)
		return rc < 0 ? rc : err_set(e, -EIO, "list devices: no answer");
	for (; names->dev; names = (const void *)((const char *)names + names->next)) {
		if (!strncmp(names->name, DM_NAME_PREFIX, strlen(DM_NAME_PREFIX)))
			buf_append(&b, names->name, strlen(names->name) + 1);
		if (!names->next)
			break;
	}
	buf_append(&b, "", 1);
	*out = STEAL(&b.data);
	return 0;
}

int dm_list(struct dm_device **out, size_t *n, struct err *e)
{
	AUTO_FREE char *names = NULL;
	int rc = names_get(&names, e);

	*out = NULL;
	*n = 0;
	for (const char *name = names; rc == 0 && *name; name += strlen(name) + 1) {
		struct details d;
		rc = details_get(name, &d, e);
		if (rc < 0 || !d.state.exists || strncmp(d.uuid, DM_UUID_PREFIX, strlen(DM_UUID_PREFIX)))
			continue;
		*out = xrealloc(*out, (*n + 1) * sizeof(**out));
		struct dm_device *dev = &(*out)[(*n)++];
		*dev = (struct dm_device){.state = d.state};
		snprintf(dev->name, sizeof(dev->name), "%s", name);
		snprintf(dev->uuid, sizeof(dev->uuid), "%s", d.uuid);
	}
	if (rc < 0)
		free(STEAL(out));
	return rc;
}

int dm_resume_unlocked(const char *uuid, struct err *e)
{
	struct dm_ioctl request = {
	        .version = {DM_VERSION_MAJOR, 0, 0}, .data_size = sizeof(request), .data_start = sizeof(request)};
	AUTO_CLOSE int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);

	snprintf(request.uuid, sizeof(request.uuid), "%s", uuid);
	atomic_fetch_add(&calls, 1);
	if (fd < 0 || ioctl(fd, DM_DEV_SUSPEND, &request) < 0) /* without DM_SUSPEND_FLAG: resume */
		return err_sys(e, -errno, "resume device %s", uuid);
	return 0;
}

int dm_open(const char *name, int flags, struct err *e)
{
	static atomic_uint serial;
	struct dm_state state;
	char path[64];
	int rc = dm_state_get(name, &state, e);

	if (rc < 0)
		return rc;
	if (!state.exists)
		return err_set(e, -ENODEV, "device %s is not up", name);
	snprintf(path, sizeof(path), NODE_DIR "/%d.%u", (int)getpid(), atomic_fetch_add(&serial, 1));
	if (mkdir(NODE_DIR, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "make " NODE_DIR);
	mode_t mode = 0666; /* reached by the descriptor only: the directory is closed and the name goes at once */
	if (mknod(path, S_IFBLK | mode, state.dev) < 0)
		return err_sys(e, -errno, "make a node of device %s", name);
	int fd = chmod(path, mode) < 0 ? -1 : open(path, flags | O_CLOEXEC);
	rc = fd < 0 ? err_sys(e, -errno, "open device %s", name) : fd;
	unlink(path);
	return rc;
}
