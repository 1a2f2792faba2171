/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/spec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "json/json.h"

/* Optional string member into OUT, which keeps its value when it is absent or empty. */
static int copy_member(
        const struct json *object, const char *name, enum json_need need, char *out, size_t size, struct err *e)
{
	const char *s = NULL;
	int rc = json_get_string(object, name, need, &s, e);

	if (rc <= 0 || !*s)
		return rc;
	if (strlen(s) >= size)
		return err_set(e, -EINVAL, "member \"%s\" is longer than %zu bytes", name, size - 1);
	strcpy(out, s);
	return 1;
}

static int parse(struct spec *s, const struct json *j, struct err *e)
{
	const struct json *auth = NULL, *platform = NULL;
	int rc;

	rc = copy_member(j, "reference", JSON_REQUIRED, s->reference, sizeof(s->reference), e);
	if (rc < 0 || json_get_object(j, "auth", JSON_OPTIONAL, &auth, e) < 0 ||
	        json_get_object(j, "platform", JSON_OPTIONAL, &platform, e) < 0)
		return -EINVAL;
	const struct {
		const struct json *object;
		const char *name;
		char *out;
		size_t size;
	} members[] = {
	        {auth, "username", s->auth.username, sizeof(s->auth.username)},
	        {auth, "password", s->auth.password, sizeof(s->auth.password)},
	        {auth, "token", s->auth.token, sizeof(s->auth.token)},
	        {auth, "registry", s->auth_registry, sizeof(s->auth_registry)},
	        {platform, "os", s->platform.os, sizeof(s->platform.os)},
	        {platform, "architecture", s->platform.architecture, sizeof(s->platform.architecture)},
	        {platform, "variant", s->platform.variant, sizeof(s->platform.variant)},
	};
	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		if (members[i].object && copy_member(members[i].object, members[i].name, JSON_OPTIONAL, members[i].out,
		                                 members[i].size, e) < 0)
			return -EINVAL;
	return 0;
}

int spec_parse(struct spec *s, const char *data, size_t len, struct err *e)
{
	memset(s, 0, sizeof(*s));
	platform_host(&s->platform);
	AUTO(json_cleanup) struct json *j = json_load_strict(data, len, 16, e);
	if (!j || parse(s, j, e) < 0)
		return err_wrap(e, "source spec"), -EINVAL;

	platform_normalize(&s->platform);
	return 0;
}

void spec_wipe(struct spec *s)
{
	explicit_bzero(&s->auth, sizeof(s->auth));
}
