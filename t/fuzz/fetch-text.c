/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Image references, local references and WWW-Authenticate: the first byte says which. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fetch/challenge.h"
#include "fetch/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

/* What is taken is in its canonical form after one round, and names a host and a path that are safe in a URL. */
static void reference_run(const char *text)
{
	struct reference r, again;
	struct err e = ERR_INIT;
	char out[REFERENCE_TEXT_MAX], back[REFERENCE_TEXT_MAX], host[REFERENCE_NAME_MAX + 1];
	unsigned port;

	if (reference_parse(&r, text, &e) < 0) {
		must(*e.msg);
		return;
	}
	must(reference_split_domain(r.domain, host, &port) && port <= 65535);
	must(strlen(r.domain) + 1 + strlen(r.path) <= REFERENCE_NAME_MAX);
	must(!strpbrk(r.path, "?#%@:\\ ABCXYZ") && *r.path != '/' && !strstr(r.path, "//") && !strstr(r.path, ".."));
	must(r.digest.algorithm ? !*r.tag : *r.tag && !strpbrk(r.tag, "/?#%@:\\ "));
	reference_format(&r, out);
	must(reference_parse(&again, out, &e) >= 0);
	reference_format(&again, back);
	must(!strcmp(out, back));
}

static void local_run(const char *text)
{
	struct local_reference l;
	struct err e = ERR_INIT;

	if (local_reference_parse(&l, text, &e) >= 0)
		must(*l.path && !strchr(l.path, ':'));
}

static void challenge_run(const char *text)
{
	struct challenge c[3];
	struct err e = ERR_INIT;
	int n = challenge_parse(text, c, ARRAY_LEN(c), &e);

	must(n <= (int)ARRAY_LEN(c));
	for (int i = 0; i < n; i++)
		must(*c[i].scheme && memchr(c[i].scheme, 0, sizeof(c[i].scheme)) &&
		        memchr(c[i].realm, 0, sizeof(c[i].realm)) && memchr(c[i].service, 0, sizeof(c[i].service)) &&
		        memchr(c[i].scope, 0, sizeof(c[i].scope)) && !strpbrk(c[i].realm, "\r\n") &&
		        !strpbrk(c[i].scope, "\r\n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const runs[])(const char *text) = {reference_run, local_run, challenge_run};

	if (!size)
		return 0;
	AUTO_FREE char *text = malloc(size);
	if (!text)
		abort();
	memcpy(text, data + 1, size - 1);
	text[size - 1] = 0;
	runs[data[0] % ARRAY_LEN(runs)](text);
	return 0;
}
