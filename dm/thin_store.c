/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `dm` backend: open, close, the table of operations. thin.h says how things lie on each other. */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "image.h"
#include "jail.h"
#include "mount.h"

#define CREDENTIAL "builderd.master-key"

static int thin_probe(const struct store_options *o, struct err *e)
{
	static const char *const targets[] = {"linear", "thin-pool", "thin", "crypt"};
	int rc = 0;

	if (!outer_is_configured(o))
		return err_set(e, -ENODEV, "no pool is configured: neither DM_DATA_DEVICE nor DM_LOOP_FILE is set");
	dm_init();
	for (size_t i = 0; i < ARRAY_LEN(targets) && rc == 0; i++)
		rc = dm_target_check(targets[i], e);
	if (rc == 0)
		rc = image_probe(e);
	return rc < 0 ? rc : mount_probe(e);
}

/* --- open, close ------------------------------------------------------------------------------------------------- */

static int directory_open(int at, const char *path, int *fd, struct err *e)
{
	if (mkdirat(at, path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "make the directory %s", path);
	*fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0 || fchmod(*fd, 0700) < 0)
		return err_sys(e, -errno, "open the directory %s", path);
	return 0;
}

static int state_dir_open(struct store *s, const struct store_options *o, struct err *e)
{
	if (snprintf(s->dir, sizeof(s->dir), "%s/dm", o->state_dir) >= (int)sizeof(s->dir) || o->state_dir[0] != '/')
		return err_set(e, -EINVAL,
		        "state directory \"%.200s\": expected an absolute path shorter than %zu bytes", o->state_dir,
		        sizeof(s->dir) - 4);
	if (s->access != STORE_SERVE && access(s->dir, F_OK) < 0)
		return err_sys(e, -errno, "no builderd has kept its storage below %s", o->state_dir);
	if (mkdir(o->state_dir, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "make the state directory %s", o->state_dir);
	int rc = directory_open(AT_FDCWD, s->dir, &s->dirfd, e);
	if (rc == 0)
		rc = directory_open(s->dirfd, "keys", &s->keys_fd, e);
	if (rc == 0)
		rc = directory_open(s->dirfd, "headers", &s->headers_fd, e);
	if (rc < 0)
		return rc;
	s->lock_fd = openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return err_sys(e, -errno, "open %s/lock", s->dir);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return err_sys(e, -errno, "%s is used by another builderd", s->dir);
	if (s->access != STORE_LOOK) {
		keys_leftovers_remove(s->keys_fd);
		keys_leftovers_remove(s->headers_fd);
	}
	return 0;
}

char *master_key_path(const struct store_options *o)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");

	if (o->dm_master_key_file && o->dm_master_key_file[0])
		return xstrdup(o->dm_master_key_file);
	AUTO_FREE char *given = credentials ? xasprintf("%s/" CREDENTIAL, credentials) : NULL;
	if (given && access(given, F_OK) == 0)
		return STEAL(&given);
	return xasprintf("%s/dm/master.key", o->state_dir);
}

/* A new master key is made only where there is nothing yet that another one could open. */
static int master_key_open(struct store *s, const struct store_options *o, struct err *e)
{
	struct err first = ERR_INIT;
	struct pool_row row;

	s->master_path = master_key_path(o);
	int rc = keys_master_read(s->master_path, &s->master, &first);
	if (rc == -ENOENT) {
		rc = volumes_db_pool_get(s->db, "", &row, e);
		if (rc == 0)
			return err_set(e, -ENOENT,
			        "the master key %s is missing: without it the tenants' storage cannot be opened",
			        s->master_path);
		if (rc != -ENOENT || s->access != STORE_SERVE)
			return rc;
		rc = keys_master_make(s->master_path, e);
		if (rc == 0)
			log_info("a master key was made: keep a copy of it elsewhere", KV("file", s->master_path));
		return rc < 0 ? rc : keys_master_read(s->master_path, &s->master, e);
	}
	if (rc < 0)
		*e = first;
	return rc;
}

/* A change of the master key was interrupted: go on with it. */
static int master_key_finish(struct store *s, struct err *e)
{
	AUTO_FREE char *next = xasprintf("%s" MASTER_NEXT, s->master_path);

	return s->access == STORE_LOOK || access(next, F_OK) < 0 ? 0 : store_master_rotate(s, NULL, e);
}

void thin_end(struct store *s)
{
	if (!s)
		return;
	reaper_stop(s);
	watchdog_stop(s);
	if (tenants_close(s))
		outer_down(s);
	volumes_db_close(s->db);
	keys_wipe(&s->master, sizeof(s->master));
	cleanup_close(&s->jail_fd);
	free(s->master_path);
	cleanup_close(&s->headers_fd);
	cleanup_close(&s->keys_fd);
	cleanup_close(&s->lock_fd);
	cleanup_close(&s->dirfd);
	pthread_mutex_destroy(&s->keys_lock);
	pthread_mutex_destroy(&s->outer.lock);
	pthread_mutex_destroy(&s->lock);
	free(s->data_device);
	free(s->metadata_device);
	free(s->loop_file);
	free(s);
}

int thin_begin(const struct store_options *o, struct store **out, struct err *e)
{
	char db_path[THIN_STATE_DIR_MAX + 16];
	struct store *s = *out = xcalloc(1, sizeof(*s));

	dm_init();
	s->dirfd = s->lock_fd = s->keys_fd = s->headers_fd = s->jail_fd = -1;
	s->access = o->access;
	s->outer.store = s;
	s->fetch_uid = o->fetch_uid;
	s->cache_max_bytes = o->cache_max_bytes;
	s->tenant_bytes = o->dm_tenant_bytes;
	s->has_verity = o->dm_verity;
	s->tenant_idle_ms = o->dm_tenant_idle_ms;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->outer.lock, NULL);
	pthread_mutex_init(&s->keys_lock, NULL);
	s->forbids_discards = o->dm_forbids_discards;
	int rc = state_dir_open(s, o, e);
	if (rc == 0 && s->access != STORE_SERVE && faccessat(s->dirfd, "volumes.db", F_OK, 0) < 0)
		rc = err_sys(e, -errno, "%s/volumes.db cannot be opened", s->dir);
	if (rc < 0)
		return rc;
	snprintf(db_path, sizeof(db_path), "%s/volumes.db", s->dir);
	return volumes_db_open(db_path, &s->db, e);
}

static int thin_open(const struct store_options *o, struct store **out, struct err *e)
{
	struct store *s;
	int rc = thin_begin(o, &s, e);

	if (rc == 0)
		rc = jail_base_open(o->jail_dir, &s->jail_fd, e);
	if (rc == 0)
		rc = master_key_open(s, o, e);
	if (rc == 0)
		rc = master_key_finish(s, e);
	if (rc == 0)
		rc = outer_up(s, o, e);
	if (rc == 0 && s->access != STORE_LOOK)
		rc = watchdog_start(s, e);
	s->is_starting = true;
	if (rc == 0 && s->access == STORE_SERVE)
		rc = tenants_open(s, e);
	s->is_starting = false;
	if (rc == 0 && s->access != STORE_LOOK)
		rc = reaper_start(s, e);
	if (rc < 0) {
		thin_end(s);
		return rc;
	}
	*out = s;
	return 0;
}

static int thin_usage(struct store *s, struct store_usage *out, struct err *e)
{
	struct pool_usage u;
	int rc = pool_usage_get(&s->outer, &u, e);

	if (rc < 0)
		return rc;
	*out = (struct store_usage){
	        .total_bytes = u.data_total, .free_bytes = u.data_total - u.data_used, .used_bytes = u.data_used};
	pool_trouble(&u, out->trouble, sizeof(out->trouble));
	return 0;
}

const struct volume_ops volume_dm_ops = {
        .name = "dm",
        .probe = thin_probe,
        .open = thin_open,
        .close = thin_end,
        .usage = thin_usage,
        .blob_dir = thin_blob_dir,
        .chain_find = thin_chain_find,
        .create = thin_create,
        .mount = thin_mount,
        .unmount = thin_unmount,
        .grow = thin_grow,
        .size = thin_size,
        .snapshot = thin_snapshot,
        .journal = thin_journal,
        .check = thin_check,
        .open_raw = thin_open_raw,
        .seal = thin_seal,
        .discard = thin_discard,
        .share = thin_share,
        .rootfs_open = thin_rootfs_open,
        .rootfs_delete = thin_rootfs_delete,
        .lease_acquire = thin_lease_acquire,
        .lease_release = thin_lease_release,
        .lease_list = thin_lease_list,
        .trim = thin_trim,
        .admin = thin_admin,
        .host_repair = thin_host_repair,
};
