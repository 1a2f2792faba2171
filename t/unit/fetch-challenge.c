/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "base/cleanup.h"
#include "fetch/challenge.h"

static const struct {
	const char *field;
	int n; /* -1: malformed */
	int at;
	const char *scheme, *realm, *service, *scope;
} cases[] = {
        {"Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull\"",
                1, 0, "bearer", "https://auth.docker.io/token", "registry.docker.io", "repository:a/b:pull"},
        {"Basic realm=\"x\"", 1, 0, "basic", "x", "", ""},
        {"basic REALM=x", 1, 0, "basic", "x", "", ""},
        {"Basic", 1, 0, "basic", "", "", ""},
        {"Negotiate, Basic realm=\"x\"", 2, 1, "basic", "x", "", ""},
        {"Negotiate YWJj==, Bearer realm=\"r\"", 2, 1, "bearer", "r", "", ""},
        {"Bearer realm=\"r\" , service = \"s\",Basic realm=\"b\"", 2, 0, "bearer", "r", "s", ""},
        {"Bearer realm=\"a\\\"b, c\"", 1, 0, "bearer", "a\"b, c", "", ""},
        {"Digest qop=\"auth,auth-int\", nonce=\"n=1\", Basic realm=\"b\"", 2, 1, "basic", "b", "", ""},
        {" , ,Basic realm=\"b\", ,", 1, 0, "basic", "b", "", ""},
        {"", 0, 0, NULL, NULL, NULL, NULL},
        {"Bearer realm=\"unterminated", -1, 0, NULL, NULL, NULL, NULL},
        {"Bearer realm=\"r\" service=\"s\"", -1, 0, NULL, NULL, NULL, NULL},
        {"Bearer realm=\"r\", realm=\"s\"", -1, 0, NULL, NULL, NULL, NULL},
        {"realm=\"r\"", -1, 0, NULL, NULL, NULL, NULL},
        {"Bearer realm=", 1, 0, "bearer", "", "", ""}, /* by the grammar that is a token68 */
        {"Bearer realm=,x=", -1, 0, NULL, NULL, NULL, NULL},
        {"Bearer realm=\"a\rb\"", -1, 0, NULL, NULL, NULL, NULL},
        {"Bearer realm=\"a\\", -1, 0, NULL, NULL, NULL, NULL},
        {"@", -1, 0, NULL, NULL, NULL, NULL},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA realm=x", -1, 0, NULL, NULL, NULL, NULL},
};

Test(challenge, fields)
{
	struct challenge list[4];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		int n = challenge_parse(cases[i].field, list, ARRAY_LEN(list), &e);
		cr_expect_eq(n < 0 ? -1 : n, cases[i].n, "%s: %d %s", cases[i].field, n, e.msg);
		if (n <= 0 || n != cases[i].n)
			continue;
		const struct challenge *c = &list[cases[i].at];
		cr_expect_str_eq(c->scheme, cases[i].scheme);
		cr_expect_str_eq(c->realm, cases[i].realm);
		cr_expect_str_eq(c->service, cases[i].service);
		cr_expect_str_eq(c->scope, cases[i].scope);
	}
}

Test(challenge, bounds)
{
	struct challenge one[1];
	struct err e = ERR_INIT;
	char field[2048] = "Bearer realm=\"";

	cr_expect_eq(challenge_parse("A, B, C", one, 1, &e), 1);
	cr_expect_str_eq(one[0].scheme, "a");
	memset(field + strlen(field), 'x', 1500);
	strcat(field, "\"");
	cr_expect_lt(challenge_parse(field, one, 1, &e), 0, "a value that does not fit is refused, not cut");
}
