/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What runs in a rootfs, from the image's configuration and the request. */
#include <criterion/criterion.h>
#include <string.h>

#include "unpack/effective.h"
#include "unpack/metadata.h"

static int load(struct effective *x, const char *config, const char *runtime, struct err *e)
{
	return effective_load(x, config, strlen(config), runtime, strlen(runtime), e);
}

Test(effective, command)
{
	static const struct {
		const char *config, *runtime, *want;
	} cases[] = {
	        {"{}", "{}", "[\"/bin/sh\"]\n"},
	        {"{\"config\":null}", "{}", "[\"/bin/sh\"]\n"},
	        {"{\"config\":{\"Cmd\":null,\"Entrypoint\":[]}}", "{}", "[\"/bin/sh\"]\n"},
	        {"{\"config\":{\"Entrypoint\":[\"a\",\"b\"],\"Cmd\":[\"c\"]}}", "{}", "[\"a\",\"b\",\"c\"]\n"},
	        {"{\"config\":{\"Entrypoint\":[\"a\"],\"Cmd\":[\"c\"]}}", "{\"entrypoint\":[\"x\"]}", "[\"x\"]\n"},
	        {"{\"config\":{\"Entrypoint\":[\"a\"],\"Cmd\":[\"c\"]}}", "{\"command\":[\"y\"]}", "[\"a\",\"y\"]\n"},
	        {"{\"config\":{\"Entrypoint\":[\"a\"],\"Cmd\":[\"c\"]}}",
	                "{\"entrypoint\":[\"x\"],\"command\":[\"y\"]}", "[\"x\",\"y\"]\n"},
	        {"{\"config\":{\"Entrypoint\":[\"a\"],\"Cmd\":[\"c\"]}}", "{\"entrypoint\":[],\"command\":[]}",
	                "[\"a\",\"c\"]\n"},
	        {"{\"config\":{\"Cmd\":[\"\"]}}", "{}", "[\"\"]\n"},
	        {"{\"config\":{\"Cmd\":[\"a\\nb\\\"\"]}}", "{}", "[\"a\\nb\\\"\"]\n"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct effective x;
		struct err e = ERR_INIT;
		struct buf b = {0};
		cr_assert_eq(load(&x, cases[i].config, cases[i].runtime, &e), 0, "%s", e.msg);
		metadata_command(&b, &x);
		cr_expect_str_eq(buf_cstr(&b), cases[i].want);
		buf_free(&b);
		effective_free(&x);
	}
}

Test(effective, environment)
{
	struct effective x;
	struct err e = ERR_INIT;
	struct buf b = {0};

	cr_assert_eq(load(&x,
	                     "{\"config\":{\"Env\":[\"A=1\",\"B=\",\"A=2\",\"NOEQ\",\"=x\",\"C=a=b\"],\"WorkingDir\":"
	                     "\"../x/./y//\","
	                     "\"User\":\"1:2\",\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{}}}}",
	                     "{\"environment\":{\"B\":\"z\",\"D\":\"\"},\"init_strategy\":\"DIRECT\"}", &e),
	        0, "%s", e.msg);
	metadata_environment(&b, &x);
	cr_expect_str_eq(buf_cstr(&b),
	        "{\"working_dir\":\"/x/"
	        "y\",\"env\":{\"A\":\"2\",\"B\":\"z\",\"C\":\"a=b\",\"D\":\"\",\"PATH\":\"" EFFECTIVE_PATH
	        "\"},\"exposed_ports\":[\"80\",\"53/udp\"],\"user\":\"1:2\",\"init_strategy\":\"direct\"}\n");
	cr_expect_str_eq(x.init_path, EFFECTIVE_INIT);
	buf_free(&b);
	effective_free(&x);
}

Test(effective, custom_init)
{
	struct effective x;
	struct err e = ERR_INIT;

	cr_assert_eq(load(&x, "{}", "{\"init_strategy\":\"CUSTOM\"}", &e), 0);
	cr_expect_str_eq(x.init_path, "/sbin/init");
	effective_free(&x);
	cr_assert_eq(load(&x, "{\"config\":{\"Labels\":{\"" EFFECTIVE_INIT_LABEL "\":\"lib/systemd/systemd\"}}}",
	                     "{\"init_strategy\":\"CUSTOM\",\"finishing\":false}", &e),
	        0);
	cr_expect_str_eq(x.init_path, "/lib/systemd/systemd");
	cr_expect_not(x.is_finishing);
	effective_free(&x);
}

Test(effective, refused)
{
	static const struct {
		const char *config, *runtime;
	} cases[] = {
	        {"[]", "{}"},
	        {"{", "{}"},
	        {"{\"config\":[]}", "{}"},
	        {"{\"config\":{\"Cmd\":\"a\"}}", "{}"},
	        {"{\"config\":{\"Cmd\":[1]}}", "{}"},
	        {"{\"config\":{\"Cmd\":[\"a\\u0000b\"]}}", "{}"},
	        {"{\"config\":{\"Env\":{\"A\":\"1\"}}}", "{}"},
	        {"{\"config\":{\"Labels\":{\"a\":1}}}", "{}"},
	        {"{\"config\":{\"User\":7}}", "{}"},
	        {"{}", "{\"init_strategy\":\"tini\"}"},
	        {"{}", "{\"finishing\":1}"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct effective x;
		struct err e = ERR_INIT;
		cr_expect_lt(load(&x, cases[i].config, cases[i].runtime, &e), 0, "%s", cases[i].config);
		cr_expect_eq(e.kind, ERR_KIND_BAD_CONFIG, "%s: %s", cases[i].config, e.msg);
		effective_free(&x);
	}
}

Test(effective, too_big)
{
	struct buf b = {0};
	struct effective x;
	struct err e = ERR_INIT;

	buf_puts(&b, "{\"config\":{\"Cmd\":[\"\"");
	for (unsigned i = 0; i < EFFECTIVE_ITEMS_MAX; i++)
		buf_puts(&b, ",\"\"");
	buf_puts(&b, "]}}");
	cr_expect_lt(load(&x, buf_cstr(&b), "{}", &e), 0);
	cr_expect_eq(e.kind, ERR_KIND_BAD_CONFIG);
	effective_free(&x);
	buf_free(&b);
}

Test(effective, created)
{
	cr_expect_eq(rfc3339_parse("2023-11-14T22:13:20Z"), 1700000000);
	cr_expect_eq(rfc3339_parse("2023-11-14T22:13:20.123456789Z"), 1700000000);
	cr_expect_eq(rfc3339_parse("2023-11-14T23:13:20+01:00"), 1700000000);
	cr_expect_eq(rfc3339_parse("2023-11-14T20:43:20-01:30"), 1700000000);
	cr_expect_eq(rfc3339_parse("0001-01-01T00:00:00Z"), 0);
	cr_expect_eq(rfc3339_parse("2023-11-14T22:13:20"), 0);
	cr_expect_eq(rfc3339_parse("2023-11-14"), 0);
	cr_expect_eq(rfc3339_parse(""), 0);
}
