/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/volume/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "json/json.h"
#include "tools/ctl/text.h"
#include "tools/volume/table.h"

static const char *text_of(const struct json *object, const char *member)
{
	const char *s = json_as_string(json_member(object, member));

	return s ? s : "";
}

/* -1: not there. */
static int64_t number_of(const struct json *object, const char *member)
{
	const struct json *v = json_member(object, member);

	return json_kind(v) == JSON_KIND_INT ? json_as_int64(v) : -1;
}

/* Sums and shares of what may be missing. */
static void percent_put(struct table *t, int64_t part, int64_t whole)
{
	char text[16];

	snprintf(text, sizeof(text), "%.0f%%", whole > 0 ? (double)part * 100 / (double)whole : 0);
	table_text(t, part < 0 || whole <= 0 ? NULL : text);
}

/* Why a tenant's or a pool's state is what it is, behind the table. */
static void reasons_print(const struct json *list, const char *name)
{
	for (size_t i = 0; i < json_elements(list); i++) {
		const struct json *x = json_element(list, i);
		AUTO_BUF struct buf line = {0};
		if (!*text_of(x, "reason"))
			continue;
		text_put(&line, text_of(x, name));
		buf_puts(&line, ": ");
		text_put(&line, text_of(x, "reason"));
		printf("%s\n", buf_cstr(&line));
	}
}

/* --- ls, df --------------------------------------------------------------------------------------------------------
 */

static void ls_volume(struct table *t, const char *tenant, const struct json *v)
{
	table_text(t, tenant);
	table_text(t, text_of(v, "id"));
	table_text(t, text_of(v, "kind"));
	table_text(t, text_of(v, "state"));
	table_bytes(t, number_of(v, "size_bytes"));
	table_bytes(t, number_of(v, "exclusive_bytes"));
	table_bytes(t, number_of(v, "shared_bytes"));
	table_number(t, (int64_t)json_elements(json_member(v, "leases")));
}

void show_ls(const struct json *answer)
{
	static const struct table_column columns[] = {{"TENANT", TABLE_CUT}, {"VOLUME", TABLE_CUT},
	        {"KIND", TABLE_LEFT}, {"STATE", TABLE_LEFT}, {"SIZE", TABLE_RIGHT}, {"EXCLUSIVE", TABLE_RIGHT},
	        {"SHARED", TABLE_RIGHT}, {"LEASES", TABLE_RIGHT}, {0}};
	const struct json *tenants = json_member(answer, "tenants");
	struct table t;

	table_begin(&t, columns);
	for (size_t i = 0; i < json_elements(tenants); i++) {
		const struct json *tenant = json_element(tenants, i), *volumes = json_member(tenant, "volumes");
		for (size_t k = 0; k < json_elements(volumes); k++)
			ls_volume(&t, text_of(tenant, "tenant"), json_element(volumes, k));
		if (json_elements(volumes))
			continue;
		table_text(&t, text_of(tenant, "tenant"));
		table_text(&t, NULL);
		table_text(&t, NULL);
		table_text(&t, text_of(tenant, "state"));
		for (int k = 0; k < 4; k++)
			table_text(&t, NULL);
	}
	table_end(&t);
	reasons_print(tenants, "tenant");
}

static void df_pool(struct table *t, const char *name, const struct json *p)
{
	int64_t size = number_of(p, "size_bytes"), used = number_of(p, "used_bytes");

	table_text(t, name);
	table_text(t, text_of(p, "state"));
	table_bytes(t, size);
	table_bytes(t, used);
	table_bytes(t, number_of(p, "free_bytes"));
	percent_put(t, used, size);
	percent_put(t, number_of(p, "metadata_used_bytes"), number_of(p, "metadata_size_bytes"));
	table_bytes(t, number_of(p, "host_bytes"));
}

void show_df(const struct json *answer)
{
	static const struct table_column columns[] = {{"POOL", TABLE_CUT}, {"STATE", TABLE_LEFT}, {"SIZE", TABLE_RIGHT},
	        {"USED", TABLE_RIGHT}, {"FREE", TABLE_RIGHT}, {"USE%", TABLE_RIGHT}, {"META%", TABLE_RIGHT},
	        {"ON HOST", TABLE_RIGHT}, {0}};
	const struct json *tenants = json_member(answer, "tenants"), *host = json_member(answer, "host");
	struct table t;

	table_begin(&t, columns);
	df_pool(&t, "(host)", host);
	for (size_t i = 0; i < json_elements(tenants); i++)
		df_pool(&t, text_of(json_element(tenants, i), "tenant"), json_element(tenants, i));
	table_end(&t);
	if (*text_of(host, "reason"))
		printf("(host): %s\n", text_of(host, "reason"));
	reasons_print(tenants, "tenant");
}

/* --- why-full ------------------------------------------------------------------------------------------------------
 */

#define METADATA_DEPTH 32

/* The image of which BUILD was made, as the metadata of its rootfs says; *DOCUMENT owns the text. */
static const char *image_of(const struct json *owners, const char *build, struct json **document)
{
	*document = NULL;
	for (size_t i = 0; *build && i < json_elements(owners); i++) {
		const struct json *x = json_element(owners, i);
		const char *text = text_of(x, "metadata");
		if (!*text || strcmp(text_of(x, "id"), build) != 0)
			continue;
		*document = json_load_strict(text, strlen(text), METADATA_DEPTH, NULL);
		return *document ? text_of(*document, "original_image") : "";
	}
	return "";
}

static void owner_row(struct table *t, const struct json *owners, const struct json *x, int64_t used)
{
	const char *kind = text_of(x, "kind"), *build = text_of(x, "build");
	AUTO(json_cleanup) struct json *document = NULL;
	AUTO_BUF struct buf what = {0};

	if (!strcmp(kind, "chain") && number_of(x, "layer") > 0)
		buf_printf(&what, "layer %" PRId64, number_of(x, "layer"));
	else
		buf_puts(&what, !strcmp(kind, "chain") ? "layer" : !strcmp(kind, "golden") ? "empty ext4" : kind);
	if (strcmp(kind, "chain") != 0)
		build = !strcmp(kind, "rootfs") || !strcmp(kind, "build") || !strcmp(kind, "vm") ? text_of(x, "id")
		                                                                                 : "";
	table_bytes(t, number_of(x, "owned_bytes"));
	percent_put(t, number_of(x, "owned_bytes"), used);
	table_bytes(t, number_of(x, "exclusive_bytes"));
	table_text(t, buf_cstr(&what));
	table_text(t, build);
	table_text(t, image_of(owners, build, &document));
}

void show_why_full(const struct json *answer)
{
	static const struct table_column columns[] = {{"OWNED", TABLE_RIGHT}, {"USED%", TABLE_RIGHT},
	        {"EXCLUSIVE", TABLE_RIGHT}, {"WHAT", TABLE_LEFT}, {"BUILD", TABLE_CUT}, {"IMAGE", TABLE_CUT}, {0}};
	const struct json *owners = json_member(answer, "owners");
	int64_t used = number_of(answer, "used_bytes");
	char sum[TEXT_NUMBER_MAX], in_use[TEXT_NUMBER_MAX], size[TEXT_NUMBER_MAX];
	struct table t;

	table_begin(&t, columns);
	for (size_t i = 0; i < json_elements(owners); i++)
		owner_row(&t, owners, json_element(owners, i), used);
	table_end(&t);
	printf("%s owned, %s of %s in use\n", text_bytes(number_of(answer, "owned_bytes"), sum),
	        text_bytes(used, in_use), text_bytes(number_of(answer, "size_bytes"), size));
}

void show_orphans(const struct json *answer)
{
	static const struct table_column columns[] = {
	        {"WHAT", TABLE_LEFT}, {"NAME", TABLE_CUT}, {"REMOVED", TABLE_LEFT}, {"REASON", TABLE_CUT}, {0}};
	const struct json *orphans = json_member(answer, "orphans");
	struct table t;

	if (!json_elements(orphans)) {
		puts("nothing is an orphan");
		return;
	}
	table_begin(&t, columns);
	for (size_t i = 0; i < json_elements(orphans); i++) {
		const struct json *x = json_element(orphans, i);
		table_text(&t, text_of(x, "what"));
		table_text(&t, text_of(x, "name"));
		table_text(&t, json_as_bool(json_member(x, "is_removed")) ? "yes" : "no");
		table_text(&t, text_of(x, "reason"));
	}
	table_end(&t);
}

/* --- fsck ----------------------------------------------------------------------------------------------------------
 */

static void fsck_row(struct table *t, const char *name, const struct json *p)
{
	const struct json *volumes = json_member(p, "volumes");
	int64_t unclean = 0;

	for (size_t i = 0; i < json_elements(volumes); i++)
		unclean += !json_as_bool(json_member(json_element(volumes, i), "is_clean"));
	table_text(t, name);
	table_text(t, !*text_of(p, "metadata") ? NULL : !strcmp(text_of(p, "metadata"), "ok") ? "ok" : "damaged");
	table_number(t, number_of(p, "tid_kernel"));
	table_number(t, number_of(p, "tid_database"));
	table_number(t, number_of(p, "orphans"));
	table_number(t, number_of(p, "missing"));
	table_number(t, volumes ? (int64_t)json_elements(volumes) : -1);
	table_number(t, volumes ? unclean : -1);
}

/* "NAME: WHAT: TEXT"; WHAT may be empty. */
static void line_print(const char *name, const char *what, const char *text)
{
	AUTO_BUF struct buf line = {0};

	text_put(&line, name);
	buf_puts(&line, ": ");
	text_put(&line, what);
	buf_puts(&line, *what ? ": " : "");
	text_put(&line, text);
	printf("%s\n", buf_cstr(&line));
}

/* What was found and done, in words. */
static void fsck_words(const char *name, const struct json *p)
{
	const struct json *notes = json_member(p, "notes"), *volumes = json_member(p, "volumes");

	if (*text_of(p, "metadata") && strcmp(text_of(p, "metadata"), "ok") != 0)
		line_print(name, "metadata", text_of(p, "metadata"));
	if (*text_of(p, "reason"))
		line_print(name, "", text_of(p, "reason"));
	for (size_t i = 0; i < json_elements(notes); i++)
		line_print(name, "", json_as_string(json_element(notes, i)));
	for (size_t i = 0; i < json_elements(volumes); i++) {
		const struct json *v = json_element(volumes, i);
		if (!json_as_bool(json_member(v, "is_clean")))
			line_print(name, text_of(v, "id"), text_of(v, "reason"));
	}
}

void show_fsck(const struct json *answer)
{
	static const struct table_column columns[] = {{"POOL", TABLE_CUT}, {"METADATA", TABLE_LEFT},
	        {"KERNEL", TABLE_RIGHT}, {"DATABASE", TABLE_RIGHT}, {"ORPHANS", TABLE_RIGHT}, {"MISSING", TABLE_RIGHT},
	        {"VOLUMES", TABLE_RIGHT}, {"UNCLEAN", TABLE_RIGHT}, {0}};
	const struct json *tenants = json_member(answer, "tenants"), *host = json_member(answer, "host");
	struct table t;

	table_begin(&t, columns);
	fsck_row(&t, "(host)", host);
	for (size_t i = 0; i < json_elements(tenants); i++)
		fsck_row(&t, text_of(json_element(tenants, i), "tenant"), json_element(tenants, i));
	table_end(&t);
	fsck_words("(host)", host);
	for (size_t i = 0; i < json_elements(tenants); i++)
		fsck_words(text_of(json_element(tenants, i), "tenant"), json_element(tenants, i));
}

void show_rekey(const struct json *answer)
{
	static const struct table_column columns[] = {
	        {"TENANT", TABLE_CUT}, {"REKEYED", TABLE_LEFT}, {"GENERATION", TABLE_RIGHT}, {0}};
	const struct json *tenants = json_member(answer, "tenants");
	struct table t;

	if (!tenants) {
		puts("the master key was replaced: keep a copy of it elsewhere");
		return;
	}
	table_begin(&t, columns);
	for (size_t i = 0; i < json_elements(tenants); i++) {
		const struct json *x = json_element(tenants, i);
		table_text(&t, text_of(x, "tenant"));
		table_text(&t, json_as_bool(json_member(x, "is_rekeyed")) ? "yes" : "no");
		table_number(&t, number_of(x, "key_generation"));
	}
	table_end(&t);
	reasons_print(tenants, "tenant");
}

void show_export(const struct json *answer)
{
	char written[TEXT_NUMBER_MAX], size[TEXT_NUMBER_MAX];

	printf("%s: %s of %s\n", text_of(answer, "id"), text_bytes(number_of(answer, "written_bytes"), written),
	        text_bytes(number_of(answer, "size_bytes"), size));
}

void show_nothing(const struct json *answer)
{
}

/* --- facts ---------------------------------------------------------------------------------------------------------
 */

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && !strcmp(s + n - m, end);
}

/* "size_bytes" is "size: 268.4 MB", "created_ms" is "created: 2026-01-02 03:04:05 UTC". */
static void number_print(struct buf *line, const char *key, int64_t n)
{
	char text[64];
	time_t at = (time_t)(n / 1000);
	struct tm tm;

	if (ends_with(key, "_bytes")) {
		buf_puts(line, text_bytes(n, text));
	} else if (ends_with(key, "_ms")) {
		strftime(text, sizeof(text), "%F %T UTC", gmtime_r(&at, &tm));
		buf_puts(line, n ? text : "never");
	} else {
		buf_printf(line, "%" PRId64, n);
	}
}

static void name_print(struct buf *line, const char *key)
{
	size_t n = strlen(key);

	if (ends_with(key, "_bytes"))
		n -= strlen("_bytes");
	else if (ends_with(key, "_ms"))
		n -= strlen("_ms");
	if (!strncmp(key, "is_", 3))
		key += 3, n -= 3;
	for (size_t i = 0; i < n; i++)
		buf_append(line, key[i] == '_' ? " " : &key[i], 1);
}

static void facts_print(const struct json *object, int indent);

static void fact_print(const char *key, const struct json *value, int indent)
{
	AUTO_BUF struct buf line = {0};
	enum json_kind kind = json_kind(value);

	if (kind == JSON_KIND_NULL || (kind == JSON_KIND_ARRAY && !json_elements(value)))
		return;
	buf_printf(&line, "%*s", indent, "");
	name_print(&line, key);
	buf_puts(&line, ": ");
	if (kind == JSON_KIND_STRING)
		text_put(&line, json_as_string(value));
	else if (kind == JSON_KIND_INT)
		number_print(&line, key, json_as_int64(value));
	else if (kind == JSON_KIND_BOOL)
		buf_puts(&line, json_as_bool(value) ? "yes" : "no");
	while (line.len && line.data[line.len - 1] == ' ')
		line.len--;
	puts(buf_cstr(&line));
	if (kind == JSON_KIND_OBJECT)
		facts_print(value, indent + 2);
	for (size_t i = 0; i < json_elements(value); i++) {
		if (i)
			printf("%*s-\n", indent + 2, "");
		facts_print(json_element(value, i), indent + 2);
	}
}

static void facts_print(const struct json *object, int indent)
{
	const struct json *value;
	const char *key;

	for (void *it = NULL; (it = json_next(object, it, &key, &value));)
		fact_print(key, value, indent);
}

void show_facts(const struct json *answer)
{
	facts_print(answer, 0);
}
