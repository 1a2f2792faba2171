/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/challenge.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

/* RFC 9110 section 5.6.2 */
static bool is_token_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t token_length(const char *p)
{
	size_t n = 0;

	while (is_token_char(p[n]))
		n++;
	return n;
}

static const char *skip_space(const char *p)
{
	return p + strspn(p, " \t");
}

static int bad(struct err *e, const char *field, const char *at, const char *why)
{
	return err_kind_set(e, -EINVAL, ERR_KIND_UNAUTHORIZED, "WWW-Authenticate \"%.160s\": %s at offset %zu", field,
	        why, (size_t)(at - field));
}

/* Reads a token or quoted string at *P into OUT; false when it is malformed or too long. */
static bool read_value(const char **p, char *out, size_t size)
{
	size_t n = 0;

	if (**p != '"') {
		n = token_length(*p);
		if (!n || n >= size)
			return false;
		memcpy(out, *p, n);
		out[n] = 0;
		*p += n;
		return true;
	}
	for (const char *q = *p + 1; *q; q++) {
		if (*q == '"') {
			out[n] = 0;
			*p = q + 1;
			return true;
		}
		if (*q == '\\' && !*++q)
			return false;
		if ((unsigned char)*q < 0x20 || *q == 0x7f || n + 1 >= size)
			return false;
		out[n++] = *q;
	}
	return false;
}

/* Where the challenge keeps the parameter NAME; NULL: not one that we use. */
static char *parameter(struct challenge *c, const char *name, size_t len, size_t *size, unsigned *bit)
{
	const struct {
		const char *name;
		char *at;
		size_t size;
	} known[] = {
	        {"realm", c->realm, sizeof(c->realm)},
	        {"service", c->service, sizeof(c->service)},
	        {"scope", c->scope, sizeof(c->scope)},
	        {"error", c->error, sizeof(c->error)},
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strlen(known[i].name) == len && !strncasecmp(known[i].name, name, len)) {
			*size = known[i].size;
			*bit = 1u << i;
			return known[i].at;
		}
	return NULL;
}

/* Behind a scheme: skip a token68 if that is what stands there ("Negotiate YWJj="). */
static const char *skip_token68(const char *p)
{
	const char *q = p;

	while (isalnum((unsigned char)*q) || (*q && strchr("-._~+/", *q)))
		q++;
	if (q == p)
		return p;
	q += strspn(q, "=");
	const char *end = skip_space(q);
	return !*end || *end == ',' ? end : p;
}

static bool scheme_set(struct challenge *c, const char *name, size_t len)
{
	memset(c, 0, sizeof(*c));
	if (len >= sizeof(c->scheme))
		return false;
	for (size_t i = 0; i < len; i++)
		c->scheme[i] = (char)tolower((unsigned char)name[i]);
	return true;
}

int challenge_parse(const char *field, struct challenge *out, size_t max, struct err *e)
{
	struct challenge spare;
	struct challenge *c = NULL;
	unsigned seen = 0;
	size_t n = 0;

	for (const char *p = field;;) {
		p += strspn(p, " \t,");
		if (!*p)
			return (int)(n < max ? n : max);
		const char *name = p;
		size_t len = token_length(p);
		if (!len)
			return bad(e, field, p, "a scheme or parameter is missing");
		p = skip_space(p + len);
		if (*p != '=') { /* a scheme: a new challenge */
			c = n < max ? &out[n] : &spare;
			n++;
			seen = 0;
			if (!scheme_set(c, name, len))
				return bad(e, field, name, "the scheme is too long");
			if (p > name + len)
				p = skip_token68(p);
			continue;
		}
		p = skip_space(p + 1);
		char other[1024];
		size_t size = sizeof(other);
		unsigned bit = 0;
		char *at = c ? parameter(c, name, len, &size, &bit) : NULL;
		if (!c || seen & bit)
			return bad(e, field, name,
			        c ? "a parameter stands twice" : "a parameter stands before any scheme");
		seen |= bit;
		if (!read_value(&p, at ? at : other, size))
			return bad(e, field, p, "a value is malformed or too long");
		p = skip_space(p);
		if (*p && *p != ',')
			return bad(e, field, p, "a comma is missing");
	}
}
