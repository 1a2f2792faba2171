/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What names in a layer become, and what they are refused for. */
#include <criterion/criterion.h>
#include <string.h>

#include "unpack/names.h"

static const struct image_limits limits = {.max_depth = 8, .max_name = 255, .max_path = 64};

static int clean(struct buf *out, const char *raw, size_t len, int *kind)
{
	struct err e = ERR_INIT;
	int rc = name_clean(out, raw, len, &limits, &e);

	*kind = e.kind;
	return rc;
}

Test(names, clean)
{
	static const struct {
		const char *raw, *want; /* NULL: refused */
		int kind;
	} cases[] = {
	        {"a", "a", 0},
	        {"/a//b/./c/", "a/b/c", 0},
	        {"./", "", 0},
	        {"/", "", 0},
	        {"...", "...", 0},
	        {"a/..b", "a/..b", 0},
	        {"\xff\xfe", "\xff\xfe", 0},
	        {"", NULL, ERR_KIND_BAD_NAME},
	        {"..", NULL, ERR_KIND_PATH_ESCAPE},
	        {"a/../b", NULL, ERR_KIND_PATH_ESCAPE},
	        {"a/..", NULL, ERR_KIND_PATH_ESCAPE},
	        {"/../", NULL, ERR_KIND_PATH_ESCAPE},
	        {"1/2/3/4/5/6/7/8", "1/2/3/4/5/6/7/8", 0},
	        {"1/2/3/4/5/6/7/8/9", NULL, ERR_KIND_LIMIT_PATH},
	        {"0123456789012345678901234567890123456789012345678901234567890123", /* 64 */
	                "0123456789012345678901234567890123456789012345678901234567890123", 0},
	        {"01234567890123456789012345678901234567890123456789012345678901234", NULL, ERR_KIND_LIMIT_PATH},
	};
	struct buf out = {0};
	int kind;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int rc = clean(&out, cases[i].raw, strlen(cases[i].raw), &kind);
		cr_expect_eq(rc < 0, !cases[i].want, "\"%s\"", cases[i].raw);
		cr_expect_eq(kind, cases[i].kind, "\"%s\": kind %d", cases[i].raw, kind);
		if (cases[i].want)
			cr_expect_str_eq(buf_cstr(&out), cases[i].want);
	}
	cr_expect_lt(clean(&out, "a\0b", 3, &kind), 0);
	cr_expect_eq(kind, ERR_KIND_BAD_NAME);
	char name[256];
	memset(name, 'n', sizeof(name));
	cr_expect_lt(clean(&out, name, 256, &kind), 0);
	cr_expect_eq(kind, ERR_KIND_BAD_NAME);
	buf_free(&out);
}

Test(names, role)
{
	static const struct {
		const char *path, *want;
		int role; /* < 0: BAD_WHITEOUT */
	} cases[] = {
	        {"", "", NAME_PLAIN},
	        {"a/b", "a/b", NAME_PLAIN},
	        {"a/.wh", "a/.wh", NAME_PLAIN},
	        {"a.wh.b", "a.wh.b", NAME_PLAIN},
	        {".wh.a", "a", NAME_WHITEOUT},
	        {"a/.wh.b", "a/b", NAME_WHITEOUT},
	        {"a/.wh.nope", "a/nope", NAME_WHITEOUT},
	        {"a/.wh..b", "a/.b", NAME_WHITEOUT},
	        {"a/.wh....", "a/...", NAME_WHITEOUT},
	        {".wh..wh..opq", "", NAME_OPAQUE},
	        {"a/b/.wh..wh..opq", "a/b", NAME_OPAQUE},
	        {".wh..wh.plnk", NULL, NAME_METADATA},
	        {".wh..wh.plnk/1.2", NULL, NAME_METADATA},
	        {".wh..wh..opq/x", NULL, NAME_METADATA},
	        {".wh..wh.", NULL, NAME_METADATA},
	        {".wh.", NULL, -1},
	        {".wh..", NULL, -1},
	        {"a/.wh...", NULL, -1},
	        {".wh.a/b", NULL, -1},
	        {".wh./b", NULL, -1},
	};
	struct buf path = {0};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err e = ERR_INIT;
		path.len = 0;
		buf_puts(&path, cases[i].path);
		int role = name_role(&path, &e);
		cr_expect_eq(role < 0 ? -1 : role, cases[i].role, "\"%s\": %d", cases[i].path, role);
		if (role < 0)
			cr_expect_eq(e.kind, ERR_KIND_BAD_WHITEOUT);
		else if (cases[i].want)
			cr_expect_str_eq(buf_cstr(&path), cases[i].want);
	}
	buf_free(&path);
}
