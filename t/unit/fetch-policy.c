/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "fetch/credentials.h"
#include "fetch/platform.h"
#include "fetch/policy.h"

/* Who may be reached: by everyone, with allow_private, with allow_loopback, by no one. */
enum who { ALL, PRIVATE, LOOPBACK, NEVER };

static const struct {
	const char *address;
	enum who who;
} addresses[] = {
        {"8.8.8.8", ALL},
        {"100.128.0.1", ALL},
        {"172.32.0.1", ALL},
        {"2606:4700::1111", ALL},
        {"10.0.0.1", PRIVATE},
        {"172.16.0.1", PRIVATE},
        {"172.31.255.255", PRIVATE},
        {"192.168.1.1", PRIVATE},
        {"100.64.0.1", PRIVATE},
        {"fd12::1", PRIVATE},
        {"::ffff:10.0.0.1", PRIVATE},
        {"64:ff9b::a00:1", PRIVATE},
        {"2002:a00:1::1", PRIVATE},
        {"127.0.0.1", LOOPBACK},
        {"127.255.0.9", LOOPBACK},
        {"::1", LOOPBACK},
        {"::ffff:127.0.0.1", LOOPBACK},
        {"64:ff9b::7f00:1", LOOPBACK},
        {"0.0.0.0", NEVER},
        {"::", NEVER},
        {"::127.0.0.1", NEVER},
        {"169.254.169.254", NEVER},
        {"::ffff:169.254.169.254", NEVER},
        {"100.100.100.200", NEVER},
        {"192.0.0.192", NEVER},
        {"fd00:ec2::254", NEVER},
        {"fe80::1", NEVER},
        {"224.0.0.1", NEVER},
        {"255.255.255.255", NEVER},
        {"ff02::1", NEVER},
        {"2001:db8::1", NEVER},
        {"2001::1", NEVER},
};

static bool allowed(const char *text, bool is_private, bool is_loopback)
{
	const struct address_policy p = {.allow_private = is_private, .allow_loopback = is_loopback};
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return !policy_address_refused(&p, (struct sockaddr *)&v4);
	cr_assert_eq(inet_pton(AF_INET6, text, &v6.sin6_addr), 1, "%s", text);
	return !policy_address_refused(&p, (struct sockaddr *)&v6);
}

Test(policy, addresses)
{
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
		const char *a = addresses[i].address;
		enum who who = addresses[i].who;
		cr_expect_eq(allowed(a, false, false), who == ALL, "%s", a);
		cr_expect_eq(allowed(a, true, false), who == ALL || who == PRIVATE, "%s with private", a);
		cr_expect_eq(allowed(a, false, true), who == ALL || who == LOOPBACK, "%s with loopback", a);
	}
}

Test(policy, other_families)
{
	const struct address_policy p = {true, true};
	struct sockaddr sa = {.sa_family = AF_UNIX};

	cr_expect(policy_address_refused(&p, &sa));
}

Test(policy, loopback_names)
{
	cr_expect(policy_host_is_loopback("localhost"));
	cr_expect(policy_host_is_loopback("127.0.0.1"));
	cr_expect(policy_host_is_loopback("127.9.9.9"));
	cr_expect(policy_host_is_loopback("::1"));
	cr_expect_not(policy_host_is_loopback("localhost.example"));
	cr_expect_not(policy_host_is_loopback("127.1"), "not a literal in full form");
	cr_expect_not(policy_host_is_loopback("2130706433"));
	cr_expect_not(policy_host_is_loopback("127.0.0.1.example"));
}

Test(policy, registries)
{
	static const struct {
		const char *list, *domain;
		bool is_allowed;
	} cases[] = {
	        {"*", "anything:5000", true},
	        {"docker.io", "docker.io", true},
	        {"index.docker.io", "docker.io", true},
	        {"docker.io, ghcr.io", "ghcr.io", true},
	        {"ghcr.io", "docker.io", false},
	        {"*.example.com", "a.example.com", true},
	        {"*.example.com", "a.b.example.com", true},
	        {"*.example.com", "example.com", false},
	        {"*.example.com", "evilexample.com", false},
	        {"*.example.com", "a.example.com:5000", false},
	        {"*.example.com:5000", "a.example.com:5000", true},
	        {"example.com", "example.com:5000", false},
	        {"example.com:5000", "example.com:5000", true},
	        {"example.com", "example.com.evil.org", false},
	        {"EXAMPLE.com", "example.com", true},
	        {"", "docker.io", false},
	        {" , ", "docker.io", false},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		cr_expect_eq(policy_registry_allowed(cases[i].list, cases[i].domain), cases[i].is_allowed,
		        "\"%s\" \"%s\"", cases[i].list, cases[i].domain);
}

Test(policy, realms)
{
	static const struct {
		const char *registry, *realm;
		bool is_trusted;
	} cases[] = {
	        {"registry-1.docker.io", "auth.docker.io", true},
	        {"ghcr.io", "ghcr.io", true},
	        {"registry.gitlab.com", "gitlab.com", true},
	        {"registry.example.com", "auth.example.com", true},
	        {"ghcr.io", "evil.io", false},
	        {"registry.example.com", "example.com.evil.org", false},
	        {"registry.example.com", "evilexample.com", false},
	        {"10.0.0.1", "10.0.0.2", false},
	        {"10.0.0.1", "evil.0.0.1", false},
	        {"127.0.0.1", "localhost", true},
	        {"127.0.0.1", "evil.example", false},
	        {"localhost", "evil.localhost", false},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		cr_expect_eq(policy_realm_is_trusted(cases[i].registry, cases[i].realm), cases[i].is_trusted,
		        "%s -> %s", cases[i].registry, cases[i].realm);
}

Test(platform, variants)
{
	static const struct {
		struct platform want, have;
		bool matches;
	} cases[] = {
	        {{"linux", "amd64", ""}, {"linux", "amd64", ""}, true},
	        {{"linux", "amd64", ""}, {"linux", "x86_64", ""}, true},
	        {{"linux", "amd64", ""}, {"linux", "amd64", "v1"}, true},
	        {{"linux", "amd64", ""}, {"linux", "amd64", "v3"}, false},
	        {{"linux", "amd64", "v3"}, {"linux", "amd64", "v2"}, true},
	        {{"linux", "amd64", "v3"}, {"linux", "amd64", ""}, true},
	        {{"linux", "arm64", ""}, {"linux", "aarch64", "v8"}, true},
	        {{"linux", "arm64", ""}, {"linux", "arm64", "v9"}, false},
	        {{"linux", "arm", "v7"}, {"linux", "arm", "v6"}, true},
	        {{"linux", "arm", "v6"}, {"linux", "arm", "v7"}, false},
	        {{"linux", "arm64", ""}, {"linux", "arm", "v7"}, false},
	        {{"linux", "amd64", ""}, {"windows", "amd64", ""}, false},
	        {{"linux", "amd64", ""}, {"linux", "amd64", "strange"}, false},
	        {{"linux", "amd64", ""}, {"linux", "amd64", "v"}, false},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct platform want = cases[i].want, have = cases[i].have;
		platform_normalize(&want);
		platform_normalize(&have);
		cr_expect_eq(platform_matches(&want, &have), cases[i].matches, "case %zu", i);
	}
}

Test(credentials, docker_config)
{
	static const char text[] =
	        "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"dXNlcjpwYTpzcw==\"},"
	        "\"ghcr.io\":{\"identitytoken\":\"idt\"},\"host:5000\":{\"username\":\"u\",\"password\":\"p\"},"
	        "\"bad.example\":{\"auth\":\"!!\"},\"empty.example\":{}},\"credsStore\":\"desktop\"}";
	struct credentials c;
	struct err e = ERR_INIT;
	char basic[64];

	cr_expect_eq(credentials_find(&c, text, sizeof(text) - 1, "docker.io", &e), 1);
	cr_expect_str_eq(c.username, "user");
	cr_expect_str_eq(c.password, "pa:ss");
	cr_expect(credentials_basic(&c, basic, sizeof(basic)));
	cr_expect_str_eq(basic, "dXNlcjpwYTpzcw==");
	cr_expect_eq(credentials_find(&c, text, sizeof(text) - 1, "ghcr.io", &e), 1);
	cr_expect_str_eq(c.token, "idt");
	cr_expect_eq(credentials_find(&c, text, sizeof(text) - 1, "host:5000", &e), 1);
	cr_expect_str_eq(c.username, "u");
	cr_expect_eq(credentials_find(&c, text, sizeof(text) - 1, "host", &e), 0);
	cr_expect_eq(credentials_find(&c, text, sizeof(text) - 1, "empty.example", &e), 0);
	cr_expect_eq(credentials_find(&c, text, sizeof(text) - 1, "bad.example", &e), -EINVAL);
	cr_expect_not(strstr(e.msg, "!!"));
}
