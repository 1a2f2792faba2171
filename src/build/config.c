/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "build/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"

enum option_type { OPT_TEXT, OPT_CHOICE, OPT_NUMBER, OPT_DURATION, OPT_BOOL };

struct option {
	const char *name; /* behind CONFIG_PREFIX */
	enum option_type type;
	size_t offset;
	const char *fallback; /* in the same form as a user writes it */
	uint64_t min, max;    /* numbers; durations in ms */
	const char *choices;  /* OPT_CHOICE: "a b c" */
	const char *help;
};

#define AT(member) offsetof(struct config, member)
#define MS_DAY (24ull * 3600 * 1000)
#define TEXT(n, m, d, h)                                                                                               \
	{                                                                                                              \
		n, OPT_TEXT, AT(m), d, 0, 0, NULL, h                                                                   \
	}
#define CHOICE(n, m, d, c, h)                                                                                          \
	{                                                                                                              \
		n, OPT_CHOICE, AT(m), d, 0, 0, c, h                                                                    \
	}
#define NUMBER(n, m, d, lo, hi, h)                                                                                     \
	{                                                                                                              \
		n, OPT_NUMBER, AT(m), d, lo, hi, NULL, h                                                               \
	}
#define DURATION(n, m, d, h)                                                                                           \
	{                                                                                                              \
		n, OPT_DURATION, AT(m), d, 1, 7 * MS_DAY, NULL, h                                                      \
	}
#define BOOL(n, m, d, h)                                                                                               \
	{                                                                                                              \
		n, OPT_BOOL, AT(m), d, 0, 0, NULL, h                                                                   \
	}

static const struct option options[] = {
        TEXT("ADDRESS", address, "127.0.0.1",
                "address to listen on; without authentication only a loopback address is accepted"),
        NUMBER("PORT", port, "8082", 0, 65535, "port to listen on, 0 = any free one"),
        TEXT("API_SOCKET", api_socket, "STATE_DIR/api.sock",
                "Unix socket of the API for root and METALD_UID; a leading STATE_DIR is that directory; empty = none"),
        TEXT("METALD_TOKEN_SHA256", metald_token_sha256, "",
                "SHA-256 of the VM manager's bearer token for the port, 64 hex digits; empty = none"),
        TEXT("JAIL_DIR", jail_dir, "", "VMs' directories lie below it; empty = nothing is placed in any"),
        NUMBER("METALD_UID", metald_uid, "0", 0, 4294967294, "user id of the VM manager on API_SOCKET, 0 = root only"),
        TEXT("TLS_CERT_FILE", tls_cert_file, "",
                "the server's certificate and its issuers, PEM; empty = no TLS; read again on SIGHUP"),
        TEXT("TLS_KEY_FILE", tls_key_file, "", "its private key, PEM without a passphrase"),
        TEXT("TLS_CLIENT_CA_FILE", tls_client_ca_file, "",
                "who may issue clients' certificates, PEM; empty = not asked for"),
        CHOICE("TLS_CLIENT_AUTH", tls_client_auth, "required", "optional required",
                "with a client CA: may a client come without a certificate"),
        TEXT("METALD_SPIFFE_ID", metald_spiffe_id, "",
                "URI in the VM manager's client certificate, spiffe://...; empty = it has none"),
        BOOL("TLS_ALLOW_CLEAR_TEXT", tls_allow_clear_text, "false", "with TLS, serve clear text on the same port, too"),
        CHOICE("AUTH", auth, "none", "none token",
                "how clients prove who they are; none: whoever reaches the port is every tenant, so only on loopback"),
        TEXT("TLS_PROXY", tls_proxy, "",
                "address,... of the proxy that ends TLS in front of builderd: with it any ADDRESS is taken, and only "
                "connections from there and from loopback are served"),
        TEXT("VOLUME_SOCKET", volume_socket, "STATE_DIR/volume.sock",
                "Unix socket of builder-volume, for root; a leading STATE_DIR is that directory; empty = none"),
        TEXT("CORS_ALLOWED_ORIGINS", allowed_origins, "",
                "web origins whose pages may call: https://a.example,... or *; empty = none"),
        BOOL("REFLECTION", reflection, "true",
                "gRPC server reflection: what the services look like, for anybody who asks"),
        NUMBER("MAX_CONCURRENT_BUILDS", max_concurrent_builds, "5", 1, 1024, "builds that run at once on this host"),
        DURATION("BUILD_TIMEOUT", build_timeout_ms, "15m", "longest time of one build"),
        NUMBER("BUILD_TRIES", build_tries, "3", 1, 10, "how often a build is tried whose network fails"),
        DURATION("BUILD_RETRY_DELAY", retry_delay_ms, "30s", "before its second try; twice as long before each more"),
        DURATION("BUILD_RETRY_MAX_DELAY", retry_max_delay_ms, "5m", "longest time between two tries"),
        DURATION("SHUTDOWN_TIMEOUT", shutdown_timeout_ms, "15s",
                "how long a stopping daemon waits for requests and builds"),
        CHOICE("LOG_LEVEL", log_level, "info", "debug info warn error", "what is logged"),
        CHOICE("LOG_FORMAT", log_format, "text", "text json", "how it is logged"),
        CHOICE("STORAGE_BACKEND", storage_backend, "auto", "auto dm file",
                "where volumes live; auto takes dm if a pool is configured and the kernel has what it needs"),
        TEXT("STATE_DIR", state_dir, STATEDIR, "volumes, caches and products; an absolute path"),
        NUMBER("STORAGE_RETENTION_DAYS", retention_days, "30", 1, 36500,
                "finished builds are deleted this long after their end"),
        BOOL("ROOTFS_JOURNAL", rootfs_journal, "true",
                "products get a journal of 4 MiB, for VMs that write to clones; false where all are read-only"),
        NUMBER("STORAGE_MAX_SIZE_GB", max_size_gb, "100", 1, 1 << 20, "all tenants together"),
        NUMBER("STORAGE_CACHE_MAX_SIZE_GB", cache_max_size_gb, "50", 0, 1 << 20,
                "layer chains and blobs that no build uses"),
        TEXT("DM_DATA_DEVICE", dm_data_device, "",
                "block device of the dm backend's pool; it must be blank, or builderd's already"),
        TEXT("DM_METADATA_DEVICE", dm_metadata_device, "",
                "block device of that pool's metadata; empty = a part of the data device"),
        TEXT("DM_LOOP_FILE", dm_loop_file, "", "a file instead of a device, for trials"),
        NUMBER("DM_LOOP_SIZE_GB", dm_loop_size_gb, "20", 1, 1 << 14, "size of a new loop file, sparse"),
        TEXT("DM_MASTER_KEY_FILE", dm_master_key_file, "",
                "32 bytes, mode 0400, under which tenants' keys are sealed; default STATE_DIR/dm/master.key"),
        NUMBER("DM_TENANT_SIZE_GB", dm_tenant_size_gb, "64", 1, 1 << 14, "virtual size of a new tenant's volume"),
        BOOL("DM_VERITY", dm_verity, "false", "a sealed rootfs of dm gets a hash tree for dm-verity"),
        NUMBER("DM_TENANT_IDLE_MINUTES", dm_tenant_idle_minutes, "15", 0, 1 << 20,
                "a tenant without builds and leases is closed then; 0: never"),
        BOOL("DM_ALLOW_DISCARDS", dm_allow_discards, "true",
                "the medium is told what tenants no longer use; false hides it, and keeps the space"),
        TEXT("AUDIT_DIR", audit_dir, "", "directory of the audit log; default STATE_DIR/audit"),
        NUMBER("AUDIT_MAX_SIZE_MB", audit_max_size_mb, "64", 1, 1 << 20, "then the next file of the log is begun"),
        BOOL("METRICS_TENANTS", metrics_tenants, "false",
                "/metrics has usage and limits of each tenant with a record; its ids become labels"),
        BOOL("AUDIT_READS", audit_reads, "false", "allowed requests that only read get a line, too"),
        CHOICE("DATABASE_TYPE", database_type, "sqlite", "sqlite", "job store"),
        TEXT("DATABASE_DATA_DIR", database_dir, "", "directory of the job store; default STATE_DIR/jobs"),
        TEXT("DOCKER_REGISTRY_MIRROR", registry_mirror, "", "mirror asked before docker.io, a URL"),
        TEXT("DOCKER_INSECURE_REGISTRIES", insecure_registries, "",
                "host:port,... that may speak plain HTTP (loopback always may)"),
        TEXT("DOCKER_ALLOWED_REGISTRIES", allowed_registries, "*",
                "registries a tenant may name: exact, *, *.domain; comma separated"),
        TEXT("DOCKER_AUTH_FILE", registry_auth_file, "", "the operator's credentials, a docker config.json"),
        TEXT("LOCAL_IMAGES_DIR", local_images_dir, "",
                "oci: and docker-archive: sources lie below it; empty = refused"),
        BOOL("DOCKER_ALLOW_PRIVATE", allow_private_addresses, "false", "registries may have private addresses"),
        NUMBER("DOCKER_MAX_IMAGE_SIZE_GB", max_image_size_gb, "5", 1, 1024, "largest image, compressed"),
        DURATION("DOCKER_PULL_TIMEOUT", pull_timeout_ms, "10m", "longest time of one pull"),
        NUMBER("DOCKER_PARALLEL_DOWNLOADS", parallel_downloads, "3", 1, 16, "layers of one image downloaded at once"),
        CHOICE("TENANT_DEFAULT_TIER", default_tier, "free", "free pro enterprise dedicated",
                "tier of a tenant without a record"),
        TEXT("TIER_FREE", tier_limits[TIER_FREE], "",
                "limits in the place of the tier's own: \"max_daily_builds=20 requests_per_minute=90\""),
        TEXT("TIER_PRO", tier_limits[TIER_PRO], "", "the same for tier pro"),
        TEXT("TIER_ENTERPRISE", tier_limits[TIER_ENTERPRISE], "", "the same for tier enterprise"),
        TEXT("TIER_DEDICATED", tier_limits[TIER_DEDICATED], "", "the same for tier dedicated"),
        NUMBER("BUILD_MAX_DISK_BYTES", build_max_bytes, "10737418240", 1 << 20, 1ull << 44, "disk quota of one build"),
        NUMBER("BUILD_MAX_INODES", build_max_inodes, "1000000", 16, 1ull << 31, "inode quota of one build"),
        NUMBER("UID_BASE", uid_base, "1795162112", 65536, 4294900000,
                "first of 8192 user ids that the programs run under"),
        NUMBER("LIMIT_INDEX_DEPTH", limits.index_depth, "4", 1, 64, "image indexes inside image indexes"),
        NUMBER("LIMIT_INDEX_ENTRIES", limits.index_entries, "4096", 1, 1 << 20, "entries of one index"),
        NUMBER("LIMIT_JSON_DEPTH", limits.json_depth, "64", 4, 512, "nesting of manifest and config"),
        NUMBER("LIMIT_MAX_CONFIG", limits.max_config, "4194304", 1024, 1 << 26, "bytes of an image config"),
        NUMBER("LIMIT_MAX_MANIFEST", limits.max_manifest, "4194304", 1024, 1 << 26, "bytes of a manifest or index"),
        NUMBER("LIMIT_MAX_LAYERS", limits.max_layers, "127", 1, IMAGE_LAYERS_MAX, "layers of an image"),
        NUMBER("LIMIT_MAX_DEPTH", limits.max_depth, "1024", 1, 4096, "directories in a path"),
        NUMBER("LIMIT_MAX_ENTRIES", limits.max_entries, "1000000", 1, 1ull << 31, "entries of one layer"),
        NUMBER("LIMIT_MAX_FILE", limits.max_file, "17179869184", 1, 1ull << 43, "apparent bytes of one file"),
        NUMBER("LIMIT_MAX_TOTAL", limits.max_total, "68719476736", 1, 1ull << 50, "apparent bytes of one layer"),
        NUMBER("LIMIT_MAX_LINKS", limits.max_links, "65000", 1, 65000, "names of one file"),
        NUMBER("LIMIT_MAX_NAME", limits.max_name, "255", 1, 255, "bytes of one name"),
        NUMBER("LIMIT_MAX_PATH", limits.max_path, "4096", 1, 65535, "bytes of one path"),
        NUMBER("LIMIT_MAX_PAX", limits.max_pax, "1048576", 1024, 1 << 26, "bytes of one entry's extended headers"),
        NUMBER("LIMIT_MAX_SPARSE_SEGMENTS", limits.max_sparse_segments, "65536", 1, 1 << 22,
                "data segments of one sparse file"),
        NUMBER("LIMIT_MAX_XATTR_BYTES", limits.max_xattr_bytes, "65536", 0, 1 << 20,
                "bytes of one entry's extended attributes"),
        NUMBER("LIMIT_MAX_XATTRS", limits.max_xattrs, "128", 0, 4096, "extended attributes of one entry"),
        NUMBER("LIMIT_MAX_RATIO", limits.max_ratio, "1032", 2, 1 << 20,
                "uncompressed / compressed bytes of a layer beyond 64 MiB"),
};

/* Strings are the only members that own memory. */
static bool is_text(const struct option *o)
{
	return o->type == OPT_TEXT || o->type == OPT_CHOICE;
}

static void *member(struct config *c, const struct option *o)
{
	return (char *)c + o->offset;
}

static int parse_number(const char *s, const char **end, uint64_t *out)
{
	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	char *stop;
	errno = 0;
	*out = strtoull(s, &stop, 10);
	*end = stop;
	return errno ? -ERANGE : 0;
}

/* "15m", "1h30m", "500ms", "20s": as Go's time.ParseDuration, whole numbers only. */
static int parse_duration(const char *s, uint64_t *out_ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	uint64_t total = 0;

	do {
		uint64_t n, scale = 0;
		const char *end;
		if (parse_number(s, &end, &n) < 0 || n > 7 * MS_DAY)
			return -EINVAL;
		size_t len = strcspn(end, "0123456789");
		for (size_t i = 0; i < ARRAY_LEN(units); i++)
			if (strlen(units[i].unit) == len && !strncmp(end, units[i].unit, len))
				scale = units[i].ms;
		if (!scale)
			return -EINVAL;
		total += n * scale;
		s = end + len;
	} while (*s);
	*out_ms = total;
	return 0;
}

static bool is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);

	for (const char *p = choices; len && p; p = strchr(p, ' ') ? strchr(p, ' ') + 1 : NULL)
		if (!strncmp(p, value, len) && (p[len] == ' ' || !p[len]))
			return true;
	return false;
}

static int bad_value(const struct option *o, const char *value, struct err *e)
{
	static const char *const form[] = {[OPT_TEXT] = "a text",
	        [OPT_NUMBER] = "a whole number",
	        [OPT_DURATION] = "a duration such as 15m, 90s or 1h30m",
	        [OPT_BOOL] = "true or false"};

	if (o->type == OPT_CHOICE)
		return err_set(e, -EINVAL, CONFIG_PREFIX "%s=\"%s\": expected one of: %s", o->name, value, o->choices);
	if (o->type == OPT_NUMBER)
		return err_set(e, -EINVAL,
		        CONFIG_PREFIX "%s=\"%s\": expected a whole number from %" PRIu64 " to %" PRIu64, o->name, value,
		        o->min, o->max);
	return err_set(e, -EINVAL, CONFIG_PREFIX "%s=\"%s\": expected %s", o->name, value, form[o->type]);
}

static int option_set(struct config *c, const struct option *o, const char *value, struct err *e)
{
	uint64_t n = 0;
	const char *end = "";
	int rc = 0;

	if (is_text(o)) {
		if (o->type == OPT_CHOICE && !is_choice(o->choices, value))
			return bad_value(o, value, e);
		char **text = member(c, o);
		free(*text);
		*text = xstrdup(value);
		return 0;
	}
	if (o->type == OPT_BOOL) {
		bool is_true = !strcmp(value, "true") || !strcmp(value, "1");
		if (!is_true && strcmp(value, "false") && strcmp(value, "0"))
			return bad_value(o, value, e);
		*(bool *)member(c, o) = is_true;
		return 0;
	}
	rc = o->type == OPT_NUMBER ? parse_number(value, &end, &n) : parse_duration(value, &n);
	if (rc < 0 || *end || n < o->min || n > o->max)
		return bad_value(o, value, e);
	*(uint64_t *)member(c, o) = n;
	return 0;
}

/* ASSIGNMENT is "NAME=value" without the prefix. */
static int assign(struct config *c, const char *assignment, struct err *e)
{
	const char *eq = strchr(assignment, '=');
	size_t len = eq ? (size_t)(eq - assignment) : strlen(assignment);

	for (size_t i = 0; eq && i < ARRAY_LEN(options); i++)
		if (strlen(options[i].name) == len && !strncmp(options[i].name, assignment, len))
			return option_set(c, &options[i], eq + 1, e);
	return err_set(e, -EINVAL, CONFIG_PREFIX "%.*s is not a known option: builderd --help lists them",
	        (int)(len > 80 ? 80 : len), assignment);
}

/* The form of systemd's EnvironmentFile: NAME=value, one a line, "#" or ";" comments, optional quotes around the value.
 */
static int load_file(struct config *c, const char *path, struct err *e)
{
	AUTO_FILE FILE *f = fopen(path, "re");
	AUTO_FREE char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (!f)
		return err_sys(e, -errno, "open the configuration %s", path);
	for (unsigned number = 1; (n = getline(&line, &cap, f)) >= 0; number++) {
		while (n && isspace((unsigned char)line[n - 1]))
			line[--n] = 0;
		char *p = line + strspn(line, " \t"), *eq = strchr(p, '=');
		if (!*p || *p == '#' || *p == ';')
			continue;
		if (strncmp(p, CONFIG_PREFIX, strlen(CONFIG_PREFIX)) || !eq)
			return err_set(e, -EINVAL, "%s:%u: expected " CONFIG_PREFIX "NAME=value", path, number);
		size_t len = strlen(eq + 1);
		if (len >= 2 && (eq[1] == '"' || eq[1] == '\'') && eq[len] == eq[1]) {
			eq[len] = 0;
			memmove(eq + 1, eq + 2, len - 1);
		}
		if (assign(c, p + strlen(CONFIG_PREFIX), e) < 0)
			return err_wrap(e, "%s:%u", path, number);
	}
	return 0;
}

static int check_tiers(const struct config *c, struct err *e)
{
	for (unsigned t = TIER_FREE; t < TIER_COUNT; t++) {
		struct tier_limits l = *tier_limits_of(t);
		if (tier_limits_set(&l, c->tier_limits[t], e) < 0)
			return err_wrap(e, CONFIG_PREFIX "TIER_*: tier %s", l.name);
	}
	return 0;
}

static int check_whole(const struct config *c, struct err *e)
{
	if (c->state_dir[0] != '/')
		return err_set(e, -EINVAL, CONFIG_PREFIX "STATE_DIR=\"%s\": expected an absolute path", c->state_dir);
	if (c->dm_data_device[0] && c->dm_loop_file[0])
		return err_set(e, -EINVAL,
		        CONFIG_PREFIX "DM_DATA_DEVICE=\"%s\" and " CONFIG_PREFIX
		                      "DM_LOOP_FILE=\"%s\": expected one of them",
		        c->dm_data_device, c->dm_loop_file);
	if (c->api_socket[0] && c->api_socket[0] != '/' && strncmp(c->api_socket, "STATE_DIR/", strlen("STATE_DIR/")))
		return err_set(e, -EINVAL, CONFIG_PREFIX "API_SOCKET=\"%s\": expected an absolute path", c->api_socket);
	if (!c->tls_cert_file[0] != !c->tls_key_file[0])
		return err_set(e, -EINVAL,
		        CONFIG_PREFIX "TLS_CERT_FILE=\"%s\" and " CONFIG_PREFIX
		                      "TLS_KEY_FILE=\"%s\": expected both or none",
		        c->tls_cert_file, c->tls_key_file);
	if (c->tls_client_ca_file[0] && !c->tls_cert_file[0])
		return err_set(e, -EINVAL,
		        CONFIG_PREFIX "TLS_CLIENT_CA_FILE=\"%s\": expected TLS_CERT_FILE and TLS_KEY_FILE, too",
		        c->tls_client_ca_file);
	if (c->metald_spiffe_id[0] && !c->tls_client_ca_file[0])
		return err_set(e, -EINVAL, CONFIG_PREFIX "METALD_SPIFFE_ID=\"%s\": expected TLS_CLIENT_CA_FILE, too",
		        c->metald_spiffe_id);
	if (c->audit_dir[0] && c->audit_dir[0] != '/')
		return err_set(e, -EINVAL, CONFIG_PREFIX "AUDIT_DIR=\"%s\": expected an absolute path", c->audit_dir);
	if (c->metald_token_sha256[0] &&
	        (strlen(c->metald_token_sha256) != 64 || strspn(c->metald_token_sha256, "0123456789abcdef") != 64))
		return err_set(e, -EINVAL,
		        CONFIG_PREFIX "METALD_TOKEN_SHA256=\"%s\": expected 64 lower-case hexadecimal digits",
		        c->metald_token_sha256);
	if (c->jail_dir[0] && c->jail_dir[0] != '/')
		return err_set(e, -EINVAL, CONFIG_PREFIX "JAIL_DIR=\"%s\": expected an absolute path", c->jail_dir);
	if (c->local_images_dir[0] && c->local_images_dir[0] != '/')
		return err_set(e, -EINVAL, CONFIG_PREFIX "LOCAL_IMAGES_DIR=\"%s\": expected an absolute path",
		        c->local_images_dir);
	return check_tiers(c, e);
}

/* A leading "STATE_DIR/" in *PATH is that directory. */
static void state_dir_expand(char **path, const char *state_dir)
{
	if (strncmp(*path, "STATE_DIR/", strlen("STATE_DIR/")) != 0)
		return;
	AUTO_FREE char *relative = *path;
	*path = xasprintf("%s%s", state_dir, relative + strlen("STATE_DIR"));
}

int config_load(struct config *c, const char *file, char *const *environ_list, struct err *e)
{
	int rc = 0;

	*c = (struct config){0};
	for (size_t i = 0; i < ARRAY_LEN(options) && rc >= 0; i++)
		rc = option_set(c, &options[i], options[i].fallback, e);
	if (rc >= 0 && file)
		rc = load_file(c, file, e);
	for (char *const *p = environ_list; rc >= 0 && p && *p; p++)
		if (!strncmp(*p, CONFIG_PREFIX, strlen(CONFIG_PREFIX)))
			rc = assign(c, *p + strlen(CONFIG_PREFIX), e);
	if (rc >= 0)
		rc = check_whole(c, e);
	if (rc < 0)
		return rc;
	state_dir_expand(&c->api_socket, c->state_dir);
	state_dir_expand(&c->volume_socket, c->state_dir);
	if (!c->database_dir[0]) {
		free(c->database_dir);
		c->database_dir = xasprintf("%s/jobs", c->state_dir);
	}
	if (!c->audit_dir[0]) {
		free(c->audit_dir);
		c->audit_dir = xasprintf("%s/audit", c->state_dir);
	}
	c->limits.max_image = c->max_image_size_gb << 30;
	return 0;
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (is_text(&options[i]))
			free(*(char **)member(c, &options[i]));
	*c = (struct config){0};
}

char **config_environ(const struct config *c)
{
	char **env = xcalloc(ARRAY_LEN(options) + 2, sizeof(*env));
	size_t n = 0;

	env[n++] = xstrdup("PATH=/usr/sbin:/usr/bin:/sbin:/bin");
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		const struct option *o = &options[i];
		const void *m = (const char *)c + o->offset;
		if (is_text(o))
			env[n++] = xasprintf(CONFIG_PREFIX "%s=%s", o->name, *(char *const *)m);
		else if (o->type == OPT_BOOL)
			env[n++] = xasprintf(CONFIG_PREFIX "%s=%s", o->name, *(const bool *)m ? "true" : "false");
		else
			env[n++] = xasprintf(CONFIG_PREFIX "%s=%" PRIu64 "%s", o->name, *(const uint64_t *)m,
			        o->type == OPT_DURATION ? "ms" : "");
	}
	return env;
}

void config_environ_free(char **env)
{
	for (char **p = env; p && *p; p++)
		free(*p);
	free(env);
}

void config_print_options(FILE *f)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		const struct option *o = &options[i];
		fprintf(f, "  " CONFIG_PREFIX "%s=%s\n      %s%s%s%s\n", o->name, o->fallback, o->help,
		        o->choices ? " (" : "", o->choices ? o->choices : "", o->choices ? ")" : "");
	}
}
