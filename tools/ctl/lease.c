/* SPDX-License-Identifier: GPL-2.0-or-later */
/* builderctl lease: who has which root file system, over API_SOCKET (builder.v1.VolumeService). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/job.h"
#include "tools/ctl/text.h"

#define SERVICE "builder.v1.VolumeService"

struct act {
	const char *name, *method;
	size_t n_args; /* behind the name */
	int (*request)(const struct options *o, const char *token, struct buf *b, struct err *e);
	void (*print)(const struct json *answer);
};

static int usage(const char *text)
{
	fprintf(stderr, "builderctl: lease: %s\n\"builderctl help lease\" says more.\n", text);
	return EXIT_USAGE;
}

static void put_member(struct buf *b, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	buf_printf(b, "%s\"%s\":", b->len > 1 ? "," : "", name);
	json_put_string(b, value, strlen(value));
}

static int request_acquire(const struct options *o, const char *token, struct buf *b, struct err *e)
{
	const char *mode = o->mode ? o->mode : "cow";

	if (strcmp(mode, "cow") != 0 && strcmp(mode, "read-only") != 0)
		return err_set(e, -EINVAL, "--mode %s: one of cow, read-only", mode);
	put_member(b, "tenantId", o->tenant ? o->tenant : "default");
	put_member(b, "buildId", o->args.v[1]);
	put_member(b, "holder", o->args.v[2]);
	put_member(b, "mode", *mode == 'c' ? "LEASE_MODE_COW" : "LEASE_MODE_READ_ONLY");
	put_member(b, "jail", o->jail);
	return 0;
}

static int request_release(const struct options *o, const char *token, struct buf *b, struct err *e)
{
	put_member(b, "leaseId", o->args.v[1]);
	return 0;
}

static int request_ls(const struct options *o, const char *token, struct buf *b, struct err *e)
{
	put_member(b, "tenantId", o->tenant);
	put_member(b, "pageToken", token);
	return 0;
}

static void put_line(const char *name, const char *value)
{
	AUTO_BUF struct buf text = {0};

	text_put(&text, value);
	if (*value)
		printf("%-12s %s\n", name, buf_cstr(&text));
}

static void print_lease(const struct json *answer)
{
	const struct json *l = json_member(answer, "lease");
	char size[TEXT_NUMBER_MAX];

	put_line("lease", job_text(l, "leaseId"));
	put_line("device", job_text(l, "devicePath"));
	if (job_int(l, "deviceMajor"))
		printf("%-12s %" PRId64 ":%" PRId64 "\n", "number", job_int(l, "deviceMajor"),
		        job_int(l, "deviceMinor"));
	put_line("size", text_bytes(job_int(l, "sizeBytes"), size));
	put_line("uuid", job_text(l, "filesystemUuid"));
	put_line("checksum", job_text(l, "checksum"));
	put_line("verity root", job_text(l, "verityRootHash"));
	put_line("verity tree", job_text(l, "verityDevicePath"));
	put_line("jail", job_text(l, "jail"));
	put_line("init", job_text(answer, "initPath"));
}

static void print_done(const struct json *answer)
{
	puts("done");
}

static void print_list(const struct json *answer)
{
	const struct json *list = json_member(answer, "leases");

	for (size_t i = 0; i < json_elements(list); i++) {
		const struct json *l = json_element(list, i);
		bool is_cow = !strcmp(job_text(l, "mode"), "LEASE_MODE_COW");
		printf("%-33s %-33s %-16s %-16s %-9s %s\n", job_text(l, "leaseId"), job_text(l, "buildId"),
		        job_text(l, "tenantId"), job_text(l, "holder"), is_cow ? "cow" : "read-only",
		        job_text(l, "devicePath"));
	}
}

/* A list comes in pages; *NEXT (the caller's) is the token of the one behind this, "" if there is none. */
static int call(struct client *c, const struct act *a, const char *token, char **next, struct err *e)
{
	AUTO_BUF struct buf body = {0}, text = {0};
	AUTO(json_cleanup) struct json *answer = NULL;
	int rc;

	buf_puts(&body, "{");
	rc = a->request(c->options, token, &body, e);
	buf_puts(&body, "}");
	if (rc >= 0)
		rc = client_call(c, a->method, buf_cstr(&body), NULL, &text, &answer, e);
	if (rc < 0)
		return rc;
	if (c->options->is_json)
		printf("%s\n", buf_cstr(&text));
	else
		a->print(answer);
	*next = xstrdup(job_text(answer, "nextPageToken"));
	return 0;
}

static int run(const struct options *o, const struct act *a)
{
	AUTO_FREE char *token = xstrdup("");
	struct err e = ERR_INIT;
	struct client c;
	int rc = client_init_admin(&c, o, &e);

	c.service = SERVICE;
	if (rc >= 0 && a->print == print_list && !o->is_json)
		printf("%-33s %-33s %-16s %-16s %-9s %s\n", "LEASE", "BUILD", "TENANT", "HOLDER", "MODE", "DEVICE");
	do {
		AUTO_FREE char *next = NULL;
		if (rc >= 0)
			rc = call(&c, a, token, &next, &e);
		free(token);
		token = next ? STEAL(&next) : xstrdup("");
	} while (rc >= 0 && *token);
	if (rc < 0)
		rc = rc == -EINVAL ? usage(e.msg) : client_fail(&c, rc, &e);
	client_close(&c);
	return rc;
}

int command_lease(const struct options *o)
{
	static const struct act acts[] = {
	        {"acquire", "AcquireRootfs", 2, request_acquire, print_lease},
	        {"release", "ReleaseRootfs", 1, request_release, print_done},
	        {"ls", "ListLeases", 0, request_ls, print_list},
	};

	for (size_t i = 0; i < ARRAY_LEN(acts); i++)
		if (!strcmp(acts[i].name, o->args.v[0]))
			return o->args.n - 1 == acts[i].n_args ? run(o, &acts[i])
			                                       : usage("acquire BUILD HOLDER, release LEASE, or ls");
	return usage("there is no such action");
}
