/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "digest/hash.h"

Test(digest, hash_and_text_form_agree)
{
	struct digest d, parsed;
	char text[DIGEST_TEXT_MAX];
	struct err e = ERR_INIT;

	hash_buffer(DIGEST_SHA256, "abc", 3, &d); /* FIPS 180-2, B.1 */
	cr_assert_str_eq(
	        digest_format(&d, text), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	cr_assert_eq(digest_parse(&parsed, text, strlen(text), &e), 0, "%s", e.msg);
	cr_assert(digest_equal(&d, &parsed));
	cr_assert(digest_is_valid(&d));
	hash_buffer(DIGEST_SHA512, "", 0, &d);
	digest_format(&d, text);
	cr_assert_eq(digest_parse(&parsed, text, strlen(text), &e), 0, "%s", e.msg);
	cr_assert(digest_equal(&d, &parsed));
}

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

Test(digest, wrong_forms_are_refused_by_kind)
{
	static const struct {
		const char *text;
		int kind;
	} cases[] = {
	        {"", ERR_KIND_BAD_DIGEST},
	        {"sha256", ERR_KIND_BAD_DIGEST},
	        {"sha256:", ERR_KIND_BAD_DIGEST},
	        {"sha256:abc", ERR_KIND_BAD_DIGEST},
	        {"sha256:" HEX64 "0", ERR_KIND_BAD_DIGEST},
	        {"sha256:" HEX64 "/../x", ERR_KIND_BAD_DIGEST},
	        {"SHA256:" HEX64, ERR_KIND_BAD_DIGEST},
	        {"sha512:" HEX64, ERR_KIND_BAD_DIGEST},
	        {"sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef", ERR_KIND_BAD_DIGEST},
	        {"md5:d41d8cd98f00b204e9800998ecf8427e", ERR_KIND_UNSUPPORTED_DIGEST},
	        {"sha256+b64:abc", ERR_KIND_UNSUPPORTED_DIGEST},
	        {"sha256..x:abc", ERR_KIND_BAD_DIGEST},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct digest d;
		struct err e = ERR_INIT;
		cr_assert_eq(digest_parse(&d, cases[i].text, strlen(cases[i].text), &e), -EINVAL, "%s", cases[i].text);
		cr_assert_eq(e.kind, cases[i].kind, "%s: %s", cases[i].text, err_kind_name(e.kind));
		cr_assert_not(digest_is_valid(&d));
	}
}

Test(err, a_long_sentence_never_loses_the_fact_in_front)
{
	struct err e = ERR_INIT;
	char longer[2000];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	err_kind_set(&e, -EIO, ERR_KIND_NETWORK, "%s", longer);
	cr_assert_eq(err_wrap(&e, "layer 3/9"), -EIO);
	cr_assert_eq(strncmp(e.msg, "layer 3/9: xxx", 14), 0);
	cr_assert_lt(strlen(e.msg), sizeof(e.msg));
}

Test(err, what_came_over_a_socket_is_made_safe)
{
	struct err e;

	memset(&e, 0xff, sizeof(e));
	memcpy(e.msg, "a\033[2Jb\n", 8);
	e.msg[7] = 'c';
	err_sanitize(&e);
	cr_assert_eq(e.kind, ERR_KIND_INTERNAL);
	cr_assert_eq(strncmp(e.msg, "a?[2Jb?c", 8), 0);
	cr_assert_eq(e.msg[sizeof(e.msg) - 1], 0);
}

Test(buf, grows_and_consumes)
{
	struct buf b = {0};

	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%d,", i);
	cr_assert_eq(strncmp(buf_cstr(&b), "0,1,2,", 6), 0);
	buf_consume(&b, 2);
	cr_assert_eq(strncmp(buf_cstr(&b), "1,2,", 4), 0);
	size_t before = b.len;
	buf_consume(&b, before + 5);
	cr_assert_eq(b.len, 0);
	buf_free(&b);
}
