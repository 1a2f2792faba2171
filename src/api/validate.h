/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What CreateBuild accepts. Everything that is not done is refused with a sentence naming the field: nothing a client
 * asks for is ignored silently.
 */
#ifndef API_VALIDATE_H
#define API_VALIDATE_H

#include "build/config.h"
#include "build/tier.h"
#include "builder.pb-c.h"

/* A request that passed. Pointers are borrowed from the configuration message. */
struct build_request {
	enum source_kind source_kind;
	const char *reference;
	const Builder__V1__DockerAuth *auth; /* NULL: none */
	uint64_t max_bytes, max_inodes;
	uint32_t timeout_ms;
	int64_t concurrent_builds, daily_builds, storage_bytes; /* the tier's, or fewer if the request says so */
};

/* 0; -EINVAL: wrong; -EOPNOTSUPP: right, but not done by this version. E names the field, its value and what is
 * expected. */
int request_validate(const Builder__V1__BuildConfig *c, const struct tier_limits *tier, const struct config *conf,
        struct build_request *out, struct err *e);

/* May a tenant with TIER name this source? IS_LOOPBACK_FREE: a registry on this host in any case. -EACCES. */
int request_check_registry(
        const struct build_request *r, const struct tier_limits *tier, bool is_loopback_free, struct err *e);

/* The layers shall stay apart: docker_extract.preserve_layers, or its documented form. */
bool request_preserves_layers(const Builder__V1__BuildConfig *c);

/* "docker.io" for references without a host. Not for local sources. */
void reference_registry(const char *reference, char *out, size_t size);
/* LIST: comma-separated exact names, "*", "*.domain". */
bool registry_matches(const char *registry, const char *pattern);

#endif
