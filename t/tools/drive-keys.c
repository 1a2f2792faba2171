/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives keys, headers and the life of tenants of the `dm` backend for the tests: drive-keys STATE_DIR STEP...; each
 * step prints a line, the first that fails ends the run with exit code 1. Options come from the environment as for
 * drive-volume, and KILL_AT_SYNC=N: SIGKILL to ourselves in place of the Nth fsync() after the step "arm", whoever
 * calls it.
 *
 * tenant ID (of the steps that follow; acme at first)   build ID (a product from nothing)   begin ID   write MIB   end
 * open ID   blobs (hold a descriptor of them)   hold ID (of a product)   drop (what blobs and hold hold)   unseal FILE
 * (the tenant's key in clear text)   rekey   master FILE|-   header-backup FILE   header-restore FILE   destroy   many
 * N (N tenants at once, each by a thread of its own)   sleep MS   shell CMD
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "dm/dm.h"
#include "dm/thin.h"
#include "dm/volume.h"

#define MIB (1024 * 1024)

static const struct volume_ops *ops = &volume_dm_ops;
static struct store *store;
static const char *tenant = "acme";
static struct volume *volume;
static int root = -1, held = -1;
static long syncs_left; /* 0: no end */

/* --- kill points: also the libraries' calls come here ------------------------------------------------------------- */

static void sync_count(void)
{
	if (syncs_left && --syncs_left == 0)
		kill(getpid(), SIGKILL);
}

int fsync(int fd)
{
	sync_count();
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	sync_count();
	return (int)syscall(SYS_fdatasync, fd);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

static int do_tenant(char **a, struct err *e)
{
	tenant = a[0];
	return 0;
}

static int do_begin(char **a, struct err *e)
{
	int rc = ops->create(store, tenant, a[0], NULL, 64ull * MIB, 1000, &volume, e);

	if (rc == 0)
		root = ops->mount(volume, e);
	return rc == 0 && root < 0 ? root : rc;
}

static int do_write(char **a, struct err *e)
{
	static int serial;
	static char block[MIB];
	char name[32];

	snprintf(name, sizeof(name), "file%d", serial++);
	AUTO_CLOSE int fd = openat(root, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	int rc = fd < 0 ? -errno : 0;
	for (long i = atol(a[0]); i > 0 && rc == 0; i--) {
		memset(block, (int)i, sizeof(block));
		rc = fd_write_all(fd, block, sizeof(block));
	}
	return rc < 0 ? err_sys(e, rc, "write %s", name) : 0;
}

static int do_end(char **a, struct err *e)
{
	struct rootfs_info info = {.size_bytes = ops->size(volume)};
	struct digest none = {0};

	cleanup_close(&root);
	int rc = ops->unmount(volume, e);
	if (rc == 0)
		rc = ops->check(volume, e);
	if (rc == 0)
		rc = ops->seal(STEAL(&volume), &none, "{}", 2, &info, e);
	if (rc == 0)
		printf("%s\n", info.path);
	return rc;
}

static int do_build(char **a, struct err *e)
{
	char mib[] = "1", *args[] = {mib};
	int rc = do_begin(a, e);

	if (rc == 0)
		rc = do_write(args, e);
	return rc < 0 ? rc : do_end(NULL, e);
}

static int do_open(char **a, struct err *e)
{
	struct rootfs_info info;
	AUTO_CLOSE int fd = ops->rootfs_open(store, tenant, a[0], &info, e);

	if (fd >= 0)
		printf("opened %s\n", info.path);
	return fd < 0 ? fd : 0;
}

static int do_hold(char **a, struct err *e)
{
	struct rootfs_info info;

	held = ops->rootfs_open(store, tenant, a[0], &info, e);
	return held < 0 ? held : 0;
}

static int do_blobs(char **a, struct err *e)
{
	held = ops->blob_dir(store, tenant, e);
	return held < 0 ? held : 0;
}

static int do_drop(char **a, struct err *e)
{
	cleanup_close(&held);
	return 0;
}

static int do_unseal(char **a, struct err *e)
{
	AUTO(tenant_key_cleanup) struct tenant_key key = {0};
	AUTO_CLOSE int fd = open(a[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct pool_row row;
	int rc = volumes_db_pool_get(store->db, tenant, &row, e);

	if (rc == 0)
		rc = keys_tenant_read(store->keys_fd, tenant, row.key_generation, &store->master, &key, e);
	return rc < 0 ? rc : fd_write_all(fd, key.bytes, sizeof(key.bytes));
}

static int do_rekey(char **a, struct err *e)
{
	uint32_t generation;
	int rc = tenant_rekey(store, tenant, &generation, e);

	if (rc == 0)
		printf("generation %u\n", generation);
	return rc;
}

static int do_master(char **a, struct err *e)
{
	return store_master_rotate(store, strcmp(a[0], "-") ? a[0] : NULL, e);
}

static int do_header_backup(char **a, struct err *e)
{
	AUTO_CLOSE int fd = open(a[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	return fd < 0 ? err_sys(e, -errno, "open %s", a[0]) : tenant_header_backup(store, tenant, fd, e);
}

static int do_header_restore(char **a, struct err *e)
{
	AUTO_CLOSE int fd = open(a[0], O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_sys(e, -errno, "open %s", a[0]) : tenant_header_restore(store, tenant, fd, e);
}

static int do_destroy(char **a, struct err *e)
{
	struct tenant_destroyed d;
	int rc = tenant_destroy(store, tenant, &d, e);

	if (rc == 0)
		printf("keys %u headers %u freed %ju MiB: files %d header %d key %d device %d rows %d\n", d.key_files,
		        d.header_files, (uintmax_t)d.freed_bytes / MIB, d.files_are_gone, d.header_is_zero,
		        d.key_opens_nothing, d.device_is_gone, d.rows_are_gone);
	return rc;
}

static void *many_main(void *arg)
{
	char id[32];
	struct err e = ERR_INIT;

	snprintf(id, sizeof(id), "many-%ld", (long)arg);
	AUTO_CLOSE int fd = ops->blob_dir(store, id, &e);
	if (fd < 0)
		fprintf(stderr, "%s: %s\n", id, e.msg);
	return fd < 0 ? arg : NULL;
}

static int do_many(char **a, struct err *e)
{
	pthread_t t[256];
	long n = atol(a[0]), bad = 0;

	for (long i = 1; i <= n && i < 256; i++)
		pthread_create(&t[i], NULL, many_main, (void *)i);
	for (long i = 1; i <= n && i < 256; i++) {
		void *failed;
		pthread_join(t[i], &failed);
		bad += failed != NULL;
	}
	printf("bad %ld\n", bad);
	return 0;
}

static int do_sleep(char **a, struct err *e)
{
	usleep((useconds_t)atol(a[0]) * 1000);
	return 0;
}

static int do_arm(char **a, struct err *e)
{
	const char *n = getenv("KILL_AT_SYNC");

	syncs_left = n ? atol(n) : 0;
	return 0;
}

static int do_shell(char **a, struct err *e)
{
	return system(a[0]) ? err_set(e, -EIO, "%s failed", a[0]) : 0;
}

static const struct step {
	const char *name;
	int n_args;
	int (*run)(char **args, struct err *e);
} steps[] = {
        {"tenant", 1, do_tenant},
        {"build", 1, do_build},
        {"begin", 1, do_begin},
        {"write", 1, do_write},
        {"end", 0, do_end},
        {"open", 1, do_open},
        {"hold", 1, do_hold},
        {"blobs", 0, do_blobs},
        {"drop", 0, do_drop},
        {"unseal", 1, do_unseal},
        {"rekey", 0, do_rekey},
        {"master", 1, do_master},
        {"header-backup", 1, do_header_backup},
        {"header-restore", 1, do_header_restore},
        {"destroy", 0, do_destroy},
        {"many", 1, do_many},
        {"sleep", 1, do_sleep},
        {"arm", 0, do_arm},
        {"shell", 1, do_shell},
};

static uint64_t env_number(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : fallback;
}

static const struct step *step_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		if (!strcmp(steps[i].name, name))
			return &steps[i];
	return NULL;
}

static int steps_run(int n, char **args)
{
	int rc = 0;

	for (int i = 0; i < n && rc == 0;) {
		const struct step *s = step_find(args[i]);
		struct err e = ERR_INIT;
		if (!s || i + s->n_args >= n) {
			fprintf(stderr, "bad step %s\n", args[i]);
			return 2;
		}
		rc = s->run(args + i + 1, &e);
		if (rc < 0)
			printf("%s failed: %s: %s (%d)\n", s->name, err_kind_name(e.kind), e.msg, rc);
		i += 1 + s->n_args;
	}
	return rc < 0;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;

	if (argc < 2)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_setup("drive-keys", LOG_LEVEL_DEBUG, false);
	const struct store_options options = {.state_dir = argv[1],
	        .fetch_uid = 64002,
	        .cache_max_bytes = UINT64_MAX,
	        .dm_data_device = getenv("DM_DATA_DEVICE"),
	        .dm_master_key_file = getenv("DM_MASTER_KEY_FILE"),
	        .dm_tenant_bytes = env_number("DM_TENANT_MIB", 1024) * MIB,
	        .dm_tenant_idle_ms = env_number("DM_TENANT_IDLE_MS", 0),
	        .dm_forbids_discards = env_number("DM_ALLOW_DISCARDS", 1) == 0};
	if (ops->open(&options, &store, &e) < 0) {
		printf("open failed: %s: %s\n", err_kind_name(e.kind), e.msg);
		return 1;
	}
	int rc = steps_run(argc - 2, argv + 2);
	syncs_left = 0;
	cleanup_close(&root);
	cleanup_close(&held);
	ops->discard(volume);
	ops->close(store);
	return rc;
}
