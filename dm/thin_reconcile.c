/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend: a pool and volumes.db that disagree. One of the two was restored from an older state, or somebody
 * changed the pool by hand. What is only told is told without any change; a repair makes the database say what the
 * pool has, and deletes nothing in the pool:
 *
 *   a device that only the pool has           gets a row of kind "orphan": it stays, and its id is not used again
 *   K > D, a build that was under way         by now it may be a product that the database does not know: an orphan
 *   a row whose device the pool does not have  chains and empty file systems are forgotten; of a product, a clone and a
 *                                             tenant the row stays, marked LOST, because somebody was promised it
 *   K and D                                   D becomes K, as the last step: whatever stops before can be done again
 *
 * Then the survivors are checked (thin_repair.c), and the pool can be written to again.
 */
#include "thin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"

#define ORPHAN_STEP ((uint64_t)1 << 20) /* how big it was is not known: what is mapped, rounded up */
#define LOST "LOST: the pool does not have it any more"

static void say(const struct reconcile *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct reconcile *r, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (!r->say)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->say(r->say_arg, text);
}

static bool is_promised(const struct device_row *row)
{
	static const char *const kinds[] = {"rootfs", "vm", "tenant", "orphan"};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (!strcmp(row->kind, kinds[i]))
			return true;
	return false;
}

static int row_forget(struct pool *p, const struct device_row *row, struct err *e)
{
	struct digest d;
	int rc = 0;

	if (!strcmp(row->kind, "chain") && digest_from_hex(row->name, &d))
		rc = volumes_db_chain_delete(p->db, p->row.tenant, &d, e);
	return rc < 0 ? rc : volumes_db_device_forget(p->db, p->row.id, row->id, e);
}

static int missing_accept(struct pool *p, const struct device_row *row, struct err *e)
{
	struct device_row lost = *row;

	if (!is_promised(row))
		return row_forget(p, row, e);
	snprintf(lost.damage, sizeof(lost.damage), LOST);
	return volumes_db_device_update(p->db, &lost, e);
}

static int orphan_accept(struct pool *p, const struct meta_device *found, struct err *e)
{
	struct device_row row = {.pool = p->row.id,
	        .id = found->id,
	        .kind = "orphan",
	        .size_bytes = (found->mapped / ORPHAN_STEP + 1) * ORPHAN_STEP,
	        .own_bytes = found->exclusive,
	        .is_ready = true};

	snprintf(row.name, sizeof(row.name), "%" PRIu32, found->id);
	return volumes_db_device_adopt(p->db, &row, e);
}

static int build_keep(struct pool *p, const struct device_row *row, struct err *e)
{
	struct device_row kept = *row;

	snprintf(kept.kind, sizeof(kept.kind), "orphan");
	snprintf(kept.name, sizeof(kept.name), "%" PRIu32, row->id);
	kept.is_ready = true;
	return volumes_db_device_update(p->db, &kept, e);
}

struct lists {
	struct device_row *rows; /* own */
	struct meta_device *devices;
	size_t n_rows, n_devices;
};

static void lists_free(struct lists *l)
{
	free(l->rows);
	free(l->devices);
}

static bool has_row(const struct lists *l, uint32_t id)
{
	for (size_t i = 0; i < l->n_rows; i++)
		if (l->rows[i].id == id)
			return true;
	return false;
}

static int orphans_walk(struct pool *p, const struct lists *l, struct reconcile *r, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < l->n_devices && rc == 0; i++) {
		const struct meta_device *d = &l->devices[i];
		if (has_row(l, d->id))
			continue;
		r->orphans++;
		say(r, "device %" PRIu32 " is in the pool (%" PRIu64 " MiB), volumes.db does not know it", d->id,
		        d->mapped >> 20);
		if (r->is_repair)
			rc = orphan_accept(p, d, e);
	}
	return rc;
}

static int rows_walk(struct pool *p, const struct lists *l, struct reconcile *r, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < l->n_rows && rc == 0; i++) {
		const struct device_row *row = &l->rows[i];
		bool is_there = meta_device_find(l->devices, l->n_devices, row->id);
		if (!is_there) {
			r->missing += !row->damage[0];
			say(r, "%s %s (device %" PRIu32 ") is not in the pool", row->kind, row->name, row->id);
		}
		if (!is_there && r->is_repair)
			rc = missing_accept(p, row, e);
		else if (is_there && r->is_repair && r->kernel_tid > r->db_tid && !strcmp(row->kind, "build"))
			rc = build_keep(p, row, e);
	}
	return rc;
}

static int accept_all(struct pool *p, const struct reconcile *r, struct err *e)
{
	int rc = volumes_db_pool_adopt(p->db, p->row.id, r->kernel_tid, e);

	if (rc < 0)
		return rc;
	p->row.tid = r->kernel_tid;
	p->refusal[0] = 0;
	log_warn("volumes.db was made to say what a pool has", KV("pool", thin_name(&p->row, "pool", 0).text),
	        KV_U("kernel", r->kernel_tid), KV_U("database", r->db_tid), KV_U("orphans", r->orphans),
	        KV_U("missing", r->missing));
	return 0;
}

static int reconcile_locked(struct pool *p, struct reconcile *r, struct err *e)
{
	AUTO(lists_free) struct lists l = {0};
	struct pool_usage u;
	int rc = pool_usage_get(p, &u, e);

	if (rc == 0 && (u.has_failed || (r->is_repair && u.is_read_only)))
		return err_set(e, -EUCLEAN, "pool %.8s has to be repaired first", p->row.uuid);
	if (rc == 0)
		rc = meta_devices(p, &l.devices, &l.n_devices, e);
	if (rc == 0)
		rc = volumes_db_device_list(p->db, p->row.id, &l.rows, &l.n_rows, e);
	if (rc < 0)
		return rc;
	r->kernel_tid = u.tid;
	r->db_tid = p->row.tid;
	if (r->kernel_tid != r->db_tid)
		say(r, "the pool's transaction id is %" PRIu64 ", volumes.db has %" PRIu64 ": %s is older",
		        r->kernel_tid, r->db_tid, r->kernel_tid > r->db_tid ? "volumes.db" : "the pool");
	rc = orphans_walk(p, &l, r, e);
	if (rc == 0)
		rc = rows_walk(p, &l, r, e);
	bool differs = r->orphans || r->missing || r->kernel_tid != r->db_tid;
	return rc == 0 && r->is_repair && differs ? accept_all(p, r, e) : rc;
}

int pool_reconcile(struct pool *p, struct reconcile *r, struct err *e)
{
	r->orphans = r->missing = 0;
	pthread_mutex_lock(&p->lock);
	int rc = reconcile_locked(p, r, e);
	pthread_mutex_unlock(&p->lock);
	return rc;
}

/* Under the tenant's lock. */
static int survivors_check(struct tenant *t, struct reconcile *r, struct err *e)
{
	struct pool_row *row = &t->pool.row;
	struct losses_text losses = {0};
	int rc = pool_volumes_check(t, &losses, e);

	if (rc < 0)
		return rc;
	r->damaged = losses.n;
	say(r, "%s", losses.text);
	row->last_check_ms = time_wall_ms();
	row->state[0] = 0;
	if (losses.n)
		snprintf(row->state, sizeof(row->state), "DEGRADED: %s", losses.text);
	return volumes_db_pool_update(t->pool.db, row, e);
}

int tenant_reconcile(struct store *s, const char *id, struct reconcile *r, struct err *e)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	int rc = tenant_get(s, id, false, &t, e);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&t->lock);
	rc = pool_reconcile(&t->pool, r, e);
	if (rc == 0 && r->is_repair)
		rc = survivors_check(t, r, e);
	pthread_mutex_unlock(&t->lock);
	return rc;
}
