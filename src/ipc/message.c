/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ipc/message.h"

#include <ctype.h>
#include <string.h>

const struct msg_rule msg_rules[MSG_TYPE_COUNT] = {
#define X(id, text, from, in, only_once, payload, min, max)                                                            \
	[MSG_##id] = {.name = text,                                                                                    \
	        .sender = from,                                                                                        \
	        .states = in,                                                                                          \
	        .is_once = only_once,                                                                                  \
	        .size = sizeof(payload),                                                                               \
	        .min_fds = min,                                                                                        \
	        .max_fds = max},
        MSG_TABLE(X)
#undef X
};

#define X(id, text, from, in, only_once, payload, min, max)                                                            \
	_Static_assert(sizeof(payload) + sizeof(struct msg_header) <= MSG_MAX_BYTES, text " is too big");              \
	_Static_assert((max) <= MSG_MAX_FDS, text " has too many descriptors");
MSG_TABLE(X)
#undef X
_Static_assert(MSG_TYPE_COUNT <= 64, "struct channel keeps one bit per type");

const char *msg_name(uint32_t type)
{
	return type > MSG_NONE && type < MSG_TYPE_COUNT ? msg_rules[type].name : "unknown";
}

static bool id_is_valid(const char *id, size_t max)
{
	size_t n = strnlen(id, max);

	if (!n || n == max || !isalnum((unsigned char)id[0]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)id[i]) && !memchr("._-", id[i], 3))
			return false;
	return true;
}

bool msg_build_id_is_valid(const char id[BUILD_ID_MAX])
{
	return id_is_valid(id, BUILD_ID_MAX);
}

bool msg_lease_id_is_valid(const char id[LEASE_ID_MAX])
{
	return id_is_valid(id, LEASE_ID_MAX);
}

/* At most 64 characters. */
bool msg_lease_holder_is_valid(const char holder[LEASE_HOLDER_MAX])
{
	return id_is_valid(holder, LEASE_HOLDER_MAX) && strlen(holder) <= 64;
}

bool msg_lease_jail_is_valid(const char jail[LEASE_JAIL_MAX])
{
	size_t len = strnlen(jail, LEASE_JAIL_MAX);

	if (len == LEASE_JAIL_MAX)
		return false;
	for (const char *c = jail; len && c;) {
		size_t n = strcspn(c, "/");
		if (!n || !strncmp(c, ".", n) || (n == 2 && !strncmp(c, "..", n)))
			return false;
		for (size_t i = 0; i < n; i++)
			if (!isalnum((unsigned char)c[i]) && !memchr("._-", c[i], 3))
				return false;
		c = c[n] ? c + n + 1 : NULL;
	}
	return true;
}

bool msg_tenant_id_is_valid(const char id[TENANT_ID_MAX])
{
	return id_is_valid(id, TENANT_ID_MAX);
}
