/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives a backend for the tests (`dm` if DM_DATA_DEVICE or DM_LOOP_FILE is in the environment, else `file`):
 * drive-volume STATE_DIR STEP...; each step prints a line, the first that fails ends the run with exit code 1. One
 * tenant, one volume at a time; CACHE_MAX in the environment is cache_max_bytes. create BUILD PARENT|- MIB INODES mount
 * fill NAME MIB   copy DIR   sum NAME   remove NAME   grow MIB   unmount check   hash   snapshot KEY   snapshot-cheap
 * KEY   seal KEY   discard   find KEY   share BUILD KEY open BUILD   delete BUILD lease BUILD ro|cow HOLDER JAIL|-
 * release LEASE|HOLDER   leases   blob NAME MIB   stop-in MS   usage
 * reap (wait until what is dead is gone)   calls (ioctls made)   reconcile look|repair   grow-pool   grow-tenant MIB
 * trim   threads N   tenants FROM COUNT (opens them, making what is missing)   pause   shell CMD   probe   times (print
 * the milliseconds of each step from here on)
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "digest/hash.h"
#include "dm/dm.h"
#include "dm/thin.h"

#define MIB (1024 * 1024)

static const char *tenant = "acme"; /* or DRIVE_TENANT */
static const struct volume_ops *ops = &volume_file_ops;
static struct store *store;
static struct store_options options;
static struct volume *volume;
static int root = -1;
static bool prints_times;

static struct digest key_of(const char *name)
{
	struct digest d;

	hash_buffer(DIGEST_SHA256, name, strlen(name), &d);
	return d;
}

static uint64_t mib(const char *text)
{
	return strtoull(text, NULL, 10) * MIB;
}

/* SIZE bytes that do not compress, the same for the same NAME. */
static int file_fill(int dir, const char *name, uint64_t size, struct err *e)
{
	AUTO_CLOSE int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	AUTO_FREE char *block = malloc(MIB);
	uint64_t x = 88172645463325252ull + strlen(name);

	if (fd < 0 || !block)
		return err_sys(e, -errno, "create %s", name);
	for (uint64_t at = 0; at < size; at += MIB) {
		for (size_t i = 0; i < MIB; i += 8) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			memcpy(block + i, &x, 8);
		}
		int rc = fd_write_all(fd, block, MIB);
		if (rc < 0)
			return err_sys(e, rc, "write %s", name);
	}
	return 0;
}

static int file_hash(int fd, struct digest *d)
{
	AUTO_FREE char *block = malloc(MIB);
	AUTO(hash_cleanup) struct hash *h = hash_new(DIGEST_SHA256);
	ssize_t n;

	while ((n = fd_read_full(fd, block, MIB)) > 0)
		hash_update(h, block, (size_t)n);
	hash_final(h, d);
	return n < 0 ? (int)n : 0;
}

/* --- steps ----------------------------------------------------------------------------------------------------------
 */

static int do_create(char **a, struct err *e)
{
	struct digest parent = key_of(a[1]);

	return ops->create(store, tenant, a[0], strcmp(a[1], "-") ? &parent : NULL, mib(a[2]), strtoull(a[3], NULL, 10),
	        &volume, e);
}

static int do_mount(char **a, struct err *e)
{
	root = ops->mount(volume, e);
	return root < 0 ? root : 0;
}

static int do_unmount(char **a, struct err *e)
{
	cleanup_close(&root);
	return ops->unmount(volume, e);
}

static int do_fill(char **a, struct err *e)
{
	return file_fill(root, a[0], mib(a[1]), e);
}

static int do_copy(char **a, struct err *e)
{
	AUTO_FREE char *cmd = xasprintf("cp -a '%s' /proc/%d/fd/%d/", a[0], (int)getpid(), root);

	return system(cmd) ? err_set(e, -EIO, "cp failed") : 0;
}

static int do_sum(char **a, struct err *e)
{
	struct digest d;
	char text[DIGEST_TEXT_MAX];
	AUTO_CLOSE int fd = openat(root, a[0], O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "open %s", a[0]);
	int rc = file_hash(fd, &d);
	if (rc < 0)
		return err_sys(e, rc, "read %s", a[0]);
	printf("%s\n", digest_format(&d, text));
	return 0;
}

static int do_remove(char **a, struct err *e)
{
	return unlinkat(root, a[0], 0) < 0 ? err_sys(e, -errno, "remove %s", a[0]) : 0;
}

static int do_grow(char **a, struct err *e)
{
	return ops->grow(volume, root, mib(a[0]), e);
}

static int do_check(char **a, struct err *e)
{
	return ops->check(volume, e);
}

static int raw_hash(struct digest *d, struct err *e)
{
	AUTO_CLOSE int fd = ops->open_raw(volume, e);

	return fd < 0 ? fd : file_hash(fd, d);
}

static int do_hash(char **a, struct err *e)
{
	struct digest d;

	return raw_hash(&d, e);
}

static int snapshot_make(const char *name, uint64_t work_bytes, struct err *e)
{
	struct digest key = key_of(name);
	struct chain_info info = {.used_bytes = 1234, .used_inodes = 56, .work_bytes = work_bytes};
	int rc = ops->snapshot(volume, &key, &info, e);

	if (rc > 0)
		printf("not kept\n");
	return rc > 0 ? 0 : rc;
}

static int do_snapshot(char **a, struct err *e)
{
	return snapshot_make(a[0], 1ull << 40, e);
}

/* After a layer that was hardly any work. */
static int do_snapshot_cheap(char **a, struct err *e)
{
	return snapshot_make(a[0], MIB, e);
}

static int do_seal(char **a, struct err *e)
{
	struct digest key = key_of(a[0]);
	struct rootfs_info info = {.used_bytes = 1234, .used_inodes = 56, .size_bytes = ops->size(volume)};
	AUTO_FREE char *metadata = xasprintf("{\"key\":\"%s\"}", a[0]);

	int rc = ops->seal(STEAL(&volume), &key, metadata, strlen(metadata), &info, e);
	if (rc == 0)
		printf("%s\n", info.path);
	return rc;
}

static int do_discard(char **a, struct err *e)
{
	cleanup_close(&root);
	ops->discard(STEAL(&volume));
	return 0;
}

static int do_find(char **a, struct err *e)
{
	struct digest key = key_of(a[0]);
	struct chain_info info;
	int rc = ops->chain_find(store, tenant, &key, &info, e);

	if (rc == 0)
		printf("found %ju %ju %ju\n", (uintmax_t)info.used_bytes, (uintmax_t)info.used_inodes,
		        (uintmax_t)info.size_bytes);
	else if (rc == -ENOENT)
		printf("not found\n");
	return rc == -ENOENT ? 0 : rc;
}

static int do_share(char **a, struct err *e)
{
	struct digest key = key_of(a[1]);
	struct rootfs_info info;
	AUTO_FREE char *metadata = NULL;
	size_t len;
	int rc = ops->share(store, tenant, a[0], &key, &info, &metadata, &len, e);

	if (rc == 0)
		printf("shared %s %.*s\n", info.path, (int)len, metadata);
	else if (rc == -ENOENT)
		printf("not shared\n");
	return rc == -ENOENT ? 0 : rc;
}

static int do_open(char **a, struct err *e)
{
	struct rootfs_info info;
	AUTO_CLOSE int fd = ops->rootfs_open(store, tenant, a[0], &info, e);

	if (fd >= 0)
		printf("opened %s %ju\n", info.path, (uintmax_t)info.size_bytes);
	return fd < 0 ? fd : 0;
}

static int do_delete(char **a, struct err *e)
{
	uint64_t freed;
	int rc = ops->rootfs_delete(store, tenant, a[0], &freed, e);

	if (rc == 0)
		printf("freed %ju MiB\n", (uintmax_t)freed / MIB);
	return rc;
}

/* BUILD ro|cow HOLDER JAIL|- */
static int do_lease(char **a, struct err *e)
{
	struct lease_request q = {.mode = strcmp(a[1], "cow") ? LEASE_READ_ONLY : LEASE_COW};
	char checksum[DIGEST_TEXT_MAX] = "-";
	AUTO_FREE char *metadata = NULL;
	struct lease l;
	size_t len;

	snprintf(q.tenant, sizeof(q.tenant), "%s", tenant);
	snprintf(q.build, sizeof(q.build), "%s", a[0]);
	snprintf(q.holder, sizeof(q.holder), "%s", a[2]);
	snprintf(q.jail, sizeof(q.jail), "%s", strcmp(a[3], "-") ? a[3] : "");
	int rc = ops->lease_acquire(store, &q, &l, &metadata, &len, e);
	if (rc == 0)
		printf("%s %s %u:%u %ju %.*s\n", l.id, l.path, major(l.dev), minor(l.dev), (uintmax_t)l.size_bytes,
		        (int)len, metadata);
	if (rc == 0 && digest_is_valid(&l.verity_root))
		printf("verity %s %s\n", l.verity_path, digest_hex(&l.verity_root, checksum));
	return rc;
}

/* LEASE, or the holder of one. */
static int do_release(char **a, struct err *e)
{
	static struct lease l[100];
	int n = strncmp(a[0], "lease_", 6) ? ops->lease_list(store, "", "", "", l, ARRAY_LEN(l), e) : 0;
	const char *id = a[0];

	for (int i = 0; i < n; i++)
		if (!strcmp(l[i].what.holder, a[0]))
			id = l[i].id;
	return ops->lease_release(store, id, e);
}

static int do_leases(char **a, struct err *e)
{
	static struct lease l[100];
	int n = ops->lease_list(store, "", "", "", l, ARRAY_LEN(l), e);

	for (int i = 0; i < n; i++)
		printf("%s %s %s %s %s\n", l[i].id, l[i].what.build, l[i].what.holder,
		        l[i].what.mode == LEASE_COW ? "cow" : "ro", l[i].path);
	return n < 0 ? n : 0;
}

static int do_blob(char **a, struct err *e)
{
	AUTO_CLOSE int dir = ops->blob_dir(store, tenant, e);

	return dir < 0 ? dir : file_fill(dir, a[0], mib(a[1]), e);
}

static int do_usage(char **a, struct err *e)
{
	struct store_usage u;
	int rc = ops->usage(store, &u, e);

	if (rc == 0)
		printf("used %ju MiB%s%s\n", (uintmax_t)u.used_bytes / MIB, u.trouble[0] ? "; " : "", u.trouble);
	return rc;
}

static int do_reap(char **a, struct err *e)
{
	reaper_wait(store, 60000);
	return 0;
}

static void line_print(void *arg, const char *text)
{
	printf("%s\n", text);
}

/* Of the tenant's pool: reconcile look, or reconcile repair. */
static int do_reconcile(char **a, struct err *e)
{
	struct reconcile r = {.is_repair = !strcmp(a[0], "repair"), .say = line_print};
	int rc = tenant_reconcile(store, tenant, &r, e);

	if (rc == 0)
		printf("K %ju D %ju orphans %u missing %u damaged %u\n", (uintmax_t)r.kernel_tid, (uintmax_t)r.db_tid,
		        r.orphans, r.missing, r.damaged);
	return rc;
}

static int do_grow_pool(char **a, struct err *e)
{
	return outer_grow(store, e);
}

static int do_grow_tenant(char **a, struct err *e)
{
	return tenant_grow(store, tenant, mib(a[0]), e);
}

static int do_calls(char **a, struct err *e)
{
	printf("%ju calls\n", (uintmax_t)dm_calls());
	return 0;
}

static int do_trim(char **a, struct err *e)
{
	uint64_t freed;
	int rc = ops->trim(store, &freed, e);

	if (rc == 0)
		printf("trimmed %ju MiB\n", (uintmax_t)freed / MIB);
	return rc;
}

static int do_tenants(char **a, struct err *e)
{
	long from = atol(a[0]), end = from + atol(a[1]);
	char id[TENANT_ID_MAX];

	for (long i = from; i < end; i++) {
		snprintf(id, sizeof(id), "t%ld", i);
		AUTO_CLOSE int dir = ops->blob_dir(store, id, e);
		if (dir < 0)
			return dir;
	}
	return 0;
}

/* From then on calls are to end. */
static int do_stop_in(char **a, struct err *e)
{
	long ms = atol(a[0]);
	struct itimerspec t = {.it_value = {ms / 1000, ms % 1000 * 1000000}};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (fd < 0 || timerfd_settime(fd, 0, &t, NULL) < 0)
		return err_sys(e, -errno, "make a timer");
	volume_stop_fd_set(fd);
	return 0;
}

static int do_pause(char **a, struct err *e)
{
	printf("paused\n");
	pause();
	return 0;
}

static int do_shell(char **a, struct err *e)
{
	return system(a[0]) ? err_set(e, -EIO, "%s failed", a[0]) : 0;
}

static int do_probe(char **a, struct err *e)
{
	return ops->probe(&options, e);
}

static int do_times(char **a, struct err *e)
{
	prints_times = true;
	return 0;
}

/* One build from an empty volume to a product, sharing chains with its neighbours. */
static int build_whole(const char *build, const char *chain, struct err *e)
{
	struct digest key = key_of(chain), product = key_of(build);
	struct chain_info found, info = {0};
	struct rootfs_info out = {0};
	struct volume *v = NULL;
	int rc = ops->chain_find(store, tenant, &key, &found, e);

	rc = ops->create(store, tenant, build, rc == 0 ? &key : NULL, 64 * MIB, 1000, &v, e);
	if (rc < 0)
		return rc;
	int dir = ops->mount(v, e);
	rc = dir < 0 ? dir : file_fill(dir, build, 4 * MIB, e);
	cleanup_close(&dir);
	if (rc == 0)
		rc = ops->unmount(v, e);
	if (rc == 0)
		rc = ops->check(v, e);
	if (rc == 0)
		rc = ops->snapshot(v, &key, &info, e);
	if (rc < 0) {
		ops->discard(v);
		return rc;
	}
	return ops->seal(v, &product, "{}", 2, &out, e);
}

static void *thread_main(void *arg)
{
	struct err e = ERR_INIT;
	char build[32], chain[32];
	long bad = 0;

	for (int i = 0; i < 4; i++) {
		uint64_t freed;
		snprintf(build, sizeof(build), "thread%ld-%d", (long)arg, i);
		snprintf(chain, sizeof(chain), "chain%d", i);
		int rc = build_whole(build, chain, &e);
		if (rc == 0)
			rc = ops->rootfs_delete(store, tenant, build, &freed, &e);
		if (rc < 0) {
			bad++;
			fprintf(stderr, "%s: %s\n", build, e.msg);
		}
	}
	return (void *)bad;
}

static int do_threads(char **a, struct err *e)
{
	pthread_t t[64];
	long n = atol(a[0]), bad = 0;

	for (long i = 0; i < n && i < 64; i++)
		pthread_create(&t[i], NULL, thread_main, (void *)i);
	for (long i = 0; i < n && i < 64; i++) {
		void *one;
		pthread_join(t[i], &one);
		bad += (long)one;
	}
	printf("bad %ld\n", bad);
	return 0;
}

/* --------------------------------------------------------------------------------------------------------------------
 */

static const struct step {
	const char *name;
	int n_args;
	int (*run)(char **args, struct err *e);
} steps[] = {
        {"create", 4, do_create},
        {"mount", 0, do_mount},
        {"unmount", 0, do_unmount},
        {"fill", 2, do_fill},
        {"copy", 1, do_copy},
        {"sum", 1, do_sum},
        {"remove", 1, do_remove},
        {"grow", 1, do_grow},
        {"check", 0, do_check},
        {"hash", 0, do_hash},
        {"snapshot", 1, do_snapshot},
        {"snapshot-cheap", 1, do_snapshot_cheap},
        {"seal", 1, do_seal},
        {"discard", 0, do_discard},
        {"find", 1, do_find},
        {"share", 2, do_share},
        {"open", 1, do_open},
        {"delete", 1, do_delete},
        {"lease", 4, do_lease},
        {"release", 1, do_release},
        {"leases", 0, do_leases},
        {"blob", 2, do_blob},
        {"usage", 0, do_usage},
        {"reap", 0, do_reap},
        {"calls", 0, do_calls},
        {"grow-pool", 0, do_grow_pool},
        {"grow-tenant", 1, do_grow_tenant},
        {"reconcile", 1, do_reconcile},
        {"trim", 0, do_trim},
        {"pause", 0, do_pause},
        {"tenants", 2, do_tenants},
        {"stop-in", 1, do_stop_in},
        {"probe", 0, do_probe},
        {"shell", 1, do_shell},
        {"times", 0, do_times},
        {"threads", 1, do_threads},
};

static int step_run(const struct step *s, char **args)
{
	struct err e = ERR_INIT;
	int64_t start = time_mono_ms();
	uint64_t calls = dm_calls();
	int rc = s->run(args, &e);

	if (rc < 0)
		printf("%s failed: %s: %s (%d)\n", s->name, err_kind_name(e.kind), e.msg, rc);
	else if (prints_times)
		printf("%s: %lld ms, %ju device-mapper ioctls\n", s->name, (long long)(time_mono_ms() - start),
		        (uintmax_t)(dm_calls() - calls));
	return rc;
}

static uint64_t env_mib(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text ? mib(text) : fallback * MIB;
}

static uint64_t env_number(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : 0;
}

static void dm_options(void)
{
	options.dm_data_device = getenv("DM_DATA_DEVICE");
	options.dm_metadata_device = getenv("DM_METADATA_DEVICE");
	options.dm_loop_file = getenv("DM_LOOP_FILE");
	options.dm_loop_bytes = env_mib("DM_LOOP_MIB", 1024);
	options.dm_master_key_file = getenv("DM_MASTER_KEY_FILE");
	options.dm_verity = getenv("DM_VERITY") != NULL;
	options.dm_tenant_bytes = env_mib("DM_TENANT_MIB", 8192);
	options.dm_tenant_idle_ms = env_number("DM_TENANT_IDLE_MS");
	if (options.dm_data_device || options.dm_loop_file)
		ops = &volume_dm_ops;
}

/* drive-volume STATE_DIR outer-check|outer-repair: on a store that nobody has open. */
static int outer_mend(bool is_repair)
{
	struct outer_report r = {.is_repair = is_repair};
	struct err e = ERR_INIT;

	options.access = STORE_CHANGE;
	int rc = outer_repair(&options, &r, &e);
	printf("%s%s\n",
	        rc < 0          ? "failed: "
	        : !r.is_damaged ? ""
	        : is_repair     ? "repaired: "
	                        : "damaged: ",
	        rc < 0 ? e.msg : r.text);
	return rc < 0;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	const char *max = getenv("CACHE_MAX");
	int rc = 0;

	if (argc < 2)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_setup("drive-volume", LOG_LEVEL_INFO, false);
	options = (struct store_options){.state_dir = argv[1],
	        .fetch_uid = 64002,
	        .cache_max_bytes = max ? strtoull(max, NULL, 10) : UINT64_MAX,
	        .jail_dir = getenv("JAIL_DIR")};
	dm_options();
	if (getenv("DRIVE_TENANT"))
		tenant = getenv("DRIVE_TENANT");
	if (argc == 3 && !strncmp(argv[2], "outer-", 6))
		return outer_mend(!strcmp(argv[2], "outer-repair"));
	if (ops->open(&options, &store, &e) < 0) {
		printf("open failed: %s: %s\n", err_kind_name(e.kind), e.msg);
		return 1;
	}
	for (int i = 2; i < argc && rc == 0;) {
		const struct step *s = NULL;
		for (size_t k = 0; k < ARRAY_LEN(steps) && !s; k++)
			if (!strcmp(steps[k].name, argv[i]))
				s = &steps[k];
		if (!s || i + s->n_args >= argc) {
			fprintf(stderr, "bad step %s\n", argv[i]);
			return 2;
		}
		rc = step_run(s, argv + i + 1);
		i += 1 + s->n_args;
	}
	do_discard(NULL, &e);
	ops->close(store);
	return rc < 0;
}
