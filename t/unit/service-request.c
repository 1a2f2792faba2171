/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "api/artifact_range.h"
#include "api/metadata.h"
#include "api/specs.h"
#include "api/validate.h"

static Builder__V1__BuildConfig config;
static Builder__V1__BuildSource source;
static Builder__V1__DockerImageSource image;
static Builder__V1__BuildTarget target;
static Builder__V1__MicroVMRootfs rootfs;
static Builder__V1__RuntimeConfig runtime;
static Builder__V1__TenantResourceLimits limits;
static struct config conf;
static struct build_request got;
static struct err err;

/* A request that passes; each test spoils or adds one thing. */
static void setup(void)
{
	conf = (struct config){.local_images_dir = (char *)"",
	        .build_max_bytes = 10ull << 30,
	        .build_max_inodes = 1000,
	        .build_timeout_ms = 900000};
	builder__v1__build_config__init(&config);
	builder__v1__build_source__init(&source);
	builder__v1__docker_image_source__init(&image);
	builder__v1__build_target__init(&target);
	builder__v1__micro_vmrootfs__init(&rootfs);
	builder__v1__runtime_config__init(&runtime);
	builder__v1__tenant_resource_limits__init(&limits);
	image.image_uri = (char *)"ghcr.io/acme/app:1.2";
	source.source_type_case = BUILDER__V1__BUILD_SOURCE__SOURCE_TYPE_DOCKER_IMAGE;
	source.docker_image = &image;
	config.source = &source;
	target.target_type_case = BUILDER__V1__BUILD_TARGET__TARGET_TYPE_MICROVM_ROOTFS;
	target.microvm_rootfs = &rootfs;
	rootfs.runtime_config = &runtime;
	config.target = &target;
	config.limits = &limits;
	err = (struct err)ERR_INIT;
}

static int check(void)
{
	return request_validate(&config, tier_limits_of(TIER_FREE), &conf, &got, &err);
}

static void refused(int code, const char *text)
{
	cr_assert_eq(check(), code, "%s", err.msg);
	cr_assert(strstr(err.msg, text), "\"%s\" does not say \"%s\"", err.msg, text);
}

TestSuite(validate, .init = setup);
TestSuite(specs, .init = setup);

Test(validate, accepts_and_fills_in)
{
	cr_assert_eq(check(), 0, "%s", err.msg);
	cr_assert_eq(got.source_kind, SOURCE_REGISTRY);
	cr_assert_str_eq(got.reference, "ghcr.io/acme/app:1.2");
	cr_assert_eq(got.max_bytes, 1ull << 30); /* the tier's */
	cr_assert_eq(got.max_inodes, 1000);
	cr_assert_eq(got.timeout_ms, 300000);
	conf.build_max_bytes = 5000;
	conf.build_timeout_ms = 7000;
	cr_assert_eq(check(), 0);
	cr_assert(got.max_bytes == 5000 && got.timeout_ms == 7000);
	config.target = NULL;
	config.limits = NULL;
	cr_assert_eq(check(), 0);
}

Test(validate, sources)
{
	static Builder__V1__DockerAuth a = BUILDER__V1__DOCKER_AUTH__INIT, b = BUILDER__V1__DOCKER_AUTH__INIT;

	config.source = NULL;
	refused(-EINVAL, "config.source is missing");
	config.source = &source;
	source.source_type_case = BUILDER__V1__BUILD_SOURCE__SOURCE_TYPE_GIT_REPOSITORY;
	refused(-EOPNOTSUPP, "config.source.git_repository is not supported");
	source.source_type_case = BUILDER__V1__BUILD_SOURCE__SOURCE_TYPE_ARCHIVE;
	refused(-EOPNOTSUPP, "config.source.archive");
	source.source_type_case = BUILDER__V1__BUILD_SOURCE__SOURCE_TYPE_DOCKER_IMAGE;
	image.pull_policy = (char *)"if-not-present";
	refused(-EOPNOTSUPP, "pull_policy");
	image.pull_policy = (char *)"Always";
	image.auth = &a;
	image.registry_auth = &b;
	cr_assert_eq(check(), 0);
	cr_assert_eq(got.auth, &a);
	b.username = (char *)"other";
	refused(-EINVAL, "differ");
	image.auth = NULL;
	cr_assert_eq(check(), 0);
	cr_assert_eq(got.auth, &b);
	b.password = (char *)"line\nbreak";
	refused(-EINVAL, "control characters");
	cr_assert_eq(request_validate(NULL, tier_limits_of(TIER_FREE), &conf, &got, &err), -EINVAL);
}

Test(validate, references)
{
	static const char *const good[] = {"alpine", "alpine:3.20", "127.0.0.1:5000/bench/python:1", "[::1]:5000/a/b:c",
	        "localhost/x", "a/b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	        "GHCR.io/a/b__c-d.e:T_1"};
	static const char *const bad[] = {"", "https://ghcr.io/a", "a b", "a\tb", "user:pw@host/img", "/a", "a//b",
	        "a/", "a:", "@sha256:00", "a@sha256:00", "a;b", "a$(b)", "\xc3\xa4"};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		image.image_uri = (char *)(uintptr_t)good[i];
		cr_assert_eq(check(), 0, "%s: %s", good[i], err.msg);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		image.image_uri = (char *)(uintptr_t)bad[i];
		refused(-EINVAL, "config.source.docker_image.image_uri");
	}
	char longer[600];
	memset(longer, 'a', sizeof(longer));
	longer[599] = 0;
	image.image_uri = longer;
	refused(-EINVAL, "599 bytes, the limit is 480");
}

Test(validate, local_images)
{
	image.image_uri = (char *)"oci:dir:tag";
	refused(-EINVAL, "LOCAL_IMAGES_DIR");
	conf.local_images_dir = (char *)"/images";
	cr_assert_eq(check(), 0);
	cr_assert_eq(got.source_kind, SOURCE_OCI_LAYOUT);
	image.image_uri = (char *)"docker-archive:sub/a..b.tar";
	cr_assert_eq(check(), 0);
	cr_assert_eq(got.source_kind, SOURCE_DOCKER_ARCHIVE);
	static const char *const bad[] = {
	        "oci:", "oci:/etc", "oci:..", "oci:../x", "oci:a/../b", "oci:a/..:tag", "docker-archive:a/.."};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		image.image_uri = (char *)(uintptr_t)bad[i];
		refused(-EINVAL, bad[i]);
	}
}

Test(validate, targets_and_strategies)
{
	static Builder__V1__OptimizationSettings o = BUILDER__V1__OPTIMIZATION_SETTINGS__INIT;
	static Builder__V1__BuildStrategy s = BUILDER__V1__BUILD_STRATEGY__INIT;
	static Builder__V1__DockerExtractStrategy x = BUILDER__V1__DOCKER_EXTRACT_STRATEGY__INIT;

	rootfs.init_strategy = 77;
	refused(-EINVAL, "init_strategy: 77");
	rootfs.init_strategy = BUILDER__V1__INIT_STRATEGY__INIT_STRATEGY_SYSTEMD;
	refused(-EOPNOTSUPP, "SYSTEMD");
	rootfs.init_strategy = BUILDER__V1__INIT_STRATEGY__INIT_STRATEGY_CUSTOM;
	cr_assert_eq(check(), 0);
	rootfs.format = (char *)"xfs";
	refused(-EINVAL, "format: \"xfs\"");
	rootfs.format = (char *)"ext4";
	rootfs.compression = (char *)"gzip";
	refused(-EINVAL, "compression");
	rootfs.compression = (char *)"none";
	rootfs.size_limit_bytes = -1;
	refused(-EINVAL, "size_limit_bytes: -1");
	rootfs.size_limit_bytes = 4096;
	cr_assert_eq(check(), 0);
	cr_assert_eq(got.max_bytes, 4096);
	rootfs.optimization = &o;
	cr_assert_eq(check(), 0);
	o.remove_docs = 1;
	refused(-EOPNOTSUPP, "optimization.remove_docs");
	o.remove_docs = 0;
	config.strategy = &s;
	s.strategy_type_case = BUILDER__V1__BUILD_STRATEGY__STRATEGY_TYPE_GO_API;
	refused(-EOPNOTSUPP, "config.strategy.go_api");
	s.strategy_type_case = BUILDER__V1__BUILD_STRATEGY__STRATEGY_TYPE_DOCKER_EXTRACT;
	s.docker_extract = &x;
	cr_assert_eq(check(), 0);
	char *patterns[] = {(char *)"/doc/*"};
	x.exclude_patterns = patterns;
	x.n_exclude_patterns = 1;
	refused(-EOPNOTSUPP, "exclude_patterns");
	target.target_type_case = BUILDER__V1__BUILD_TARGET__TARGET_TYPE_CONTAINER_IMAGE;
	refused(-EOPNOTSUPP, "container_image");
}

Test(validate, runtime)
{
	static Builder__V1__RuntimeConfig__EnvironmentEntry entry =
	        BUILDER__V1__RUNTIME_CONFIG__ENVIRONMENT_ENTRY__INIT;
	Builder__V1__RuntimeConfig__EnvironmentEntry *entries[] = {&entry};
	static const char *const bad_names[] = {"", "A=B", "A\nB"};
	static const char *const bad_ports[] = {"0", "65536", "80/xyz", "tcp", "", "-1", "123456", "80/"};
	char *ports[1];

	runtime.working_dir = (char *)"relative";
	refused(-EINVAL, "working_dir");
	runtime.working_dir = (char *)"/srv";
	runtime.n_environment = 1;
	runtime.environment = entries;
	entry.value = (char *)"hunter2";
	for (size_t i = 0; i < 3; i++) {
		entry.key = (char *)(uintptr_t)bad_names[i];
		refused(-EINVAL, "environment");
		cr_assert(!strstr(err.msg, "hunter2"), "values are secrets");
	}
	entry.key = (char *)"lower_case.odd-name";
	cr_assert_eq(check(), 0);
	runtime.n_exposed_ports = 1;
	runtime.exposed_ports = ports;
	for (size_t i = 0; i < sizeof(bad_ports) / sizeof(*bad_ports); i++) {
		ports[0] = (char *)(uintptr_t)bad_ports[i];
		refused(-EINVAL, "exposed_ports");
	}
	ports[0] = (char *)"53/udp";
	cr_assert_eq(check(), 0);
}

Test(validate, limits_only_lower)
{
	char *registries[] = {(char *)"*.io"};

	limits.max_disk_bytes = 1000;
	limits.timeout_seconds = 20;
	cr_assert_eq(check(), 0);
	cr_assert(got.max_bytes == 1000 && got.timeout_ms == 20000);
	limits.max_build_time_minutes = 5;
	cr_assert_eq(check(), 0);
	cr_assert_eq(got.timeout_ms, 20000);
	limits.max_disk_bytes = (1ll << 30) + 1;
	refused(-EINVAL, "config.limits.max_disk_bytes: 1073741825 is not between 0 and the 1073741824 of tier free");
	limits.max_disk_bytes = -1;
	refused(-EINVAL, "max_disk_bytes: -1");
	limits.max_disk_bytes = 0;
	limits.allow_privileged_builds = 1;
	refused(-EINVAL, "no build is privileged");
	limits.allow_privileged_builds = 0;
	limits.n_allowed_registries = 1;
	limits.allowed_registries = registries;
	cr_assert_eq(check(), 0);
	image.image_uri = (char *)"alpine:3";
	cr_assert_eq(check(), 0); /* docker.io */
	image.image_uri = (char *)"quay.example/x";
	refused(-EINVAL, "allowed_registries: \"quay.example\"");
}

Test(validate, registries)
{
	cr_assert(registry_matches("a.b", "*") && registry_matches("a.b", "*.b") && registry_matches("A.b", "a.B"));
	cr_assert(!registry_matches("b", "*.b") && !registry_matches("ab", "*.b") && !registry_matches("a.b", "b"));
}

Test(specs, runtime_is_canonical)
{
	Builder__V1__RuntimeConfig__EnvironmentEntry b = BUILDER__V1__RUNTIME_CONFIG__ENVIRONMENT_ENTRY__INIT, a = b;
	Builder__V1__RuntimeConfig__EnvironmentEntry *one[] = {&b, &a}, *other[] = {&a, &b};
	struct buf x = {0}, y = {0};
	struct digest kx, ky;
	char *command[] = {(char *)"/bin/sh", (char *)"-c", (char *)"echo \"hi\""};

	a.key = (char *)"A";
	a.value = (char *)"1";
	b.key = (char *)"B";
	b.value = (char *)"2";
	runtime.n_environment = 2;
	runtime.environment = one;
	runtime.n_command = 3;
	runtime.command = command;
	rootfs.init_strategy = BUILDER__V1__INIT_STRATEGY__INIT_STRATEGY_DIRECT;
	runtime_spec_write(&x, &config);
	runtime.environment = other;
	runtime_spec_write(&y, &config);
	cr_assert_str_eq(buf_cstr(&x), "{\"command\":[\"/bin/sh\",\"-c\",\"echo "
	                               "\\\"hi\\\"\"],\"environment\":{\"A\":\"1\",\"B\":\"2\"},\"finishing\":true,"
	                               "\"init_strategy\":\"DIRECT\"}");
	cr_assert_str_eq(buf_cstr(&y), x.data);
	runtime_spec_key(&x, &kx);
	runtime_spec_key(&y, &ky);
	cr_assert(digest_equal(&kx, &ky));
	config.target = NULL;
	y.len = 0;
	runtime_spec_write(&y, &config);
	cr_assert_str_eq(buf_cstr(&y), "{\"finishing\":true,\"init_strategy\":\"TINI\"}");
	rootfs.skip_finishing = 1;
	config.target = &target;
	rootfs.runtime_config = NULL;
	y.len = 0;
	runtime_spec_write(&y, &config);
	cr_assert_str_eq(buf_cstr(&y), "{\"finishing\":false,\"init_strategy\":\"DIRECT\"}");
	buf_free(&x);
	buf_free(&y);
}

Test(specs, source)
{
	Builder__V1__DockerAuth a = BUILDER__V1__DOCKER_AUTH__INIT;
	struct buf b = {0};

	source_spec_write(&b, "r/x:1", NULL);
	cr_assert_str_eq(buf_cstr(&b),
	        "{\"reference\":\"r/"
	        "x:1\",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\",\"variant\":\"\"}}");
	b.len = 0;
	a.username = (char *)"u\"";
	source_spec_write(&b, "r/x:1", &a);
	cr_assert(strstr(
	        buf_cstr(&b), "\"auth\":{\"username\":\"u\\\"\",\"password\":\"\",\"token\":\"\",\"registry\":\"\"}"));
	spec_wipe(&b);
}

Test(metadata, reads_and_refuses)
{
	static const char good[] = "{\"original_image\":\"a\",\"layers\":[\"x\",\"y\"],\"labels\":{\"k\":\"v\"},"
	                           "\"env\":{},\"user\":null,\"more\":1}";
	static const char *const bad[] = {"", "[]", "{\"layers\":\"x\"}", "{\"layers\":[1]}", "{\"labels\":{\"a\":1}}",
	        "{\"user\":5}", "{} x", "{\"user\":\"a\",\"user\":\"b\"}", "{\"env\":[]}",
	        "{\"a\":[[[[[[[[[[[[]]]]]]]]]]]]}"};
	Builder__V1__ImageMetadata *m = metadata_read(good, strlen(good), &err);

	cr_assert(m, "%s", err.msg);
	cr_assert(m->n_layers == 2 && m->n_labels == 1 && m->n_env == 0);
	cr_assert_str_eq(m->layers[1], "y");
	cr_assert_str_eq(m->labels[0]->key, "k");
	cr_assert_str_eq(m->user, "");
	builder__v1__image_metadata__free_unpacked(m, NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_lt(metadata_check(bad[i], strlen(bad[i]), &err), 0, "%s", bad[i]);
}

Test(range, table)
{
	static const struct {
		const char *header;
		uint64_t size;
		enum range_kind kind;
		uint64_t first, len;
	} rows[] = {
	        {"bytes=0-0", 10, RANGE_PART, 0, 1},
	        {"bytes=5-", 10, RANGE_PART, 5, 5},
	        {"bytes=5-100", 10, RANGE_PART, 5, 5},
	        {"bytes=-3", 10, RANGE_PART, 7, 3},
	        {"bytes=-30", 10, RANGE_PART, 0, 10},
	        {"Bytes=9-9", 10, RANGE_PART, 9, 1},
	        {"bytes=0-18446744073709551615", 10, RANGE_PART, 0, 10},
	        {"bytes=10-", 10, RANGE_IMPOSSIBLE, 0, 0},
	        {"bytes=-0", 10, RANGE_IMPOSSIBLE, 0, 0},
	        {"bytes=0-", 0, RANGE_IMPOSSIBLE, 0, 0},
	        {"bytes=-1", 0, RANGE_IMPOSSIBLE, 0, 0},
	        {"bytes=5-4", 10, RANGE_WHOLE, 0, 0},
	        {"bytes=0-1,3-4", 10, RANGE_WHOLE, 0, 0},
	        {"items=0-1", 10, RANGE_WHOLE, 0, 0},
	        {"bytes=", 10, RANGE_WHOLE, 0, 0},
	        {"bytes=-", 10, RANGE_WHOLE, 0, 0},
	        {"bytes=a-b", 10, RANGE_WHOLE, 0, 0},
	        {"bytes=99999999999999999999-", 10, RANGE_WHOLE, 0, 0},
	        {"bytes=1-2x", 10, RANGE_WHOLE, 0, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct range r = {0, 0};
		cr_assert_eq(range_parse(rows[i].header, rows[i].size, &r), rows[i].kind, "%s", rows[i].header);
		cr_assert(r.first == rows[i].first && r.len == rows[i].len, "%s", rows[i].header);
	}
}
