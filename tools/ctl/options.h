/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands and options of builderctl: two tables, from which parsing and help are made. */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct words {          /* borrowed strings */
	const char **v; /* owns the array */
	size_t n;
};

struct options {
	/* everywhere */
	const char *url, *tenant, *token, *socket;
	bool is_json, is_help;
	/* build */
	const char *name, *workdir, *init, *auth_file, *username, *idempotency_key;
	struct words entrypoint, cmd, env, label;
	bool is_detach;
	int64_t max_disk_bytes, timeout_s; /* 0: not given */
	/* logs, rm, ls */
	bool is_follow, is_force;
	const char *state;
	int64_t limit; /* 0: not given */
	/* tenant, token */
	const char *tier, *customer, *organization, *registries, *git_hosts, *encryption;
	struct words limits;
	bool is_enable, is_disable;
	const char *scope, *description;
	const char *mode, *jail; /* lease */
	const char *end;         /* audit */
	int64_t expires_s;       /* 0: never */
	/* build, artifact */
	const char *output;
	struct words args; /* what is left: IMAGE, ID */
};

struct command {
	const char *name;
	const char *synopsis, *help;
	size_t min_args, max_args;
	int (*run)(const struct options *o); /* exit code */
};

/* NULL-terminated; main.c has it. */
extern const struct command commands[];

const struct command *command_find(const char *name);

/* Parse what follows argv[0]; the environment fills in BUILDERD_URL, BUILDERD_TENANT, BUILDERD_TOKEN, BUILDERD_SOCKET.
 * *C is NULL when no command was given. -EINVAL: the sentence says what is wrong. Strings are borrowed from ARGV. */
int options_parse(struct options *o, const struct command **c, int argc, char **argv, struct err *e);
void options_free(struct options *o);

/* C NULL: all of builderctl. */
void options_help(const struct command *c);

/* "512M", "10GiB", "4096": powers of 1024. -EINVAL. */
int options_parse_size(const char *text, int64_t *bytes);
/* "90", "90s", "15m", "1h", "30d". -EINVAL. */
int options_parse_seconds(const char *text, int64_t *seconds);

#endif
