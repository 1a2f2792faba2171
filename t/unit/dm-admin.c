/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dm/admin.h"

static struct msg_admin_request request(uint32_t command, const char *tenant, const char *id)
{
	struct msg_admin_request r = {.command = command};

	snprintf(r.tenant, sizeof(r.tenant), "%s", tenant);
	snprintf(r.id, sizeof(r.id), "%s", id);
	return r;
}

static int check(struct msg_admin_request r, uint32_t n_fds)
{
	struct err e = ERR_INIT;
	int rc = admin_request_check(&r, n_fds, &e);

	cr_expect_eq(rc < 0, e.msg[0] != 0, "a refusal has a sentence");
	return rc;
}

Test(admin, what_is_refused)
{
	struct msg_admin_request r = request(ADMIN_LS, "", "");

	cr_expect_eq(check(r, 0), 0);
	r.flags = ADMIN_REMOVE;
	cr_expect_eq(check(r, 0), -EINVAL, "a flag of another command");
	cr_expect_eq(check(request(ADMIN_COMMAND_COUNT, "", ""), 0), -EINVAL);
	cr_expect_eq(check(request(UINT32_MAX, "", ""), 0), -EINVAL);
	cr_expect_eq(check(request(ADMIN_LS, "../x", ""), 0), -EINVAL);
	cr_expect_eq(check(request(ADMIN_LS, "", ""), 1), -EINVAL, "a descriptor too many");
	cr_expect_eq(check(request(ADMIN_INSPECT, "", ""), 0), -EINVAL, "without an id");
	cr_expect_eq(check(request(ADMIN_INSPECT, "", "a/b"), 0), -EINVAL);
	cr_expect_eq(check(request(ADMIN_DESTROY, "", ""), 0), -EINVAL, "without a tenant");
	cr_expect_eq(check(request(ADMIN_EXPORT, "", "b1"), 0), -EINVAL, "without a descriptor");
	cr_expect_eq(check(request(ADMIN_EXPORT, "", "b1"), 1), 0);
	r = request(ADMIN_EXPORT, "", "b1");
	memset(r.parent, 'a', sizeof(r.parent));
	cr_expect_eq(check(r, 1), -EINVAL, "a text without an end");
}

Test(admin, ids)
{
	char hex[129];

	memset(hex, 'a', 128);
	hex[128] = 0;
	cr_expect_eq(check(request(ADMIN_INSPECT, "", hex), 0), 0, "a chain of SHA-512");
	hex[100] = 'g';
	cr_expect_eq(check(request(ADMIN_INSPECT, "", hex), 0), -EINVAL, "too long for anything else");
	cr_expect_eq(admin_match("build_1", "build_1"), 2);
	cr_expect_eq(admin_match("abcdef", "abcd"), 1);
	cr_expect_eq(admin_match("abcdef", "abc"), 0, "too short to be a beginning");
	cr_expect_eq(admin_match("abc", "abcdef"), 0);
	cr_expect_eq(admin_match_check("x", 1, 1, NULL), 0);
	cr_expect_eq(admin_match_check("x", 0, 0, NULL), -ENOENT);
	cr_expect_eq(admin_match_check("x", 2, 2, NULL), -EINVAL);
}
