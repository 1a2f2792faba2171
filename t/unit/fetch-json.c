/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "base/cleanup.h"
#include "json/json.h"

#define TEXT(s) s, sizeof(s) - 1

static const struct {
	const char *name, *text;
	size_t len;
	const char *why; /* NULL: accepted */
} documents[] = {
        {"object", TEXT("{}"), NULL},
        {"array", TEXT(" [1, 2]\n"), NULL},
        {"depth at the limit", TEXT("[[[[]]]]"), NULL},
        {"brackets in strings", TEXT("[\"[[[[[[[[ \\\" [[[[\"]"), NULL},
        {"case differs", TEXT("{\"a\":1,\"A\":2}"), NULL},
        {"largest integer", TEXT("[9223372036854775807]"), NULL},
        {"depth", TEXT("[[[[[]]]]]"), "nested deeper than 4 levels at offset 4"},
        {"depth in objects", TEXT("{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}"), "nested deeper"},
        {"same key", TEXT("{\"a\":1,\"a\":2}"), "duplicate object key"},
        {"same key, escaped", TEXT("{\"a\":1,\"\\u0061\":2}"), "duplicate object key"},
        {"byte order mark", TEXT("\xef\xbb\xbf{}"), "byte order mark"},
        {"NUL behind", TEXT("{}\0"), "NUL byte at offset 2"},
        {"NUL in string", TEXT("[\"a\0b\"]"), "NUL byte at offset 3"},
        {"escaped NUL", TEXT("[\"a\\u0000b\"]"), "NUL (\\u0000)"},
        {"escaped NUL in key", TEXT("{\"a\\u0000b\":1}"), "NUL (\\u0000)"},
        {"trailing object", TEXT("{}{}"), "end of file expected"},
        {"trailing word", TEXT("{} x"), "end of file expected"},
        {"comment", TEXT("{} // x"), "end of file expected"},
        {"trailing comma", TEXT("[1,]"), "unexpected token"},
        {"invalid UTF-8", TEXT("[\"\xff\"]"), "unable to decode byte 0xff"},
        {"overlong UTF-8", TEXT("[\"\xc0\x80\"]"), "unable to decode byte 0xc0"},
        {"surrogate", TEXT("[\"\\ud800\"]"), "invalid Unicode"},
        {"2^63", TEXT("[9223372036854775808]"), "too big integer"},
        {"1e999", TEXT("[1e999]"), "real number overflow"},
        {"leading zero", TEXT("[007]"), "near"},
        {"NaN", TEXT("[NaN]"), "invalid token"},
        {"single quotes", TEXT("['a']"), "invalid token"},
        {"scalar", TEXT("1"), "expected"},
        {"nothing", TEXT(""), "expected"},
        {"unterminated", TEXT("{\"a\":1"), "expected near end of file"},
        {"ends in a backslash", TEXT("[\"\\"), "invalid escape"},
};

Test(json, documents)
{
	for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
		struct err e = ERR_INIT;
		struct json *j = json_load_strict(documents[i].text, documents[i].len, 4, &e);
		cr_expect_eq(j != NULL, !documents[i].why, "%s: %s", documents[i].name, e.msg);
		if (documents[i].why)
			cr_expect(strstr(e.msg, documents[i].why), "%s: %s", documents[i].name, e.msg);
		json_release(j);
	}
}

Test(json, getters)
{
	static const char text[] =
	        "{\"s\":\"x\",\"n\":5,\"neg\":-1,\"b\":true,\"z\":null,\"a\":[\"p\",2],\"o\":{\"k\":1},\"f\":1.0}";
	struct err e = ERR_INIT;
	AUTO(json_cleanup) struct json *j = json_load_strict(text, sizeof(text) - 1, 8, &e);
	const char *s = NULL;
	const struct json *v = NULL;
	int64_t n = 7;
	bool b = false;

	cr_assert(j);
	cr_expect_eq(json_get_string(j, "s", JSON_REQUIRED, &s, &e), 1);
	cr_expect_str_eq(s, "x");
	cr_expect_eq(json_get_string(j, "z", JSON_OPTIONAL, &s, &e), 0);
	cr_expect_eq(json_get_string(j, "absent", JSON_OPTIONAL, &s, &e), 0);
	cr_expect_str_eq(s, "x");
	cr_expect_eq(json_get_string(j, "absent", JSON_REQUIRED, &s, &e), -EINVAL);
	cr_expect_str_eq(e.msg, "member \"absent\" is missing");
	cr_expect_eq(json_get_string(j, "z", JSON_REQUIRED, &s, &e), -EINVAL);
	cr_expect_str_eq(e.msg, "member \"z\" is null, expected a string");
	cr_expect_eq(json_get_string(j, "n", JSON_OPTIONAL, &s, &e), -EINVAL);
	cr_expect_eq(json_get_int64(j, "n", JSON_REQUIRED, &n, &e), 1);
	cr_expect_eq(n, 5);
	cr_expect_eq(json_get_int64(j, "neg", JSON_REQUIRED, &n, &e), -EINVAL);
	cr_expect_str_eq(e.msg, "member \"neg\" is -1, expected 0 or more");
	cr_expect_eq(json_get_int64(j, "f", JSON_REQUIRED, &n, &e), -EINVAL);
	cr_expect_eq(json_get_bool(j, "b", JSON_REQUIRED, &b, &e), 1);
	cr_expect(b);
	cr_expect_eq(json_get_array(j, "a", JSON_REQUIRED, &v, &e), 1);
	cr_expect_eq(json_elements(v), 2);
	cr_expect_eq(json_element_string(v, 0, "a", &s, &e), 1);
	cr_expect_eq(json_element_string(v, 1, "a", &s, &e), -EINVAL);
	cr_expect_str_eq(e.msg, "a[1] is an integer, expected a string");
	cr_expect_eq(json_element_string(v, 2, "a", &s, &e), -EINVAL);
	cr_expect_eq(json_get_object(j, "o", JSON_REQUIRED, &v, &e), 1);
	cr_expect_eq(json_get_object(j, "a", JSON_REQUIRED, &v, &e), -EINVAL);
	cr_expect_eq(json_get_int64(json_member(j, "a"), "k", JSON_OPTIONAL, &n, &e), -EINVAL);
}

Test(json, output)
{
	struct err e = ERR_INIT;
	AUTO_BUF struct buf b = {0};

	json_put_string(&b, TEXT("a\"\\\n\x01\xff\xc3\xa9"));
	cr_expect_str_eq(buf_cstr(&b), "\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\xc3\xa9\"");
	AUTO(json_cleanup) struct json *j = json_load_strict(TEXT("{\"b\": [1, null], \"a\": \"x\"}"), 8, &e);
	AUTO_BUF struct buf d = {0};
	json_put_value(&d, j);
	cr_expect_str_eq(buf_cstr(&d), "{\"b\":[1,null],\"a\":\"x\"}");
}
