/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Platforms: what the build wants, what an index offers, what a config says. */
#ifndef FETCH_PLATFORM_H
#define FETCH_PLATFORM_H

#include <stdbool.h>

struct platform {
	char os[32], architecture[32], variant[16];
};

/* linux on the machine we run on, no variant: the virtual CPU that runs the image may lack what this one has. */
void platform_host(struct platform *p);

/* One name for each thing: x86_64 is amd64, aarch64 is arm64, amd64/v1 and arm64/v8 are the plain ones. */
void platform_normalize(struct platform *p);

/* May an image for HAVE run where WANT is wanted? Same os and architecture, and a variant that is not above it. Both
 * normalized. */
bool platform_matches(const struct platform *want, const struct platform *have);

/* "linux/arm/v7" into OUT; returns OUT. */
const char *platform_format(const struct platform *p, char out[96]);

#endif
