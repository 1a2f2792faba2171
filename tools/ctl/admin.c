/* SPDX-License-Identifier: GPL-2.0-or-later */
/* builderctl tenant and token: the operator's records, over API_SOCKET (builder.v1.AdminService). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/job.h"
#include "tools/ctl/text.h"

/* What is done to a tenant, a token: "add", "ls" ... */
struct act {
	const char *name, *method;
	size_t n_args; /* besides the name; one fewer may do where it is optional */
	bool is_optional;
	int (*request)(const struct options *o, const char *id, struct buf *b, struct err *e);
	void (*print)(const struct json *answer, FILE *f);
};

static int usage(const char *command, const char *text)
{
	fprintf(stderr, "builderctl: %s: %s\n\"builderctl help %s\" says more.\n", command, text, command);
	return EXIT_USAGE;
}

/* "name": "value" of a JSON object; the first has no comma before it. */
static void put_member(struct buf *b, const char *name, const char *value)
{
	if (!value)
		return;
	buf_printf(b, "%s\"%s\":", b->len > 1 ? "," : "", name);
	json_put_string(b, value, strlen(value));
}

static void put_line(FILE *f, const char *name, const char *value)
{
	AUTO_BUF struct buf text = {0};

	text_put(&text, value);
	if (*value)
		fprintf(f, "%-14s %s\n", name, buf_cstr(&text));
}

static int run(const struct options *o, const struct act *a, const char *id)
{
	AUTO_BUF struct buf body = {0}, text = {0};
	AUTO(json_cleanup) struct json *answer = NULL;
	struct err e = ERR_INIT;
	struct client c;
	int rc = client_init_admin(&c, o, &e);

	buf_puts(&body, "{");
	if (rc >= 0)
		rc = a->request(o, id, &body, &e);
	buf_puts(&body, "}");
	if (rc >= 0)
		rc = client_call(&c, a->method, buf_cstr(&body), NULL, &text, &answer, &e);
	if (rc < 0)
		rc = rc == -EINVAL ? usage(o->args.v[0], e.msg) : client_fail(&c, rc, &e);
	else if (o->is_json)
		printf("%s\n", buf_cstr(&text));
	else
		a->print(answer, stdout);
	client_close(&c);
	return rc;
}

static int run_act(const struct options *o, const char *command, const struct act *acts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct act *a = &acts[i];
		size_t given = o->args.n - 1;
		if (strcmp(a->name, o->args.v[0]) != 0)
			continue;
		if (given > a->n_args || (given < a->n_args && !a->is_optional))
			return usage(command, a->n_args ? "one name is needed" : "no name is needed");
		return run(o, a, given ? o->args.v[1] : "");
	}
	return usage(command, "there is no such action");
}

/* --- tenant ---------------------------------------------------------------------------------------------------- */

static int put_tier(struct buf *b, const char *tier, struct err *e)
{
	static const char *const tiers[] = {"FREE", "PRO", "ENTERPRISE", "DEDICATED"};

	for (size_t i = 0; tier && i < ARRAY_LEN(tiers); i++)
		if (!strcasecmp(tier, tiers[i])) {
			buf_printf(b, ",\"tier\":\"TENANT_TIER_%s\"", tiers[i]);
			return 0;
		}
	return tier ? err_set(e, -EINVAL, "--tier %s: one of free, pro, enterprise, dedicated", tier) : 0;
}

static void put_limits(struct buf *b, const struct options *o)
{
	AUTO_BUF struct buf limits = {0};

	for (size_t i = 0; i < o->limits.n; i++)
		buf_printf(&limits, "%s ", o->limits.v[i]);
	if (o->registries)
		buf_printf(&limits, "allowed_registries=%s ", o->registries);
	if (o->git_hosts)
		buf_printf(&limits, "allowed_git_hosts=%s", o->git_hosts);
	put_member(b, "limits", buf_cstr(&limits));
}

static int put_encryption(struct buf *b, const char *policy, struct err *e)
{
	if (!policy)
		return 0;
	if (strcmp(policy, "required") != 0 && strcmp(policy, "any") != 0)
		return err_set(e, -EINVAL, "--encryption %s: one of required, any", policy);
	put_member(b, "encryption", !strcmp(policy, "required") ? "SWITCH_ON" : "SWITCH_OFF");
	return 0;
}

static int request_set(const struct options *o, const char *id, struct buf *b, struct err *e)
{
	if (o->is_enable && o->is_disable)
		return err_set(e, -EINVAL, "--enable and --disable do not go together");
	put_member(b, "tenantId", id);
	put_member(b, "customerId", o->customer);
	put_member(b, "organizationId", o->organization);
	put_limits(b, o);
	if (o->is_enable || o->is_disable)
		put_member(b, "disabled", o->is_disable ? "SWITCH_ON" : "SWITCH_OFF");
	int rc = put_tier(b, o->tier, e);
	return rc < 0 ? rc : put_encryption(b, o->encryption, e);
}

static int request_add(const struct options *o, const char *id, struct buf *b, struct err *e)
{
	int rc = request_set(o, id, b, e);

	buf_puts(b, ",\"isNew\":true");
	return rc;
}

static int request_tenant(const struct options *o, const char *id, struct buf *b, struct err *e)
{
	if (*id)
		put_member(b, "tenantId", id);
	return 0;
}

/* "TENANT_TIER_PRO" -> "pro" */
static void print_tier(const struct json *tenant, char out[16])
{
	const char *tier = job_text(tenant, "tier");
	size_t skip = strlen("TENANT_TIER_"), i = 0;

	for (tier += strlen(tier) > skip ? skip : 0; tier[i] && i < 15; i++)
		out[i] = (char)(tier[i] | 0x20);
	out[i] = 0;
}

static void print_tenant(const struct json *answer, FILE *f)
{
	const struct json *t = json_member(answer, "tenant"), *u = json_member(answer, "usage");
	char tier[16], stored[TEXT_NUMBER_MAX];

	print_tier(t, tier);
	put_line(f, "tenant", job_text(t, "tenantId"));
	put_line(f, "customer", job_text(t, "customerId"));
	put_line(f, "organization", job_text(t, "organizationId"));
	put_line(f, "tier", tier);
	put_line(f, "limits", job_text(t, "limits"));
	put_line(f, "encryption", json_as_bool(json_member(t, "requiresEncryption")) ? "required" : "any");
	put_line(f, "state", json_as_bool(json_member(t, "isDisabled")) ? "disabled" : "enabled");
	put_line(f, "effective", job_text(answer, "effectiveLimits"));
	if (!u)
		return;
	fprintf(f, "%-14s %" PRId64 " running, %" PRId64 " waiting, %" PRId64 " today\n", "builds",
	        job_int(u, "activeBuilds"), job_int(u, "buildsQueued"), job_int(u, "dailyBuildsUsed"));
	fprintf(f, "%-14s %s, computed %" PRId64 " s today", "stored",
	        text_bytes(job_int(u, "storageBytesUsed"), stored), job_int(u, "computeSecondsUsed"));
	fprintf(f, ", pulled %s\n", text_bytes(job_int(u, "pulledBytesUsed"), stored));
}

static void print_tenants(const struct json *answer, FILE *f)
{
	const struct json *list = json_member(answer, "tenants");

	fprintf(f, "%-24s %-10s %-8s %s\n", "TENANT", "TIER", "STATE", "LIMITS");
	for (size_t i = 0; i < json_elements(list); i++) {
		const struct json *t = json_element(list, i);
		AUTO_BUF struct buf limits = {0};
		char tier[16];
		print_tier(t, tier);
		text_put(&limits, job_text(t, "limits"));
		fprintf(f, "%-24s %-10s %-8s %s\n", job_text(t, "tenantId"), tier,
		        json_as_bool(json_member(t, "isDisabled")) ? "disabled" : "enabled", buf_cstr(&limits));
	}
}

static void print_done(const struct json *answer, FILE *f)
{
	fputs("done\n", f);
}

int command_tenant(const struct options *o)
{
	static const struct act acts[] = {
	        {"add", "SetTenant", 1, false, request_add, print_tenant},
	        {"set", "SetTenant", 1, false, request_set, print_tenant},
	        {"show", "GetTenant", 1, false, request_tenant, print_tenant},
	        {"ls", "ListTenants", 0, false, request_tenant, print_tenants},
	        {"rm", "RemoveTenant", 1, false, request_tenant, print_done},
	};

	return run_act(o, "tenant", acts, ARRAY_LEN(acts));
}

/* --- token ----------------------------------------------------------------------------------------------------- */

static int request_token(const struct options *o, const char *id, struct buf *b, struct err *e)
{
	put_member(b, "tenantId", id);
	put_member(b, "scope", o->scope ? o->scope : *id ? "build" : "metrics");
	put_member(b, "description", o->description);
	buf_printf(b, ",\"lifetimeSeconds\":\"%" PRId64 "\"", o->expires_s);
	return 0;
}

static int request_revoke(const struct options *o, const char *id, struct buf *b, struct err *e)
{
	put_member(b, "tokenId", id);
	return 0;
}

/* The token alone on standard output: it goes into a file or a variable. */
static void print_token(const struct json *answer, FILE *f)
{
	const struct json *r = json_member(answer, "record");
	const char *expires = job_text(r, "expiresAt");

	fprintf(f, "%s\n", job_text(answer, "token"));
	fprintf(stderr, "%s, scope %s, expires %s: this is shown once, it is not kept anywhere\n",
	        job_text(r, "tokenId"), job_text(r, "scope"), *expires ? expires : "never");
}

static void print_tokens(const struct json *answer, FILE *f)
{
	const struct json *list = json_member(answer, "tokens");

	fprintf(f, "%-20s %-24s %-8s %-25s %-8s %s\n", "TOKEN", "TENANT", "SCOPE", "EXPIRES", "STATE", "DESCRIPTION");
	for (size_t i = 0; i < json_elements(list); i++) {
		const struct json *t = json_element(list, i);
		const char *tenant = job_text(t, "tenantId"), *expires = job_text(t, "expiresAt");
		AUTO_BUF struct buf description = {0};
		text_put(&description, job_text(t, "description"));
		fprintf(f, "%-20s %-24s %-8s %-25s %-8s %s\n", job_text(t, "tokenId"), *tenant ? tenant : "-",
		        job_text(t, "scope"), *expires ? expires : "never",
		        *job_text(t, "revokedAt") ? "revoked" : "valid", buf_cstr(&description));
	}
}

int command_token(const struct options *o)
{
	static const struct act acts[] = {
	        {"create", "CreateToken", 1, true, request_token, print_token},
	        {"ls", "ListTokens", 1, true, request_tenant, print_tokens},
	        {"revoke", "RevokeToken", 1, false, request_revoke, print_done},
	};

	return run_act(o, "token", acts, ARRAY_LEN(acts));
}
