/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "volumes_db.h"

#include <errno.h>

#include "base/buf.h"
#include "sql.h"

#define LEASE_COLUMNS "id, tenant, build, mode, holder, jail, device, created_ms"

static void lease_read(struct query *q, struct lease_row *row)
{
	*row = (struct lease_row){.mode = (int)column_number(q, 3),
	        .device = (uint32_t)column_number(q, 6),
	        .created_ms = (int64_t)column_number(q, 7)};
	column_text(q, 0, row->id, sizeof(row->id));
	column_text(q, 1, row->tenant, sizeof(row->tenant));
	column_text(q, 2, row->build, sizeof(row->build));
	column_text(q, 4, row->holder, sizeof(row->holder));
	column_text(q, 5, row->jail, sizeof(row->jail));
}

int volumes_db_lease_put(struct volumes_db *db, const struct lease_row *row, struct err *e)
{
	QUERY(q, db, "INSERT OR REPLACE INTO leases (" LEASE_COLUMNS ") VALUES (?,?,?,?,?,?,?,?)");
	bind_text(&q, row->id);
	bind_text(&q, row->tenant);
	bind_text(&q, row->build);
	bind_number(&q, (uint64_t)row->mode);
	bind_text(&q, row->holder);
	bind_text(&q, row->jail);
	bind_number(&q, row->device);
	bind_number(&q, (uint64_t)row->created_ms);
	return query_step(&q, e, "record a lease");
}

int volumes_db_lease_get(struct volumes_db *db, const char *id, struct lease_row *out, struct err *e)
{
	QUERY(q, db, "SELECT " LEASE_COLUMNS " FROM leases WHERE id=?");
	bind_text(&q, id);
	int rc = query_one(&q, e, "look up a lease");

	if (rc == 0)
		lease_read(&q, out);
	return rc;
}

int volumes_db_lease_delete(struct volumes_db *db, const char *id, struct err *e)
{
	QUERY(q, db, "DELETE FROM leases WHERE id=?");
	bind_text(&q, id);
	return query_step(&q, e, "forget a lease");
}

int volumes_db_lease_list(
        struct volumes_db *db, const char *tenant, const char *build, struct lease_row **out, size_t *n, struct err *e)
{
	QUERY(q, db,
	        "SELECT " LEASE_COLUMNS " FROM leases WHERE (?1='' OR tenant=?1) AND (?2='' OR build=?2) ORDER BY id");
	int rc;

	*out = NULL;
	*n = 0;
	bind_text(&q, tenant);
	bind_text(&q, build);
	while ((rc = query_step(&q, e, "list the leases")) > 0) {
		*out = xrealloc(*out, (*n + 1) * sizeof(**out));
		lease_read(&q, &(*out)[(*n)++]);
	}
	return rc;
}
