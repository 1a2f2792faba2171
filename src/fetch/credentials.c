/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/credentials.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "json/json.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool credentials_given(const struct credentials *c)
{
	return c->username[0] || c->password[0] || c->token[0];
}

bool credentials_basic(const struct credentials *c, char *out, size_t size)
{
	char plain[sizeof(c->username) + sizeof(c->password) + 1];
	size_t n = (size_t)snprintf(plain, sizeof(plain), "%s:%s", c->username, c->password), o = 0;

	if ((n + 2) / 3 * 4 + 1 > size)
		return false;
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = 0;
		for (size_t k = 0; k < 3; k++)
			v = v << 8 | (i + k < n ? (unsigned char)plain[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			out[o++] = i + k > n ? '=' : alphabet[v >> (18 - 6 * k) & 63];
	}
	out[o] = 0;
	explicit_bzero(plain, sizeof(plain));
	return true;
}

/* Length, or -1: no base64 or too long. */
static int base64_decode(const char *in, char *out, size_t size)
{
	uint32_t v = 0;
	unsigned bits = 0;
	size_t n = 0;

	for (; *in && *in != '='; in++) {
		const char *at = strchr(alphabet, *in);
		if (!at)
			return -1;
		v = v << 6 | (uint32_t)(at - alphabet);
		bits += 6;
		if (bits >= 8) {
			if (n + 1 >= size)
				return -1;
			bits -= 8;
			out[n++] = (char)(v >> bits & 255);
		}
	}
	out[n] = 0;
	return in[strspn(in, "=")] ? -1 : (int)n;
}

/* Keys of "auths": a host, or a URL whose host counts. */
static bool key_matches(const char *key, const char *domain)
{
	const char *host = strstr(key, "://");

	host = host ? host + 3 : key;
	size_t n = strcspn(host, "/");
	if (!strcmp(domain, "docker.io"))
		return (n == 15 && !strncasecmp(host, "index.docker.io", n)) ||
		       (n == 9 && !strncasecmp(host, "docker.io", n)) ||
		       (n == 20 && !strncasecmp(host, "registry-1.docker.io", n));
	return strlen(domain) == n && !strncasecmp(host, domain, n);
}

static int copy_secret(const struct json *entry, const char *name, char *out, size_t size, struct err *e)
{
	const char *s = NULL;
	int rc = json_get_string(entry, name, JSON_OPTIONAL, &s, e);

	if (rc <= 0)
		return rc;
	if (strlen(s) >= size)
		return err_set(e, -EINVAL, "member \"%s\" is longer than %zu bytes", name, size - 1);
	strcpy(out, s);
	return 1;
}

static int read_entry(struct credentials *c, const struct json *entry, struct err *e)
{
	char both[sizeof(c->username) + sizeof(c->password)];
	const char *auth = NULL;

	if (copy_secret(entry, "username", c->username, sizeof(c->username), e) < 0 ||
	        copy_secret(entry, "password", c->password, sizeof(c->password), e) < 0 ||
	        copy_secret(entry, "registrytoken", c->token, sizeof(c->token), e) < 0 ||
	        copy_secret(entry, "identitytoken", c->token, sizeof(c->token), e) < 0 ||
	        json_get_string(entry, "auth", JSON_OPTIONAL, &auth, e) < 0)
		return -EINVAL;
	if (!auth || !*auth)
		return 1;
	int n = base64_decode(auth, both, sizeof(both));
	char *colon = n < 0 ? NULL : strchr(both, ':');
	bool is_good = colon && (size_t)(colon - both) < sizeof(c->username) && strlen(colon + 1) < sizeof(c->password);
	if (is_good) {
		*colon = 0;
		strcpy(c->username, both);
		strcpy(c->password, colon + 1);
	}
	explicit_bzero(both, sizeof(both));
	return is_good ? 1 : err_set(e, -EINVAL, "member \"auth\" is not base64 of user:password");
}

int credentials_find(struct credentials *c, const char *data, size_t len, const char *domain, struct err *e)
{
	const struct json *auths = NULL, *entry;
	const char *key;

	memset(c, 0, sizeof(*c));
	AUTO(json_cleanup) struct json *j = json_load_strict(data, len, 16, e);
	if (!j || json_get_object(j, "auths", JSON_OPTIONAL, &auths, e) < 0)
		return err_wrap(e, "registry credentials file"), -EINVAL;
	for (void *it = NULL; (it = json_next(auths, it, &key, &entry));) {
		if (!key_matches(key, domain))
			continue;
		if (read_entry(c, entry, e) < 0)
			return err_wrap(e, "registry credentials file: \"%.100s\"", key), -EINVAL;
		return credentials_given(c);
	}
	return 0;
}
