/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What to run and how, out of the files that builderd put into the rootfs:
 *
 *   /container.cmd   ["program", "argument", ...]; [] means ["/bin/sh"]
 *   /container.env   {"working_dir", "env": {NAME: value}, "exposed_ports": [...], "user", "init_strategy":
 * "tini"|"direct"} metadata=FILE    metadata.json: "entrypoint", "command", "working_dir", "env", "user" for what the
 * two leave out
 *
 * A file that does not parse is an error of its own; a member that does not fit is skipped with a message, because a
 * guest that runs with one variable less is worth more than none.
 */
#ifndef INIT_SPEC_H
#define INIT_SPEC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "tools/init/cmdline.h"
#include "tools/init/env.h"

#define SPEC_MAX_BYTES (1 << 20) /* of each file */
#define SPEC_DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct spec {
	char **argv;       /* owns; NULL-terminated; NULL: no command known */
	struct env env;    /* owns */
	char *working_dir; /* owns; NULL: not given */
	char *user;        /* owns; NULL: not given */
	bool is_direct;    /* the command becomes PID 1 */
};

/* Each takes the text of one file. -EINVAL: S is as it was. */
int spec_parse_command(struct spec *s, const char *text, size_t len, struct err *e);
int spec_parse_environment(struct spec *s, const char *text, size_t len, struct err *e);
int spec_parse_metadata(struct spec *s, const char *text, size_t len, struct err *e);

/* Put the kernel line and the defaults around what the files said: PATH < metadata < container.env < kernel line. */
void spec_finish(struct spec *s, const struct cmdline *c);
void spec_free(struct spec *s);

#endif
