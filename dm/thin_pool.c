/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Thin pools: Linux Documentation/admin-guide/device-mapper/thin-provisioning.rst. Every change is a transaction over
 * the pool's metadata and volumes.db; after a crash, K (the kernel's transaction id) against D (the database's) and the
 * intent say where it stopped:
 *   K = D, no intent       clean
 *   K = D, intent D + 1    perhaps sent: a creation is deleted (absent is fine), a deletion is sent again
 *   K = D, intent D        the same, of a clone: it does not move the id, so that a VM's start is one message. A
 * message commits the pool's metadata itself (dm-thin.c, pool_message()); where that commit was lost all the same, the
 * row has a clone that the pool has not, and the activation at the next start says so K = D + 1, intent      done:
 * finish the row anything else          one of the two is older than the other: nothing is written until a person has
 * looked
 */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"

#define LET_GO_MS 2000 /* what is deleted may stay in use this long before it is left to go by itself */

/* --- names ------------------------------------------------------------------------------------------------------- */

struct thin_name thin_name(const struct pool_row *pool, const char *kind, uint32_t id)
{
	struct thin_name n;

	snprintf(n.text, sizeof(n.text), "builderd-%.8s-%s-%x", pool->uuid, kind, id);
	return n;
}

struct thin_uuid {
	char text[DM_DEVICE_UUID_MAX];
};

static struct thin_uuid uuid_of(const struct pool_row *pool, const char *kind, uint32_t id)
{
	struct thin_uuid u;

	snprintf(u.text, sizeof(u.text), DM_UUID_PREFIX "%s-%s-%x", pool->uuid, kind, id);
	return u;
}

int thin_activate(const struct pool_row *pool, const char *kind, uint32_t id, const struct dm_table *t, struct err *e)
{
	return dm_activate(thin_name(pool, kind, id).text, uuid_of(pool, kind, id).text, t, e);
}

int thin_deactivate(const struct pool_row *pool, const char *kind, uint32_t id, int timeout_ms, struct err *e)
{
	return dm_deactivate(thin_name(pool, kind, id).text, uuid_of(pool, kind, id).text, timeout_ms, e);
}

int thin_linear(const struct pool_row *pool, const char *kind, const char *device, uint64_t offset, uint64_t size,
        struct err *e)
{
	char params[320];
	const struct dm_table t = {.type = "linear", .size_bytes = size, .params = params};

	snprintf(params, sizeof(params), "%s %" PRIu64, device, offset / DM_SECTOR);
	return thin_activate(pool, kind, 0, &t, e);
}

void thin_uuid_make(char out[POOL_UUID_MAX])
{
	uint8_t bytes[(POOL_UUID_MAX - 1) / 2];

	while (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

int thin_wipe_start(const char *path, uint64_t offset, struct err *e)
{
	static const char zeros[65536];
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	int rc = fd < 0 ? -errno : fd_pwrite_all(fd, zeros, sizeof(zeros), (off_t)offset);

	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	return rc < 0 ? err_sys(e, rc, "clear the start of %s", path) : 0;
}

static struct thin_name pool_name(const struct pool *p)
{
	return thin_name(&p->row, "pool", 0);
}

struct thin_name device_name(const struct pool *p, const struct device_row *dev)
{
	return thin_name(&p->row, dev->kind, dev->id);
}

/* --- state ------------------------------------------------------------------------------------------------------- */

/* "Fail", "Error", or "TID META/META DATA/DATA HELD MODE DISCARD NOSPACE CHECK THRESHOLD". */
int pool_usage_get(const struct pool *p, struct pool_usage *out, struct err *e)
{
	char status[256];
	int rc = dm_status(pool_name(p).text, status, sizeof(status), e);

	*out = (struct pool_usage){0};
	if (rc < 0)
		return rc;
	out->has_failed = !strcmp(status, "Fail") || !strcmp(status, "Error");
	if (out->has_failed)
		return 0;
	if (sscanf(status, "%" SCNu64 " %" SCNu64 "/%" SCNu64 " %" SCNu64 "/%" SCNu64, &out->tid, &out->meta_used,
	            &out->meta_total, &out->data_used, &out->data_total) != 5)
		return err_set(
		        e, -EIO, "pool %s has the status \"%s\", which is not understood", pool_name(p).text, status);
	out->data_used *= p->block_bytes;
	out->data_total *= p->block_bytes;
	out->needs_check = strstr(status, " needs_check") != NULL;
	out->is_read_only = strstr(status, " ro ") != NULL;
	out->is_full = strstr(status, " out_of_data_space ") != NULL;
	return 0;
}

static uint64_t percent(uint64_t used, uint64_t total)
{
	return total ? (uint64_t)((double)used * 100 / (double)total) : 0;
}

void pool_trouble(const struct pool_usage *u, char *out, size_t size)
{
	if (u->has_failed || u->needs_check || u->is_read_only)
		snprintf(out, size, "its metadata %s", u->has_failed ? "has failed" : "needs a check");
	else if (u->is_full)
		snprintf(out, size, "it is full: what writes to it waits or gets errors");
	else if (percent(u->meta_used, u->meta_total) >= POOL_META_FULL_PERCENT)
		snprintf(out, size, "its metadata is %" PRIu64 " %% full", percent(u->meta_used, u->meta_total));
	else if (percent(u->data_used, u->data_total) >= POOL_DATA_WARN_PERCENT)
		snprintf(out, size, "it is %" PRIu64 " %% full", percent(u->data_used, u->data_total));
	else
		snprintf(out, size, "%s", "");
}

bool pool_meta_is_full(const struct pool_usage *u)
{
	return percent(u->meta_used, u->meta_total) >= POOL_META_FULL_PERCENT;
}

static int room_check(const struct pool_usage *u, uint64_t least, const char *what, struct err *e)
{
	uint64_t meta = percent(u->meta_used, u->meta_total), free_bytes = u->data_total - u->data_used;

	if (meta >= POOL_META_FULL_PERCENT)
		return err_kind_set(e, -ENOSPC, ERR_KIND_DISK_FULL,
		        "the metadata of %s is %" PRIu64 " %% full, nothing is made in it above %d %%", what, meta,
		        POOL_META_FULL_PERCENT);
	if (free_bytes < least)
		return err_kind_set(e, -ENOSPC, ERR_KIND_DISK_FULL,
		        "%s has %" PRIu64 " MiB free, this needs at least %" PRIu64 " MiB", what, free_bytes >> 20,
		        least >> 20);
	return 0;
}

int pool_room_check(const struct pool *p, const char *what, struct err *e)
{
	struct pool_usage u;
	uint64_t least = POOL_ADMIT_BYTES;
	int rc = pool_usage_get(p, &u, e);

	if (rc < 0)
		return rc;
	if (!p->row.tenant[0] && u.data_total / 100 * (100 - POOL_ADMIT_PERCENT) > least)
		least = u.data_total / 100 * (100 - POOL_ADMIT_PERCENT);
	return room_check(&u, least, what, e);
}

/* --- transactions ------------------------------------------------------------------------------------------------ */

static int refuse(struct pool *p, struct err *e)
{
	return err_kind_set(
	        e, -EROFS, ERR_KIND_INTERNAL, "pool %s is not written to: %s", pool_name(p).text, p->refusal);
}

/* From here on the state is for recovery at the next start to sort out. */
static int give_up(struct pool *p, int rc, struct err *e)
{
	snprintf(p->refusal, sizeof(p->refusal), "a transaction stopped half-way (%.180s)", e ? e->msg : "");
	log_error("a pool is not written to any more", KV("pool", pool_name(p).text), KV("error", p->refusal));
	return rc;
}

/* Steps 3 and 4. */
static int transaction_close(struct pool *p, uint64_t from, struct err *e)
{
	char text[80];

	snprintf(text, sizeof(text), "set_transaction_id %" PRIu64 " %" PRIu64, from, from + 1);
	int rc = dm_message(pool_name(p).text, text, e);
	if (rc == 0)
		rc = volumes_db_intent_finish(p->db, p->row.id, e);
	if (rc < 0)
		return give_up(p, rc, e);
	p->row.tid = from + 1;
	return 0;
}

/* Of one that does not move the transaction id. */
static int clone_close(struct pool *p, struct err *e)
{
	int rc = volumes_db_intent_finish(p->db, p->row.id, e);

	return rc < 0 ? give_up(p, rc, e) : 0;
}

/* The intent is durable: step 2. A message that was refused changed nothing. */
static int transaction_run(struct pool *p, const char *message, bool is_clone, struct err *e)
{
	struct err ignored = ERR_INIT;
	struct err why = ERR_INIT;
	int rc = dm_message(pool_name(p).text, message, &why);

	if (rc == 0 || (rc == -ENODATA && !strncmp(message, "delete ", 7))) /* it was lost: fine */
		return is_clone ? clone_close(p, e) : transaction_close(p, p->row.tid, e);
	*(e ? e : &why) = why;
	if (volumes_db_intent_abort(p->db, p->row.id, &ignored) < 0)
		give_up(p, rc, &ignored);
	if (rc == -ENOSPC)
		err_kind_set(e, rc, ERR_KIND_DISK_FULL, "pool %s has no room for another device", pool_name(p).text);
	return rc;
}

static int create_check(const struct pool *p, struct err *e)
{
	struct pool_usage u;
	int rc = pool_usage_get(p, &u, e);

	if (rc < 0)
		return rc;
	return room_check(&u, POOL_KEEP_BYTES, p->row.tenant[0] ? "the tenant's storage" : "the host's pool", e);
}

/* A clone takes no data. */
static int clone_check(const struct pool *p, struct err *e)
{
	if (!p->is_meta_full)
		return 0;
	return err_kind_set(e, -ENOSPC, ERR_KIND_DISK_FULL,
	        "the metadata of the tenant's storage is full to its limit of %d %%", POOL_META_FULL_PERCENT);
}

static int create_locked(
        struct pool *p, const struct device_row *origin, bool is_clone, struct device_row *dev, struct err *e)
{
	char text[80];

	if (p->refusal[0])
		return refuse(p, e);
	int rc = is_clone ? clone_check(p, e) : create_check(p, e);
	if (rc == 0)
		rc = volumes_db_create_begin(p->db, dev, !is_clone, e);
	if (rc < 0)
		return rc;
	if (origin)
		snprintf(text, sizeof(text), "create_snap %u %u", dev->id, origin->id);
	else
		snprintf(text, sizeof(text), "create_thin %u", dev->id);
	return transaction_run(p, text, is_clone, e);
}

static int device_create(struct pool *p, const char *kind, const char *name, uint64_t size_bytes,
        const struct device_row *origin, bool is_clone, struct device_row *out, struct err *e)
{
	struct device_row dev = {.pool = p->row.id, .size_bytes = size_bytes, .parent = origin ? origin->id : 0};

	snprintf(dev.kind, sizeof(dev.kind), "%s", kind);
	snprintf(dev.name, sizeof(dev.name), "%s", name);
	pthread_mutex_lock(&p->lock);
	int rc = create_locked(p, origin, is_clone, &dev, e);
	pthread_mutex_unlock(&p->lock);
	if (rc == 0)
		*out = dev;
	return rc;
}

int pool_create(struct pool *p, const char *kind, const char *name, uint64_t size_bytes,
        const struct device_row *origin, struct device_row *out, struct err *e)
{
	return device_create(p, kind, name, size_bytes, origin, false, out, e);
}

/* thin-provisioning.rst wants an active origin suspended for its snapshot, so that no write is under way. To a rootfs
 * there are none: it is active read-only, or not at all. */
int pool_clone(struct pool *p, const char *kind, const char *name, const struct device_row *origin,
        struct device_row *out, struct err *e)
{
	return device_create(p, kind, name, origin->size_bytes, origin, true, out, e);
}

int pool_delete(struct pool *p, const struct device_row *dev, struct err *e)
{
	struct device_row dead = *dev;
	int rc = dm_deactivate_later(device_name(p, dev).text, uuid_of(&p->row, dev->kind, dev->id).text, LET_GO_MS, e);

	if (rc < 0)
		return rc;
	snprintf(dead.kind, sizeof(dead.kind), DEVICE_DEAD);
	snprintf(dead.name, sizeof(dead.name), "%s-%u", dev->kind, dev->id);
	dead.is_ready = false;
	rc = volumes_db_device_update(p->db, &dead, e);
	if (rc == 0)
		reaper_poke(p->store);
	return rc;
}

static int delete_locked(struct pool *p, uint32_t id, struct err *e)
{
	char text[40];

	if (p->refusal[0])
		return refuse(p, e);
	int rc = volumes_db_delete_begin(p->db, p->row.id, id, e);
	if (rc < 0)
		return rc;
	snprintf(text, sizeof(text), "delete %u", id);
	return transaction_run(p, text, false, e);
}

int pool_delete_now(struct pool *p, const struct device_row *dev, struct err *e)
{
	pthread_mutex_lock(&p->lock);
	int rc = delete_locked(p, dev->id, e);
	pthread_mutex_unlock(&p->lock);
	return rc;
}

/* --- recovery ---------------------------------------------------------------------------------------------------- */

/* K = D with an intent: the message was perhaps sent. */
static int intent_undo_or_repeat(struct pool *p, const struct intent_row *intent, struct err *e)
{
	char text[40];

	snprintf(text, sizeof(text), "delete %u", intent->device);
	int rc = dm_message(pool_name(p).text, text, e);
	if (rc == -ENODATA || rc == -ENOENT)
		rc = 0; /* not there: never made, or deleted already */
	if (rc < 0)
		return rc;
	if (intent->op == INTENT_DELETE)
		return transaction_close(p, p->row.tid, e);
	return volumes_db_intent_abort(p->db, p->row.id, e);
}

static int recover(struct pool *p, uint64_t k, struct err *e)
{
	struct intent_row intent = {0};
	uint64_t d = p->row.tid;
	int rc = volumes_db_intent_get(p->db, p->row.id, &intent, e);
	bool has_intent = rc == 0;

	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (k == d && !has_intent)
		return 0;
	log_info("a transaction was interrupted", KV("pool", pool_name(p).text), KV_U("kernel", k), KV_U("database", d),
	        KV_U("intent", intent.op), KV_U("device", intent.device));
	if (k == d && has_intent && (intent.tid == d + 1 || (intent.tid == d && intent.op == INTENT_CREATE)))
		return intent_undo_or_repeat(p, &intent, e);
	if (has_intent && k == d + 1 && intent.tid == k) {
		p->row.tid = k;
		return volumes_db_intent_finish(p->db, p->row.id, e);
	}
	snprintf(p->refusal, sizeof(p->refusal),
	        "its transaction id is %" PRIu64 ", volumes.db has %" PRIu64 ": %s was restored from an older state", k,
	        d, k > d ? "volumes.db" : "the pool");
	return 0;
}

/* The kernel marks it so after a failed write of it; or it could not be read. */
static int state_check(const struct pool_usage *u, struct err *e)
{
	if (u->has_failed)
		return err_set(e, -EUCLEAN, "its metadata cannot be read");
	if (u->needs_check || u->is_read_only)
		return err_set(e, -EUCLEAN, "the kernel made it read-only, its metadata needs a check");
	return 0;
}

/* From drivers/md/persistent-data and dm-thin-metadata.c. */
bool pool_is_damage(int rc)
{
	return rc == -EILSEQ || rc == -EIO || rc == -EINVAL || rc == -ENOTBLK || rc == -ENODATA || rc == -EBADMSG;
}

static int pool_activate(const struct pool *p, const struct dm_table *t, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = thin_activate(&p->row, "pool", 0, t, &why);

	if (pool_is_damage(rc))
		return err_set(e, -EUCLEAN, "the kernel cannot use its metadata: %.300s", why.msg);
	if (rc < 0)
		*(e ? e : &why) = why;
	return rc;
}

int pool_up(struct pool *p, const struct pool_layout *l, struct err *e)
{
	char params[256];
	const struct dm_table t = {.type = "thin-pool", .size_bytes = l->data_bytes, .params = params};
	struct pool_usage u;

	p->refusal[0] = 0;
	p->block_bytes = l->block_bytes;
	snprintf(params, sizeof(params), DM_DIR "%s " DM_DIR "%s %" PRIu64 " 0 %s%s",
	        thin_name(&p->row, "meta", 0).text, thin_name(&p->row, "data", 0).text, l->block_bytes / DM_SECTOR,
	        p->is_look ? "2 read_only " : "1 ", l->feature);
	int rc = pool_activate(p, &t, e);
	if (rc == 0)
		rc = pool_usage_get(p, &u, e);
	if (rc == 0 && p->is_look) {
		snprintf(p->refusal, sizeof(p->refusal), "it was opened to be looked at");
		return 0;
	}
	if (rc == 0)
		rc = state_check(&u, e);
	if (rc == 0 && !p->refusal[0])
		rc = recover(p, u.tid, e);
	if (p->refusal[0])
		log_error("a pool is not written to", KV("pool", pool_name(p).text), KV("reason", p->refusal));
	return rc;
}

int pool_down(struct pool *p, struct err *e)
{
	int rc = thin_deactivate(&p->row, "pool", 0, 1000, e);

	if (rc == 0)
		rc = thin_deactivate(&p->row, "data", 0, 1000, e);
	return rc < 0 ? rc : thin_deactivate(&p->row, "meta", 0, 1000, e);
}

/* --- thin devices ------------------------------------------------------------------------------------------------ */

int device_up(const struct pool *p, const struct device_row *dev, bool is_read_only, struct err *e)
{
	char params[128];
	const struct dm_table t = {
	        .type = "thin", .size_bytes = dev->size_bytes, .params = params, .is_read_only = is_read_only};

	snprintf(params, sizeof(params), DM_DIR "%s %u", pool_name(p).text, dev->id);
	return thin_activate(&p->row, dev->kind, dev->id, &t, e);
}

int device_down(const struct pool *p, const struct device_row *dev, struct err *e)
{
	return thin_deactivate(&p->row, dev->kind, dev->id, THIN_TIMEOUT_MS, e);
}

int device_open(const struct pool *p, const struct device_row *dev, int flags, struct err *e)
{
	return dm_open(device_name(p, dev).text, flags, e);
}
