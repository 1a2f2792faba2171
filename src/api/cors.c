/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of web pages from elsewhere (fetch.spec.whatwg.org, "CORS protocol"). Every method that changes something
 * has a content type that makes a browser ask first, so a page of an origin that the operator has not named can neither
 * call it nor read an answer. By default none is named.
 */
#include <string.h>
#include <strings.h>

#include "api/server_internal.h"

static bool is_allowed(const struct http_exchange *x, const char *origin)
{
	size_t len = strlen(origin), n;

	for (const char *p = x->conn->server->origins; p && *p; p += n + (p[n] == ',')) {
		n = strcspn(p, ",");
		if ((n == 1 && *p == '*') || (n == len && !strncasecmp(p, origin, n)))
			return true;
	}
	return false;
}

bool cors_preflight(struct http_exchange *x)
{
	const char *origin = http_header(x, "origin"), *headers = http_header(x, "access-control-request-headers");

	if (strcmp(x->method, "OPTIONS") != 0 || !origin || !http_header(x, "access-control-request-method"))
		return false;
	if (!is_allowed(x, origin)) {
		http_respond_error(x, 403, "permission_denied",
		        "pages of origin \"%.200s\" may not call this server: its operator has not allowed them",
		        origin);
		return true;
	}
	http_header_add(x, "access-control-allow-methods", "GET, POST");
	if (headers)
		http_header_add(x, "access-control-allow-headers", headers);
	http_header_add(x, "access-control-max-age", "7200");
	http_respond(x, 204, NULL, NULL, 0);
	return true;
}

void cors_answer(struct http_exchange *x)
{
	const char *origin = http_header(x, "origin");

	if (!origin || !x->conn->server->origins || !*x->conn->server->origins)
		return;
	http_header_add(x, "vary", "Origin");
	if (!is_allowed(x, origin))
		return;
	http_header_add(x, "access-control-allow-origin", origin);
	http_header_add(x, "access-control-expose-headers", "*");
}
