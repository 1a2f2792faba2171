/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "volumes_db.h"

#include <errno.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/loop.h"
#include "sql.h"

/* --- pools and devices ------------------------------------------------------------------------------------------- */

#define POOL_COLUMNS "id, uuid, tenant, tid, key_generation, state, meta_region, last_check_ms, meta_bytes"

static void pool_read(struct query *q, struct pool_row *row)
{
	*row = (struct pool_row){.id = (int64_t)column_number(q, 0),
	        .tid = column_number(q, 3),
	        .key_generation = (uint32_t)column_number(q, 4),
	        .meta_region = (unsigned)column_number(q, 6),
	        .last_check_ms = (int64_t)column_number(q, 7),
	        .meta_bytes = column_number(q, 8)};
	column_text(q, 1, row->uuid, sizeof(row->uuid));
	column_text(q, 2, row->tenant, sizeof(row->tenant));
	column_text(q, 5, row->state, sizeof(row->state));
}

int volumes_db_pool_get(struct volumes_db *db, const char *tenant, struct pool_row *out, struct err *e)
{
	QUERY(q, db, "SELECT " POOL_COLUMNS " FROM pools WHERE tenant=?");
	bind_text(&q, tenant);
	int rc = query_one(&q, e, "look up a pool");

	if (rc == 0)
		pool_read(&q, out);
	return rc;
}

int volumes_db_pool_list(struct volumes_db *db, struct pool_row **out, size_t *n, struct err *e)
{
	QUERY(q, db, "SELECT " POOL_COLUMNS " FROM pools ORDER BY tenant");
	int rc;

	*out = NULL;
	*n = 0;
	while ((rc = query_step(&q, e, "list the pools")) > 0) {
		*out = xrealloc(*out, (*n + 1) * sizeof(**out));
		pool_read(&q, &(*out)[(*n)++]);
	}
	return rc;
}

int volumes_db_pool_update(struct volumes_db *db, const struct pool_row *row, struct err *e)
{
	QUERY(q, db,
	        "UPDATE pools SET key_generation=?, state=?, meta_region=?, last_check_ms=?, meta_bytes=? WHERE id=?");
	bind_number(&q, row->key_generation);
	bind_text(&q, row->state);
	bind_number(&q, row->meta_region);
	bind_number(&q, (uint64_t)row->last_check_ms);
	bind_number(&q, row->meta_bytes);
	bind_number(&q, (uint64_t)row->id);
	return query_step(&q, e, "update a pool");
}

static int pool_insert(struct volumes_db *db, const char *tenant, const char *uuid, struct err *e)
{
	QUERY(q, db, "INSERT INTO pools (tenant, uuid, tid, next_device) VALUES (?,?,0,1)");
	bind_text(&q, tenant);
	bind_text(&q, uuid);
	return query_step(&q, e, "record a pool");
}

int volumes_db_pool_add(
        struct volumes_db *db, const char *tenant, const char *uuid, struct pool_row *out, struct err *e)
{
	int rc = pool_insert(db, tenant, uuid, e);

	return rc < 0 ? rc : volumes_db_pool_get(db, tenant, out, e);
}

int volumes_db_pool_delete(struct volumes_db *db, int64_t pool, struct err *e)
{
	return transact(db, e, "forget a pool",
	        "DELETE FROM intents WHERE pool=%lld; DELETE FROM devices WHERE pool=%lld;"
	        "DELETE FROM pools WHERE id=%lld;",
	        (long long)pool, (long long)pool, (long long)pool);
}

#define POOL_OF "(SELECT id FROM pools WHERE tenant=%Q)"

int volumes_db_tenant_forget(struct volumes_db *db, const char *tenant, struct err *e)
{
	return transact(db, e, "forget a tenant",
	        "DELETE FROM intents WHERE pool=" POOL_OF "; DELETE FROM devices WHERE pool=" POOL_OF ";"
	        "DELETE FROM pools WHERE tenant=%Q; DELETE FROM chains WHERE tenant=%Q;"
	        "DELETE FROM rootfs WHERE tenant=%Q; DELETE FROM leases WHERE tenant=%Q;",
	        tenant, tenant, tenant, tenant, tenant, tenant);
}

int volumes_db_tenant_count(struct volumes_db *db, const char *tenant, uint64_t *n, struct err *e)
{
	QUERY(q, db,
	        "SELECT (SELECT count(*) FROM pools WHERE tenant=?1) + (SELECT count(*) FROM chains WHERE tenant=?1)"
	        " + (SELECT count(*) FROM rootfs WHERE tenant=?1) + (SELECT count(*) FROM leases WHERE tenant=?1)"
	        " + (SELECT count(*) FROM devices WHERE pool NOT IN (SELECT id FROM pools))");
	bind_text(&q, tenant);
	int rc = query_one(&q, e, "count a tenant's rows");

	if (rc == 0)
		*n = column_number(&q, 0);
	return rc;
}

int volumes_db_create_begin(struct volumes_db *db, struct device_row *dev, bool moves_tid, struct err *e)
{
	long long pool = dev->pool;
	int rc = transact(db, e, "begin a device",
	        "INSERT INTO devices (pool, id, kind, name, size_bytes, own_bytes, is_ready, parent, created_ms)"
	        " SELECT id, next_device, %Q, %Q, %llu, %llu, 0, %u, %lld FROM pools WHERE id=%lld;"
	        "INSERT INTO intents SELECT id, tid+%d, %d, next_device FROM pools WHERE id=%lld;"
	        "UPDATE pools SET next_device=next_device+1 WHERE id=%lld;",
	        dev->kind, dev->name, (unsigned long long)dev->size_bytes, (unsigned long long)dev->own_bytes,
	        dev->parent, (long long)time_wall_ms(), pool, moves_tid, INTENT_CREATE, pool, pool);
	struct intent_row intent;

	if (rc == 0)
		rc = volumes_db_intent_get(db, dev->pool, &intent, e);
	if (rc == 0)
		dev->id = intent.device;
	return rc;
}

int volumes_db_delete_begin(struct volumes_db *db, int64_t pool, uint32_t id, struct err *e)
{
	return transact(db, e, "begin a deletion",
	        "INSERT INTO intents SELECT id, tid+1, %d, %u FROM pools WHERE id=%lld;", INTENT_DELETE, id,
	        (long long)pool);
}

int volumes_db_intent_finish(struct volumes_db *db, int64_t pool, struct err *e)
{
	long long p = pool;

	return transact(db, e, "finish a transaction",
	        "UPDATE pools SET tid=(SELECT tid FROM intents WHERE pool=%lld) WHERE id=%lld;"
	        "DELETE FROM devices WHERE pool=%lld AND id=(SELECT device FROM intents WHERE pool=%lld AND op=%d);"
	        "DELETE FROM intents WHERE pool=%lld;",
	        p, p, p, p, INTENT_DELETE, p);
}

int volumes_db_intent_abort(struct volumes_db *db, int64_t pool, struct err *e)
{
	long long p = pool;

	return transact(db, e, "take a transaction back",
	        "DELETE FROM devices WHERE pool=%lld AND id=(SELECT device FROM intents WHERE pool=%lld AND op=%d);"
	        "DELETE FROM intents WHERE pool=%lld;",
	        p, p, INTENT_CREATE, p);
}

int volumes_db_intent_get(struct volumes_db *db, int64_t pool, struct intent_row *out, struct err *e)
{
	QUERY(q, db, "SELECT tid, op, device FROM intents WHERE pool=?");
	bind_number(&q, (uint64_t)pool);
	int rc = query_step(&q, e, "look up an intent");

	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	*out = (struct intent_row){
	        .tid = column_number(&q, 0), .op = (int)column_number(&q, 1), .device = (uint32_t)column_number(&q, 2)};
	return 0;
}

int volumes_db_device_adopt(struct volumes_db *db, const struct device_row *dev, struct err *e)
{
	return transact(db, e, "adopt a device",
	        "INSERT INTO devices (pool, id, kind, name, size_bytes, own_bytes, is_ready, damage)"
	        " VALUES (%lld, %u, %Q, %Q, %llu, %llu, %d, %Q);"
	        "UPDATE pools SET next_device=max(next_device, %u) WHERE id=%lld;",
	        (long long)dev->pool, dev->id, dev->kind, dev->name, (unsigned long long)dev->size_bytes,
	        (unsigned long long)dev->own_bytes, dev->is_ready, dev->damage, dev->id + 1, (long long)dev->pool);
}

int volumes_db_device_forget(struct volumes_db *db, int64_t pool, uint32_t id, struct err *e)
{
	return transact(
	        db, e, "forget a device", "DELETE FROM devices WHERE pool=%lld AND id=%u;", (long long)pool, id);
}

int volumes_db_pool_adopt(struct volumes_db *db, int64_t pool, uint64_t tid, struct err *e)
{
	return transact(db, e, "adopt a pool",
	        "UPDATE pools SET tid=%llu WHERE id=%lld; DELETE FROM intents WHERE pool=%lld;",
	        (unsigned long long)tid, (long long)pool, (long long)pool);
}

#define DEVICE_COLUMNS "pool, id, kind, name, size_bytes, own_bytes, is_ready, parent, created_ms, damage"

static void device_read(struct query *q, struct device_row *row)
{
	*row = (struct device_row){.pool = (int64_t)column_number(q, 0),
	        .id = (uint32_t)column_number(q, 1),
	        .size_bytes = column_number(q, 4),
	        .own_bytes = column_number(q, 5),
	        .is_ready = column_number(q, 6) != 0,
	        .parent = (uint32_t)column_number(q, 7),
	        .created_ms = (int64_t)column_number(q, 8)};
	column_text(q, 2, row->kind, sizeof(row->kind));
	column_text(q, 3, row->name, sizeof(row->name));
	column_text(q, 9, row->damage, sizeof(row->damage));
}

int volumes_db_device_get(
        struct volumes_db *db, int64_t pool, const char *kind, const char *name, struct device_row *out, struct err *e)
{
	QUERY(q, db, "SELECT " DEVICE_COLUMNS " FROM devices WHERE pool=? AND kind=? AND name=?");
	bind_number(&q, (uint64_t)pool);
	bind_text(&q, kind);
	bind_text(&q, name);
	int rc = query_step(&q, e, "look up a device");
	if (rc > 0)
		device_read(&q, out);
	return rc > 0 ? 0 : rc < 0 ? rc : -ENOENT;
}

int volumes_db_device_update(struct volumes_db *db, const struct device_row *dev, struct err *e)
{
	QUERY(q, db,
	        "UPDATE devices SET kind=?, name=?, size_bytes=?, own_bytes=?, is_ready=?, damage=?"
	        " WHERE pool=? AND id=?");
	bind_text(&q, dev->kind);
	bind_text(&q, dev->name);
	bind_number(&q, dev->size_bytes);
	bind_number(&q, dev->own_bytes);
	bind_number(&q, dev->is_ready);
	bind_text(&q, dev->damage);
	bind_number(&q, (uint64_t)dev->pool);
	bind_number(&q, dev->id);
	return query_step(&q, e, "update a device");
}

int volumes_db_device_list(struct volumes_db *db, int64_t pool, struct device_row **out, size_t *n, struct err *e)
{
	QUERY(q, db, "SELECT " DEVICE_COLUMNS " FROM devices WHERE pool=? ORDER BY id");
	int rc;

	*out = NULL;
	*n = 0;
	bind_number(&q, (uint64_t)pool);
	while ((rc = query_step(&q, e, "list the devices")) > 0) {
		*out = xrealloc(*out, (*n + 1) * sizeof(**out));
		device_read(&q, &(*out)[(*n)++]);
	}
	return rc;
}

int volumes_db_cache_list(struct volumes_db *db, struct cache_row **out, size_t *n, struct err *e)
{
	QUERY(q, db,
	        "SELECT p.tenant, d.own_bytes FROM devices d JOIN pools p ON p.id=d.pool"
	        " WHERE d.kind='cache' AND d.own_bytes>0"
	        " ORDER BY (SELECT max(last_use_ms) FROM chains c WHERE c.tenant=p.tenant)");
	int rc;

	*out = NULL;
	*n = 0;
	while ((rc = query_step(&q, e, "list the caches")) > 0) {
		*out = xrealloc(*out, (*n + 1) * sizeof(**out));
		struct cache_row *row = &(*out)[(*n)++];
		column_text(&q, 0, row->tenant, sizeof(row->tenant));
		row->own_bytes = column_number(&q, 1);
	}
	return rc;
}
