/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/policy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

enum address_class {
	ADDRESS_PUBLIC,
	ADDRESS_LOOPBACK,
	ADDRESS_PRIVATE,
	ADDRESS_LINK_LOCAL,
	ADDRESS_MULTICAST,
	ADDRESS_RESERVED
};

/* IANA special-purpose registries, RFC 6890 and later. First match decides. */
static const struct {
	uint8_t net[4];
	uint8_t bits;
	enum address_class class;
} v4_table[] = {
        {{0}, 8, ADDRESS_RESERVED},
        {{10}, 8, ADDRESS_PRIVATE},
        {{100, 100, 100, 200}, 32, ADDRESS_LINK_LOCAL}, /* Alibaba's metadata service */
        {{100, 64}, 10, ADDRESS_PRIVATE},
        {{127}, 8, ADDRESS_LOOPBACK},
        {{169, 254}, 16, ADDRESS_LINK_LOCAL},
        {{172, 16}, 12, ADDRESS_PRIVATE},
        {{192, 0, 0}, 24, ADDRESS_RESERVED}, /* Oracle's metadata service is 192.0.0.192 */
        {{192, 0, 2}, 24, ADDRESS_RESERVED},
        {{192, 88, 99}, 24, ADDRESS_RESERVED},
        {{192, 168}, 16, ADDRESS_PRIVATE},
        {{198, 18}, 15, ADDRESS_RESERVED},
        {{198, 51, 100}, 24, ADDRESS_RESERVED},
        {{203, 0, 113}, 24, ADDRESS_RESERVED},
        {{224}, 4, ADDRESS_MULTICAST},
        {{240}, 4, ADDRESS_RESERVED},
};

static const struct {
	uint8_t net[16];
	uint8_t bits;
	uint8_t v4_at; /* the address carries an IPv4 address at this byte: that one is judged; 0: none */
	enum address_class class;
} v6_table[] = {
        {{[15] = 1}, 128, 0, ADDRESS_LOOPBACK},
        {{[10] = 0xff, [11] = 0xff}, 96, 12, ADDRESS_PUBLIC},  /* mapped */
        {{0}, 96, 0, ADDRESS_RESERVED},                        /* unspecified, compatible */
        {{0, 0x64, 0xff, 0x9b}, 96, 12, ADDRESS_PUBLIC},       /* NAT64, RFC 6052 */
        {{0, 0x64, 0xff, 0x9b, 0, 1}, 48, 0, ADDRESS_PRIVATE}, /* RFC 8215 */
        {{1}, 64, 0, ADDRESS_RESERVED},                        /* discard */
        {{0x20, 0x01, 0, 0}, 32, 0, ADDRESS_RESERVED},         /* Teredo */
        {{0x20, 0x01, 0x0d, 0xb8}, 32, 0, ADDRESS_RESERVED},   /* documentation */
        {{0x20, 0x02}, 16, 2, ADDRESS_PUBLIC},                 /* 6to4 */
        {{0xfc}, 7, 0, ADDRESS_PRIVATE},                       /* fd00:ec2::254, a metadata service, is in there */
        {{0xfe, 0x80}, 10, 0, ADDRESS_LINK_LOCAL},
        {{0xfe, 0xc0}, 10, 0, ADDRESS_PRIVATE},
        {{0xff}, 8, 0, ADDRESS_MULTICAST},
};

static const uint8_t metadata_v6[16] = {0xfd, 0, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54};

static bool prefix_matches(const uint8_t *addr, const uint8_t *net, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(addr, net, whole))
		return false;
	return !rest || !((addr[whole] ^ net[whole]) >> (8 - rest));
}

static enum address_class classify_v4(const uint8_t *addr)
{
	for (size_t i = 0; i < sizeof(v4_table) / sizeof(v4_table[0]); i++)
		if (prefix_matches(addr, v4_table[i].net, v4_table[i].bits))
			return v4_table[i].class;
	return ADDRESS_PUBLIC;
}

static enum address_class classify_v6(const uint8_t *addr)
{
	if (!memcmp(addr, metadata_v6, 16))
		return ADDRESS_LINK_LOCAL;
	for (size_t i = 0; i < sizeof(v6_table) / sizeof(v6_table[0]); i++)
		if (prefix_matches(addr, v6_table[i].net, v6_table[i].bits))
			return v6_table[i].v4_at ? classify_v4(addr + v6_table[i].v4_at) : v6_table[i].class;
	return ADDRESS_PUBLIC;
}

const char *policy_address_refused(const struct address_policy *p, const struct sockaddr *sa)
{
	static const char *const names[] = {
	        [ADDRESS_LOOPBACK] = "a loopback address",
	        [ADDRESS_PRIVATE] = "a private address",
	        [ADDRESS_LINK_LOCAL] = "a link-local or metadata address",
	        [ADDRESS_MULTICAST] = "a multicast address",
	        [ADDRESS_RESERVED] = "a reserved address",
	};
	enum address_class class;

	if (sa->sa_family == AF_INET)
		class = classify_v4((const uint8_t *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr);
	else if (sa->sa_family == AF_INET6)
		class = classify_v6(((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr.s6_addr);
	else
		return "no internet address";
	if (class == ADDRESS_PUBLIC || (class == ADDRESS_PRIVATE && p->allow_private) ||
	        (class == ADDRESS_LOOPBACK && p->allow_loopback))
		return NULL;
	return names[class];
}

bool policy_host_is_loopback(const char *host)
{
	uint8_t addr[16];

	if (!strcasecmp(host, "localhost"))
		return true;
	if (inet_pton(AF_INET, host, addr) == 1)
		return addr[0] == 127;
	return inet_pton(AF_INET6, host, addr) == 1 && classify_v6(addr) == ADDRESS_LOOPBACK;
}

/* Calls FN for each entry of the comma-separated LIST until one says true. */
static bool list_any(
        const char *list, const char *domain, bool (*fn)(const char *entry, size_t len, const char *domain))
{
	while (list && *list) {
		list += strspn(list, ", \t");
		size_t n = strcspn(list, ", \t");
		if (n && fn(list, n, domain))
			return true;
		list += n;
	}
	return false;
}

static bool is_equal(const char *entry, size_t len, const char *domain)
{
	if (len == strlen("index.docker.io") && !strncasecmp(entry, "index.docker.io", len)) {
		entry = "docker.io";
		len = strlen(entry);
	}
	return strlen(domain) == len && !strncasecmp(entry, domain, len);
}

static bool is_matched(const char *entry, size_t len, const char *domain)
{
	size_t n = strlen(domain);

	if (len == 1 && *entry == '*')
		return true;
	if (len > 2 && entry[0] == '*' && entry[1] == '.')
		return n > len - 1 && !strncasecmp(domain + n - (len - 1), entry + 1, len - 1);
	return is_equal(entry, len, domain);
}

bool policy_registry_allowed(const char *list, const char *domain)
{
	return list_any(list, domain, is_matched);
}

bool policy_list_has(const char *list, const char *domain)
{
	return list_any(list, domain, is_equal);
}

static bool is_literal(const char *host)
{
	uint8_t addr[16];

	return inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1;
}

bool policy_realm_is_trusted(const char *registry_host, const char *realm_host)
{
	if (!strcasecmp(registry_host, realm_host))
		return true;
	if (policy_host_is_loopback(registry_host) && policy_host_is_loopback(realm_host))
		return true;
	if (is_literal(registry_host) || is_literal(realm_host))
		return false;
	const char *parent = strchr(registry_host, '.');
	if (!parent || !strchr(parent + 1, '.'))
		return false; /* the parent would be a top-level domain */
	size_t n = strlen(realm_host), m = strlen(parent);
	return !strcasecmp(realm_host, parent + 1) || (n > m && !strcasecmp(realm_host + n - m, parent));
}
