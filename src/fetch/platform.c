/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/cleanup.h"

/* Names and levels as in containerd's platforms package; LEVEL is what an absent variant stands for. */
static const struct {
	const char *alias, *name, *variant;
} aliases[] = {
        {"x86_64", "amd64", ""},
        {"x86-64", "amd64", ""},
        {"aarch64", "arm64", ""},
        {"armhf", "arm", "v7"},
        {"armv7l", "arm", "v7"},
        {"armv6l", "arm", "v6"},
        {"armel", "arm", "v6"},
        {"i386", "386", ""},
        {"i686", "386", ""},
};
static const struct {
	const char *architecture;
	long level;
} plain[] = {{"amd64", 1}, {"arm64", 8}, {"arm", 7}};

void platform_normalize(struct platform *p)
{
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
		if (!strcmp(p->architecture, aliases[i].alias)) {
			strcpy(p->architecture, aliases[i].name);
			if (!p->variant[0])
				strcpy(p->variant, aliases[i].variant);
			break;
		}
	if ((!strcmp(p->architecture, "amd64") && !strcmp(p->variant, "v1")) ||
	        (!strcmp(p->architecture, "arm64") && (!strcmp(p->variant, "v8") || !strcmp(p->variant, "8"))))
		p->variant[0] = 0;
}

void platform_host(struct platform *p)
{
	struct utsname u;

	memset(p, 0, sizeof(*p));
	strcpy(p->os, "linux");
	if (uname(&u) == 0)
		snprintf(p->architecture, sizeof(p->architecture), "%.31s", u.machine);
	platform_normalize(p);
}

/* The N of "vN", the architecture's plain level for "", -1 for what we cannot order. */
static long level(const struct platform *p)
{
	char *end;

	if (!p->variant[0]) {
		for (size_t i = 0; i < ARRAY_LEN(plain); i++)
			if (!strcmp(p->architecture, plain[i].architecture))
				return plain[i].level;
		return 0;
	}
	if (p->variant[0] != 'v')
		return -1;
	long n = strtol(p->variant + 1, &end, 10);
	return *end || end == p->variant + 1 || n < 0 ? -1 : n;
}

bool platform_matches(const struct platform *want, const struct platform *have)
{
	if (strcmp(want->os, have->os) || strcmp(want->architecture, have->architecture))
		return false;
	if (!strcmp(want->variant, have->variant))
		return true;
	return level(have) >= 0 && level(have) <= level(want);
}

const char *platform_format(const struct platform *p, char out[96])
{
	snprintf(out, 96, "%s/%s%s%s", p->os, p->architecture, p->variant[0] ? "/" : "", p->variant);
	return out;
}
