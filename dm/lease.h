/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leases: what the backends have in common, on the rows of volumes.db. */
#ifndef DM_LEASE_H
#define DM_LEASE_H

#include "dm/volume.h"
#include "volumes_db.h"

/* A row for Q with an id of its own; not in the database. 0 or -errno. */
int lease_row_make(const struct lease_request *q, struct lease_row *out, struct err *e);

/* The lease that Q has already. -ENOENT: none, no sentence. -EEXIST: with another jail. */
int lease_row_find(struct volumes_db *db, const struct lease_request *q, struct lease_row *out, struct err *e);

/* -ENOENT with a sentence. */
int lease_row_get(struct volumes_db *db, const char *id, struct lease_row *out, struct err *e);

/* OUT's id, request and time from ROW, the rest zero. */
void lease_from_row(const struct lease_row *row, struct lease *out);

/* -EBUSY, kind LEASED, with the names of those that have BUILD. */
int lease_refuse_deletion(struct volumes_db *db, const char *tenant, const char *build, struct err *e);

/* How many leases other than ROW have its rootfs READ_ONLY; -errno. */
int lease_others_read_only(struct volumes_db *db, const struct lease_row *row, struct err *e);

/* Rows for lease_list(); FILL adds what a row does not have. Returns how many are in OUT. */
int lease_page(struct volumes_db *db, const char *tenant, const char *build, const char *after, struct lease *out,
        size_t max, void (*fill)(void *arg, const struct lease_row *row, struct lease *out), void *arg, struct err *e);

#endif
