/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The audit log: who did what to whom, and what became of it. JSON lines, appended to files of bounded size
 * (audit-00000001.jsonl ...), each line with the SHA-256 of the line before it, through all files: an edit, a removal,
 * a move shows at the next line. The end is proved by the job store, which keeps the last line's number and hash
 * (about a second late), and by whoever noted them (builderctl audit end).
 *
 * Lines are written at once and synced within a second: the death of the process loses none, that of the machine a
 * second's. What cannot be written is logged and counted; the chain goes on from the last line that was.
 */
#ifndef API_AUDIT_H
#define API_AUDIT_H

#include "api/rpc.h"
#include "base/loop.h"
#include "store/store.h"

#define AUDIT_KINDS(X)                                                                                                 \
	X(BUILD_START, "build_start")           /* builderd works on it */                                             \
	X(BUILD_COMPLETE, "build_complete")     /* it has ended: allowed = COMPLETED, error = FAILED */                \
	X(BUILD_CANCEL, "build_cancel")         /* somebody asked to stop it */                                        \
	X(QUOTA_CHECK, "quota_check")           /* may there be one more, of builds or requests */                     \
	X(RESOURCE_ACCESS, "resource_access")   /* a call of a method or route */                                      \
	X(POLICY_VIOLATION, "policy_violation") /* what the operator's records forbid */                               \
	X(STORAGE_ACCESS, "storage_access")     /* a product was read or removed */                                    \
	X(NETWORK_ACCESS, "network_access")     /* a registry, for a build */                                          \
	X(AUDIT_GAP, "audit_gap")               /* of the log itself */

enum audit_kind {
#define X(id, name) AUDIT_##id,
	AUDIT_KINDS(X)
#undef X
};

enum audit_outcome { AUDIT_ALLOWED, AUDIT_DENIED, AUDIT_ERROR };

/* NULL and "" are left out. */
struct audit_event {
	enum audit_kind kind;
	enum audit_outcome outcome;
	const char *tenant, *customer, *build;
	const char *address;  /* of the client */
	const char *identity; /* "token tok_...", "root" ... */
	const char *resource; /* method, route, registry */
	const char *reason;
};

struct audit;

/* Make DIR ready for user UID: before the sandbox, as root. A descriptor for audit_open, or -errno. */
int audit_dir_open(const char *dir, unsigned uid, struct err *e);
/* Go on behind the last line in DIR_FD (taken over); L and S are borrowed. A cut-off end is told in the log, and in
 * ours. A file takes at most MAX_BYTES. */
int audit_open(int dir_fd, uint64_t max_bytes, struct loop *l, struct store *s, struct audit **out, struct err *e);
void audit_close(struct audit *a); /* takes NULL */

void audit_write(struct audit *a, const struct audit_event *ev); /* A NULL: nothing */
/* The last line; SEQ 0: there is none. */
void audit_end_get(const struct audit *a, struct audit_end *out);
/* Events that were not written. */
uint64_t audit_lost(const struct audit *a);

#endif
