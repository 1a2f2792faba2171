/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands and options of builder-volume: two tables, from which parsing and help are made. */
#ifndef VOLUME_OPTIONS_H
#define VOLUME_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ipc/message.h"

enum exit_code {
	EXIT_DONE,
	EXIT_FAILED,
	EXIT_USAGE,
	EXIT_NOT_FOUND,  /* no such tenant or volume */
	EXIT_BUSY,       /* something uses it */
	EXIT_NO_STORAGE, /* neither a builderd nor a store could be reached */
	EXIT_PROBLEMS    /* done, and something was found that is not as it should be */
};

struct options {
	const char *config_file; /* NULL: the environment only */
	const char *tenant;      /* NULL: any */
	const char *delta;       /* NULL: all of it */
	bool is_json, is_remove, is_repair, is_all, is_master, is_yes, is_help, is_version;
	const char *args[3];
	unsigned n_args;
};

struct json;

struct command {
	const char *name, *synopsis, *help;
	unsigned min_args, max_args;
	enum admin_command request;
	bool is_confirmed; /* by typing the tenant's name */
	/* What the arguments mean. NULL: the first is a tenant, if there is one. */
	int (*fill)(const struct options *o, struct msg_admin_request *r, struct err *e);
	void (*show)(const struct json *answer); /* to stdout, for a person */
	/* NULL: nothing to do. Before the request: what it gets, *FD. */
	int (*begin)(const struct options *o, int *fd, struct err *e);
	/* After it, with its result (RC < 0: it failed) and what it gave back, -1 or a descriptor. */
	int (*end)(const struct options *o, int rc, int result_fd, const char *json, struct err *e);
};

/* Ends with an empty row; main.c has it. */
extern const struct command commands[];

/* -EINVAL: the sentence says what is wrong. *C is NULL when no command was given. Strings are borrowed from ARGV. */
int options_parse(struct options *o, const struct command **c, int argc, char **argv, struct err *e);
/* C NULL: all of builder-volume. */
void options_help(const struct command *c);

#endif
