/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/ctl/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define DEFAULT_URL "http://127.0.0.1:8082"
#define DEFAULT_SOCKET STATEDIR "/api.sock"

enum kind { FLAG, TEXT, LIST, SIZE, SECONDS, COUNT };

static const struct option {
	const char *name; /* without the dashes */
	char letter;      /* 0: none */
	enum kind kind;
	size_t offset;
	const char *commands; /* that take it; NULL: all */
	const char *value, *help;
} table[] = {
#define O(member) offsetof(struct options, member)
        {"url", 0, TEXT, O(url), NULL, "URL", "where builderd listens (BUILDERD_URL, " DEFAULT_URL ")"},
        {"tenant", 0, TEXT, O(tenant), NULL, "ID", "on whose behalf (BUILDERD_TENANT)"},
        {"token", 0, TEXT, O(token), NULL, "TOKEN", "bearer token; others see it in ps, BUILDERD_TOKEN they do not"},
        {"socket", 0, TEXT, O(socket), NULL, "PATH",
                "builderd's socket on this machine, for tenant, token, lease, store, audit (BUILDERD_SOCKET)"},
        {"json", 0, FLAG, O(is_json), NULL, NULL, "print the server's answer as JSON"},
        {"help", 'h', FLAG, O(is_help), NULL, NULL, "this"},
        {"name", 0, TEXT, O(name), "build", "NAME", "a name for people"},
        {"entrypoint", 0, LIST, O(entrypoint), "build", "WORD",
                "instead of the image's ENTRYPOINT; a word each time, or one JSON array"},
        {"cmd", 0, LIST, O(cmd), "build", "WORD", "instead of the image's CMD; so are words behind --"},
        {"env", 'e', LIST, O(env), "build", "K=V", "a variable of the command; K alone: with the value it has here"},
        {"workdir", 'w', TEXT, O(workdir), "build", "DIR", "its working directory"},
        {"init", 0, TEXT, O(init), "build", "KIND", "PID 1: tini (builderd's own, the default), direct, custom"},
        {"label", 'l', LIST, O(label), "build", "K=V", "kept with the build"},
        {"auth-file", 0, TEXT, O(auth_file), "build", "FILE", "registry credentials: a docker config.json"},
        {"username", 'u', TEXT, O(username), "build", "NAME",
                "registry user; the password comes from BUILDERD_REGISTRY_PASSWORD, or stdin"},
        {"max-disk", 0, SIZE, O(max_disk_bytes), "build", "SIZE", "fail rather than use more: 512M, 4G"},
        {"timeout", 0, SECONDS, O(timeout_s), "build", "TIME", "fail rather than take longer: 90s, 15m"},
        {"idempotency-key", 0, TEXT, O(idempotency_key), "build", "KEY", "the same key again gives the same build"},
        {"detach", 'd', FLAG, O(is_detach), "build", NULL, "print the build's id and leave"},
        {"artifact", 0, TEXT, O(output), "build", "FILE", "download the rootfs when it is done"},
        {"output", 'o', TEXT, O(output), "artifact", "FILE", "where to (ID.ext4)"},
        {"follow", 'f', FLAG, O(is_follow), "logs", NULL, "stay until the build ends"},
        {"state", 0, TEXT, O(state), "ls", "STATE", "only these: pending, pulling, ..., completed, failed, cancelled"},
        {"limit", 'n', COUNT, O(limit), "ls", "N", "at most so many (50)"},
        {"force", 0, FLAG, O(is_force), "rm", NULL, "cancel it first if it runs"},
        {"tier", 0, TEXT, O(tier), "tenant", "TIER", "free, pro, enterprise, dedicated"},
        {"customer", 0, TEXT, O(customer), "tenant", "ID", "whose tenant it is"},
        {"organization", 0, TEXT, O(organization), "tenant", "ID", "and of which organization"},
        {"limit", 'n', LIST, O(limits), "tenant", "NAME=VALUE",
                "max_daily_builds=20 and the like in place of the tier's; without VALUE: the tier's again"},
        {"registries", 0, TEXT, O(registries), "tenant", "LIST", "that it may name: ghcr.io,*.example.org"},
        {"git-hosts", 0, TEXT, O(git_hosts), "tenant", "LIST", "the same for git"},
        {"encryption", 0, TEXT, O(encryption), "tenant", "POLICY", "required: nothing in clear text; any"},
        {"disable", 0, FLAG, O(is_disable), "tenant", NULL, "do nothing for it; its data stays"},
        {"enable", 0, FLAG, O(is_enable), "tenant", NULL, "the other way"},
        {"scope", 0, TEXT, O(scope), "token", "SCOPE", "read; build (the default); admin; metrics, without a tenant"},
        {"expires", 0, SECONDS, O(expires_s), "token", "TIME", "valid so long: 12h, 90d; without: until revoked"},
        {"description", 0, TEXT, O(description), "token", "TEXT", "for people"},
        {"mode", 0, TEXT, O(mode), "lease", "MODE", "acquire: cow, a clone to write (the default); read-only"},
        {"jail", 0, TEXT, O(jail), "lease", "DIR", "acquire: place it in this directory below JAIL_DIR"},
        {"end", 0, TEXT, O(end), "audit", "NUMBER:HASH",
                "verify: of a line that must be there; \"audit end\" prints the last"},
#undef O
};

static bool takes(const struct option *o, const struct command *c)
{
	return !o->commands || (c && !strcmp(o->commands, c->name));
}

static void words_add(struct words *w, const char *word)
{
	w->v = xrealloc(w->v, (w->n + 1) * sizeof(*w->v));
	w->v[w->n++] = word;
}

/* A number and a unit out of UNITS, of which unit I counts FACTOR[I]. */
static int parse_scaled(const char *text, const char *units, const int64_t *factor, int64_t *out, const char **rest)
{
	char *end;
	int64_t unit = 1;

	errno = 0;
	long long v = strtoll(text, &end, 10);
	if (errno || end == text || *text < '0' || *text > '9')
		return -EINVAL;
	const char *at = *end ? strchr(units, *end) : NULL;
	if (at) {
		unit = factor[at - units];
		end++;
	}
	if (__builtin_mul_overflow((int64_t)v, unit, out))
		return -EINVAL;
	*rest = end;
	return 0;
}

int options_parse_size(const char *text, int64_t *bytes)
{
	static const int64_t factor[] = {1 << 10, 1 << 10, 1 << 20, 1 << 30, 1LL << 40};
	const char *rest;

	if (parse_scaled(text, "KkMGT", factor, bytes, &rest) < 0)
		return -EINVAL;
	return !*rest || !strcmp(rest, "B") || !strcmp(rest, "iB") ? 0 : -EINVAL;
}

int options_parse_seconds(const char *text, int64_t *seconds)
{
	static const int64_t factor[] = {1, 60, 3600, 86400};
	const char *rest;

	return parse_scaled(text, "smhd", factor, seconds, &rest) < 0 || *rest ? -EINVAL : 0;
}

static int option_set(struct options *o, const struct option *opt, const char *value, struct err *e)
{
	void *at = (char *)o + opt->offset;
	int r = 0;

	switch (opt->kind) {
	case FLAG:
		*(bool *)at = true;
		break;
	case TEXT:
		*(const char **)at = value;
		break;
	case LIST:
		words_add(at, value);
		break;
	case SIZE:
		r = options_parse_size(value, at);
		break;
	case SECONDS:
	case COUNT:
		r = options_parse_seconds(value, at);
		break;
	}
	if (r < 0 || (opt->kind >= SIZE && *(int64_t *)at <= 0))
		return err_set(e, -EINVAL, "--%s %s: not %s above 0", opt->name, value,
		        opt->kind == SIZE    ? "a size such as 512M or 4G"
		        : opt->kind == COUNT ? "a number"
		                             : "a time such as 90s or 15m");
	return 0;
}

static const struct option *option_find(const char *name, size_t len, char letter, const struct command *c)
{
	const struct option *other = NULL;

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const struct option *o = &table[i];
		if (letter ? o->letter != letter : strlen(o->name) != len || strncmp(o->name, name, len) != 0)
			continue;
		if (!c || takes(o, c))
			return o;
		other = o;
	}
	return other;
}

/* One option at ARGV[*I]: --name, --name=value, --name value, -n value, -nvalue. */
static int option_parse(struct options *o, const struct command *c, int argc, char **argv, int *i, struct err *e)
{
	const char *word = argv[*i], *value = NULL;
	bool is_long = word[1] == '-';
	size_t len = is_long ? strcspn(word + 2, "=") : 1;
	const struct option *opt = is_long ? option_find(word + 2, len, 0, c) : option_find(NULL, 0, word[1], c);
	int shown = (int)(is_long ? len + 2 : 2);

	if (!opt)
		return err_set(e, -EINVAL, "there is no option %.*s", shown, word);
	if (!takes(opt, c))
		return err_set(e, -EINVAL, "%s takes no option %.*s", c ? c->name : "builderctl", shown, word);
	if (word[shown])
		value = is_long ? word + shown + 1 : word + shown;
	if (opt->kind == FLAG && value)
		return err_set(e, -EINVAL, "option %.*s takes no value", shown, word);
	if (opt->kind != FLAG && !value) {
		if (*i + 1 >= argc)
			return err_set(e, -EINVAL, "option %.*s needs a value: %s", shown, word, opt->value);
		value = argv[++*i];
	}
	return option_set(o, opt, value, e);
}

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

/* The command is the first word that is neither an option nor the value of one that goes everywhere; options of the
 * command may stand on either side of it only if they stand behind. */
static int args_parse(struct options *o, const struct command **c, int argc, char **argv, struct err *e)
{
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];
		if (!strcmp(word, "--")) {
			bool is_build = *c && !strcmp((*c)->name, "build");
			while (++i < argc)
				words_add(is_build && o->args.n ? &o->cmd : &o->args, argv[i]);
		} else if (!strcmp(word, "--version")) {
			*c = command_find("version");
		} else if (word[0] == '-' && word[1]) {
			if (option_parse(o, *c, argc, argv, &i, e) < 0)
				return -EINVAL;
		} else if (*c) {
			words_add(&o->args, word);
		} else if (!(*c = command_find(word))) {
			return err_set(e, -EINVAL, "there is no command \"%s\"", word);
		}
	}
	return 0;
}

static const char *env_or(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

int options_parse(struct options *o, const struct command **c, int argc, char **argv, struct err *e)
{
	*o = (struct options){
	        .url = env_or("BUILDERD_URL", DEFAULT_URL),
	        .tenant = env_or("BUILDERD_TENANT", NULL),
	        .token = env_or("BUILDERD_TOKEN", NULL),
	        .socket = env_or("BUILDERD_SOCKET", DEFAULT_SOCKET),
	};
	*c = NULL;
	if (args_parse(o, c, argc, argv, e) < 0)
		return -EINVAL;
	if (!*c || o->is_help)
		return 0;
	if (o->args.n < (*c)->min_args)
		return err_set(e, -EINVAL, "usage: builderctl %s %s", (*c)->name, (*c)->synopsis);
	if (o->args.n > (*c)->max_args)
		return err_set(e, -EINVAL, "%s: \"%s\" is one word too many", (*c)->name, o->args.v[(*c)->max_args]);
	return 0;
}

void options_free(struct options *o)
{
	free(o->entrypoint.v);
	free(o->cmd.v);
	free(o->env.v);
	free(o->label.v);
	free(o->limits.v);
	free(o->args.v);
	*o = (struct options){0};
}

static void help_options(const struct command *c, bool is_common)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const struct option *o = &table[i];
		char left[40];
		if (!o->commands != is_common || !takes(o, c))
			continue;
		snprintf(left, sizeof(left), "%c%c%s --%s %s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
		        o->letter ? "," : " ", o->name, o->value ? o->value : "");
		printf("  %-27s %s\n", left, o->help);
	}
}

void options_help(const struct command *c)
{
	if (c) {
		printf("usage: builderctl %s %s\n%s.\n\n", c->name, c->synopsis, c->help);
		help_options(c, false);
		puts("everywhere:");
		help_options(c, true);
		return;
	}
	puts("usage: builderctl [OPTION]... COMMAND ...\nClient of builderd: container images in, bootable root file "
	     "systems out.\n");
	for (c = commands; c->name; c++)
		printf("  %-9s %-30s %s\n", c->name, c->synopsis, c->help);
	puts("\noptions, everywhere:");
	help_options(NULL, true);
	puts("\n\"builderctl help COMMAND\" lists a command's own. Exit codes: 0 done, 1 refused or failed, 2 usage,\n"
	     "3 builderd not reached, 130 interrupted.");
}
