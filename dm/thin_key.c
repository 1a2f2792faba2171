/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: a tenant's keys and the backups of its LUKS header. Generation G of volumes.db opens the volume:
 * keys/TENANT.G holds the key, headers/TENANT.G the header as it was after the last change of its slots.
 *
 * A rekey: key file G+1 → slot → backup G+1 → G+1 in volumes.db → old slot overwritten → backup → backup G and key file
 * G destroyed. Each step is durable before the next; a file of the generation before or after G says that one stopped
 * on its way, and key_settle() ends it: forward once volumes.db has G+1, back otherwise. An older backup then opens
 * nothing, because the key of its only slot is gone. The volume key stays the same: who has had it, and the medium, is
 * kept out only by destroying the tenant and building again.
 */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "luks.h"

#define HEADER_MAX LUKS_DATA_OFFSET

struct key_path {
	char text[THIN_STATE_DIR_MAX + 160];
};

/* libcryptsetup wants a path. SUFFIX: "" or ".new". */
static struct key_path header_path(
        const struct store *s, const struct tenant *t, uint32_t generation, const char *suffix)
{
	struct key_path p;

	snprintf(p.text, sizeof(p.text), "%s/headers/%s%s", s->dir, keys_file_name(t->id, generation).text, suffix);
	return p;
}

static struct key_path device_path(const struct store *s, const struct tenant *t)
{
	struct key_path p;

	snprintf(p.text, sizeof(p.text), DM_DIR "%s", device_name(&s->outer, &t->outer).text);
	return p;
}

static int key_read(struct store *s, const struct tenant *t, uint32_t generation, struct tenant_key *key, struct err *e)
{
	pthread_mutex_lock(&s->keys_lock);
	int rc = keys_tenant_read(s->keys_fd, t->id, generation, &s->master, key, e);
	pthread_mutex_unlock(&s->keys_lock);
	if (rc == -ENOENT) /* which would mean that there is no such tenant */
		return err_set(e, -ENOKEY,
		        "the key file %s is missing: without it the tenant's storage cannot be opened",
		        keys_file_name(t->id, generation).text);
	return rc;
}

static int key_make(struct store *s, const struct tenant *t, uint32_t generation, struct tenant_key *key, struct err *e)
{
	pthread_mutex_lock(&s->keys_lock);
	int rc = keys_tenant_make(s->keys_fd, t->id, generation, &s->master, key, e);
	pthread_mutex_unlock(&s->keys_lock);
	return rc;
}

static int generation_set(struct tenant *t, uint32_t generation, struct err *e)
{
	pthread_mutex_lock(&t->pool.lock);
	struct pool_row row = t->pool.row;
	row.key_generation = generation;
	int rc = volumes_db_pool_update(t->pool.db, &row, e);
	if (rc == 0)
		t->pool.row.key_generation = generation;
	pthread_mutex_unlock(&t->pool.lock);
	return rc;
}

/* --- header backups ---------------------------------------------------------------------------------------------- */

static int file_publish(struct store *s, const char *from, const struct generation_name *to, struct err *e)
{
	AUTO_CLOSE int fd = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0 || renameat(AT_FDCWD, from, s->headers_fd, to->text) < 0 ||
	        fsync(s->headers_fd) < 0)
		return err_sys(e, -errno, "write the header backup %s", to->text);
	return 0;
}

static int header_save(struct store *s, struct tenant *t, uint32_t generation, struct err *e)
{
	const struct generation_name name = keys_file_name(t->id, generation);
	struct key_path fresh = header_path(s, t, generation, ".new");

	unlink(fresh.text);
	int rc = luks_header_backup(device_path(s, t).text, t->pool.row.uuid, fresh.text, e);
	return rc < 0 ? rc : file_publish(s, fresh.text, &name, e);
}

static bool is_interrupted(const struct store *s, const struct tenant *t)
{
	uint32_t g = t->pool.row.key_generation;

	return keys_file_exists(s->keys_fd, t->id, g - 1) || keys_file_exists(s->keys_fd, t->id, g + 1);
}

/* KEY is that of the generation in volumes.db, and the only one that is to open the volume. */
static int key_settle(struct store *s, struct tenant *t, const struct tenant_key *key, struct err *e)
{
	const uint32_t g = t->pool.row.key_generation, others[] = {g - 1, g + 1};
	bool is_unfinished = is_interrupted(s, t);
	int rc = 0;

	if (is_unfinished)
		rc = luks_keys_keep_one(device_path(s, t).text, t->pool.row.uuid, key->bytes, e);
	if (rc >= 0 && (is_unfinished || !keys_file_exists(s->headers_fd, t->id, g)))
		rc = header_save(s, t, g, e);
	for (size_t i = 0; is_unfinished && i < ARRAY_LEN(others) && rc >= 0; i++) {
		const struct generation_name name = keys_file_name(t->id, others[i]);
		rc = keys_file_shred(s->headers_fd, name.text, e);
		if (rc == 0) /* the last: it is what says that there is something to end */
			rc = keys_file_shred(s->keys_fd, name.text, e);
	}
	return rc < 0 ? rc : 0;
}

/* --- open -------------------------------------------------------------------------------------------------------- */

int tenant_key_first(struct store *s, struct tenant *t, const char *crypt, struct err *e)
{
	AUTO(tenant_key_cleanup) struct tenant_key key = {0};
	struct key_path device = device_path(s, t);
	int rc = key_make(s, t, t->pool.row.key_generation, &key, e);

	if (rc == 0)
		rc = luks_format(device.text, t->pool.row.uuid, key.bytes, e);
	if (rc == 0)
		rc = header_save(s, t, t->pool.row.key_generation, e);
	if (rc == 0)
		rc = luks_open(device.text, t->pool.row.uuid, crypt, key.bytes, !s->forbids_discards, e);
	return rc;
}

/* CRYPT: bring it up so named; NULL: it is, the key is wanted only. */
static int open_with(struct store *s, struct tenant *t, uint32_t generation, const char *crypt, struct tenant_key *key,
        struct err *e)
{
	struct key_path device = device_path(s, t);
	int rc = key_read(s, t, generation, key, e);

	if (rc < 0)
		return rc;
	return crypt ? luks_open(device.text, t->pool.row.uuid, crypt, key->bytes, !s->forbids_discards, e)
	             : luks_key_check(device.text, t->pool.row.uuid, key->bytes, e);
}

/* The generation of volumes.db; if that does not, the next or the one before, which then is the tenant's. */
static int open_any(struct store *s, struct tenant *t, const char *crypt, struct tenant_key *key, struct err *e)
{
	const uint32_t g = t->pool.row.key_generation, others[] = {g + 1, g - 1};
	int first = open_with(s, t, g, crypt, key, e);

	for (size_t i = 0; i < ARRAY_LEN(others) && first < 0; i++) {
		if (!keys_file_exists(s->keys_fd, t->id, others[i]) || open_with(s, t, others[i], crypt, key, NULL) < 0)
			continue;
		log_warn("volumes.db has another generation of the key than the one that opens", KV("tenant", t->id),
		        KV_U("database", g), KV_U("opens", others[i]));
		first = s->access == STORE_LOOK ? 0 : generation_set(t, others[i], e);
	}
	return first;
}

/* The header is not one that the tenant's key opens. If the backup is, it is the header that is wrong. */
static int header_heal(struct store *s, struct tenant *t)
{
	const uint32_t g = t->pool.row.key_generation, tries[] = {g, g + 1, g - 1};

	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		AUTO(tenant_key_cleanup) struct tenant_key key = {0};
		struct err why = ERR_INIT;
		struct key_path backup = header_path(s, t, tries[i], "");
		if (!keys_file_exists(s->headers_fd, t->id, tries[i]) || key_read(s, t, tries[i], &key, NULL) < 0)
			continue;
		int rc = luks_key_check(backup.text, t->pool.row.uuid, key.bytes, &why);
		if (rc == 0)
			rc = luks_header_restore(device_path(s, t).text, backup.text, &why);
		if (rc == 0)
			return 0;
		log_warn("a header backup is of no use", KV("file", backup.text), KV("error", why.msg));
	}
	return -ENOENT;
}

int tenant_key_open(struct store *s, struct tenant *t, const char *crypt, struct err *e)
{
	AUTO(tenant_key_cleanup) struct tenant_key key = {0};
	struct err first = ERR_INIT;
	bool is_look = s->access == STORE_LOOK;
	int rc = open_any(s, t, crypt, &key, &first);

	if (!is_look && (rc == -EPERM || rc == -EUCLEAN) && header_heal(s, t) == 0) {
		log_error("a tenant's LUKS header was damaged; it was restored from its backup", KV("tenant", t->id),
		        KV("damage", first.msg));
		first = (struct err)ERR_INIT;
		rc = open_any(s, t, crypt, &key, &first);
	}
	if (rc < 0) {
		*(e ? e : &first) = first;
		return rc;
	}
	return is_look ? 0 : key_settle(s, t, &key, e);
}

int tenant_key_adopt(struct store *s, struct tenant *t, struct err *e)
{
	return s->access != STORE_LOOK && is_interrupted(s, t) ? tenant_key_open(s, t, NULL, e) : 0;
}

/* --- rekey ------------------------------------------------------------------------------------------------------- */

static int rekey_locked(struct store *s, struct tenant *t, struct err *e)
{
	AUTO(tenant_key_cleanup) struct tenant_key old = {0};
	AUTO(tenant_key_cleanup) struct tenant_key new = {0};
	struct key_path device = device_path(s, t);
	const uint32_t g = t->pool.row.key_generation;
	struct err ignored = ERR_INIT;
	int rc = key_read(s, t, g, &old, e);

	if (rc < 0)
		return rc;
	rc = key_make(s, t, g + 1, &new, e);
	if (rc == 0)
		rc = luks_key_add(device.text, t->pool.row.uuid, old.bytes, new.bytes, e);
	if (rc == 0)
		rc = header_save(s, t, g + 1, e);
	if (rc == 0)
		rc = generation_set(t, g + 1, e);
	if (rc < 0) {
		key_settle(s, t, &old, &ignored);
		return rc;
	}
	return key_settle(s, t, &new, e);
}

int tenant_rekey(struct store *s, const char *tenant, uint32_t *generation, struct err *e)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	int rc = tenant_get(s, tenant, false, &t, e);

	if (rc == -ENOENT)
		return err_kind_set(e, rc, ERR_KIND_NOT_FOUND, "there is no tenant %s", tenant);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&t->lock);
	rc = rekey_locked(s, t, e);
	*generation = t->pool.row.key_generation;
	pthread_mutex_unlock(&t->lock);
	if (rc == 0)
		log_info("a tenant has a new key", KV("tenant", tenant), KV_U("generation", *generation));
	return rc < 0 ? err_wrap(e, "rekey tenant %s", tenant) : 0;
}

int store_master_rotate(struct store *s, const char *new_file, struct err *e)
{
	struct master_key next = {0};
	char made[THIN_STATE_DIR_MAX + 160];
	int rc = 0;

	pthread_mutex_lock(&s->keys_lock);
	if (snprintf(made, sizeof(made), "%s" MASTER_NEXT, s->master_path) >= (int)sizeof(made))
		rc = err_set(e, -ENAMETOOLONG, "the path of the master key is too long");
	if (rc == 0 && !new_file)
		rc = keys_master_make(made, e);
	if (rc == 0 || rc == -EEXIST)
		rc = keys_master_read(new_file ? new_file : made, &next, e);
	if (rc == 0)
		rc = keys_reseal_all(s->keys_fd, &s->master, &next, e);
	if (rc == 0 && !new_file)
		rc = keys_master_replace(made, s->master_path, e);
	if (rc == 0)
		memcpy(&s->master, &next, sizeof(next));
	pthread_mutex_unlock(&s->keys_lock);
	keys_wipe(&next, sizeof(next));
	if (rc == 0)
		log_info("the tenants' keys are sealed under a new master key: keep a copy of it elsewhere",
		        KV("file", new_file ? new_file : s->master_path));
	return rc < 0 ? err_wrap(e, "change the master key") : 0;
}

/* --- backups in an administrator's hands ------------------------------------------------------------------------- */

static int tenant_row_read(struct store *s, struct tenant *t, struct err *e)
{
	int rc = volumes_db_device_get(s->db, s->outer.row.id, "tenant", t->id, &t->outer, e);

	if (rc == 0)
		rc = volumes_db_pool_get(s->db, t->id, &t->pool.row, e);
	if (rc == -ENOENT)
		return err_kind_set(e, rc, ERR_KIND_NOT_FOUND, "there is no tenant %s", t->id);
	t->pool.db = s->db;
	return rc;
}

static int backup_locked(struct store *s, struct tenant *t, int fd, struct err *e)
{
	AUTO_FREE char *bytes = NULL;
	size_t len;
	int rc = t->is_open ? 0 : tenant_row_read(s, t, e);

	if (rc < 0)
		return rc;
	const struct generation_name name = keys_file_name(t->id, t->pool.row.key_generation);
	AUTO_CLOSE int from = openat(s->headers_fd, name.text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	rc = from < 0 ? -errno : fd_slurp(from, HEADER_MAX, &bytes, &len);
	if (rc == 0)
		rc = fd_write_all(fd, bytes, len);
	return rc < 0 ? err_sys(e, rc, "copy the header backup %s", name.text) : 0;
}

int tenant_header_backup(struct store *s, const char *tenant, int fd, struct err *e)
{
	struct tenant *t = tenant_find(s, tenant);

	pthread_mutex_lock(&t->lock);
	int rc = backup_locked(s, t, fd, e);
	pthread_mutex_unlock(&t->lock);
	return rc;
}

/* FD's bytes as PATH, once it is known that they are a header of this volume which today's key opens. */
static int header_take(struct store *s, struct tenant *t, int fd, const char *path, struct err *e)
{
	AUTO(tenant_key_cleanup) struct tenant_key key = {0};
	AUTO_FREE char *bytes = NULL;
	const uint32_t g = t->pool.row.key_generation;
	size_t len;
	int rc = fd_slurp(fd, HEADER_MAX, &bytes, &len);

	unlink(path);
	AUTO_CLOSE int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
	if (rc == 0)
		rc = out < 0 ? -errno : fd_write_all(out, bytes, len);
	if (rc < 0)
		return err_sys(e, rc, "read the header backup");
	rc = key_read(s, t, g, &key, e);
	if (rc == 0)
		rc = luks_key_check(path, t->pool.row.uuid, key.bytes, e);
	if (rc == -EPERM)
		return err_set(e, rc,
		        "this header backup has no slot that the key of generation %u opens: it is from before a "
		        "rekey, "
		        "and opens nothing",
		        g);
	return rc;
}

static int restore_locked(struct store *s, struct tenant *t, int fd, struct err *e)
{
	int rc = t->is_open ? 0 : tenant_row_read(s, t, e);

	if (rc < 0)
		return rc;
	if (atomic_load(&t->users) || tenant_is_leased(s, t->id))
		return err_set(
		        e, -EBUSY, "tenant %s is in use: its builds must end and its leases be released first", t->id);
	const struct generation_name name = keys_file_name(t->id, t->pool.row.key_generation);
	struct key_path fresh = header_path(s, t, t->pool.row.key_generation, ".new");
	rc = header_take(s, t, fd, fresh.text, e);
	if (rc == 0)
		rc = stack_down(s, t, e);
	if (rc == 0)
		rc = device_up(&s->outer, &t->outer, false, e);
	if (rc == 0)
		rc = luks_header_restore(device_path(s, t).text, fresh.text, e);
	if (rc == 0)
		rc = device_down(&s->outer, &t->outer, e);
	if (rc == 0)
		return file_publish(s, fresh.text, &name, e);
	unlink(fresh.text);
	return rc;
}

int tenant_header_restore(struct store *s, const char *tenant, int fd, struct err *e)
{
	struct tenant *t = tenant_find(s, tenant);

	reaper_keep_off(t);
	pthread_mutex_lock(&t->lock);
	int rc = restore_locked(s, t, fd, e);
	pthread_mutex_unlock(&t->lock);
	reaper_resume(s, t);
	if (rc == 0)
		log_info("a tenant's LUKS header was restored", KV("tenant", tenant));
	return rc < 0 ? err_wrap(e, "restore the header of tenant %s", tenant) : 0;
}
