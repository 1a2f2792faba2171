/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls of builder.v1.BuilderService and AdminService in Connect's JSON form (connectrpc.com/docs/protocol).
 *
 * Results: 0; -ENOTCONN: the server was not reached; -ECANCELED: interrupted; -EREMOTEIO: the server said no, in E its
 * sentence, in client.code its code's name; else the answer makes no sense.
 */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "json/json.h"
#include "tools/ctl/http.h"
#include "tools/ctl/options.h"

struct client {
	const struct options *options; /* borrowed */
	char *url;                     /* owns; without a slash at the end */
	const char *service;           /* full name, of client_call */
	const char *socket;            /* borrowed: a Unix socket instead of the URL's host; NULL */
	struct http *http;             /* owns */
	char code[32];                 /* of the last refusal: "not_found" */
};

/* Exit codes; builderctl(1) documents them. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_UNREACHED = 3, EXIT_INTERRUPTED = 130 };

int client_init(struct client *c, const struct options *o, struct err *e);
/* For the operator's service, over the socket of this machine. */
int client_init_admin(struct client *c, const struct options *o, struct err *e);
void client_close(struct client *c);

/* SIGINT and SIGTERM end what is under way with -ECANCELED. A second one ends the process. */
void client_catch_interrupts(void);
bool client_is_interrupted(void);
/* For what has to be done after an interrupt. */
void client_forget_interrupt(void);

/* One call. BODY is the request's JSON. *TEXT gets the answer's (may be NULL), *OUT the answer, to be freed with
 * json_release. */
int client_call(struct client *c, const char *method, const char *body, const char *idempotency_key, struct buf *text,
        struct json **out, struct err *e);

/* A server stream: MESSAGE is called for each message. */
int client_stream(struct client *c, const char *method, const char *body,
        void (*message)(void *arg, const struct json *m), void *arg, struct err *e);

/* GET PATH (below the service's name). HEADERS: NULL-terminated, or NULL. DATA and TICK get ARG. */
int client_download(struct client *c, const char *path, const char *const *headers,
        int (*data)(void *arg, const void *data, size_t len, struct err *e), void *arg, bool (*tick)(void *arg),
        struct http_answer *a, struct err *e);

/* {"buildId": ID, "tenantId": ...} and MORE (", \"force\":true" or ""). */
void client_put_id(const struct client *c, struct buf *b, const char *id, const char *more);

/* Print what went wrong to stderr; the exit code for it. */
int client_fail(const struct client *c, int r, const struct err *e);

#endif
