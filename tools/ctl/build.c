/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "build": create, follow, sum up. Results go to stdout, everything on the way to stderr: a live line made of GetBuild
 * answers where that is a terminal, the build's log lines elsewhere. An interrupt cancels the build.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/display.h"
#include "tools/ctl/job.h"
#include "tools/ctl/text.h"

#define POLL_MS 200
#define PATIENCE_MS 15000 /* how long the server may be away while it builds: a restart */

/* The server is there, but not right now. */
static bool is_passing(const struct client *c, int r)
{
	return r == -ENOTCONN || r == -EIO || (r == -EREMOTEIO && !strcmp(c->code, "unavailable"));
}

/* Poll until the build is over; J is its last state. */
static int watch(struct client *c, const char *id, struct display *d, struct job *j, struct err *e)
{
	int64_t answered_ms = time_mono_ms();
	char step[128] = "waiting";
	int r;

	for (;;) {
		struct display_state s = {.step = step, .percent = 0};
		r = job_get(c, id, j, e);
		if (r < 0 && (!is_passing(c, r) || time_mono_ms() - answered_ms > PATIENCE_MS))
			return r;
		if (r == 0) {
			answered_ms = time_mono_ms();
			if (job_is_over(j))
				return 0;
			snprintf(step, sizeof(step), "%s", *j->step ? j->step : "waiting for a free slot");
			s.percent = j->percent;
			s.bytes_done = j->bytes_done;
			s.bytes_total = j->bytes_total;
		} else {
			snprintf(step, sizeof(step), "waiting for the server");
			s.percent = -1;
		}
		job_free(j);
		display_update(d, &s);
		poll(NULL, 0, POLL_MS);
		if (client_is_interrupted())
			return -ECANCELED;
	}
}

/* Where there is no terminal: log lines as they come; if the stream breaks off, polling tells the end all the same. */
static int follow(struct client *c, const char *id, struct err *e)
{
	AUTO_BUF struct buf body = {0};
	int r;

	client_put_id(c, &body, id, ",\"follow\":true");
	r = client_stream(c, "StreamBuildLogs", buf_cstr(&body), log_print, stderr, e);
	return r < 0 && is_passing(c, r) ? 0 : r;
}

/* After an interrupt: the build is cancelled, and we say so. */
static int cancel(struct client *c, const char *id)
{
	AUTO_BUF struct buf body = {0};
	AUTO(json_cleanup) struct json *answer = NULL;
	struct err e = ERR_INIT;

	client_forget_interrupt();
	client_put_id(c, &body, id, ",\"reason\":\"interrupted at the client\"");
	if (client_call(c, "CancelBuild", buf_cstr(&body), NULL, NULL, &answer, &e) < 0)
		fprintf(stderr, "builderctl: interrupted; %s could not be cancelled: %s\n", id, e.msg);
	else
		fprintf(stderr, "builderctl: interrupted; %s is cancelled\n", id);
	return EXIT_INTERRUPTED;
}

static int finish(struct client *c, struct job *j)
{
	const struct options *o = c->options;
	AUTO_BUF struct buf text = {0};

	if (o->is_json)
		printf("%s\n", buf_cstr(&j->text));
	if (!job_is_completed(j)) {
		text_put(&text, *j->error ? j->error : j->state);
		fprintf(stderr, "builderctl: %s: %s\n", j->id, buf_cstr(&text));
		return EXIT_FAILED;
	}
	if (!o->is_json)
		job_print(j, stdout);
	return o->output ? artifact_download(c, j->id, o->output) : EXIT_DONE;
}

static int build_follow(struct client *c, const char *id)
{
	struct err e = ERR_INIT;
	struct display d;
	struct job j;
	int r = 0;

	display_begin(&d);
	if (!d.is_terminal)
		r = follow(c, id, &e);
	if (r == 0)
		r = watch(c, id, &d, &j, &e);
	display_clear(&d);
	if (r == -ECANCELED)
		return cancel(c, id);
	if (r < 0) {
		fprintf(stderr, "builderctl: lost sight of %s\n", id);
		return client_fail(c, r, &e);
	}
	r = finish(c, &j);
	job_free(&j);
	return r;
}

/* Returns the exit code; with *ID set the build runs. */
static int build_create(struct client *c, char **id)
{
	AUTO_BUF struct buf request = {0}, text = {0};
	AUTO(json_cleanup) struct json *answer = NULL;
	const struct options *o = c->options;
	struct err e = ERR_INIT;
	int r = request_put(&request, o, &e);

	if (r < 0) {
		explicit_bzero(request.data, request.len);
		client_fail(c, r, &e);
		return EXIT_USAGE;
	}
	r = client_call(c, "CreateBuild", buf_cstr(&request), o->idempotency_key, &text, &answer, &e);
	explicit_bzero(request.data, request.len);
	if (r < 0)
		return client_fail(c, r, &e);
	*id = xstrdup(job_text(answer, "buildId"));
	if (!o->is_detach)
		fprintf(stderr, "%s\n", *id);
	else if (o->is_json)
		printf("%s\n", buf_cstr(&text));
	else
		printf("%s\n", *id);
	return EXIT_DONE;
}

int command_build(const struct options *o)
{
	AUTO_FREE char *id = NULL;
	struct err e = ERR_INIT;
	struct client c;
	int r = client_init(&c, o, &e), code;

	client_catch_interrupts();
	if (r < 0)
		code = (client_fail(&c, r, &e), EXIT_USAGE);
	else
		code = build_create(&c, &id);
	if (id && !o->is_detach)
		code = build_follow(&c, id);
	client_close(&c);
	return code;
}
