/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fetch/manifest.h"

#define D "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OCI "application/vnd.oci.image.manifest.v1+json"
#define INDEX "application/vnd.oci.image.index.v1+json"
#define DOCKER "application/vnd.docker.distribution.manifest.v2+json"
#define CONFIG "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"" D "\",\"size\":2}"
#define LAYER(type) "{\"mediaType\":\"" type "\",\"digest\":\"" D "\",\"size\":5}"
#define TAR "application/vnd.oci.image.layer.v1.tar"
#define MANIFEST(layers) "{\"schemaVersion\":2," CONFIG ",\"layers\":[" layers "]}"

static const struct image_limits limits = {.json_depth = 64,
        .max_layers = 127,
        .index_entries = 4,
        .max_config = 4096,
        .max_manifest = 65536,
        .max_image = 1000};

Test(manifest, load)
{
	static const struct {
		const char *text, *content_type, *expected;
		enum err_kind kind; /* NONE: accepted */
		enum media media;
	} cases[] = {
	        {MANIFEST(""), "", "", ERR_KIND_NONE, MEDIA_MANIFEST},
	        {MANIFEST(""), OCI, OCI, ERR_KIND_NONE, MEDIA_MANIFEST},
	        {MANIFEST(""), OCI "; charset=utf-8", "", ERR_KIND_NONE, MEDIA_MANIFEST},
	        {MANIFEST(""), "application/json", "", ERR_KIND_NONE, MEDIA_MANIFEST},
	        {MANIFEST(""), DOCKER, OCI, ERR_KIND_MEDIATYPE_MISMATCH, 0},
	        {MANIFEST(""), INDEX, "", ERR_KIND_MEDIATYPE_MISMATCH, 0},
	        {MANIFEST(""), "text/html", "", ERR_KIND_UNSUPPORTED_MEDIATYPE, 0},
	        {"{\"schemaVersion\":2,\"manifests\":[]}", INDEX, "", ERR_KIND_NONE, MEDIA_INDEX},
	        {"{\"schemaVersion\":2,\"manifests\":[]}", OCI, "", ERR_KIND_MEDIATYPE_MISMATCH, 0},
	        {"{\"schemaVersion\":2,\"mediaType\":\"" DOCKER "\"," CONFIG ",\"layers\":[]}", OCI, "",
	                ERR_KIND_MEDIATYPE_MISMATCH, 0},
	        {"{\"schemaVersion\":2,\"mediaType\":\"a/b\"," CONFIG ",\"layers\":[]}", "", "",
	                ERR_KIND_UNSUPPORTED_MEDIATYPE, 0},
	        {"{\"schemaVersion\":2,\"mediaType\":5," CONFIG ",\"layers\":[]}", "", "", ERR_KIND_BAD_MANIFEST, 0},
	        {"{\"schemaVersion\":2,\"layers\":[],\"manifests\":[]}", "", "", ERR_KIND_AMBIGUOUS_MANIFEST, 0},
	        {"{\"schemaVersion\":2,\"layers\":null,\"manifests\":[]}", "", "", ERR_KIND_AMBIGUOUS_MANIFEST, 0},
	        {"{\"schemaVersion\":2," CONFIG ",\"manifests\":[]}", "", "", ERR_KIND_AMBIGUOUS_MANIFEST, 0},
	        {"{\"schemaVersion\":2}", "", "", ERR_KIND_BAD_MANIFEST, 0},
	        {"{\"schemaVersion\":\"2\",\"layers\":[]}", "", "", ERR_KIND_BAD_MANIFEST, 0},
	        {"{\"layers\":[]}", "", "", ERR_KIND_BAD_MANIFEST, 0},
	        {"{\"schemaVersion\":1,\"fsLayers\":[],\"history\":[]}", "", "", ERR_KIND_UNSUPPORTED_MEDIATYPE, 0},
	        {MANIFEST(""), "application/vnd.docker.distribution.manifest.v1+prettyjws", "",
	                ERR_KIND_UNSUPPORTED_MEDIATYPE, 0},
	        {"[]", "", "", ERR_KIND_BAD_MANIFEST, 0},
	        {"", "", "", ERR_KIND_BAD_MANIFEST, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		struct json *j = NULL;
		enum media media = MEDIA_UNKNOWN;
		int rc = manifest_load(cases[i].text, strlen(cases[i].text), cases[i].content_type, cases[i].expected,
		        &limits, &j, &media, &e);
		cr_expect_eq(rc < 0 ? e.kind : ERR_KIND_NONE, cases[i].kind, "case %zu: %s: %s", i,
		        err_kind_name(e.kind), e.msg);
		if (rc >= 0)
			cr_expect_eq(media, cases[i].media, "case %zu", i);
		json_release(j);
	}
}

Test(manifest, parse)
{
	static const struct {
		const char *text;
		enum err_kind kind;
		enum compression compression;
	} cases[] = {
	        {MANIFEST(LAYER(TAR)), ERR_KIND_NONE, COMPRESSION_NONE},
	        {MANIFEST(LAYER(TAR "+gzip")), ERR_KIND_NONE, COMPRESSION_GZIP},
	        {MANIFEST(LAYER(TAR "+zstd")), ERR_KIND_NONE, COMPRESSION_ZSTD},
	        {MANIFEST(LAYER("application/vnd.docker.image.rootfs.diff.tar.gzip")), ERR_KIND_NONE, COMPRESSION_GZIP},
	        {MANIFEST(LAYER(TAR "+bzip2")), ERR_KIND_UNSUPPORTED_MEDIATYPE, 0},
	        {MANIFEST(LAYER(TAR "+gzip+encrypted")), ERR_KIND_ENCRYPTED, 0},
	        {MANIFEST("{\"digest\":\"" D "\",\"size\":5}"), ERR_KIND_UNSUPPORTED_MEDIATYPE, 0},
	        {MANIFEST("{\"mediaType\":\"" TAR "\",\"digest\":\"" D "\",\"size\":-5}"), ERR_KIND_BAD_MANIFEST, 0},
	        {MANIFEST("{\"mediaType\":\"" TAR "\",\"digest\":\"" D "\"}"), ERR_KIND_BAD_MANIFEST, 0},
	        {MANIFEST("{\"mediaType\":\"" TAR "\",\"digest\":\"" D "\",\"size\":1.5}"), ERR_KIND_BAD_MANIFEST, 0},
	        {MANIFEST("{\"mediaType\":\"" TAR "\",\"digest\":\"sha256:x\",\"size\":5}"), ERR_KIND_BAD_DIGEST, 0},
	        {MANIFEST("{\"mediaType\":\"" TAR "\",\"digest\":\"" D "\",\"size\":1001}"), ERR_KIND_LIMIT_SIZE, 0},
	        {MANIFEST("{\"mediaType\":\"" TAR "\",\"digest\":\"" D "\",\"size\":600},{\"mediaType\":\"" TAR
	                  "\",\"digest\":\"" D "\",\"size\":9223372036854775807}"),
	                ERR_KIND_LIMIT_SIZE, 0},
	        {MANIFEST("null"), ERR_KIND_BAD_MANIFEST, 0},
	        {"{\"schemaVersion\":2,\"layers\":[]}", ERR_KIND_BAD_MANIFEST, 0},
	        {"{\"schemaVersion\":2,\"config\":[],\"layers\":[]}", ERR_KIND_BAD_MANIFEST, 0},
	        {"{\"schemaVersion\":2,\"layers\":[],\"config\":{\"mediaType\":\"application/"
	         "vnd.oci.empty.v1+json\",\"digest\":\"" D "\",\"size\":2}}",
	                ERR_KIND_NOT_AN_IMAGE, 0},
	        {"{\"schemaVersion\":2,\"layers\":[],\"config\":{\"mediaType\":\"application/"
	         "vnd.oci.image.config.v1+json\",\"digest\":\"" D "\",\"size\":5000}}",
	                ERR_KIND_BAD_CONFIG, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		static struct image image;
		memset(&image, 0, sizeof(image));
		AUTO(json_cleanup) struct json *j = json_load_strict(cases[i].text, strlen(cases[i].text), 64, &e);
		cr_assert(j, "case %zu: %s", i, e.msg);
		int rc = manifest_parse(j, &limits, &image, &e);
		cr_expect_eq(rc < 0 ? e.kind : ERR_KIND_NONE, cases[i].kind, "case %zu: %s: %s", i,
		        err_kind_name(e.kind), e.msg);
		if (rc >= 0)
			cr_expect_eq(image.layers[0].compression, cases[i].compression, "case %zu", i);
	}
}

#define IDS "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D "\"]}"
#define PLAIN "\"os\":\"linux\",\"architecture\":\"amd64\","

Test(manifest, config)
{
	static const struct {
		const char *text;
		enum err_kind kind;
	} cases[] = {
	        {"{" PLAIN IDS "}", ERR_KIND_NONE},
	        {"{" PLAIN IDS ",\"config\":{\"Env\":null,\"Cmd\":[\"a\"],\"Labels\":{}}}", ERR_KIND_NONE},
	        {"{" PLAIN IDS ",\"config\":null}", ERR_KIND_NONE},
	        {"{\"os\":\"linux\",\"architecture\":\"arm64\"," IDS "}", ERR_KIND_PLATFORM_MISMATCH},
	        {"{\"os\":\"windows\",\"architecture\":\"amd64\"," IDS "}", ERR_KIND_PLATFORM_MISMATCH},
	        {"{\"os\":\"linux\"," IDS "}", ERR_KIND_BAD_CONFIG},
	        {"{" PLAIN "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}", ERR_KIND_BAD_CONFIG},
	        {"{" PLAIN "\"rootfs\":{\"type\":\"x\",\"diff_ids\":[\"" D "\"]}}", ERR_KIND_BAD_CONFIG},
	        {"{" PLAIN "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:../x\"]}}", ERR_KIND_BAD_DIGEST},
	        {"{" PLAIN "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[5]}}", ERR_KIND_BAD_CONFIG},
	        {"{" PLAIN IDS ",\"config\":{\"Env\":\"A=B\"}}", ERR_KIND_BAD_CONFIG},
	        {"{" PLAIN IDS ",\"config\":{\"Cmd\":[1]}}", ERR_KIND_BAD_CONFIG},
	        {"{" PLAIN IDS ",\"config\":{\"User\":0}}", ERR_KIND_BAD_CONFIG},
	        {"{" PLAIN IDS ",\"config\":[]}", ERR_KIND_BAD_CONFIG},
	        {"[]", ERR_KIND_BAD_CONFIG},
	        {"null", ERR_KIND_BAD_CONFIG},
	        {"", ERR_KIND_BAD_CONFIG},
	};
	const struct platform want = {"linux", "amd64", ""};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		static struct image image;
		image.n_layers = 1;
		int rc = config_parse(cases[i].text, strlen(cases[i].text), &want, &limits, &image, &e);
		cr_expect_eq(rc < 0 ? e.kind : ERR_KIND_NONE, cases[i].kind, "case %zu: %s: %s", i,
		        err_kind_name(e.kind), e.msg);
	}
}

Test(manifest, index)
{
	static const char text[] =
	        "{\"manifests\":[{\"digest\":\"" D
	        "\",\"size\":1,\"platform\":{\"os\":\"linux\",\"architecture\":\"x86_64\"}},"
	        "{\"digest\":\"" D "\",\"size\":1,\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}},"
	        "{\"digest\":\"" D "\",\"size\":1},{\"digest\":\"" D "\",\"size\":1,\"platform\":[]}]}";
	struct err e = ERR_INIT;
	struct index_entry entry;
	AUTO(json_cleanup) struct json *j = json_load_strict(text, sizeof(text) - 1, 64, &e);

	cr_assert_eq(index_count(j, &limits, &e), 4);
	cr_expect_eq(index_entry(j, 0, &entry, &e), 0);
	cr_expect_str_eq(entry.platform.architecture, "amd64");
	cr_expect_eq(index_entry(j, 1, &entry, &e), 0);
	cr_expect(entry.is_attestation);
	cr_expect_eq(index_entry(j, 2, &entry, &e), 0);
	cr_expect_not(entry.has_platform);
	cr_expect_eq(index_entry(j, 3, &entry, &e), -EINVAL);
	cr_expect_eq(e.kind, ERR_KIND_BAD_MANIFEST);
	struct image_limits few = limits;
	few.index_entries = 3;
	cr_expect_lt(index_count(j, &few, &e), 0);
}
