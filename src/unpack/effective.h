/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a rootfs will run: the image's configuration (OCI image-spec config.md) under the overrides of the request.
 *
 * A new entrypoint drops the image's command, unless the request gives one too. Environments are merged, the request's
 * values win; of a name given twice the last value counts; entries without a name or without "=" are left out, as a
 * shell would. The working directory becomes absolute and clean; ".." stops at the root. Ports of the request replace
 * the image's.
 *
 * Strategies: TINI: metald-init supervises the command. DIRECT: metald-init sets the guest up and becomes the command.
 * CUSTOM: the image's own init boots: the one that the label EFFECTIVE_INIT_LABEL names, else /sbin/init.
 */
#ifndef UNPACK_EFFECTIVE_H
#define UNPACK_EFFECTIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define EFFECTIVE_INIT_LABEL "builderd.init"
#define EFFECTIVE_INIT "/usr/bin/metald-init"
#define EFFECTIVE_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#define EFFECTIVE_ITEMS_MAX 4096u      /* of each list */
#define EFFECTIVE_STRING_MAX 131071u   /* bytes: what execve takes as one argument (MAX_ARG_STRLEN) */
#define EFFECTIVE_BYTES_MAX (1u << 20) /* command and environment together: half of what execve takes */

struct strings {
	char **items; /* owns both levels */
	size_t n;
};

struct pairs {
	struct pair {
		char *key, *value; /* own */
	} * items;                 /* owns */
	size_t n;
};

enum init_strategy { INIT_TINI, INIT_DIRECT, INIT_CUSTOM };

struct effective {
	struct strings entrypoint, command, ports, volumes;
	struct pairs env, labels;
	char *working_dir, *user, *stop_signal, *init_path; /* own, never NULL once loaded */
	int64_t created_sec;                                /* of the image; 0 if it does not say */
	enum init_strategy strategy;
	bool is_finishing; /* false: no file is added */
};

/* Both texts are JSON; BAD_CONFIG for what is wrong in either. Free with effective_free in any case. */
int effective_load(struct effective *x, const char *config, size_t config_len, const char *runtime, size_t runtime_len,
        struct err *e);
void effective_free(struct effective *x);

const char *init_strategy_name(enum init_strategy s); /* "tini", "direct", "custom" */

/* Seconds since 1970 of an RFC 3339 time; 0 for anything else and for times before. */
int64_t rfc3339_parse(const char *s);
/* PATH, absolute or not, without ".", ".." and doubled slashes, absolute. The caller frees. */
char *path_absolute(const char *path);

#endif
