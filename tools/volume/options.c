/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/volume/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static const struct option_row {
	const char *name;
	char letter;       /* 0: none */
	const char *value; /* NULL: a flag */
	size_t offset;
	const char *help;
} rows[] = {
        {"config", 'c', "FILE", offsetof(struct options, config_file),
                "builderd's configuration; the environment wins"},
        {"tenant", 't', "ID", offsetof(struct options, tenant), "of this tenant only"},
        {"delta", 'd', "ID", offsetof(struct options, delta), "only where it differs from that volume"},
        {"remove", 0, NULL, offsetof(struct options, is_remove), "and remove what is certainly nobody's"},
        {"repair", 0, NULL, offsetof(struct options, is_repair), "and repair what can be"},
        {"all", 0, NULL, offsetof(struct options, is_all), "every tenant"},
        {"master", 0, NULL, offsetof(struct options, is_master), "the key under which the tenants' keys are sealed"},
        {"yes", 'y', NULL, offsetof(struct options, is_yes), "do not ask"},
        {"json", 'j', NULL, offsetof(struct options, is_json), "print the answer as JSON"},
        {"help", 'h', NULL, offsetof(struct options, is_help), "this"},
        {"version", 0, NULL, offsetof(struct options, is_version), "of this program"},
};

static const struct option_row *row_find(const char *word, const char **value)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t n = strlen(rows[i].name);
		*value = NULL;
		if (word[1] != '-') {
			if (rows[i].letter && word[1] == rows[i].letter && !word[2])
				return &rows[i];
		} else if (!strncmp(word + 2, rows[i].name, n) && (!word[2 + n] || word[2 + n] == '=')) {
			if (word[2 + n])
				*value = word + 2 + n + 1;
			return &rows[i];
		}
	}
	return NULL;
}

/* One option, perhaps with the word behind it; returns how many words it took. */
static int option_take(struct options *o, char **words, struct err *e)
{
	const char *value;
	const struct option_row *row = row_find(words[0], &value);
	int taken = 1;

	if (!row)
		return err_set(e, -EINVAL, "there is no option %s", words[0]);
	if (!row->value) {
		if (value)
			return err_set(e, -EINVAL, "--%s takes no value", row->name);
		*(bool *)((char *)o + row->offset) = true;
		return taken;
	}
	if (!value) {
		value = words[1];
		taken = 2;
	}
	if (!value || !*value)
		return err_set(e, -EINVAL, "--%s needs a value: %s", row->name, row->value);
	*(const char **)((char *)o + row->offset) = value;
	return taken;
}

static const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

static int word_take(struct options *o, const struct command **c, const char *word, struct err *e)
{
	if (!*c) {
		*c = command_find(word);
		return *c ? 0 : err_set(e, -EINVAL, "there is no command \"%s\"", word);
	}
	if (o->n_args >= (*c)->max_args)
		return err_set(e, -EINVAL, "%s: \"%s\" is one word too many", (*c)->name, word);
	o->args[o->n_args++] = word;
	return 0;
}

int options_parse(struct options *o, const struct command **c, int argc, char **argv, struct err *e)
{
	bool is_end = false;

	*o = (struct options){0};
	*c = NULL;
	for (int i = 1, rc; i < argc; i += rc) {
		if (!is_end && !strcmp(argv[i], "--")) {
			is_end = true;
			rc = 1;
		} else if (!is_end && argv[i][0] == '-' && argv[i][1]) {
			rc = option_take(o, argv + i, e);
		} else {
			rc = word_take(o, c, argv[i], e);
			rc = rc < 0 ? rc : 1;
		}
		if (rc < 0)
			return rc;
	}
	if (*c && !o->is_help && o->n_args < (*c)->min_args)
		return err_set(e, -EINVAL, "expected: %s %s", (*c)->name, (*c)->synopsis);
	return 0;
}

static void options_list(void)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct option_row *r = &rows[i];
		char name[40];
		snprintf(name, sizeof(name), "--%s%s%s", r->name, r->value ? " " : "", r->value ? r->value : "");
		printf("  %c%c %-20s %s\n", r->letter ? '-' : ' ', r->letter ? r->letter : ' ', name, r->help);
	}
}

void options_help(const struct command *c)
{
	if (c) {
		printf("usage: builder-volume %s %s\n\n%s\n", c->name, c->synopsis, c->help);
		return;
	}
	puts("usage: builder-volume COMMAND [OPTION]...\n\n"
	     "Looks at the storage of builderd and repairs it, through a running builderd or, while none runs,\n"
	     "on the store itself.\n");
	for (c = commands; c->name; c++)
		printf("  %-8s %-26s %s\n", c->name, c->synopsis, c->help);
	puts("");
	options_list();
}
