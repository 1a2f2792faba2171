/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * builderctl audit: is the audit log as it was written? Each line has the SHA-256 of the line before it, so a changed,
 * removed or moved line shows at the one behind it; the end shows against a number and hash that were noted elsewhere
 * (audit end). What cannot be seen without them is a cut at the very end.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "digest/hash.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/job.h"
#include "tools/ctl/text.h"

#define HEX_MAX 65
#define MAX_DEPTH 4

struct verify {
	const char *file; /* being read */
	uint64_t line;    /* in it */
	uint64_t lines, wrong, files;
	int64_t first, last; /* numbers; last 0: nothing read yet */
	char hash[HEX_MAX];  /* of the last line */
	char from[40], to[40];
	bool is_broken;   /* the last line could not be read: nothing can be said about what is chained to it */
	int64_t want_seq; /* of --end, 0: none */
	char want_hash[HEX_MAX];
	bool is_end_met;
	struct buf json; /* owns: the list of what is wrong */
	bool is_json;
};

static void wrong(struct verify *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void wrong(struct verify *v, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	v->wrong++;
	if (!v->is_json) {
		printf("%s:%" PRIu64 ": %s\n", v->file, v->line, text);
		return;
	}
	buf_printf(&v->json, "%s{\"file\":", v->json.len ? "," : "");
	json_put_string(&v->json, v->file, strlen(v->file));
	buf_printf(&v->json, ",\"line\":%" PRIu64 ",\"error\":", v->line);
	json_put_string(&v->json, text, strlen(text));
	buf_puts(&v->json, "}");
}

static void hash_hex(const char *line, size_t len, char out[HEX_MAX])
{
	struct digest d;

	hash_buffer(DIGEST_SHA256, line, len, &d);
	for (int i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", d.bytes[i]);
}

static void check_number(struct verify *v, int64_t seq)
{
	if (!v->last || seq == v->last + 1)
		return;
	if (seq == v->last + 2)
		wrong(v, "line number %" PRId64 " is missing before this one", v->last + 1);
	else if (seq > v->last)
		wrong(v, "line numbers %" PRId64 " to %" PRId64 " are missing before this one", v->last + 1, seq - 1);
	else
		wrong(v, "line number %" PRId64 " comes behind number %" PRId64 ": lines were moved, or put in", seq,
		        v->last);
}

static void check_chain(struct verify *v, int64_t seq, const char *prev)
{
	static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";

	if (v->is_broken)
		return; /* said already */
	if (!v->last && seq == 1 && strcmp(prev, zeros) != 0)
		wrong(v, "the first line is chained to something");
	else if (v->last && seq == v->last + 1 && strcmp(prev, v->hash) != 0)
		wrong(v,
		        "the line before this one, number %" PRId64
		        ", was changed: its hash is %.16s..., %.16s... was written",
		        v->last, v->hash, prev);
}

static void check_line(struct verify *v, const char *line, size_t len)
{
	struct err e = ERR_INIT;
	AUTO(json_cleanup) struct json *doc = json_load_strict(line, len, MAX_DEPTH, &e);
	const char *prev = NULL, *when = "";
	int64_t seq = 0;

	if (!doc || json_get_int64(doc, "seq", JSON_REQUIRED, &seq, &e) < 0 || seq < 1 ||
	        json_get_string(doc, "prev", JSON_REQUIRED, &prev, &e) < 0 ||
	        json_get_string(doc, "time", JSON_REQUIRED, &when, &e) < 0) {
		wrong(v, "this is no line of an audit log: %s", *e.msg ? e.msg : "its number is not above 0");
		v->is_broken = true;
		if (v->last)
			v->last++; /* it stands where the next one should */
		return;
	}
	check_number(v, seq);
	check_chain(v, seq, prev);
	v->is_broken = false;
	if (!v->first) {
		v->first = seq;
		snprintf(v->from, sizeof(v->from), "%s", when);
	}
	v->last = seq;
	snprintf(v->to, sizeof(v->to), "%s", when);
	hash_hex(line, len, v->hash);
	if (v->want_seq != seq)
		return;
	v->is_end_met = true;
	if (strcmp(v->hash, v->want_hash) != 0)
		wrong(v, "line number %" PRId64 " is not the one that was noted: it was changed", seq);
}

static int check_file(struct verify *v, const char *path)
{
	AUTO_FILE FILE *f = fopen(path, "re");
	AUTO_FREE char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (!f) {
		fprintf(stderr, "builderctl: %s: %s\n", path, strerror(errno));
		return -1;
	}
	v->file = path;
	v->line = 0;
	v->files++;
	while ((n = getline(&line, &cap, f)) > 0) {
		v->line++;
		v->lines++;
		if (line[n - 1] != '\n')
			wrong(v, "the line is cut off in its middle");
		else
			check_line(v, line, (size_t)n - 1);
	}
	if (ferror(f)) {
		fprintf(stderr, "builderctl: %s: it cannot be read to its end\n", path);
		return -1;
	}
	return 0;
}

static void summary(const struct verify *v)
{
	if (v->is_json) {
		printf("{\"files\":%" PRIu64 ",\"lines\":%" PRIu64 ",\"first\":%" PRId64 ",\"last\":%" PRId64
		       ",\"hash\":\"%s\",\"isEndProved\":%s,\"errors\":[%.*s]}\n",
		        v->files, v->lines, v->first, v->last, v->hash, v->want_seq && !v->wrong ? "true" : "false",
		        (int)v->json.len, v->json.len ? v->json.data : "");
		return;
	}
	printf("%" PRIu64 " lines in %" PRIu64 " files, numbers %" PRId64 " to %" PRId64 ", %s to %s: ", v->lines,
	        v->files, v->first, v->last, v->from, v->to);
	if (v->wrong)
		printf("%" PRIu64 " wrong\n", v->wrong);
	else if (v->want_seq)
		puts("as they were written, the end too");
	else
		puts("as they were written; that nothing is cut off at the end, --end shows (builderctl audit end)");
}

/* "NUMBER:HASH" */
static int end_parse(struct verify *v, const char *text)
{
	char *stop;

	errno = 0;
	v->want_seq = strtoll(text, &stop, 10);
	if (errno || v->want_seq < 1 || *stop != ':' || strlen(stop + 1) != HEX_MAX - 1)
		return -1;
	memcpy(v->want_hash, stop + 1, HEX_MAX);
	return 0;
}

static int verify(const struct options *o)
{
	struct verify v = {.is_json = o->is_json};
	int code = EXIT_DONE;

	if (o->args.n < 2) {
		fputs("builderctl: audit verify: name the files, oldest first\n", stderr);
		return EXIT_USAGE;
	}
	if (o->end && end_parse(&v, o->end) < 0) {
		fprintf(stderr, "builderctl: --end %s: not NUMBER:HASH as \"builderctl audit end\" prints it\n",
		        o->end);
		return EXIT_USAGE;
	}
	for (size_t i = 1; i < o->args.n && code == EXIT_DONE; i++)
		code = check_file(&v, o->args.v[i]) < 0 ? EXIT_FAILED : EXIT_DONE;
	if (code == EXIT_DONE && v.want_seq && !v.is_end_met)
		wrong(&v, "the log ends with line number %" PRId64 ", number %" PRId64 " was noted: it was cut off",
		        v.last, v.want_seq);
	if (code == EXIT_DONE)
		summary(&v);
	buf_free(&v.json);
	return code == EXIT_DONE && v.wrong ? EXIT_FAILED : code;
}

static int end(const struct options *o)
{
	AUTO_BUF struct buf text = {0};
	AUTO(json_cleanup) struct json *answer = NULL;
	struct err e = ERR_INIT;
	struct client c;
	int rc = client_init_admin(&c, o, &e);

	if (rc >= 0)
		rc = client_call(&c, "GetAuditEnd", "{}", NULL, &text, &answer, &e);
	if (rc < 0)
		rc = client_fail(&c, rc, &e);
	else if (o->is_json)
		printf("%s\n", buf_cstr(&text));
	else
		printf("%" PRId64 ":%s\n", job_int(answer, "seq"), job_text(answer, "hash"));
	client_close(&c);
	return rc;
}

int command_audit(const struct options *o)
{
	if (!strcmp(o->args.v[0], "verify"))
		return verify(o);
	if (!strcmp(o->args.v[0], "end") && o->args.n == 1)
		return end(o);
	fputs("builderctl: audit: verify FILE..., or end\n", stderr);
	return EXIT_USAGE;
}
