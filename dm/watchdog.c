/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: a thread that looks every second whether a device of ours is suspended, and resumes it after two:
 * whoever uses it hangs meanwhile. It reads sysfs and resumes by an ioctl of its own, so that a call into libdevmapper
 * that does not end, perhaps because of that very device, does not stop it. A suspend that is still under way does not
 * show in sysfs: it cannot be taken back, it ends when the I/O below it does. A second thread, because it does call
 * libdevmapper, looks how full the pools are, says so once, and enlarges the host's pool with its device.
 */
#include "thin.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "worker.h"

#define SYS_BLOCK "/sys/block"
#define LOOK_MS 1000
#define SUSPENDED_MAX_MS 2000
#define POOLS_LOOK_MS 5000

struct suspended {
	char name[DM_DEVICE_NAME_MAX], uuid[144];
	int64_t since_ms;
	bool is_still;
};

struct watchdog {
	struct worker worker, pools;
	struct store *store;
	struct suspended *seen; /* owns */
	size_t n_seen;
};

/* --- suspended devices ------------------------------------------------------------------------------------------- */

static bool attribute_read(int dir, const char *disk, const char *name, char *out, size_t size)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/dm/%s", disk, name);
	AUTO_CLOSE int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
	out[n < 0 ? 0 : n] = 0;
	out[strcspn(out, "\n")] = 0;
	return n > 0;
}

/* The encrypted devices' uuids are libcryptsetup's, and end in the name that we gave. */
static bool is_ours(const char *name, const char *uuid)
{
	return !strncmp(uuid, DM_UUID_PREFIX, strlen(DM_UUID_PREFIX)) ||
	       (!strncmp(name, DM_NAME_PREFIX, strlen(DM_NAME_PREFIX)) && !strncmp(uuid, "CRYPT-", 6));
}

static struct suspended *seen_get(struct watchdog *w, const char *name, const char *uuid)
{
	for (size_t i = 0; i < w->n_seen; i++)
		if (!strcmp(w->seen[i].uuid, uuid))
			return &w->seen[i];
	w->seen = xrealloc(w->seen, (w->n_seen + 1) * sizeof(*w->seen));
	struct suspended *s = &w->seen[w->n_seen++];
	*s = (struct suspended){.since_ms = time_mono_ms()};
	snprintf(s->name, sizeof(s->name), "%s", name);
	snprintf(s->uuid, sizeof(s->uuid), "%s", uuid);
	return s;
}

static void disk_look(struct watchdog *w, int dir, const char *disk)
{
	char text[8], name[DM_DEVICE_NAME_MAX], uuid[sizeof(w->seen->uuid)];

	if (!attribute_read(dir, disk, "suspended", text, sizeof(text)) || text[0] != '1')
		return;
	if (attribute_read(dir, disk, "name", name, sizeof(name)) &&
	        attribute_read(dir, disk, "uuid", uuid, sizeof(uuid)) && is_ours(name, uuid))
		seen_get(w, name, uuid)->is_still = true;
}

static void suspended_resume(struct suspended *s)
{
	struct err e = ERR_INIT;
	int64_t ms = time_mono_ms() - s->since_ms;

	if (ms < SUSPENDED_MAX_MS)
		return;
	int rc = dm_resume_unlocked(s->uuid, &e);
	log_error(rc < 0 ? "a device is suspended and cannot be resumed"
	                 : "a device was left suspended, it has been resumed",
	        KV("device", s->name), KV_U("ms", ms), KV("error", e.msg));
	s->since_ms = time_mono_ms();
}

static void suspended_look(struct watchdog *w)
{
	AUTO_DIR DIR *d = opendir(SYS_BLOCK);
	size_t kept = 0;

	for (size_t i = 0; i < w->n_seen; i++)
		w->seen[i].is_still = false;
	for (struct dirent *entry; d && (entry = readdir(d));)
		if (!strncmp(entry->d_name, "dm-", 3))
			disk_look(w, dirfd(d), entry->d_name);
	for (size_t i = 0; i < w->n_seen; i++) {
		if (!w->seen[i].is_still)
			continue;
		suspended_resume(&w->seen[i]);
		w->seen[kept++] = w->seen[i];
	}
	w->n_seen = kept;
}

/* --- how full the pools are -------------------------------------------------------------------------------------- */

static bool pool_look(struct pool *p, const char *tenant)
{
	struct pool_usage u;
	char trouble[128];

	if (pool_usage_get(p, &u, NULL) < 0)
		return false;
	pool_trouble(&u, trouble, sizeof(trouble));
	if (trouble[0] && !p->is_in_trouble)
		log_error("a pool needs attention", KV("pool", thin_name(&p->row, "pool", 0).text),
		        KV("tenant", tenant), KV("reason", &trouble[0]));
	else if (!trouble[0] && p->is_in_trouble)
		log_info("a pool is well again", KV("pool", thin_name(&p->row, "pool", 0).text), KV("tenant", tenant));
	p->is_in_trouble = trouble[0] != 0;
	p->is_meta_full = pool_meta_is_full(&u);
	return !u.is_full && u.data_total - u.data_used >= POOL_KEEP_BYTES;
}

/* While the host's pool is full, a tenant's may hold the lock of its metadata in a commit that waits for room: to ask
 * it would be to wait as well, with libdevmapper's lock held, and nobody could enlarge the host's. A tenant that is
 * being opened or repaired is looked at another time. */
static void pools_look(struct store *s)
{
	if (!pool_look(&s->outer, ""))
		return;
	for (struct tenant *t = tenants_first(s); t; t = t->next) {
		if (pthread_mutex_trylock(&t->lock))
			continue;
		if (t->is_open)
			pool_look(&t->pool, t->id);
		pthread_mutex_unlock(&t->lock);
	}
}

/* --- the thread -------------------------------------------------------------------------------------------------- */

static void *watchdog_main(void *arg)
{
	struct watchdog *w = arg;

	while (worker_wait(&w->worker, LOOK_MS))
		suspended_look(w);
	return NULL;
}

static void *pools_main(void *arg)
{
	struct watchdog *w = arg;
	bool has_failed = false;

	while (worker_wait(&w->pools, POOLS_LOOK_MS)) {
		struct err e = ERR_INIT;
		int rc = w->store->access == STORE_SERVE ? outer_grow(w->store, &e) : 0;
		pools_look(w->store);
		if (rc < 0 && !has_failed)
			log_error("the pool cannot be enlarged", KV("error", e.msg));
		has_failed = rc < 0;
	}
	return NULL;
}

int watchdog_start(struct store *s, struct err *e)
{
	s->watchdog = xcalloc(1, sizeof(*s->watchdog));
	s->watchdog->store = s;
	int rc = worker_start(&s->watchdog->worker, watchdog_main, s->watchdog, e);
	return rc < 0 ? rc : worker_start(&s->watchdog->pools, pools_main, s->watchdog, e);
}

void watchdog_stop(struct store *s)
{
	if (!s->watchdog)
		return;
	worker_stop(&s->watchdog->pools);
	worker_stop(&s->watchdog->worker);
	free(s->watchdog->seen);
	free(STEAL(&s->watchdog));
}
