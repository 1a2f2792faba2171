/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an administrator may ask of a store: builder-volume, through builderd or on a store that it has opened itself.
 * One table says what each command takes; the backends have one table of functions each.
 */
#ifndef DM_ADMIN_H
#define DM_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/jsonw.h"
#include "dm/volume.h"
#include "ipc/message.h"

/* What a command wants to be told. */
enum admin_want {
	ADMIN_WANT_TENANT = 1, /* a tenant's id; else it may be empty */
	ADMIN_WANT_ID = 2,     /* a volume's id */
};

struct admin_row {
	const char *name;
	enum store_access access; /* when builder-volume opens the store itself; ask admin_access() */
	unsigned wants;           /* enum admin_want */
	uint32_t flags;           /* that it knows */
	uint32_t n_fds;           /* that it is given */
	bool is_stoppable;        /* it ends when whoever asked has gone away */
};

extern const struct admin_row admin_table[ADMIN_COMMAND_COUNT];

/* With a flag a command that only looks changes something. */
enum store_access admin_access(const struct msg_admin_request *r);

struct admin_call {
	const struct msg_admin_request *request; /* checked */
	const int *fds;                          /* borrowed: as many as the row says */
	struct jsonw *json;                      /* inside the answer's object */
	int result_fd;                           /* -1, or what the command gives back; the caller's */
	void (*say)(void *arg, const char *text, uint64_t done, uint64_t total); /* progress; NULL: nobody listens */
	void *say_arg;
};

/* -EINVAL with a sentence: not in the table, ids that are none, flags or descriptors that the command does not take. */
int admin_request_check(const struct msg_admin_request *r, uint32_t n_fds, struct err *e);

/* Check and run R on S. *JSON is the answer, an object; on failure it may be empty. *RESULT_FD: see above. */
int admin_run(const struct volume_ops *ops, struct store *s, struct admin_call *c, uint32_t n_fds, struct buf *json,
        struct err *e);

/* For backends: run the function of C's command in TABLE; one that is missing is -EOPNOTSUPP because of WHY. */
typedef int admin_fn(struct store *s, struct admin_call *c, struct err *e);
int admin_dispatch(struct store *s, struct admin_call *c, admin_fn *const table[ADMIN_COMMAND_COUNT], const char *why,
        struct err *e);

void admin_say(const struct admin_call *c, uint64_t done, uint64_t total, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

/* Is the volume called NAME meant by ID? 2: that is its name, 1: it begins so, 0: no. */
int admin_match(const char *name, const char *id);
/* N volumes match ID best, as admin_match() said: 0 if it is one, -ENOENT, -EINVAL. */
int admin_match_check(const char *id, unsigned n, int match, struct err *e);

/* An element of the array of orphans: WHAT is called NAME, and was removed, or why it stays (NULL: nobody asked). */
void admin_put_orphan(struct jsonw *w, const char *what, const char *name, bool is_removed, const char *stays);

/* Member "leases" of a volume. */
struct volumes_db;
int admin_put_leases(struct jsonw *w, struct volumes_db *db, const char *tenant, const char *build, struct err *e);

#endif
