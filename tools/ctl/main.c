/* SPDX-License-Identifier: GPL-2.0-or-later */
/* builderctl: the command line client of builderd. The long commands have files of their own. */
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/job.h"
#include "tools/ctl/text.h"

#define LIST_DEFAULT 50
#define LIST_PAGE 1000 /* the server's most */

const struct command commands[] = {
        {"build", "IMAGE [OPTION]... [-- CMD...]", "make a root file system of an image", 1, 1, command_build},
        {"status", "ID", "what a build is doing, or came to", 1, 1, command_status},
        {"logs", "[-f] ID", "what a build logged", 1, 1, command_logs},
        {"ls", "[--state STATE] [--limit N]", "builds, newest first", 0, 0, command_ls},
        {"artifact", "ID [-o FILE]", "download the root file system", 1, 1, command_artifact},
        {"cancel", "ID", "stop a build", 1, 1, command_cancel},
        {"rm", "[--force] ID", "delete a build and its artifact", 1, 1, command_rm},
        {"tenant", "add|set|show|ls|rm [ID] [OPTION]...", "the operator's records of tenants", 1, 2, command_tenant},
        {"token", "create|ls|revoke [TENANT|TOKEN]", "what a tenant's programs show", 1, 2, command_token},
        {"lease", "acquire BUILD HOLDER | release LEASE | ls", "who has which root file system", 1, 3, command_lease},
        {"store", "backup FILE", "a copy of the job store", 2, 2, command_store},
        {"audit", "verify FILE... | end", "is the audit log as it was written", 1, 4096, command_audit},
        {"version", "", "of this program", 0, 0, command_version},
        {"help", "[COMMAND]", "this, or a command's options", 0, 1, command_help},
        {0},
};

void log_print(void *file, const struct json *entry)
{
	AUTO_BUF struct buf line = {0};
	const char *level = job_text(entry, "level"), *when = job_text(entry, "timestamp");

	/* 2026-01-02T03:04:05.678Z: the time of day is enough for a person who watches; --json has it all. */
	if (strlen(when) > 19)
		buf_printf(&line, "%.8s ", when + 11);
	if (strcmp(level, "info") != 0) {
		text_put(&line, level);
		buf_puts(&line, ": ");
	}
	text_put(&line, job_text(entry, "message"));
	fprintf(file, "%s\n", buf_cstr(&line));
	fflush(file);
}

void log_print_json(void *file, const struct json *entry)
{
	AUTO_BUF struct buf line = {0};

	json_put_value(&line, entry);
	fprintf(file, "%s\n", buf_cstr(&line));
	fflush(file);
}

/* Run ACT with a client; what all short commands share. */
static int with_client(const struct options *o, int (*act)(struct client *c, const char *id, struct err *e))
{
	struct err e = ERR_INIT;
	struct client c;
	int r = client_init(&c, o, &e), code = EXIT_USAGE;

	if (r < 0) {
		client_fail(&c, r, &e);
	} else {
		r = act(&c, o->args.n ? o->args.v[0] : NULL, &e);
		code = r < 0 ? client_fail(&c, r, &e) : EXIT_DONE;
	}
	client_close(&c);
	return code;
}

/* Call METHOD on build ID and print the answer, SAID ("is cancelled") or as JSON. */
static int call_and_say(
        struct client *c, const char *method, const char *id, const char *more, const char *said, struct err *e)
{
	AUTO_BUF struct buf body = {0}, text = {0};
	AUTO(json_cleanup) struct json *answer = NULL;
	int r;

	client_put_id(c, &body, id, more);
	r = client_call(c, method, buf_cstr(&body), NULL, &text, &answer, e);
	if (r < 0)
		return r;
	if (c->options->is_json)
		printf("%s\n", buf_cstr(&text));
	else
		printf("%s %s\n", id, json_as_bool(json_member(answer, "success")) ? said : job_state(answer));
	return 0;
}

static int act_cancel(struct client *c, const char *id, struct err *e)
{
	return call_and_say(c, "CancelBuild", id, "", "is cancelled", e);
}

static int act_rm(struct client *c, const char *id, struct err *e)
{
	return call_and_say(c, "DeleteBuild", id, c->options->is_force ? ",\"force\":true" : "", "is deleted", e);
}

static int act_status(struct client *c, const char *id, struct err *e)
{
	struct job j;
	int r = job_get(c, id, &j, e);

	if (r < 0)
		return r;
	if (c->options->is_json)
		printf("%s\n", buf_cstr(&j.text));
	else
		job_print(&j, stdout);
	job_free(&j);
	return 0;
}

static int act_logs(struct client *c, const char *id, struct err *e)
{
	AUTO_BUF struct buf body = {0};

	client_put_id(c, &body, id, c->options->is_follow ? ",\"follow\":true" : "");
	return client_stream(
	        c, "StreamBuildLogs", buf_cstr(&body), c->options->is_json ? log_print_json : log_print, stdout, e);
}

static void list_request(const struct client *c, struct buf *b, const char *state, int64_t n, const char *token)
{
	buf_printf(b, "{\"pageSize\":%" PRId64, n < LIST_PAGE ? n : LIST_PAGE);
	if (c->options->tenant) {
		buf_puts(b, ",\"tenantId\":");
		json_put_string(b, c->options->tenant, strlen(c->options->tenant));
	}
	if (state)
		buf_printf(b, ",\"stateFilter\":[\"BUILD_STATE_%s\"]", state);
	buf_puts(b, ",\"pageToken\":");
	json_put_string(b, token, strlen(token));
	buf_puts(b, "}");
}

static const char *list_state(const char *text)
{
	static const char *const states[] = {"PENDING", "PULLING", "EXTRACTING", "BUILDING", "OPTIMIZING", "COMPLETED",
	        "FAILED", "CANCELLED", "CLEANING"};

	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		if (!strcasecmp(text, states[i]))
			return states[i];
	return NULL;
}

/* As many pages as the limit takes; --json prints each page as it came. */
static int act_ls(struct client *c, const char *id, struct err *e)
{
	const struct options *o = c->options;
	AUTO_FREE char *token = xstrdup("");
	const char *state = o->state ? list_state(o->state) : NULL;
	int64_t left = o->limit ? o->limit : LIST_DEFAULT;
	bool is_first = true;

	do {
		AUTO_BUF struct buf body = {0}, text = {0};
		AUTO(json_cleanup) struct json *answer = NULL;
		list_request(c, &body, state, left, token);
		int r = client_call(c, "ListBuilds", buf_cstr(&body), NULL, &text, &answer, e);
		if (r < 0)
			return r;
		const struct json *builds = json_member(answer, "builds");
		if (o->is_json)
			printf("%s\n", buf_cstr(&text));
		else if (is_first)
			job_print_heading(stdout);
		for (size_t i = 0; !o->is_json && i < json_elements(builds); i++)
			job_print_row(json_element(builds, i), stdout);
		is_first = false;
		left -= (int64_t)json_elements(builds);
		free(token);
		token = xstrdup(json_elements(builds) ? job_text(answer, "nextPageToken") : "");
	} while (left > 0 && *token);
	return 0;
}

int command_status(const struct options *o)
{
	return with_client(o, act_status);
}

int command_logs(const struct options *o)
{
	return with_client(o, act_logs);
}

int command_ls(const struct options *o)
{
	if (o->state && !list_state(o->state)) {
		fprintf(stderr,
		        "builderctl: --state %s: one of pending, pulling, extracting, building, optimizing, completed, "
		        "failed, "
		        "cancelled, cleaning\n",
		        o->state);
		return EXIT_USAGE;
	}
	return with_client(o, act_ls);
}

int command_cancel(const struct options *o)
{
	return with_client(o, act_cancel);
}

int command_rm(const struct options *o)
{
	return with_client(o, act_rm);
}

int command_version(const struct options *o)
{
	puts("builderctl " PACKAGE_VERSION);
	return EXIT_DONE;
}

int command_help(const struct options *o)
{
	const struct command *c = o->args.n ? command_find(o->args.v[0]) : NULL;

	if (o->args.n && !c) {
		fprintf(stderr, "builderctl: there is no command \"%s\"\n", o->args.v[0]);
		return EXIT_USAGE;
	}
	options_help(c);
	return EXIT_DONE;
}

int main(int argc, char **argv)
{
	const struct command *c;
	struct err e = ERR_INIT;
	struct options o;
	int code = EXIT_DONE;

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN);
	if (options_parse(&o, &c, argc, argv, &e) < 0) {
		AUTO_BUF struct buf text = {0};
		text_put(&text, e.msg);
		fprintf(stderr, "builderctl: %s\n\"builderctl help%s%s\" says more.\n", buf_cstr(&text), c ? " " : "",
		        c ? c->name : "");
		code = EXIT_USAGE;
	} else if (o.is_help) {
		options_help(c);
	} else if (!c) {
		options_help(NULL);
		code = EXIT_USAGE;
	} else {
		code = c->run(&o);
	}
	options_free(&o);
	if (fflush(stdout) == EOF && code == EXIT_DONE)
		code = EXIT_FAILED;
	return code;
}
