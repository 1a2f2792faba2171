/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/cleanup.h"
#include "tools/ctl/auth.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/options.h"
#include "tools/ctl/text.h"

static int nothing(const struct options *o)
{
	return 0;
}

const struct command commands[] = {
        {"build", "IMAGE", "", 1, 1, nothing},
        {"logs", "ID", "", 1, 1, nothing},
        {"version", "", "", 0, 0, nothing},
        {0},
};

static const struct command *command;
static struct options options;
static struct err error;

static int parse(const char *line)
{
	static char copy[512];
	static char self[] = "builderctl";
	char *argv[32] = {self};
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *p = strtok(copy, " "); p; p = strtok(NULL, " "))
		argv[argc++] = p;
	return options_parse(&options, &command, argc, argv, &error);
}

Test(options, forms)
{
	cr_assert_eq(
	        parse("--url http://x build -e A=1 -eB=2 --env=C=3=3 --timeout 15m --max-disk=4G img -d -- sh -c true"),
	        0);
	cr_assert_str_eq(command->name, "build");
	cr_assert_str_eq(options.url, "http://x");
	cr_assert_eq(options.env.n, 3);
	cr_assert_str_eq(options.env.v[1], "B=2");
	cr_assert_str_eq(options.env.v[2], "C=3=3");
	cr_assert_eq(options.timeout_s, 900);
	cr_assert_eq(options.max_disk_bytes, 4LL << 30);
	cr_assert(options.is_detach);
	cr_assert_eq(options.args.n, 1);
	cr_assert_eq(options.cmd.n, 3);
	cr_assert_str_eq(options.cmd.v[2], "true");
	options_free(&options);
}

Test(options, refusals)
{
	static const char *const lines[] = {"nonsense", "build", "build a b", "build --follow a", "logs --name x id",
	        "build a --name", "build a --detach=yes", "build a --timeout 5x", "build a --timeout 0",
	        "build a --max-disk 1Q", "build a --max-disk 99999999999T", "build -x a", "--nope", "version extra"};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		error = (struct err)ERR_INIT;
		cr_assert_eq(parse(lines[i]), -EINVAL, "%s", lines[i]);
		cr_assert_neq(error.msg[0], 0, "%s", lines[i]);
		options_free(&options);
	}
}

Test(options, sizes_and_times)
{
	int64_t v;

	cr_assert_eq(options_parse_size("10GiB", &v), 0);
	cr_assert_eq(v, 10LL << 30);
	cr_assert_eq(options_parse_size("4096", &v), 0);
	cr_assert_eq(v, 4096);
	cr_assert_eq(options_parse_size("-1", &v), -EINVAL);
	cr_assert_eq(options_parse_size("", &v), -EINVAL);
	cr_assert_eq(options_parse_seconds("2h", &v), 0);
	cr_assert_eq(v, 7200);
	cr_assert_eq(options_parse_seconds("1h30m", &v), -EINVAL);
}

static const char *request(const char *line)
{
	static struct buf b;

	b.len = 0;
	error = (struct err)ERR_INIT;
	cr_assert_eq(parse(line), 0, "%s", error.msg);
	return request_put(&b, &options, &error) < 0 ? "" : buf_cstr(&b);
}

#define BEGIN "{\"config\":{\"source\":{\"dockerImage\":{\"imageUri\":\"img\""
Test(request, says_what_was_asked_for)
{
	unsetenv("BUILDERD_TENANT");
	cr_assert_str_eq(request("build img"),
	        BEGIN "}},\"target\":{\"microvmRootfs\":{\"initStrategy\":\"INIT_STRATEGY_TINI\"}}}}");
	cr_assert_str_eq(request("build img --init direct --cmd [\"a\",\"b\"] --entrypoint x --env A=1 --env B= --env "
	                         "A=2 --workdir /w --name n "
	                         "--timeout 5 --max-disk 1K --label q=1 --tenant t"),
	        BEGIN "}},\"target\":{\"microvmRootfs\":{\"initStrategy\":\"INIT_STRATEGY_DIRECT\",\"runtimeConfig\":{"
	              "\"command\":[\"a\",\"b\"],"
	              "\"entrypoint\":[\"x\"],\"environment\":{\"B\":\"\",\"A\":\"2\"},\"workingDir\":\"/"
	              "w\"}}},\"labels\":{\"q\":\"1\"},"
	              "\"limits\":{\"maxDiskBytes\":\"1024\",\"timeoutSeconds\":5},\"buildName\":\"n\",\"tenant\":{"
	              "\"tenantId\":\"t\"}}}");
	setenv("BUILDERD_REGISTRY_PASSWORD", "s\"cret", 1);
	cr_assert_not_null(strstr(request("build img -u me"),
	        ",\"auth\":{\"registry\":\"docker.io\",\"username\":\"me\",\"password\":\"s\\\"cret\"}}}"));
	cr_assert_str_eq(request("build img --env NOT_SET_ANYWHERE"), "");
	cr_assert_str_eq(request("build img --env =x"), "");
	cr_assert_str_eq(request("build img --init systemd"), "");
	cr_assert_str_eq(request("build img --cmd [\"a\""), "");
	cr_assert_str_eq(request("build img --auth-file /nonexistent"), "");
}

Test(auth, registry)
{
	static const char *const cases[][2] = {{"alpine", "docker.io"}, {"library/alpine:3", "docker.io"},
	        {"ghcr.io/a/b", "ghcr.io"}, {"localhost/a", "localhost"}, {"host:5000/a@sha256:00", "host:5000"},
	        {"a:5000", "docker.io"}};
	char out[256];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		cr_assert_str_eq(auth_registry(cases[i][0], out), cases[i][1]);
}

Test(auth, file)
{
	char path[] = "/tmp/builderctl-auth.XXXXXX", line[128];
	int fd = mkstemp(path);
	/* "user:pass:word" */
	dprintf(fd, "{\"auths\":{\"https://index.docker.io/v1/"
	            "\":{\"auth\":\"dXNlcjpwYXNzOndvcmQ=\"},\"ghcr.io\":{},\"x.y\":{\"auth\":\"!\"}}}");
	close(fd);
	snprintf(line, sizeof(line), "build img --auth-file %s", path);
	cr_assert_not_null(strstr(request(line), "\"username\":\"user\",\"password\":\"pass:word\""));
	snprintf(line, sizeof(line), "build ghcr.io/a --auth-file %s", path);
	cr_assert_str_eq(request(line), "");
	snprintf(line, sizeof(line), "build x.y/a --auth-file %s", path);
	cr_assert_str_eq(request(line), "");
	snprintf(line, sizeof(line), "build other.org/a --auth-file %s", path);
	cr_assert_null(strstr(request(line), "auth"));
	unlink(path);
}

Test(text, numbers)
{
	char out[TEXT_NUMBER_MAX];

	cr_assert_str_eq(text_bytes(0, out), "0 B");
	cr_assert_str_eq(text_bytes(999, out), "999 B");
	cr_assert_str_eq(text_bytes(999949, out), "999.9 kB");
	cr_assert_str_eq(text_bytes(999950, out), "1.0 MB");
	cr_assert_str_eq(text_bytes(INT64_MAX, out), "9.2 EB");
	cr_assert_str_eq(text_duration(41, out), "41 ms");
	cr_assert_str_eq(text_duration(1230, out), "1.23 s");
	cr_assert_str_eq(text_duration(125000, out), "2:05 min");
	cr_assert_str_eq(text_duration(3725000, out), "1:02:05 h");
}

static const char *fit(const char *s, size_t columns)
{
	static struct buf b;

	b.len = 0;
	cr_assert_leq(text_put_fit(&b, s, columns), columns);
	return buf_cstr(&b);
}

Test(text, steers_no_terminal)
{
	setlocale(LC_CTYPE, "C.UTF-8");
	cr_assert_str_eq(fit("a\x1b[31mb\x7f\r\n\xc2\x9b"
	                     "c",
	                         80),
	        "a?[31mb????c");
	cr_assert_str_eq(fit("bad \xff\xc3", 80), "bad ??");
	cr_assert_str_eq(fit("wide 漢字", 80), "wide 漢字");
	cr_assert_str_eq(fit("wide 漢字", 8), "wide 漢…");
	cr_assert_str_eq(fit("wide 漢字", 7), "wide …");
	cr_assert_str_eq(fit("exact", 5), "exact");
	cr_assert_str_eq(fit("exact", 1), "…");
	cr_assert_str_eq(fit("exact", 0), "");
	setlocale(LC_CTYPE, "C");
	cr_assert_str_eq(fit("ab\xc3\xa9", 80), "ab??");
}
