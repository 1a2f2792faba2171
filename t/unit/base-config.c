/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

#include "build/config.h"

static int load(struct config *c, struct err *e, const char *assignment)
{
	char *env[] = {(char *)(uintptr_t)assignment, NULL};

	return config_load(c, NULL, env, e);
}

Test(config, defaults_are_valid)
{
	struct config c;
	struct err e = ERR_INIT;

	cr_assert_eq(config_load(&c, NULL, NULL, &e), 0, "%s", e.msg);
	cr_assert_eq(c.port, 8082);
	cr_assert_eq(c.build_timeout_ms, 15 * 60 * 1000);
	cr_assert_str_eq(c.address, "127.0.0.1");
	cr_assert_eq(c.limits.max_image, 5ull << 30);
	config_free(&c);
}

Test(config, values_are_read)
{
	static const struct {
		const char *assignment;
		uint64_t timeout_ms;
	} cases[] = {{"UNKEY_BUILDERD_BUILD_TIMEOUT=1h30m", 5400000}, {"UNKEY_BUILDERD_BUILD_TIMEOUT=500ms", 500}};

	for (size_t i = 0; i < 2; i++) {
		struct config c;
		struct err e = ERR_INIT;
		cr_assert_eq(load(&c, &e, cases[i].assignment), 0, "%s", e.msg);
		cr_assert_eq(c.build_timeout_ms, cases[i].timeout_ms);
		config_free(&c);
	}
}

Test(config, bad_values_name_option_value_and_form)
{
	static const struct {
		const char *assignment, *says;
	} cases[] = {
	        {"UNKEY_BUILDERD_PORT=70000", "from 0 to 65535"},
	        {"UNKEY_BUILDERD_PORT=80x", "\"80x\""},
	        {"UNKEY_BUILDERD_PORT=-1", "\"-1\""},
	        {"UNKEY_BUILDERD_BUILD_TIMEOUT=15", "duration"},
	        {"UNKEY_BUILDERD_BUILD_TIMEOUT=", "duration"},
	        {"UNKEY_BUILDERD_LOG_LEVEL=loud", "debug info warn error"},
	        {"UNKEY_BUILDERD_LOG_LEVEL=inf", "debug info warn error"},
	        {"UNKEY_BUILDERD_DOCKER_ALLOW_PRIVATE=yes", "true or false"},
	        {"UNKEY_BUILDERD_COLOUR=red", "COLOUR is not a known option"},
	        {"UNKEY_BUILDERD_STATE_DIR=relative", "absolute path"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config c;
		struct err e = ERR_INIT;
		cr_assert_eq(load(&c, &e, cases[i].assignment), -EINVAL, "%s", cases[i].assignment);
		cr_assert(strstr(e.msg, cases[i].says), "%s: %s", cases[i].assignment, e.msg);
		config_free(&c);
	}
}

Test(config, children_read_back_what_was_set)
{
	struct config a, b;
	struct err e = ERR_INIT;

	cr_assert_eq(load(&a, &e, "UNKEY_BUILDERD_DOCKER_PULL_TIMEOUT=90s"), 0);
	char **env = config_environ(&a);
	cr_assert_eq(config_load(&b, NULL, env, &e), 0, "%s", e.msg);
	cr_assert_eq(b.pull_timeout_ms, 90000);
	cr_assert_str_eq(a.database_dir, b.database_dir);
	cr_assert_eq(memcmp(&a.limits, &b.limits, sizeof(a.limits)), 0);
	config_environ_free(env);
	config_free(&a);
	config_free(&b);
}
