/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lease.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "build/ulid.h"

int lease_row_make(const struct lease_request *q, struct lease_row *out, struct err *e)
{
	char ulid[ULID_CHARS + 1];
	uint8_t random[10];

	*out = (struct lease_row){.mode = q->mode, .created_ms = time_wall_ms()};
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return err_sys(e, -EIO, "make a lease's id");
	ulid_format((uint64_t)out->created_ms, random, ulid);
	snprintf(out->id, sizeof(out->id), "lease_%s", ulid);
	memcpy(out->tenant, q->tenant, sizeof(out->tenant));
	memcpy(out->build, q->build, sizeof(out->build));
	memcpy(out->holder, q->holder, sizeof(out->holder));
	memcpy(out->jail, q->jail, sizeof(out->jail));
	return 0;
}

int lease_row_find(struct volumes_db *db, const struct lease_request *q, struct lease_row *out, struct err *e)
{
	AUTO_FREE struct lease_row *rows = NULL;
	size_t n = 0;
	int rc = volumes_db_lease_list(db, q->tenant, q->build, &rows, &n, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		if (rows[i].mode != q->mode || strcmp(rows[i].holder, q->holder))
			continue;
		if (strcmp(rows[i].jail, q->jail))
			return err_set(e, -EEXIST, "%s has this rootfs as %s already, with the jail \"%s\", not \"%s\"",
			        q->holder, rows[i].id, rows[i].jail, q->jail);
		*out = rows[i];
		return 0;
	}
	return -ENOENT;
}

int lease_row_get(struct volumes_db *db, const char *id, struct lease_row *out, struct err *e)
{
	int rc = volumes_db_lease_get(db, id, out, e);

	if (rc == -ENOENT)
		return err_kind_set(e, rc, ERR_KIND_NOT_FOUND, "there is no lease %s", id);
	return rc;
}

void lease_from_row(const struct lease_row *row, struct lease *out)
{
	*out = (struct lease){.what.mode = row->mode, .created_ms = row->created_ms};
	memcpy(out->id, row->id, sizeof(out->id));
	memcpy(out->what.tenant, row->tenant, sizeof(out->what.tenant));
	memcpy(out->what.build, row->build, sizeof(out->what.build));
	memcpy(out->what.holder, row->holder, sizeof(out->what.holder));
	memcpy(out->what.jail, row->jail, sizeof(out->what.jail));
}

int lease_refuse_deletion(struct volumes_db *db, const char *tenant, const char *build, struct err *e)
{
	AUTO_FREE struct lease_row *rows = NULL;
	char names[300] = "";
	size_t n = 0, len = 0;
	int rc = volumes_db_lease_list(db, tenant, build, &rows, &n, e);

	if (rc < 0 || !n)
		return rc;
	for (size_t i = 0; i < n && len < 200; i++)
		len += (size_t)snprintf(
		        names + len, sizeof(names) - len, "%s%s (%s)", i ? ", " : "", rows[i].id, rows[i].holder);
	return err_kind_set(e, -EBUSY, ERR_KIND_LEASED, "build %s is leased %zu times: %s%s", build, n, names,
	        len < 200 ? "" : ", ...");
}

int lease_others_read_only(struct volumes_db *db, const struct lease_row *row, struct err *e)
{
	AUTO_FREE struct lease_row *rows = NULL;
	size_t n = 0;
	int others = 0, rc = volumes_db_lease_list(db, row->tenant, row->build, &rows, &n, e);

	for (size_t i = 0; i < n; i++)
		others += rows[i].mode == LEASE_READ_ONLY && strcmp(rows[i].id, row->id) != 0;
	return rc < 0 ? rc : others;
}

int lease_page(struct volumes_db *db, const char *tenant, const char *build, const char *after, struct lease *out,
        size_t max, void (*fill)(void *arg, const struct lease_row *row, struct lease *out), void *arg, struct err *e)
{
	AUTO_FREE struct lease_row *rows = NULL;
	size_t n = 0, used = 0;
	int rc = volumes_db_lease_list(db, tenant, build, &rows, &n, e);

	for (size_t i = 0; i < n && used < max; i++) {
		if (strcmp(rows[i].id, after) <= 0)
			continue;
		lease_from_row(&rows[i], &out[used]);
		fill(arg, &rows[i], &out[used]);
		used++;
	}
	return rc < 0 ? rc : (int)used;
}
