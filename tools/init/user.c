/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/init/user.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define LINE_FIELDS                                                                                                    \
	7 /* passwd(5): name, password, uid, gid, gecos, home, shell; group(5): name, password, gid, members */

struct line {
	const char *field[LINE_FIELDS];
	size_t len[LINE_FIELDS];
};

/* Split the line at *POS at its colons; absent fields are empty. False at the end of the text. */
static bool line_next(const char **pos, struct line *l)
{
	const char *p = *pos;

	if (!*p)
		return false;
	const char *end = p + strcspn(p, "\n");
	for (size_t i = 0; i < LINE_FIELDS; i++) {
		const char *colon = memchr(p, ':', (size_t)(end - p));
		const char *stop = colon && i < LINE_FIELDS - 1 ? colon : end;
		l->field[i] = p;
		l->len[i] = (size_t)(stop - p);
		p = stop < end ? stop + 1 : end;
	}
	*pos = *end ? end + 1 : end;
	return true;
}

static bool field_is(const struct line *l, size_t i, const char *text, size_t len)
{
	return len && l->len[i] == len && !memcmp(l->field[i], text, len);
}

/* A uid or gid: decimal, below 2^32 - 1, which the kernel reads as "leave it". */
static bool id_parse(const char *text, size_t len, uint32_t *id)
{
	uint64_t v = 0;

	if (!len || len > 10)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(text[i] - '0');
	}
	*id = (uint32_t)v;
	return v < UINT32_MAX;
}

static bool is_number(const char *text, size_t len)
{
	return len && strspn(text, "0123456789") >= len;
}

/* The first line whose name is TEXT, or whose id (field 2 in both files) is, when TEXT is a number. */
static bool line_find(const char *file, const char *text, size_t len, struct line *l, uint32_t *id)
{
	uint32_t wanted = 0, have;
	bool is_id = id_parse(text, len, &wanted);

	while (line_next(&file, l)) {
		if (!id_parse(l->field[2], l->len[2], &have))
			continue;
		if (field_is(l, 0, text, len) || (is_id && have == wanted)) {
			*id = have;
			return true;
		}
	}
	*id = wanted;
	return false;
}

static int find_user(struct user *u, const char *text, size_t len, const char *passwd, struct line *l, struct err *e)
{
	if (line_find(passwd, text, len, l, &u->uid)) {
		if (!id_parse(l->field[3], l->len[3], &u->gid))
			return err_set(
			        e, -EINVAL, "/etc/passwd: the group of user \"%.*s\" is not a number", (int)len, text);
		if (l->len[5] && l->len[5] < sizeof(u->home)) {
			memcpy(u->home, l->field[5], l->len[5]);
			u->home[l->len[5]] = 0;
		}
		return 0;
	}
	*l = (struct line){0};
	if (!is_number(text, len))
		return err_set(e, -ENOENT, "user \"%.*s\" is not in the image's /etc/passwd", (int)len, text);
	if (!id_parse(text, len, &u->uid))
		return err_set(e, -EINVAL, "user id %.*s is out of range", (int)len, text);
	return 0;
}

static int find_group(struct user *u, const char *text, const char *group, struct err *e)
{
	size_t len = strlen(text);
	struct line l;

	if (line_find(group, text, len, &l, &u->gid))
		return 0;
	if (!is_number(text, len))
		return err_set(e, -ENOENT, "group \"%s\" is not in the image's /etc/group", text);
	if (!id_parse(text, len, &u->gid))
		return err_set(e, -EINVAL, "group id %s is out of range", text);
	return 0;
}

static bool has_member(const struct line *l, const char *name, size_t len)
{
	const char *p = l->field[3], *end = p + l->len[3];

	while (p < end) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		size_t n = (size_t)((comma ? comma : end) - p);
		if (n == len && !memcmp(p, name, len))
			return true;
		p += n + 1;
	}
	return false;
}

static void add_groups(struct user *u, const char *name, size_t len, const char *group)
{
	struct line l;
	uint32_t gid;

	while (line_next(&group, &l))
		if (u->n_groups < USER_MAX_GROUPS && has_member(&l, name, len) &&
		        id_parse(l.field[2], l.len[2], &gid) && gid != u->gid)
			u->groups[u->n_groups++] = gid;
}

int user_lookup(struct user *u, const char *spec, const char *passwd, const char *group, struct err *e)
{
	size_t len = strcspn(spec, ":");
	const char *group_part = spec[len] ? spec + len + 1 : "";
	struct line l = {0};
	int r;

	*u = (struct user){.home = "/"};
	/* Nothing means root, whatever passwd calls uid 0: his home and groups are still the image's. */
	r = len ? find_user(u, spec, len, passwd, &l, e) : find_user(u, "0", 1, passwd, &l, e);
	if (r < 0)
		return r;
	if (*group_part)
		return find_group(u, group_part, group, e);
	if (l.len[0])
		add_groups(u, l.field[0], l.len[0], group);
	return 0;
}
