/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "build/tier.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

#define MIB(n) ((int64_t)(n) << 20)
#define GIB(n) ((int64_t)(n) << 30)

static const struct tier_limits tiers[TIER_COUNT] = {
        /* name, builds at once, a day, seconds, memory, cores, disk, storage, requests a minute, burst, weight */
        [TIER_FREE] = {"free", 1, 5, 300, MIB(512), 1, GIB(1), GIB(1), 60, 10, 1, "docker.io,ghcr.io",
                "github.com,gitlab.com"},
        [TIER_PRO] = {"pro", 3, 100, 900, GIB(2), 2, GIB(10), GIB(10), 300, 50, 2, "*", "*"},
        [TIER_ENTERPRISE] = {"enterprise", 10, 1000, 1800, GIB(8), 4, GIB(100), GIB(100), 1000, 100, 4, "*", "*"},
        [TIER_DEDICATED] = {"dedicated", 50, 10000, 3600, GIB(32), 16, GIB(1024), GIB(1024), 5000, 500, 8, "*", "*"},
};

const struct tier_limits *tier_limits_of(unsigned tier)
{
	return &tiers[tier > TIER_UNSPECIFIED && tier < TIER_COUNT ? tier : TIER_FREE];
}

enum tenant_tier tier_parse(const char *name)
{
	for (unsigned t = TIER_FREE; t < TIER_COUNT; t++)
		if (!strcasecmp(name, tiers[t].name))
			return (enum tenant_tier)t;
	return TIER_UNSPECIFIED;
}

/* --- settings -------------------------------------------------------------------------------------------------- */

static const struct field {
	const char *name;
	size_t offset;
	int64_t min, max; /* max 0: a list */
} fields[] = {
#define N(name, member, min, max) {name, offsetof(struct tier_limits, member), min, max},
        N("max_concurrent_builds", concurrent_builds, 1, 4096) N("max_daily_builds", daily_builds, 0, INT32_MAX) N(
                "timeout_seconds", timeout_seconds, 1, 604800) N("max_memory_bytes", memory_bytes, MIB(1), INT64_MAX)
                N("max_cpu_cores", cpu_cores, 1, 4096) N("max_disk_bytes", disk_bytes, MIB(1), INT64_MAX) N(
                        "max_storage_bytes", storage_bytes, 0, INT64_MAX) N("requests_per_minute", requests_per_minute,
                        1, 100000000) N("request_burst", request_burst, 1, 100000000) N("queue_weight", weight, 1, 1000)
                        N("allowed_registries", registries, 0, 0) N("allowed_git_hosts", git_hosts, 0, 0)
#undef N
};

static const struct field *field_find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (strlen(fields[i].name) == len && !strncmp(fields[i].name, name, len))
			return &fields[i];
	return NULL;
}

static int set_number(struct tier_limits *l, const struct field *f, const char *value, size_t len, struct err *e)
{
	char *end;

	errno = 0;
	long long n = *value >= '0' && *value <= '9' ? strtoll(value, &end, 10) : -1;
	if (n < 0 || errno || end != value + len || n < f->min || n > f->max)
		return err_set(e, -EINVAL, "%s=%.*s: expected a whole number from %" PRId64 " to %" PRId64, f->name,
		        (int)(len > 64 ? 64 : len), value, f->min, f->max);
	*(int64_t *)(void *)((char *)l + f->offset) = n;
	return 0;
}

static int set_list(struct tier_limits *l, const struct field *f, const char *value, size_t len, struct err *e)
{
	static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:*,[]";

	if (!len || len >= TIER_LIST_MAX || strspn(value, legal) < len)
		return err_set(e, -EINVAL,
		        "%s=%.*s: expected host names, \"*\" or \"*.domain\", comma separated, below %d bytes", f->name,
		        (int)(len > 64 ? 64 : len), value, TIER_LIST_MAX);
	char *to = (char *)l + f->offset;
	memcpy(to, value, len);
	to[len] = 0;
	return 0;
}

/* The next "name=value" of *AT; NULL at the end. */
static const char *next_setting(const char **at, size_t *len)
{
	*at += strspn(*at, " \t");
	const char *setting = *at;
	*len = strcspn(setting, " \t");
	*at += *len;
	return *len ? setting : NULL;
}

static int setting_split(
        const char *setting, size_t len, const struct field **f, const char **value, size_t *value_len, struct err *e)
{
	const char *eq = memchr(setting, '=', len);

	*f = eq ? field_find(setting, (size_t)(eq - setting)) : NULL;
	if (!*f)
		return err_set(e, -EINVAL, "\"%.*s\" is no limit such as max_daily_builds=20",
		        (int)(len > 80 ? 80 : len), setting);
	*value = eq + 1;
	*value_len = len - (size_t)(eq + 1 - setting);
	return 0;
}

int tier_limits_set(struct tier_limits *l, const char *settings, struct err *e)
{
	const struct field *f;
	const char *setting, *value;
	size_t len, n;
	int rc = 0;

	while (rc >= 0 && (setting = next_setting(&settings, &len))) {
		rc = setting_split(setting, len, &f, &value, &n, e);
		if (rc >= 0)
			rc = f->max ? set_number(l, f, value, n, e) : set_list(l, f, value, n, e);
	}
	return rc;
}

void tier_limits_write(struct buf *b, const struct tier_limits *l)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const char *member = (const char *)l + fields[i].offset;
		buf_printf(b, "%s%s=", i ? " " : "", fields[i].name);
		if (fields[i].max)
			buf_printf(b, "%" PRId64, *(const int64_t *)(const void *)member);
		else
			buf_puts(b, member);
	}
}

/* The last setting of F in SETTINGS. */
static const char *setting_of(const struct field *f, const char *settings, size_t *len)
{
	const char *setting, *value, *found = NULL;
	const struct field *other;
	size_t n, value_len;

	while ((setting = next_setting(&settings, &n)))
		if (setting_split(setting, n, &other, &value, &value_len, NULL) >= 0 && other == f) {
			found = value;
			*len = value_len;
		}
	return found;
}

int tier_settings_merge(struct buf *out, const char *settings, const char *change, struct err *e)
{
	struct tier_limits check = tiers[TIER_FREE];
	const struct field *f;
	const char *setting, *value, *at = change;
	size_t len, n;

	while ((setting = next_setting(&at, &len)))
		if (setting_split(setting, len, &f, &value, &n, e) < 0)
			return -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		value = setting_of(&fields[i], change, &n);
		if (!value)
			value = setting_of(&fields[i], settings, &n);
		if (value && n)
			buf_printf(out, "%s%s=%.*s", out->len ? " " : "", fields[i].name, (int)n, value);
	}
	return tier_limits_set(&check, buf_cstr(out), e);
}
