/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/validate.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

#define CONFIG_MAX_BYTES (256u << 10) /* of the whole BuildConfig */
#define REFERENCE_MAX 480             /* what fits struct msg_fetch_image with room for a host */
#define LIST_MAX 1024                 /* elements of any list or map */
#define TEXT_MAX (32u << 10)          /* bytes of one argument or value */
#define NAME_MAX_BYTES 256

typedef Builder__V1__BuildConfig Config;

/* --- small checks ---------------------------------------------------------------------------------------------- */

/* WHY is a whole clause: "is empty". */
static int wrong(struct err *e, const char *field, const char *value, const char *why)
{
	return err_set(e, -EINVAL, "%s: \"%.100s\" %s", field, value, why);
}

static int not_done(struct err *e, const char *field, const char *instead)
{
	return err_set(e, -EOPNOTSUPP, "%s is not supported by this version%s%s", field, *instead ? "; " : "", instead);
}

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

static int check_text(const char *field, const char *s, size_t max, struct err *e)
{
	if (strlen(s) > max)
		return err_set(e, -EINVAL, "%s: %zu bytes, the limit is %zu", field, strlen(s), max);
	return 0;
}

static int check_list(const char *field, char *const *list, size_t n, struct err *e)
{
	if (n > LIST_MAX)
		return err_set(e, -EINVAL, "%s: %zu elements, the limit is %u", field, n, LIST_MAX);
	for (size_t i = 0; i < n; i++) {
		int rc = check_text(field, list[i], TEXT_MAX, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* --- source ---------------------------------------------------------------------------------------------------- */

/* A path below the operator's directory: relative, no "..". What opens it checks again. */
static int check_local(const char *uri, size_t prefix, const struct config *conf, struct err *e)
{
	const char *path = uri + prefix;

	if (!*conf->local_images_dir)
		return wrong(e, "config.source.docker_image.image_uri", uri,
		        "is a local image; the operator has not set " CONFIG_PREFIX "LOCAL_IMAGES_DIR");
	if (!*path || *path == '/')
		return wrong(e, "config.source.docker_image.image_uri", uri,
		        "must name a path relative to LOCAL_IMAGES_DIR");
	for (const char *c = path; c; c = strchr(c, '/'), c = c ? c + 1 : NULL)
		if (!strncmp(c, "..", 2) && (!c[2] || c[2] == '/' || c[2] == ':'))
			return wrong(e, "config.source.docker_image.image_uri", uri, "must not contain \"..\"");
	return 0;
}

/* Roughly the grammar of distribution/reference; builderd-fetch parses it fully. */
static int check_reference(const char *uri, struct err *e)
{
	static const char field[] = "config.source.docker_image.image_uri";
	const char *at = strchr(uri, '@'), *bad;
	struct err why = ERR_INIT;
	struct digest d;

	if (strstr(uri, "://"))
		return wrong(e, field, uri, "has a scheme; write registry/name:tag");
	for (bad = uri; *bad; bad++)
		if (!isalnum((unsigned char)*bad) && !strchr("._-:/@[]", *bad))
			return err_set(e, -EINVAL, "%s: \"%.100s\" has a byte 0x%02x that no image reference may have",
			        field, uri, (unsigned char)*bad);
	if (*uri == '/' || strstr(uri, "//") || uri[strlen(uri) - 1] == '/' || uri[strlen(uri) - 1] == ':' || at == uri)
		return wrong(e, field, uri, "has an empty part");
	if (at && digest_parse(&d, at + 1, strlen(at + 1), &why) < 0)
		return err_set(e, -EINVAL, "%s: %s", field, why.msg);
	return 0;
}

static int check_auth(const Builder__V1__DockerAuth *a, struct err *e)
{
	const char *const texts[] = {a->username, a->password, a->token, a->registry};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (strlen(texts[i]) > TEXT_MAX || has_control(texts[i]))
			return err_set(e, -EINVAL,
			        "config.source.docker_image.auth: control characters, or more than %u bytes", TEXT_MAX);
	return 0;
}

static bool auth_equal(const Builder__V1__DockerAuth *a, const Builder__V1__DockerAuth *b)
{
	return !strcmp(a->username, b->username) && !strcmp(a->password, b->password) && !strcmp(a->token, b->token) &&
	       !strcmp(a->registry, b->registry);
}

static int check_image(
        const Builder__V1__DockerImageSource *s, const struct config *conf, struct build_request *out, struct err *e)
{
	static const char oci[] = "oci:", archive[] = "docker-archive:",
	                  field[] = "config.source.docker_image.image_uri";
	int rc;

	if (!*s->image_uri)
		return err_set(e, -EINVAL, "%s is missing: name an image such as \"ghcr.io/acme/app:1.2\"", field);
	if ((rc = check_text(field, s->image_uri, REFERENCE_MAX, e)) < 0)
		return rc;
	if (has_control(s->image_uri))
		return err_set(e, -EINVAL, "%s has control characters", field);
	if (!strncmp(s->image_uri, oci, sizeof(oci) - 1)) {
		out->source_kind = SOURCE_OCI_LAYOUT;
		rc = check_local(s->image_uri, sizeof(oci) - 1, conf, e);
	} else if (!strncmp(s->image_uri, archive, sizeof(archive) - 1)) {
		out->source_kind = SOURCE_DOCKER_ARCHIVE;
		rc = check_local(s->image_uri, sizeof(archive) - 1, conf, e);
	} else {
		out->source_kind = SOURCE_REGISTRY;
		rc = check_reference(s->image_uri, e);
	}
	if (rc < 0)
		return rc;
	if (*s->pull_policy && strcasecmp(s->pull_policy, "always") != 0)
		return not_done(e, "config.source.docker_image.pull_policy other than \"always\"",
		        "known blobs are never pulled twice");
	if (s->auth && s->registry_auth && !auth_equal(s->auth, s->registry_auth))
		return err_set(e, -EINVAL, "config.source.docker_image: auth and registry_auth differ");
	out->reference = s->image_uri;
	out->auth = s->auth ? s->auth : s->registry_auth;
	return out->auth ? check_auth(out->auth, e) : 0;
}

static int check_source(const Config *c, const struct config *conf, struct build_request *out, struct err *e)
{
	switch (c->source ? c->source->source_type_case : BUILDER__V1__BUILD_SOURCE__SOURCE_TYPE__NOT_SET) {
	case BUILDER__V1__BUILD_SOURCE__SOURCE_TYPE_DOCKER_IMAGE:
		return check_image(c->source->docker_image, conf, out, e);
	case BUILDER__V1__BUILD_SOURCE__SOURCE_TYPE_GIT_REPOSITORY:
		return not_done(e, "config.source.git_repository", "docker_image is");
	case BUILDER__V1__BUILD_SOURCE__SOURCE_TYPE_ARCHIVE:
		return not_done(e, "config.source.archive", "docker_image is");
	default:
		return err_set(e, -EINVAL, "config.source is missing: one of docker_image, git_repository, archive");
	}
}

/* --- target ---------------------------------------------------------------------------------------------------- */

static int check_port(const char *port, struct err *e)
{
	unsigned long n = 0;
	size_t digits = strspn(port, "0123456789");

	if (digits && digits <= 5)
		n = strtoul(port, NULL, 10);
	if (n < 1 || n > 65535 ||
	        (port[digits] && strcmp(port + digits, "/tcp") != 0 && strcmp(port + digits, "/udp") != 0 &&
	                strcmp(port + digits, "/sctp") != 0))
		return wrong(e, "config.target.microvm_rootfs.runtime_config.exposed_ports", port,
		        "is no port: \"8080\", \"8080/tcp\", \"53/udp\"");
	return 0;
}

static int check_environment(const Builder__V1__RuntimeConfig *r, struct err *e)
{
	static const char field[] = "config.target.microvm_rootfs.runtime_config.environment";
	int rc;

	if (r->n_environment > LIST_MAX)
		return err_set(e, -EINVAL, "%s: %zu variables, the limit is %u", field, r->n_environment, LIST_MAX);
	for (size_t i = 0; i < r->n_environment; i++) {
		const char *name = r->environment[i]->key;
		if (!*name || strchr(name, '=') || has_control(name) || strlen(name) >= NAME_MAX_BYTES)
			return wrong(e, field, name,
			        "is no variable name: 1 to 255 bytes without '=' and control characters");
		if ((rc = check_text(field, r->environment[i]->value, TEXT_MAX, e)) <
		        0) /* a value is never repeated: it may be secret */
			return rc;
	}
	return 0;
}

static int check_runtime(const Builder__V1__RuntimeConfig *r, struct err *e)
{
	int rc = check_list("config.target.microvm_rootfs.runtime_config.command", r->command, r->n_command, e);

	if (rc >= 0)
		rc = check_list(
		        "config.target.microvm_rootfs.runtime_config.entrypoint", r->entrypoint, r->n_entrypoint, e);
	if (rc >= 0 && *r->working_dir && (*r->working_dir != '/' || strlen(r->working_dir) >= 4096))
		rc = wrong(e, "config.target.microvm_rootfs.runtime_config.working_dir", r->working_dir,
		        "is no absolute path of at most 4095 bytes");
	if (rc >= 0)
		rc = check_list("config.target.microvm_rootfs.runtime_config.exposed_ports", r->exposed_ports,
		        r->n_exposed_ports, e);
	for (size_t i = 0; rc >= 0 && i < r->n_exposed_ports; i++)
		rc = check_port(r->exposed_ports[i], e);
	return rc < 0 ? rc : check_environment(r, e);
}

static int check_optimization(const Builder__V1__OptimizationSettings *o, struct err *e)
{
	const struct {
		const char *field;
		bool is_set;
	} fields[] = {
	        {"config.target.microvm_rootfs.optimization.strip_debug_symbols", o->strip_debug_symbols},
	        {"config.target.microvm_rootfs.optimization.compress_binaries", o->compress_binaries},
	        {"config.target.microvm_rootfs.optimization.remove_docs", o->remove_docs},
	        {"config.target.microvm_rootfs.optimization.remove_cache", o->remove_cache},
	        {"config.target.microvm_rootfs.optimization.exclude_patterns", o->n_exclude_patterns},
	};

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (fields[i].is_set)
			return not_done(e, fields[i].field, "");
	return 0;
}

static int check_rootfs(const Builder__V1__MicroVMRootfs *m, struct build_request *out, struct err *e)
{
	int rc = 0;

	switch ((int)m->init_strategy) {
	case BUILDER__V1__INIT_STRATEGY__INIT_STRATEGY_UNSPECIFIED:
	case BUILDER__V1__INIT_STRATEGY__INIT_STRATEGY_TINI:
	case BUILDER__V1__INIT_STRATEGY__INIT_STRATEGY_DIRECT:
	case BUILDER__V1__INIT_STRATEGY__INIT_STRATEGY_CUSTOM:
		break;
	case BUILDER__V1__INIT_STRATEGY__INIT_STRATEGY_SYSTEMD:
		return not_done(e, "config.target.microvm_rootfs.init_strategy INIT_STRATEGY_SYSTEMD",
		        "INIT_STRATEGY_CUSTOM keeps the image's own /sbin/init");
	default:
		return err_set(e, -EINVAL,
		        "config.target.microvm_rootfs.init_strategy: %d is none of TINI, DIRECT, CUSTOM",
		        (int)m->init_strategy);
	}
	if (*m->format && strcmp(m->format, "ext4") != 0)
		return wrong(e, "config.target.microvm_rootfs.format", m->format, "is not \"ext4\"");
	if (*m->compression && strcmp(m->compression, "none") != 0)
		return wrong(e, "config.target.microvm_rootfs.compression", m->compression, "is not \"none\"");
	if (m->size_limit_bytes < 0)
		return err_set(e, -EINVAL, "config.target.microvm_rootfs.size_limit_bytes: %" PRId64 " is negative",
		        m->size_limit_bytes);
	if (m->size_limit_bytes && (uint64_t)m->size_limit_bytes < out->max_bytes)
		out->max_bytes = (uint64_t)m->size_limit_bytes;
	if (m->optimization)
		rc = check_optimization(m->optimization, e);
	return rc < 0 || !m->runtime_config ? rc : check_runtime(m->runtime_config, e);
}

static int check_target(const Config *c, struct build_request *out, struct err *e)
{
	switch (c->target ? c->target->target_type_case : BUILDER__V1__BUILD_TARGET__TARGET_TYPE__NOT_SET) {
	case BUILDER__V1__BUILD_TARGET__TARGET_TYPE_MICROVM_ROOTFS:
		return check_rootfs(c->target->microvm_rootfs, out, e);
	case BUILDER__V1__BUILD_TARGET__TARGET_TYPE_CONTAINER_IMAGE:
		return not_done(e, "config.target.container_image", "microvm_rootfs is");
	default:
		return 0; /* microvm_rootfs with TINI */
	}
}

bool request_preserves_layers(const Config *c)
{
	const Builder__V1__BuildStrategy *s = c->strategy;

	switch (s ? s->strategy_type_case : BUILDER__V1__BUILD_STRATEGY__STRATEGY_TYPE__NOT_SET) {
	case BUILDER__V1__BUILD_STRATEGY__STRATEGY_TYPE_DOCKER_EXTRACT:
		return s->docker_extract->preserve_layers;
	case BUILDER__V1__BUILD_STRATEGY__STRATEGY_TYPE_DOCKER_STRATEGY:
		return s->docker_strategy->preserve_layers;
	default:
		return false;
	}
}

/* Only our init puts layers together; the image's own would start in a root that has nothing else. */
static int check_layers(const Config *c, struct err *e)
{
	const Builder__V1__BuildTarget *t = c->target;
	const Builder__V1__BuildStrategy *s = c->strategy;

	if (!request_preserves_layers(c))
		return 0;
	if (s->strategy_type_case == BUILDER__V1__BUILD_STRATEGY__STRATEGY_TYPE_DOCKER_EXTRACT &&
	        s->docker_extract->flatten_filesystem)
		return err_set(e, -EINVAL,
		        "config.strategy.docker_extract: preserve_layers and flatten_filesystem exclude each other");
	if (t && t->target_type_case == BUILDER__V1__BUILD_TARGET__TARGET_TYPE_MICROVM_ROOTFS &&
	        t->microvm_rootfs->init_strategy == BUILDER__V1__INIT_STRATEGY__INIT_STRATEGY_CUSTOM)
		return err_set(e, -EINVAL,
		        "config.strategy: preserve_layers needs an init_strategy of TINI or DIRECT: an image's own "
		        "init "
		        "cannot put layers together");
	return 0;
}

static int check_strategy(const Config *c, struct err *e)
{
	const Builder__V1__BuildStrategy *s = c->strategy;

	switch (s ? s->strategy_type_case : BUILDER__V1__BUILD_STRATEGY__STRATEGY_TYPE__NOT_SET) {
	case BUILDER__V1__BUILD_STRATEGY__STRATEGY_TYPE_DOCKER_EXTRACT:
		return s->docker_extract->n_exclude_patterns
		               ? not_done(e, "config.strategy.docker_extract.exclude_patterns", "")
		               : 0;
	case BUILDER__V1__BUILD_STRATEGY__STRATEGY_TYPE_DOCKER_STRATEGY:
		if (s->docker_strategy->n_custom_commands)
			return err_set(e, -EINVAL,
			        "config.strategy.docker_strategy.custom_commands: nothing of an image runs during its "
			        "build");
		if (s->docker_strategy->optimize_for_size || s->docker_strategy->remove_dev_packages)
			return not_done(
			        e, "config.strategy.docker_strategy.optimize_for_size and remove_dev_packages", "");
		return 0;
	case BUILDER__V1__BUILD_STRATEGY__STRATEGY_TYPE_GO_API:
		return not_done(e, "config.strategy.go_api", "docker_extract is");
	case BUILDER__V1__BUILD_STRATEGY__STRATEGY_TYPE_SINATRA:
		return not_done(e, "config.strategy.sinatra", "docker_extract is");
	case BUILDER__V1__BUILD_STRATEGY__STRATEGY_TYPE_NODEJS:
		return not_done(e, "config.strategy.nodejs", "docker_extract is");
	default:
		return 0; /* docker_extract */
	}
}

/* --- limits ---------------------------------------------------------------------------------------------------- */

void reference_registry(const char *reference, char *out, size_t size)
{
	size_t n = strcspn(reference, "/");

	if (reference[n] && (memchr(reference, '.', n) || memchr(reference, ':', n) ||
	                            (n == 9 && !strncmp(reference, "localhost", 9))))
		snprintf(out, size, "%.*s", (int)n, reference);
	else
		snprintf(out, size, "docker.io");
}

bool registry_matches(const char *registry, const char *pattern)
{
	size_t n = strlen(registry), p = strlen(pattern);

	if (!strcmp(pattern, "*"))
		return true;
	if (!strncmp(pattern, "*.", 2))
		return n > p - 1 && !strcasecmp(registry + n - (p - 1), pattern + 1);
	return !strcasecmp(registry, pattern);
}

/* LIST: comma-separated patterns. */
static bool registry_listed(const char *registry, const char *list)
{
	char pattern[256];

	for (size_t n; *list; list += n + (list[n] == ',')) {
		n = strcspn(list, ",");
		snprintf(pattern, sizeof(pattern), "%.*s", (int)n, list);
		if (n < sizeof(pattern) && registry_matches(registry, pattern))
			return true;
	}
	return false;
}

static bool is_loopback(const char *registry)
{
	size_t n = strcspn(registry, ":");

	return !strncmp(registry, "127.", 4) || !strncmp(registry, "[::1]", 5) ||
	       (n == strlen("localhost") && !strncmp(registry, "localhost", n));
}

int request_check_registry(
        const struct build_request *r, const struct tier_limits *tier, bool is_loopback_free, struct err *e)
{
	char registry[REFERENCE_MAX + 1];

	if (r->source_kind != SOURCE_REGISTRY)
		return 0; /* the operator's own directory */
	reference_registry(r->reference, registry, sizeof(registry));
	if (registry_listed(registry, tier->registries) || (is_loopback_free && is_loopback(registry)))
		return 0;
	return err_set(e, -EACCES,
	        "config.source.docker_image.image_uri: the tenant may not use registry \"%.100s\", only %s", registry,
	        tier->registries);
}

static int check_registries(const Builder__V1__TenantResourceLimits *l, const struct build_request *r, struct err *e)
{
	char registry[REFERENCE_MAX + 1];

	if (!l->n_allowed_registries || r->source_kind != SOURCE_REGISTRY)
		return 0;
	reference_registry(r->reference, registry, sizeof(registry));
	for (size_t i = 0; i < l->n_allowed_registries; i++)
		if (registry_matches(registry, l->allowed_registries[i]))
			return 0;
	return wrong(e, "config.limits.allowed_registries", registry, "is the image's registry and not among them");
}

static int check_limits(const Builder__V1__TenantResourceLimits *l, const struct tier_limits *t,
        struct build_request *out, struct err *e)
{
	const struct {
		const char *field;
		int64_t asked, granted;
	} rows[] = {
	        {"max_memory_bytes", l->max_memory_bytes, t->memory_bytes},
	        {"max_cpu_cores", l->max_cpu_cores, t->cpu_cores},
	        {"max_disk_bytes", l->max_disk_bytes, t->disk_bytes},
	        {"timeout_seconds", l->timeout_seconds, t->timeout_seconds},
	        {"max_concurrent_builds", l->max_concurrent_builds, t->concurrent_builds},
	        {"max_daily_builds", l->max_daily_builds, t->daily_builds},
	        {"max_storage_bytes", l->max_storage_bytes, t->storage_bytes},
	        {"max_build_time_minutes", l->max_build_time_minutes, t->timeout_seconds / 60},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].asked < 0 || rows[i].asked > rows[i].granted)
			return err_set(e, -EINVAL,
			        "config.limits.%s: %" PRId64 " is not between 0 and the %" PRId64 " of tier %s",
			        rows[i].field, rows[i].asked, rows[i].granted, t->name);
	if (l->allow_privileged_builds)
		return err_set(e, -EINVAL, "config.limits.allow_privileged_builds: no build is privileged");
	if (l->max_disk_bytes && (uint64_t)l->max_disk_bytes < out->max_bytes)
		out->max_bytes = (uint64_t)l->max_disk_bytes;
	if (l->timeout_seconds && (uint32_t)l->timeout_seconds * 1000u < out->timeout_ms)
		out->timeout_ms = (uint32_t)l->timeout_seconds * 1000u;
	if (l->max_build_time_minutes && (uint32_t)l->max_build_time_minutes * 60000u < out->timeout_ms)
		out->timeout_ms = (uint32_t)l->max_build_time_minutes * 60000u;
	if (l->max_concurrent_builds)
		out->concurrent_builds = l->max_concurrent_builds;
	if (l->max_daily_builds)
		out->daily_builds = l->max_daily_builds;
	if (l->max_storage_bytes)
		out->storage_bytes = l->max_storage_bytes;
	return check_registries(l, out, e);
}

/* --- the rest -------------------------------------------------------------------------------------------------- */

static int check_labels(const Config *c, struct err *e)
{
	int rc = check_text("config.build_name", c->build_name, 128, e);

	if (rc >= 0 && has_control(c->build_name))
		rc = err_set(e, -EINVAL, "config.build_name has control characters");
	if (rc >= 0 && c->n_labels > LIST_MAX)
		rc = err_set(e, -EINVAL, "config.labels: %zu labels, the limit is %u", c->n_labels, LIST_MAX);
	for (size_t i = 0; rc >= 0 && i < c->n_labels; i++) {
		if (!*c->labels[i]->key)
			rc = err_set(e, -EINVAL, "config.labels: a label has an empty name");
		if (rc >= 0)
			rc = check_text("config.labels", c->labels[i]->key, NAME_MAX_BYTES, e);
		if (rc >= 0)
			rc = check_text("config.labels", c->labels[i]->value, TEXT_MAX, e);
	}
	return rc;
}

int request_validate(const Config *c, const struct tier_limits *tier, const struct config *conf,
        struct build_request *out, struct err *e)
{
	uint64_t tier_ms = (uint64_t)tier->timeout_seconds * 1000;
	int rc;

	*out = (struct build_request){.max_inodes = conf->build_max_inodes,
	        .concurrent_builds = tier->concurrent_builds,
	        .daily_builds = tier->daily_builds,
	        .storage_bytes = tier->storage_bytes};
	out->max_bytes =
	        (uint64_t)tier->disk_bytes < conf->build_max_bytes ? (uint64_t)tier->disk_bytes : conf->build_max_bytes;
	out->timeout_ms = (uint32_t)(tier_ms < conf->build_timeout_ms ? tier_ms : conf->build_timeout_ms);
	if (!c)
		return err_set(e, -EINVAL, "config is missing");
	size_t size = builder__v1__build_config__get_packed_size(c);
	if (size > CONFIG_MAX_BYTES)
		return err_set(e, -EINVAL, "config: %zu bytes, the limit is %u", size, CONFIG_MAX_BYTES);
	rc = check_source(c, conf, out, e);
	if (rc >= 0)
		rc = check_target(c, out, e);
	if (rc >= 0)
		rc = check_strategy(c, e);
	if (rc >= 0)
		rc = check_layers(c, e);
	if (rc >= 0)
		rc = check_labels(c, e);
	return rc < 0 || !c->limits ? rc : check_limits(c->limits, tier, out, e);
}
