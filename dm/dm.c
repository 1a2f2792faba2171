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
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include <libdevmapper.h>

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
	setenv("DM_DISABLE_UDEV", "1", 1);
	dm_log_with_errno_init(on_log);
}

void dm_lock(void)
{
	pthread_mutex_lock(&lock);
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

int dm_target_check(const char *target, struct err *e)
{
	AUTO(task_end) struct task k = task_begin(DM_DEVICE_GET_TARGET_VERSION, target);

	if (!k.is_bad && dm_task_run(k.t))
		return 0;
	return err_set(
	        e, -EOPNOTSUPP, "the kernel has no device-mapper target \"%s\"%s%s", target, said[0] ? ": " : "", said);
}

/* With UUID the device's uuid is read, too. */
static int info_get(const char *name, struct dm_state *out, char uuid[DM_DEVICE_UUID_MAX], struct err *e)
{
	AUTO(task_end) struct task k = task_begin(DM_DEVICE_INFO, name);
	struct dm_info info;
	int rc = task_run(&k, "look at device", name, e);

	if (rc < 0)
		return rc;
	if (!dm_task_get_info(k.t, &info))
		return err_set(e, -EIO, "look at device %s: no answer", name);
	*out = (struct dm_state){.exists = info.exists};
	if (!info.exists)
		return 0;
	out->is_suspended = info.suspended;
	out->is_read_only = info.read_only;
	out->opens = (unsigned)info.open_count;
	out->dev = makedev(info.major, info.minor);
	if (uuid)
		snprintf(uuid, DM_DEVICE_UUID_MAX, "%s", dm_task_get_uuid(k.t) ? dm_task_get_uuid(k.t) : "");
	return 0;
}

int dm_state_get(const char *name, struct dm_state *out, struct err *e)
{
	return info_get(name, out, NULL, e);
}

static int create(const char *name, const char *uuid, const struct dm_table *t, struct err *e)
{
	AUTO(task_end) struct task k = task_begin(DM_DEVICE_CREATE, name);

	k.is_bad = k.is_bad || !dm_task_set_uuid(k.t, uuid) || !dm_task_set_mode(k.t, 0600);
	task_table(&k, t);
	return task_run(&k, "bring up device", name, e);
}

int dm_activate(const char *name, const char *uuid, const struct dm_table *t, struct err *e)
{
	char there[DM_DEVICE_UUID_MAX];
	struct dm_state state;
	int rc = info_get(name, &state, there, e);

	if (rc < 0)
		return rc;
	if (!state.exists)
		return create(name, uuid, t, e);
	if (strcmp(there, uuid))
		return err_set(e, -EEXIST, "a device named %s exists and is not ours: its uuid is \"%s\"", name, there);
	return state.is_suspended ? dm_resume(name, e) : 0;
}

int dm_deactivate(const char *name, int timeout_ms, struct err *e)
{
	int64_t deadline = time_mono_ms() + timeout_ms;
	struct dm_state state;

	for (long wait_ms = 1;; wait_ms = wait_ms < 50 ? wait_ms * 2 : 50) {
		struct err why = ERR_INIT;
		int rc = dm_state_get(name, &state, e);
		if (rc < 0 || !state.exists)
			return rc;
		rc = simple(DM_DEVICE_REMOVE, "take down device", name, &why);
		if (rc != -EBUSY || time_mono_ms() >= deadline) {
			if (rc < 0)
				*(e ? e : &why) = why;
			return rc;
		}
		nanosleep(&(struct timespec){.tv_nsec = wait_ms * 1000000}, NULL);
	}
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
