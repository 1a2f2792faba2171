/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>

#include "base/jsonw.h"

static void text_is(const char *text, const char *want)
{
	struct buf b = {0};
	struct jsonw w = {.out = &b};

	jsonw_text(&w, NULL, text);
	cr_expect_str_eq(buf_cstr(&b), want);
	buf_free(&b);
}

Test(jsonw, objects_and_arrays)
{
	struct buf b = {0};
	struct jsonw w = {.out = &b};

	jsonw_begin(&w, NULL, '{');
	jsonw_text(&w, "a", "x");
	jsonw_begin(&w, "b", '[');
	jsonw_number(&w, NULL, 1);
	jsonw_number(&w, NULL, UINT64_MAX);
	jsonw_begin(&w, NULL, '{');
	jsonw_end(&w, '}');
	jsonw_end(&w, ']');
	jsonw_bool(&w, "c", true);
	jsonw_null(&w, "d\"");
	jsonw_text(&w, "e", NULL);
	jsonw_end(&w, '}');
	cr_expect_str_eq(
	        buf_cstr(&b), "{\"a\":\"x\",\"b\":[1,18446744073709551615,{}],\"c\":true,\"d\\\"\":null,\"e\":null}");
	buf_free(&b);
}

Test(jsonw, escapes)
{
	text_is("", "\"\"");
	text_is("a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
	text_is("\x01\n\t\x1f\x7f", "\"\\u0001\\u000a\\u0009\\u001f\\u007f\"");
}

/* RFC 3629: every byte that is no part of a character is replaced, what follows is kept. */
Test(jsonw, utf8)
{
	text_is("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf",
	        "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf\"");
	text_is("\xc0\x80", "\"\\ufffd\\ufffd\"");            /* overlong NUL */
	text_is("\xe0\x9f\xbf", "\"\\ufffd\\ufffd\\ufffd\""); /* overlong */
	text_is("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""); /* a surrogate */
	text_is("\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
	text_is("\xf5x", "\"\\ufffdx\"");
	text_is("\xe2\x82", "\"\\ufffd\\ufffd\""); /* it ends too early */
	text_is("a\xc3", "\"a\\ufffd\"");
}
