/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "base/cleanup.h"
#include "fetch/reference.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A128 A50 A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *text, *canonical; /* NULL: refused */
} cases[] = {
        {"python", "docker.io/library/python:latest"},
        {"python:3", "docker.io/library/python:3"},
        {"a/b", "docker.io/a/b:latest"},
        {"docker.io/python", "docker.io/library/python:latest"},
        {"index.docker.io/a/b:1", "docker.io/a/b:1"},
        {"INDEX.docker.io/a/b:1", "docker.io/a/b:1"},
        {"localhost/a", "localhost/a:latest"},
        {"localhost:5000/a/b/c:t", "localhost:5000/a/b/c:t"},
        {"127.0.0.1:5000/bench/base:1", "127.0.0.1:5000/bench/base:1"},
        {"[::1]:5000/a:1", "[::1]:5000/a:1"},
        {"[::1]/a", "[::1]/a:latest"},
        {"Example.COM/a", "example.com/a:latest"},
        {"host.example/a@sha256:" HEX64, "host.example/a@sha256:" HEX64},
        {"host.example/a:tag@sha256:" HEX64, "host.example/a@sha256:" HEX64},
        {"a@sha512:" HEX64 HEX64, "docker.io/library/a@sha512:" HEX64 HEX64},
        {"a.b/c__d-e---f.g", "a.b/c__d-e---f.g:latest"},
        {"host:5000/x", "host:5000/x:latest"},
        {"a:" A128, "docker.io/library/a:" A128},
        {"localhost", "docker.io/library/localhost:latest"},
        {"x/" HEX64, "docker.io/x/" HEX64 ":latest"},
        {"", NULL},
        {"Python", NULL},
        {"a/B", NULL},
        {"Localhost/a", NULL},
        {HEX64, NULL},
        {HEX64 ":tag", NULL},
        {"a:" A128 "a", NULL},
        {"a:.tag", NULL},
        {"a:", NULL},
        {"a@", NULL},
        {"a@sha256:" HEX64 "0", NULL},
        {"a@sha256:../../etc/passwd", NULL},
        {"a@md5:00000000000000000000000000000000", NULL},
        {"a@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef", NULL},
        {"a..b", NULL},
        {"a___b", NULL},
        {"-a", NULL},
        {"a-", NULL},
        {"a//b", NULL},
        {"/a", NULL},
        {"a/", NULL},
        {"a b", NULL},
        {"a\nb", NULL},
        {"a/../b", NULL},
        {"host.example:0/a", NULL},
        {"host.example:65536/a", NULL},
        {"host.example:12x/a", NULL},
        {"host.example:/a", NULL},
        {"host..example/a", NULL},
        {"host.example./a", NULL},
        {"-host.example/a", NULL},
        {"user@host.example/a", NULL},
        {"https://host.example/a", NULL},
        {"[::1/a", NULL},
        {"[::g]/a", NULL},
        {"[127.0.0.1]/a", NULL},
        {"[fe80::1%25eth0]/a", NULL},
        {"host.example/" A50 A50 A50 A50 A50, NULL},
};

Test(reference, forms)
{
	char text[REFERENCE_TEXT_MAX];
	struct reference r;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		int rc = reference_parse(&r, cases[i].text, &e);
		cr_expect_eq(rc >= 0, cases[i].canonical != NULL, "\"%s\": %s", cases[i].text, e.msg);
		if (rc >= 0 && cases[i].canonical) {
			reference_format(&r, text);
			cr_expect_str_eq(text, cases[i].canonical);
		} else {
			cr_expect(e.msg[0] && e.kind != ERR_KIND_NONE, "\"%s\" is refused without a reason",
			        cases[i].text);
		}
	}
}

Test(reference, local)
{
	static const struct {
		const char *text, *path, *name;
	} locals[] = {
	        {"dir", "dir", ""},
	        {"/a/b:latest", "/a/b", "latest"},
	        {"a.tar:repo/x:1", "a.tar", "repo/x:1"},
	        {":tag", NULL, NULL},
	        {"", NULL, NULL},
	};
	struct local_reference l;
	struct err e;

	for (size_t i = 0; i < ARRAY_LEN(locals); i++) {
		int rc = local_reference_parse(&l, locals[i].text, &e);
		cr_expect_eq(rc >= 0, locals[i].path != NULL, "\"%s\"", locals[i].text);
		if (rc >= 0 && locals[i].path) {
			cr_expect_str_eq(l.path, locals[i].path);
			cr_expect_str_eq(l.name, locals[i].name);
		}
	}
}
