/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source spec: what the API asks us to fetch. JSON in a sealed memory file (doc/ipc.md). */
#ifndef FETCH_SPEC_H
#define FETCH_SPEC_H

#include "base/err.h"
#include "fetch/credentials.h"
#include "fetch/platform.h"

struct spec {
	char reference[4608];
	struct credentials auth;
	char auth_registry[256];  /* "": the registry of the reference */
	struct platform platform; /* normalized; absent members are the host's */
};

/* The caller wipes it with spec_wipe, also after a failure. */
int spec_parse(struct spec *s, const char *data, size_t len, struct err *e);
void spec_wipe(struct spec *s);

#endif
