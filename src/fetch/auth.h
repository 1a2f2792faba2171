/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What we answer to a registry's 401: Basic, or a token from the token server that it names (distribution, "Token
 * Authentication Specification" and "OAuth2 Token Authentication").
 *
 * The realm is chosen by whoever answered: https (or plain where the registry itself may be plain), the address policy,
 * and no credentials beyond policy_realm_is_trusted; others are asked anonymously.
 */
#ifndef FETCH_AUTH_H
#define FETCH_AUTH_H

#include "fetch/challenge.h"
#include "fetch/credentials.h"
#include "fetch/http.h"

struct auth {
	/* set by the owner; all borrowed */
	struct http *http;
	const struct address_policy *policy;
	const struct credentials *credentials;
	const char *repository; /* "library/python" */
	const char *registry;   /* for sentences */
	struct http_url origin; /* of the registry's API */
	bool may_be_plain;      /* Basic and realms may go over plain HTTP */
	/* state */
	char authorization[12288]; /* the header's value, "" none yet */
	unsigned generation;       /* grows with each new one */
	unsigned rounds;           /* token requests so far */
	bool is_token_tried;       /* the credentials' token was sent as a bearer token */
	bool was_withheld;         /* credentials were not sent to a realm that is not trusted */
};

/* Act on a challenge. 1: authorization is new; 0: nothing to offer; -errno: UNAUTHORIZED, DENIED, NETWORK ... */
int auth_answer(struct auth *a, const char *field, struct err *e);
void auth_wipe(struct auth *a);

#endif
