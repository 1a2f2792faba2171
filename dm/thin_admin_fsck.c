/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `dm` backend for administrators: fsck. Of the host's pool and of each tenant's: thin_check on the metadata (a
 * snapshot of it while the pool works), the pool against volumes.db, and e2fsck -fn on every sealed volume. A repair is
 * thin_reconcile.c's and thin_repair.c's; what they say is in the answer.
 */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "image.h"

struct fsck {
	struct store *s;
	struct admin_call *call;
	bool is_repair;
	unsigned problems;
};

static void note(void *arg, const char *text)
{
	struct fsck *f = arg;

	jsonw_text(f->call->json, NULL, text);
}

/* --- parts ---------------------------------------------------------------------------------------------------------
 */

/* -ECANCELED ends it all; another failure is what was found. */
static int metadata_check(struct fsck *f, struct pool *p, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = meta_verify(p, &why);

	if (rc == -ECANCELED) {
		*(e ? e : &why) = why;
		return rc;
	}
	jsonw_text(f->call->json, "metadata", rc < 0 ? why.msg : "ok");
	f->problems += rc < 0;
	return 0;
}

static void reconcile_put(struct fsck *f, const struct reconcile *r, int rc, const struct err *why)
{
	struct jsonw *w = f->call->json;
	bool is_agreed = rc == 0 && r->kernel_tid == r->db_tid && !r->orphans && !r->missing;

	jsonw_number(w, "tid_kernel", r->kernel_tid);
	jsonw_number(w, "tid_database", r->db_tid);
	jsonw_number(w, "orphans", r->orphans);
	jsonw_number(w, "missing", r->missing);
	jsonw_text(w, "reason", rc < 0 ? why->msg : NULL);
	jsonw_bool(w, "is_repaired", f->is_repair && rc == 0 && !is_agreed);
	f->problems += rc < 0 || r->damaged || (!is_agreed && !f->is_repair);
}

static bool is_sealed(const struct device_row *dev)
{
	return dev->is_ready &&
	       (!strcmp(dev->kind, "rootfs") || !strcmp(dev->kind, "chain") || !strcmp(dev->kind, "golden"));
}

/* Under the tenant's lock: nobody deletes it meanwhile. */
static int volume_open(struct tenant *t, const struct device_row *dev, struct err *e)
{
	pthread_mutex_lock(&t->lock);
	int rc = device_up(&t->pool, dev, true, e);
	int fd = rc < 0 ? rc : device_open(&t->pool, dev, O_RDONLY, e);
	pthread_mutex_unlock(&t->lock);
	return fd;
}

static int volume_check(struct fsck *f, struct tenant *t, const struct device_row *dev, struct err *e)
{
	struct err why = ERR_INIT;
	AUTO_CLOSE int fd = dev->damage[0] ? -1 : volume_open(t, dev, &why);
	int rc = fd < 0 ? -EIO : image_check(fd, &why);

	if (rc == -ECANCELED) {
		*e = why;
		return rc;
	}
	jsonw_begin(f->call->json, NULL, '{');
	jsonw_text(f->call->json, "id", dev->name);
	jsonw_text(f->call->json, "kind", dev->kind);
	jsonw_bool(f->call->json, "is_clean", rc == 0);
	jsonw_text(f->call->json, "reason", rc == 0 ? NULL : dev->damage[0] ? dev->damage : why.msg);
	jsonw_end(f->call->json, '}');
	f->problems += rc < 0;
	return 0;
}

static int volumes_check(struct fsck *f, struct tenant *t, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	size_t n = 0;
	int rc = volumes_db_device_list(f->s->db, t->pool.row.id, &rows, &n, e);

	jsonw_begin(f->call->json, "volumes", '[');
	for (size_t i = 0; i < n && rc == 0; i++) {
		admin_say(f->call, i, n, "tenant %s: %.12s", t->id, rows[i].name);
		if (is_sealed(&rows[i]))
			rc = volume_check(f, t, &rows[i], e);
	}
	jsonw_end(f->call->json, ']');
	return rc;
}

/* --- pools ---------------------------------------------------------------------------------------------------------
 */

static int tenant_check(struct fsck *f, const char *id, struct err *e)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	struct reconcile r = {.is_repair = f->is_repair, .say = note, .say_arg = f};
	struct err why = ERR_INIT;
	int rc = tenant_get(f->s, id, false, &t, &why);

	if (rc < 0) {
		jsonw_text(f->call->json, "reason", why.msg);
		f->problems++;
		return 0;
	}
	rc = metadata_check(f, &t->pool, e);
	if (rc < 0)
		return rc;
	jsonw_begin(f->call->json, "notes", '[');
	int reconciled = tenant_reconcile(f->s, id, &r, &why);
	jsonw_end(f->call->json, ']');
	reconcile_put(f, &r, reconciled, &why);
	rc = volumes_check(f, t, e);
	if (rc == 0 && f->s->access != STORE_LOOK) {
		struct pool_row row;
		if (volumes_db_pool_get(f->s->db, id, &row, e) == 0) {
			row.last_check_ms = time_wall_ms();
			rc = volumes_db_pool_update(f->s->db, &row, e);
			t->pool.row.last_check_ms = row.last_check_ms;
		}
	}
	return rc;
}

static int host_check(struct fsck *f, struct err *e)
{
	struct reconcile r = {.is_repair = f->is_repair, .say = note, .say_arg = f};
	struct err why = ERR_INIT;

	admin_say(f->call, 0, 0, "the host's pool");
	jsonw_begin(f->call->json, "host", '{');
	int rc = metadata_check(f, &f->s->outer, e);
	jsonw_begin(f->call->json, "notes", '[');
	int reconciled = rc < 0 ? rc : pool_reconcile(&f->s->outer, &r, &why);
	jsonw_end(f->call->json, ']');
	reconcile_put(f, &r, reconciled, &why);
	jsonw_end(f->call->json, '}');
	return rc;
}

int thin_fsck(struct store *s, struct admin_call *c, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	struct fsck f = {.s = s, .call = c, .is_repair = c->request->flags & ADMIN_REPAIR};
	size_t n = 0;
	int rc = thin_tenants_asked(s, c, &rows, &n, e);

	if (rc == 0)
		rc = host_check(&f, e);
	jsonw_begin(c->json, "tenants", '[');
	for (size_t i = 0; i < n && rc == 0; i++) {
		jsonw_begin(c->json, NULL, '{');
		jsonw_text(c->json, "tenant", rows[i].name);
		rc = tenant_check(&f, rows[i].name, e);
		jsonw_end(c->json, '}');
	}
	jsonw_end(c->json, ']');
	jsonw_number(c->json, "problems", f.problems);
	return rc;
}
