/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/cleanup.h"
#include "tools/init/cmdline.h"
#include "tools/init/env.h"
#include "tools/init/spec.h"
#include "tools/init/user.h"

#define is_str(got, want) cr_assert_str_eq((got) ? (got) : "(null)", want)

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "broken line\n"
                             "app:x:1000:1001:App,,,:/home/app:/bin/sh\n"
                             "bad:x:12:-1::/:\n"
                             "4242:x:77:78::/named-like-a-number:\n"
                             "last:x:5:6:::"; /* no newline at the end, no home */
static const char group[] = "root:x:0:\n"
                            "app:x:1001:app\n"
                            "video:x:44:other,app\n"
                            "audio:x:29:application,apps\n"
                            "empty\n"
                            "render:x:106:app";

Test(cmdline, words_as_the_kernel_splits_them)
{
	struct cmdline c = {0};

	cmdline_parse(&c, "console=ttyS0 rw  env.A=1 env.B=\"two words\" \"env.C=in quotes\"\tenv.d-e.f=x=y env.E=\"\" "
	                  "env.F=a\"b c\"d "
	                  "workdir=/srv quiet -- env.G=not\n");
	is_str(env_get(&c.env, "A"), "1");
	is_str(env_get(&c.env, "B"), "two words");
	is_str(env_get(&c.env, "C"), "in quotes");
	is_str(env_get(&c.env, "d-e.f"), "x=y");
	is_str(env_get(&c.env, "E"), "");
	is_str(env_get(&c.env, "F"), "a\"b c\"d");
	cr_assert_null(env_get(&c.env, "G"));
	cr_assert_eq(c.env.n, 6);
	is_str(c.workdir, "/srv");
	cr_assert_not(c.is_reset);
	cmdline_free(&c);
}

Test(cmdline, last_one_counts_and_misfits_are_skipped)
{
	struct cmdline c = {0};

	cmdline_parse(&c, "env.A=1 env.A=2 env.=x env.B workdir=rel metadata=/m.json hostname=vm nameserver=10.0.0.1 "
	                  "nameserver=;rm "
	                  "nameserver=fd00::1 nameserver=10.0.0.2 nameserver=10.0.0.3 workdir=/a workdir=/b");
	is_str(env_get(&c.env, "A"), "2");
	cr_assert_eq(c.env.n, 1);
	is_str(c.workdir, "/b");
	is_str(c.metadata, "/m.json");
	is_str(c.hostname, "vm");
	cr_assert_eq(c.n_nameservers, 3);
	is_str(c.nameservers[1], "fd00::1");
	cmdline_free(&c);
}

Test(cmdline, unterminated_quotes)
{
	struct cmdline c = {0};

	cmdline_parse(&c, "env.A=\"one two");
	is_str(env_get(&c.env, "A"), "one two");
	cmdline_free(&c);
	cmdline_parse(&c, "\"");
	cmdline_parse(&c, "=");
	cmdline_parse(&c, "");
	cmdline_parse(&c, "env.A=\"");
	is_str(env_get(&c.env, "A"), "");
	cmdline_free(&c);
}

Test(cmdline, reset_or_power_off)
{
	static const struct {
		const char *text;
		bool is_reset;
	} cases[] = {{"reboot=k panic=1", true}, {"reboot=t,k", true}, {"reboot=kbd", true}, {"reboot=k,force", true},
	        {"reboot=panic_warm,a", false}, {"panic=1", false}, {"reboot=", false}, {"noreboot=k", false}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cmdline c = {0};
		cmdline_parse(&c, cases[i].text);
		cr_assert_eq(c.is_reset, cases[i].is_reset, "%s", cases[i].text);
		cmdline_free(&c);
	}
}

Test(user, forms)
{
	static const struct {
		const char *spec;
		unsigned uid, gid;
		const char *home;
		size_t n_groups;
	} cases[] = {
	        {"", 0, 0, "/root", 0},
	        {"root", 0, 0, "/root", 0},
	        {"app", 1000, 1001, "/home/app", 2},
	        {"1000", 1000, 1001, "/home/app", 2},
	        {"app:video", 1000, 44, "/home/app", 0},
	        {"app:7", 1000, 7, "/home/app", 0},
	        {"app:", 1000, 1001, "/home/app", 2},
	        {":video", 0, 44, "/root", 0},
	        {"31337", 31337, 0, "/", 0},
	        {"31337:31338", 31337, 31338, "/", 0},
	        {"31337:render", 31337, 106, "/", 0},
	        {"4242", 77, 78, "/named-like-a-number", 0},
	        {"last", 5, 6, "/", 0},
	        {"4294967294", 4294967294u, 0, "/", 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		struct user u;
		cr_assert_eq(user_lookup(&u, cases[i].spec, passwd, group, &e), 0, "%s: %s", cases[i].spec, e.msg);
		cr_assert_eq(u.uid, cases[i].uid, "uid of %s is %u", cases[i].spec, u.uid);
		cr_assert_eq(u.gid, cases[i].gid, "gid of %s is %u", cases[i].spec, u.gid);
		cr_assert_eq(u.n_groups, cases[i].n_groups, "groups of %s: %zu", cases[i].spec, u.n_groups);
		cr_assert_str_eq(u.home, cases[i].home);
	}
}

Test(user, refusals)
{
	static const struct {
		const char *spec;
		int code;
	} cases[] = {{"nobody", -ENOENT}, {"app:nobody", -ENOENT}, {"broken line", -ENOENT}, {"-1", -ENOENT},
	        {"bad", -EINVAL}, {"4294967295", -EINVAL}, {"99999999999999999999", -EINVAL}, {"0:4294967295", -EINVAL},
	        {"ap", -ENOENT}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		struct user u;
		cr_assert_eq(user_lookup(&u, cases[i].spec, passwd, group, &e), cases[i].code, "%s: %s", cases[i].spec,
		        e.msg);
		cr_assert_neq(e.msg[0], 0);
	}
}

Test(user, without_files)
{
	struct err e = ERR_INIT;
	struct user u;

	cr_assert_eq(user_lookup(&u, "", "", "", &e), 0);
	cr_assert_eq(u.uid, 0);
	cr_assert_eq(user_lookup(&u, "0:0", "", "", &e), 0);
	cr_assert_eq(user_lookup(&u, "app", "", "", &e), -ENOENT);
}

Test(env, set_and_merge)
{
	struct env a = {0}, b = {0};
	struct err e = ERR_INIT;

	cr_assert_eq(env_set(&a, "PATH", "/bin", &e), 0);
	cr_assert_eq(env_set(&a, "lower.case-name", "", &e), 0);
	cr_assert_eq(env_set(&a, "", "x", &e), -EINVAL);
	cr_assert_eq(env_set(&a, "A=B", "x", &e), -EINVAL);
	cr_assert_eq(env_default(&a, "PATH", "/sbin", &e), 0);
	is_str(env_get(&a, "PATH"), "/bin");
	env_set(&b, "PATH", "/usr/bin", &e);
	env_set(&b, "PAT", "=x=", &e);
	env_merge(&a, &b);
	is_str(env_get(&a, "PATH"), "/usr/bin");
	is_str(env_get(&a, "PAT"), "=x=");
	cr_assert_eq(a.n, 3);
	cr_assert_null(a.vars[3]);
	env_free(&a);
	env_free(&b);
}

static int parse(int (*fn)(struct spec *, const char *, size_t, struct err *), struct spec *s, const char *text)
{
	struct err e = ERR_INIT;

	return fn(s, text, strlen(text), &e);
}

Test(spec, command)
{
	struct spec s = {0};

	cr_assert_eq(parse(spec_parse_command, &s, "[\"/bin/echo\", \"a b\", \"\"]"), 0);
	is_str(s.argv[0], "/bin/echo");
	is_str(s.argv[2], "");
	cr_assert_null(s.argv[3]);
	cr_assert_eq(parse(spec_parse_command, &s, "[1]"), -EINVAL);
	cr_assert_eq(parse(spec_parse_command, &s, "{}"), -EINVAL);
	cr_assert_eq(parse(spec_parse_command, &s, "[\"a\\u0000b\"]"), -EINVAL);
	is_str(s.argv[0], "/bin/echo");
	cr_assert_eq(parse(spec_parse_command, &s, "[]"), 0);
	is_str(s.argv[0], "/bin/sh");
	cr_assert_null(s.argv[1]);
	spec_free(&s);
}

Test(spec, precedence)
{
	struct cmdline c = {0};
	struct spec s = {0};

	cmdline_parse(&c, "env.C=kernel env.K=kernel");
	cr_assert_eq(
	        parse(spec_parse_environment, &s,
	                "{\"working_dir\":\"/"
	                "app\",\"env\":{\"A\":\"env\",\"C\":\"env\",\"n\":1,\"\":\"x\"},\"exposed_ports\":[\"80\"],"
	                "\"user\":\"app\",\"init_strategy\":\"DIRECT\"}"),
	        0);
	cr_assert_eq(parse(spec_parse_metadata, &s,
	                     "{\"working_dir\":\"/"
	                     "meta\",\"user\":\"root\",\"env\":{\"A\":\"meta\",\"M\":\"meta\",\"PATH\":\"/m\"},"
	                     "\"entrypoint\":[\"/e\"],\"command\":[\"c\"]}"),
	        0);
	spec_finish(&s, &c);
	is_str(s.argv[0], "/e");
	is_str(s.argv[1], "c");
	is_str(s.working_dir, "/app");
	is_str(s.user, "app");
	is_str(env_get(&s.env, "A"), "env");
	is_str(env_get(&s.env, "C"), "kernel");
	is_str(env_get(&s.env, "K"), "kernel");
	is_str(env_get(&s.env, "M"), "meta");
	is_str(env_get(&s.env, "PATH"), "/m");
	cr_assert_eq(s.env.n, 5);
	cr_assert(s.is_direct);
	spec_free(&s);
	cmdline_free(&c);
}

Test(spec, defaults)
{
	struct cmdline c = {0};
	struct spec s = {0};

	cr_assert_eq(parse(spec_parse_environment, &s, "[]"), -EINVAL);
	cr_assert_eq(parse(spec_parse_environment, &s, "{\"env\":[],\"user\":7,\"working_dir\":\"rel\"}"), 0);
	spec_finish(&s, &c);
	cr_assert_null(s.argv);
	is_str(s.working_dir, "/rel");
	is_str(s.user, "");
	is_str(env_get(&s.env, "PATH"), SPEC_DEFAULT_PATH);
	cr_assert_not(s.is_direct);
	spec_free(&s);
}
