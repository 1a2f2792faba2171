/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `dm` backend for administrators: what there is. */
#include "thin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/fs.h>

#include "base/cleanup.h"
#include "luks.h"

/* --- parts of answers ----------------------------------------------------------------------------------------------
 */

static const char *device_state(const struct device_row *dev)
{
	if (dev->damage[0])
		return "damaged";
	if (!strcmp(dev->kind, "build"))
		return "building";
	if (!strcmp(dev->kind, "vm"))
		return "leased";
	if (!strcmp(dev->kind, DEVICE_DEAD))
		return "deleted";
	return dev->is_ready ? "ready" : "incomplete";
}

static void put_text_if(struct jsonw *w, const char *key, const char *text)
{
	jsonw_text(w, key, text[0] ? text : NULL);
}

static void put_number_if(struct jsonw *w, const char *key, const struct meta_device *d, uint64_t n)
{
	if (d)
		jsonw_number(w, key, n);
	else
		jsonw_null(w, key);
}

/* Members of a volume that every command shows. D: what the pool says, NULL: nobody asked it. */
static int put_volume(struct jsonw *w, const struct thin_look *l, const struct device_row *dev, struct err *e)
{
	const struct meta_device *d = meta_device_find(l->devices, l->n_devices, dev->id);

	jsonw_text(w, "id", dev->name);
	jsonw_text(w, "kind", dev->kind);
	jsonw_text(w, "state", device_state(dev));
	put_text_if(w, "damage", dev->damage);
	jsonw_number(w, "device", dev->id);
	jsonw_number(w, "size_bytes", dev->size_bytes);
	put_number_if(w, "mapped_bytes", d, d ? d->mapped : 0);
	put_number_if(w, "exclusive_bytes", d, d ? d->exclusive : 0);
	put_number_if(w, "shared_bytes", d, d ? d->shared : 0);
	jsonw_number(w, "created_ms", (uint64_t)dev->created_ms);
	return admin_put_leases(w, l->s->db, l->tenant, dev->name, e);
}

static void put_pool(struct jsonw *w, const struct pool *p, const struct pool_usage *u)
{
	const char *trouble = u->has_failed    ? "its metadata cannot be read"
	                      : u->needs_check ? "its metadata needs a check"
	                                       : p->refusal;

	jsonw_text(w, "pool", thin_name(&p->row, "pool", 0).text);
	jsonw_text(w, "uuid", p->row.uuid);
	jsonw_text(w, "state", p->row.state[0] ? "degraded" : trouble[0] && !p->is_look ? "refused" : "ok");
	put_text_if(w, "reason", p->row.state[0] ? p->row.state : p->is_look ? "" : trouble);
	jsonw_number(w, "size_bytes", u->data_total);
	jsonw_number(w, "used_bytes", u->data_used);
	jsonw_number(w, "free_bytes", u->data_total - u->data_used);
	jsonw_number(w, "metadata_size_bytes", u->meta_total * META_BLOCK);
	jsonw_number(w, "metadata_used_bytes", u->meta_used * META_BLOCK);
}

/* --- a tenant's pool, looked at ------------------------------------------------------------------------------------
 */

void thin_look_end(struct thin_look *l)
{
	free(l->rows);
	free(l->devices);
	tenant_put(l->t);
	*l = (struct thin_look){0};
}

int thin_look_begin(struct store *s, const char *tenant, struct thin_look *l, struct err *e)
{
	struct tenant *t;
	int rc = tenant_get(s, tenant, false, &t, e);

	*l = (struct thin_look){.s = s, .tenant = tenant};
	if (rc == -ENOENT)
		return err_kind_set(e, rc, ERR_KIND_NOT_FOUND, "there is no tenant %s", tenant);
	if (rc < 0)
		return rc;
	l->t = t;
	l->block_bytes = t->pool.block_bytes;
	rc = pool_usage_get(&t->pool, &l->usage, e);
	if (rc == 0)
		rc = volumes_db_device_list(s->db, t->pool.row.id, &l->rows, &l->n_rows, e);
	if (rc == 0)
		rc = meta_devices(&t->pool, &l->devices, &l->n_devices, e);
	if (rc < 0)
		thin_look_end(l);
	return rc;
}

/* The tenants that there are, or the one that was asked for. The caller frees *OUT. */
int thin_tenants_asked(struct store *s, const struct admin_call *c, struct device_row **out, size_t *n, struct err *e)
{
	const char *want = c->request->tenant;
	int rc = volumes_db_device_list(s->db, s->outer.row.id, out, n, e);
	size_t kept = 0;

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < *n; i++)
		if (!strcmp((*out)[i].kind, "tenant") && (!want[0] || !strcmp((*out)[i].name, want)))
			(*out)[kept++] = (*out)[i];
	*n = kept;
	if (kept || !want[0])
		return 0;
	free(*out);
	*out = NULL;
	return err_kind_set(e, -ENOENT, ERR_KIND_NOT_FOUND, "there is no tenant %s", want);
}

/* --- ls ------------------------------------------------------------------------------------------------------------
 */

static int put_volumes(struct jsonw *w, const struct thin_look *l, struct err *e)
{
	int rc = 0;

	jsonw_begin(w, "volumes", '[');
	for (size_t i = 0; i < l->n_rows && rc == 0; i++) {
		jsonw_begin(w, NULL, '{');
		rc = put_volume(w, l, &l->rows[i], e);
		jsonw_end(w, '}');
	}
	jsonw_end(w, ']');
	return rc;
}

/* One that cannot be opened is shown with the reason. */
static int ls_tenant(struct store *s, struct admin_call *c, const struct device_row *row, struct err *e)
{
	AUTO(thin_look_end) struct thin_look l = {0};
	struct err why = ERR_INIT;
	int rc = thin_look_begin(s, row->name, &l, &why);

	if (rc == -ECANCELED) {
		*e = why;
		return rc;
	}
	jsonw_begin(c->json, NULL, '{');
	jsonw_text(c->json, "tenant", row->name);
	jsonw_bool(c->json, "is_encrypted", true);
	jsonw_number(c->json, "volume_bytes", row->size_bytes);
	if (rc < 0) {
		jsonw_text(c->json, "state", row->is_ready ? "closed" : "incomplete");
		jsonw_text(c->json, "reason", why.msg);
		rc = 0;
	} else {
		put_pool(c->json, &l.t->pool, &l.usage);
		rc = put_volumes(c->json, &l, e);
	}
	jsonw_end(c->json, '}');
	return rc;
}

static int admin_ls(struct store *s, struct admin_call *c, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	size_t n = 0;
	int rc = thin_tenants_asked(s, c, &rows, &n, e);

	jsonw_begin(c->json, "tenants", '[');
	for (size_t i = 0; i < n && rc == 0; i++) {
		admin_say(c, i, n, "tenant %s", rows[i].name);
		rc = ls_tenant(s, c, &rows[i], e);
	}
	jsonw_end(c->json, ']');
	return rc;
}

/* --- df ------------------------------------------------------------------------------------------------------------
 */

/* What a tenant takes of the host's pool: 4 KiB of metadata and all copies of nothing are in it. */
static void put_host_bytes(struct store *s, struct admin_call *c, const struct tenant *t)
{
	unsigned long long sectors;
	char status[128];

	if (dm_status(device_name(&s->outer, &t->outer).text, status, sizeof(status), NULL) == 0 &&
	        sscanf(status, "%llu", &sectors) == 1)
		jsonw_number(c->json, "host_bytes", sectors * DM_SECTOR);
	else
		jsonw_null(c->json, "host_bytes");
}

static void df_tenant(struct store *s, struct admin_call *c, const struct device_row *row)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	struct err why = ERR_INIT;
	struct pool_usage u;
	int rc = tenant_get(s, row->name, false, &t, &why);

	if (rc == 0)
		rc = pool_usage_get(&t->pool, &u, &why);
	jsonw_begin(c->json, NULL, '{');
	jsonw_text(c->json, "tenant", row->name);
	if (rc < 0) {
		jsonw_text(c->json, "state", "closed");
		jsonw_text(c->json, "reason", why.msg);
	} else {
		put_pool(c->json, &t->pool, &u);
		put_host_bytes(s, c, t);
	}
	jsonw_end(c->json, '}');
}

static int admin_df(struct store *s, struct admin_call *c, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	struct pool_usage u;
	size_t n = 0;
	int rc = thin_tenants_asked(s, c, &rows, &n, e);

	if (rc == 0)
		rc = pool_usage_get(&s->outer, &u, e);
	if (rc < 0)
		return rc;
	jsonw_begin(c->json, "host", '{');
	put_pool(c->json, &s->outer, &u);
	jsonw_end(c->json, '}');
	jsonw_begin(c->json, "tenants", '[');
	for (size_t i = 0; i < n; i++)
		df_tenant(s, c, &rows[i]);
	jsonw_end(c->json, ']');
	return 0;
}

/* --- inspect -------------------------------------------------------------------------------------------------------
 */

/* A key in a table: what the kernel's keyring holds has a name there, anything else is nobody's business. */
static void key_hide(char *table)
{
	char *key = strchr(table, ' ');

	if (!key || key[1] == ':')
		return;
	for (key++; *key && *key != ' '; key++)
		*key = '*';
}

/* NAME's table, if it is up. */
static void put_live(struct jsonw *w, const char *name)
{
	char table[400] = "";
	struct dm_state state = {0};

	dm_state_get(name, &state, NULL);
	jsonw_text(w, "device_name", name);
	jsonw_bool(w, "is_active", state.exists);
	if (!state.exists)
		return;
	jsonw_bool(w, "is_read_only", state.is_read_only);
	jsonw_bool(w, "is_suspended", state.is_suspended);
	jsonw_number(w, "opens", state.opens);
	if (dm_live_table(name, table, sizeof(table), NULL) == 0) {
		if (strstr(name, "-crypt-"))
			key_hide(table);
		jsonw_text(w, "table", table);
	}
}

static void put_luks(struct store *s, struct jsonw *w, const struct tenant *t)
{
	char path[128], name[64];
	struct luks_info info;
	struct err why = ERR_INIT;

	snprintf(path, sizeof(path), DM_DIR "%s", device_name(&s->outer, &t->outer).text);
	snprintf(name, sizeof(name), "%s", thin_name(&s->outer.row, "crypt", t->outer.id).text);
	jsonw_begin(w, "luks", '{');
	if (luks_describe(path, &info, &why) < 0) {
		jsonw_text(w, "reason", why.msg);
	} else {
		jsonw_text(w, "type", "LUKS2");
		jsonw_text(w, "uuid", info.uuid);
		jsonw_text(w, "cipher", info.cipher);
		jsonw_number(w, "key_bits", info.key_bits);
		jsonw_number(w, "sector_bytes", info.sector_bytes);
		jsonw_number(w, "data_offset_bytes", info.data_offset);
		jsonw_number(w, "keyslots", info.keyslots);
		jsonw_text(w, "pbkdf", info.pbkdf);
		jsonw_number(w, "pbkdf_iterations", info.iterations);
	}
	put_live(w, name);
	jsonw_end(w, '}');
}

static void put_tenant(struct store *s, struct jsonw *w, const struct thin_look *l)
{
	const struct pool *p = &l->t->pool;
	struct intent_row intent;

	jsonw_begin(w, "tenant", '{');
	jsonw_text(w, "tenant", l->tenant);
	put_pool(w, p, &l->usage);
	jsonw_number(w, "tid_kernel", l->usage.tid);
	jsonw_number(w, "tid_database", p->row.tid);
	jsonw_bool(w, "has_intent", volumes_db_intent_get(s->db, p->row.id, &intent, NULL) == 0);
	jsonw_number(w, "metadata_region", p->row.meta_region);
	jsonw_number(w, "last_check_ms", (uint64_t)p->row.last_check_ms);
	jsonw_number(w, "key_generation", p->row.key_generation);
	put_live(w, thin_name(&p->row, "pool", 0).text);
	put_luks(s, w, l->t);
	jsonw_end(w, '}');
}

/* From what it was made, to the first. One that was deleted since ends the chain. */
static void put_parents(struct jsonw *w, const struct thin_look *l, const struct device_row *dev)
{
	uint32_t id = dev->parent;

	jsonw_begin(w, "parents", '[');
	for (size_t i = 0; id && i <= l->n_rows; i++) {
		const struct device_row *parent = thin_row_find(l, id);
		jsonw_begin(w, NULL, '{');
		jsonw_number(w, "device", id);
		jsonw_text(w, "kind", parent ? parent->kind : NULL);
		jsonw_text(w, "id", parent ? parent->name : NULL);
		jsonw_end(w, '}');
		id = parent ? parent->parent : 0;
	}
	jsonw_end(w, ']');
}

static void put_rootfs(struct store *s, struct jsonw *w, const char *tenant, const struct device_row *dev)
{
	char text[DIGEST_TEXT_MAX];
	struct rootfs_row row;

	if (volumes_db_rootfs_get(s->db, tenant, dev->name, &row, NULL) < 0)
		return;
	jsonw_text(w, "checksum", digest_format(&row.info.checksum, text));
	jsonw_text(w, "product_key", digest_format(&row.product_key, text));
	jsonw_text(w, "verity_root", row.verity_root.algorithm ? digest_format(&row.verity_root, text) : NULL);
	jsonw_number(w, "used_bytes", row.info.used_bytes);
	jsonw_number(w, "used_inodes", row.info.used_inodes);
}

static int inspect_volume(
        struct store *s, struct admin_call *c, const struct thin_look *l, const struct device_row *dev, struct err *e)
{
	put_tenant(s, c->json, l);
	jsonw_begin(c->json, "volume", '{');
	int rc = put_volume(c->json, l, dev, e);
	put_live(c->json, thin_name(&l->t->pool.row, dev->kind, dev->id).text);
	put_parents(c->json, l, dev);
	if (!strcmp(dev->kind, "rootfs"))
		put_rootfs(s, c->json, l->tenant, dev);
	jsonw_end(c->json, '}');
	return rc;
}

/* --- which volume is meant -----------------------------------------------------------------------------------------
 */

static int volumes_match(struct store *s, const char *tenant, const char *id, struct thin_found *best, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	struct pool_row pool;
	size_t n = 0;
	int rc = volumes_db_pool_get(s->db, tenant, &pool, e);

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	rc = volumes_db_device_list(s->db, pool.id, &rows, &n, e);
	for (size_t i = 0; i < n && rc == 0; i++) {
		int match = admin_match(rows[i].name, id);
		if (!match || match < best->match)
			continue;
		best->n = match > best->match ? 1 : best->n + 1;
		best->match = match;
		best->dev = rows[i];
		snprintf(best->tenant, sizeof(best->tenant), "%s", tenant);
	}
	return rc;
}

int thin_volume_find(struct store *s, const struct admin_call *c, const char *id, struct thin_found *out, struct err *e)
{
	AUTO_FREE struct device_row *tenants = NULL;
	size_t n = 0;
	int rc = thin_tenants_asked(s, c, &tenants, &n, e);

	*out = (struct thin_found){0};
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = volumes_match(s, tenants[i].name, id, out, e);
	if (rc < 0)
		return rc;
	return admin_match_check(id, out->n, out->match, e);
}

static int admin_inspect(struct store *s, struct admin_call *c, struct err *e)
{
	AUTO(thin_look_end) struct thin_look l = {0};
	struct thin_found found;
	int rc = thin_volume_find(s, c, c->request->id, &found, e);

	if (rc == 0)
		rc = thin_look_begin(s, found.tenant, &l, e);
	return rc < 0 ? rc : inspect_volume(s, c, &l, &found.dev, e);
}

/* --- trim ----------------------------------------------------------------------------------------------------------
 */

/* What the cache's files have let go of goes back to the host. */
static uint64_t cache_trim(struct store *s, const char *tenant)
{
	AUTO(tenant_cleanup) struct tenant *t = NULL;
	struct fstrim_range range = {.len = UINT64_MAX};

	if (tenant_get(s, tenant, false, &t, NULL) < 0 || ioctl(t->cache_fd, FITRIM, &range) < 0)
		return 0;
	return range.len;
}

static int admin_trim(struct store *s, struct admin_call *c, struct err *e)
{
	AUTO_FREE struct device_row *rows = NULL;
	uint64_t freed = 0, discarded = 0;
	size_t n = 0;
	int rc = thin_tenants_asked(s, c, &rows, &n, e);

	/* A tenant's blobs are counted while it is open. */
	for (size_t i = 0; i < n && rc == 0; i++) {
		AUTO(tenant_cleanup) struct tenant *t = NULL;
		tenant_get(s, rows[i].name, false, &t, NULL);
	}
	if (rc == 0)
		rc = thin_trim(s, &freed, e);
	for (size_t i = 0; i < n && rc == 0; i++) {
		admin_say(c, i, n, "tenant %s", rows[i].name);
		discarded += cache_trim(s, rows[i].name);
	}
	jsonw_number(c->json, "freed_bytes", freed);
	jsonw_number(c->json, "discarded_bytes", discarded);
	return rc;
}

/* --- more room ---------------------------------------------------------------------------------------------------- */

static int admin_grow(struct store *s, struct admin_call *c, struct err *e)
{
	const char *tenant = c->request->tenant;
	struct device_row row;
	int rc = tenant_grow(s, tenant, c->request->bytes, e);

	if (rc == -ENOENT)
		return err_kind_set(e, rc, ERR_KIND_NOT_FOUND, "there is no tenant %s", tenant);
	if (rc == 0)
		rc = volumes_db_device_get(s->db, s->outer.row.id, "tenant", tenant, &row, e);
	if (rc < 0)
		return rc;
	jsonw_text(c->json, "tenant", tenant);
	jsonw_number(c->json, "size_bytes", row.size_bytes);
	return 0;
}

static int admin_enlarge(struct store *s, struct admin_call *c, struct err *e)
{
	struct pool_usage before, after;
	int rc = pool_usage_get(&s->outer, &before, e);

	if (rc == 0)
		rc = outer_grow(s, e);
	if (rc == 0)
		rc = pool_usage_get(&s->outer, &after, e);
	if (rc < 0)
		return rc;
	jsonw_number(c->json, "data_bytes_before", before.data_total);
	jsonw_number(c->json, "data_bytes", after.data_total);
	return 0;
}

/* ------------------------------------------------------------------------------------------------------------------ */

static admin_fn *const commands[ADMIN_COMMAND_COUNT] = {
        [ADMIN_LS] = admin_ls,
        [ADMIN_DF] = admin_df,
        [ADMIN_INSPECT] = admin_inspect,
        [ADMIN_WHY_FULL] = thin_why_full,
        [ADMIN_EXPORT] = thin_export,
        [ADMIN_MOUNT] = thin_volume_mount,
        [ADMIN_UMOUNT] = thin_volume_umount,
        [ADMIN_TRIM] = admin_trim,
        [ADMIN_ORPHANS] = thin_orphans,
        [ADMIN_FSCK] = thin_fsck,
        [ADMIN_GROW] = admin_grow,
        [ADMIN_ENLARGE] = admin_enlarge,
        [ADMIN_DESTROY] = thin_admin_destroy,
        [ADMIN_REKEY] = thin_admin_rekey,
        [ADMIN_HEADER_BACKUP] = thin_admin_header_backup,
        [ADMIN_HEADER_RESTORE] = thin_admin_header_restore,
};

int thin_admin(struct store *s, struct admin_call *c, struct err *e)
{
	return admin_dispatch(s, c, commands, "the dm backend does not do that", e);
}
