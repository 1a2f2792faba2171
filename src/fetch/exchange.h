/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One logical request to a registry: an HTTP request with its redirects (followed by hand: RFC 9110 section 15.4, at
 * most 10, Authorization only for the origin, https never to http), its retries (3 tries, exponential, Retry-After) and
 * one round of authentication, which is the owner's part.
 */
#ifndef FETCH_EXCHANGE_H
#define FETCH_EXCHANGE_H

#include "fetch/http.h"

struct exchange {
	/* set by the caller; zero the rest */
	struct http *http;                   /* borrowed */
	const struct address_policy *policy; /* borrowed */
	char url[HTTP_URL_MAX];              /* the hop's, from the first one on */
	const char *what;          /* subject of every sentence: "registry 127.0.0.1:5000: manifest a/b:1"; borrowed */
	const char *accept, *post; /* borrowed; NULL: none */
	const char *authorization; /* borrowed, looked at before each try: "Bearer ...", "" or NULL: none */
	bool may_be_plain;         /* hops may use http:// (a loopback or insecure registry); never after https */
	enum err_kind missing;     /* kind of a 404 */
	void *arg;
	int (*on_start)(void *arg, const struct http_response *r, struct err *e);
	int (*on_data)(void *arg, const void *data, size_t len, struct err *e);
	/* A retry: how much of the body is there already? Negative: -errno, give up. NULL: start over. */
	int64_t (*on_retry)(void *arg, struct err *e);
	/* A 401 from the origin, for the ATTEMPTth time. >= 0: try again with what AUTHORIZATION is now; -errno: it
	 * stays refused. NULL: no authentication. */
	int (*on_challenge)(void *arg, const char *challenge, unsigned attempt, struct err *e);
	const unsigned *generation; /* grows when AUTHORIZATION changes: a 401 to an older one is just sent again; NULL:
	                               not used */
	/* internal */
	struct http_request r;
	struct http_url origin;
	char accept_header[512], authorization_header[12400];
	unsigned redirects, tries, challenges, sent_generation;
	uint64_t offset;
	bool has_left; /* a hop was not the origin: no Authorization any more */
};

/* Send the first request. X must stay where it is until exchange_close. */
int exchange_start(struct exchange *x, struct err *e);
/* X's request is finished. 1: a 200 or 206 was read to its end; 0: sent again, wait for it; -errno: it failed for good.
 */
int exchange_step(struct exchange *x, struct err *e);
/* Start and drive it to its end. Others that finish meanwhile stay with http_next. */
int exchange_run(struct exchange *x, struct err *e);
void exchange_close(struct exchange *x);

#endif
