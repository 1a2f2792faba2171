/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/reference.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int bad(struct err *e, const char *text, const char *why)
{
	return err_kind_set(e, -EINVAL, ERR_KIND_BAD_REFERENCE, "image reference \"%.300s\": %s", text, why);
}

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* [a-z0-9]+ ((\.|_|__|-+) [a-z0-9]+)* */
static bool is_component(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len) {
		size_t start = i;
		while (i < len && is_lower_alnum(s[i]))
			i++;
		if (i == start)
			return false;
		if (i == len)
			return true;
		size_t sep = i;
		while (i < len && s[i] == s[sep] && strchr("._-", s[i]))
			i++;
		size_t n = i - sep;
		if (!n || (s[sep] == '.' && n > 1) || (s[sep] == '_' && n > 2))
			return false;
	}
	return false;
}

static bool is_path(const char *s)
{
	for (;;) {
		size_t n = strcspn(s, "/");
		if (!is_component(s, n))
			return false;
		if (!s[n])
			return true;
		s += n + 1;
	}
}

static bool is_tag(const char *s)
{
	size_t n = strlen(s);

	if (!n || n > REFERENCE_TAG_MAX || *s == '.' || *s == '-')
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("._-", *s))
			return false;
	return true;
}

/* Labels of letters, digits and inner hyphens, joined by single dots. */
static bool is_host_name(const char *s)
{
	for (;;) {
		size_t n = strcspn(s, ".");
		if (!n || s[0] == '-' || s[n - 1] == '-' || n > 63)
			return false;
		for (size_t i = 0; i < n; i++)
			if (!is_lower_alnum(s[i]) && s[i] != '-')
				return false;
		if (!s[n])
			return true;
		s += n + 1;
	}
}

static bool parse_port(const char *s, unsigned *port)
{
	size_t n = strspn(s, "0123456789");

	if (!n || n > 5 || s[n])
		return false;
	*port = (unsigned)strtoul(s, NULL, 10);
	return *port > 0 && *port <= 65535;
}

bool reference_split_domain(const char *domain, char host[REFERENCE_NAME_MAX + 1], unsigned *port)
{
	struct in6_addr in6;
	bool is_ipv6 = *domain == '[';
	const char *start = domain + is_ipv6;
	size_t n = strcspn(start, is_ipv6 ? "]" : ":");

	*port = 0;
	if (!n || n > REFERENCE_NAME_MAX)
		return false;
	memcpy(host, start, n);
	host[n] = 0;
	const char *rest = start + n;
	if (is_ipv6 && *rest++ != ']')
		return false;
	if (*rest == ':' ? !parse_port(rest + 1, port) : *rest != 0)
		return false;
	return is_ipv6 ? inet_pton(AF_INET6, host, &in6) == 1 : is_host_name(host);
}

/* Does the part before the first "/" name a registry? */
static bool is_domain(const char *s, size_t len)
{
	return memchr(s, '.', len) || memchr(s, ':', len) || (len == 9 && !memcmp(s, "localhost", 9));
}

static bool is_hex64(const char *s)
{
	return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

static int parse_name(struct reference *r, char *name, const char *text, struct err *e)
{
	char host[REFERENCE_NAME_MAX + 1];
	unsigned port;
	char *slash = strchr(name, '/');
	const char *domain = "docker.io", *path = name;

	if (slash && is_domain(name, (size_t)(slash - name))) {
		*slash = 0;
		for (char *p = name; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		domain = strcmp(name, "index.docker.io") ? name : "docker.io";
		path = slash + 1;
		if (!reference_split_domain(domain, host, &port))
			return bad(e, text, "the registry is no valid host[:port]");
	} else if (is_hex64(name)) {
		return bad(e, text, "a name of 64 hexadecimal digits would be taken for an image id");
	}
	bool is_short = !strcmp(domain, "docker.io") && !strchr(path, '/');
	if (strpbrk(path, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
		return bad(e, text, "the repository must be in lower case");
	if (!is_path(path))
		return bad(e, text, "the repository must be components of [a-z0-9] joined by . _ - and /");
	if (strlen(domain) + 1 + (is_short ? 8 : 0) + strlen(path) > REFERENCE_NAME_MAX)
		return bad(e, text, "the name is longer than 255 bytes");
	snprintf(r->domain, sizeof(r->domain), "%s", domain);
	snprintf(r->path, sizeof(r->path), "%s%s", is_short ? "library/" : "", path);
	return 0;
}

int reference_parse(struct reference *r, const char *text, struct err *e)
{
	char name[REFERENCE_NAME_MAX + REFERENCE_TAG_MAX + DIGEST_TEXT_MAX + 8];

	memset(r, 0, sizeof(*r));
	if (!*text)
		return bad(e, text, "it is empty");
	if (strlen(text) >= sizeof(name))
		return bad(e, text, "it is too long");
	strcpy(name, text);
	char *at = strchr(name, '@');
	if (at) {
		*at++ = 0;
		int rc = digest_parse(&r->digest, at, strlen(at), e);
		if (rc < 0)
			return err_wrap(e, "image reference \"%.120s\"", text), rc;
	}
	char *slash = strrchr(name, '/'), *colon = strrchr(name, ':');
	if (colon && (!slash || colon > slash)) {
		*colon = 0;
		if (!is_tag(colon + 1))
			return bad(e, text, "the tag must be 1 to 128 of [A-Za-z0-9_.-], not starting with . or -");
		snprintf(r->tag, sizeof(r->tag), "%s", colon + 1);
	}
	int rc = parse_name(r, name, text, e);
	if (rc < 0)
		return rc;
	if (r->digest.algorithm)
		r->tag[0] = 0;
	else if (!r->tag[0])
		strcpy(r->tag, "latest");
	return 0;
}

void reference_format(const struct reference *r, char out[REFERENCE_TEXT_MAX])
{
	char digest[DIGEST_TEXT_MAX];

	if (r->digest.algorithm)
		snprintf(out, REFERENCE_TEXT_MAX, "%s/%s@%s", r->domain, r->path, digest_format(&r->digest, digest));
	else
		snprintf(out, REFERENCE_TEXT_MAX, "%s/%s:%s", r->domain, r->path, r->tag);
}

int local_reference_parse(struct local_reference *l, const char *text, struct err *e)
{
	size_t n = strcspn(text, ":");
	const char *name = text[n] ? text + n + 1 : "";

	memset(l, 0, sizeof(*l));
	if (!n)
		return bad(e, text, "the path is missing");
	if (n >= sizeof(l->path) || strlen(name) >= sizeof(l->name))
		return bad(e, text, "it is too long");
	memcpy(l->path, text, n);
	strcpy(l->name, name);
	return 0;
}
