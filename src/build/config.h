/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configuration: UNKEY_BUILDERD_* variables, from the environment or a KEY=VALUE file. One table (config.c) holds name,
 * type, range, default and help of each; an unknown name or a bad value is an error that names it, its value and what
 * was expected. builderd validates and hands the canonical set to its children through their environment.
 */
#ifndef BUILD_CONFIG_H
#define BUILD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "build/tier.h"
#include "ipc/message.h"

#define CONFIG_PREFIX "UNKEY_BUILDERD_"

struct config {
	/* service */
	char *address;             /* ADDRESS, IPv4 or IPv6 literal */
	uint64_t port;             /* PORT, 0 = any free one */
	char *api_socket;          /* API_SOCKET: a Unix socket for clients of this host, "" = none */
	char *metald_token_sha256; /* METALD_TOKEN_SHA256: 64 hex digits, "" = none */
	char *jail_dir;            /* JAIL_DIR: VMs' directories lie below it, "" = nothing is placed */
	uint64_t metald_uid;       /* METALD_UID: the VM manager's user on that socket, 0 = root only */
	char *volume_socket;       /* VOLUME_SOCKET: a Unix socket for builder-volume, "" = none */
	char *allowed_origins;     /* CORS_ALLOWED_ORIGINS: https://a.example,... or *; "" = none */
	char *tls_cert_file;       /* TLS_CERT_FILE: PEM, "" = no TLS */
	char *tls_key_file;        /* TLS_KEY_FILE */
	char *tls_client_ca_file;  /* TLS_CLIENT_CA_FILE, "" = client certificates are not asked for */
	char *tls_client_auth;     /* TLS_CLIENT_AUTH: optional required */
	char *metald_spiffe_id;    /* METALD_SPIFFE_ID: "" = none */
	bool tls_allow_clear_text; /* TLS_ALLOW_CLEAR_TEXT */
	char *auth;                /* AUTH: none token */
	char *tls_proxy;           /* TLS_PROXY: addresses,... of what ends TLS in front of us; "" = nothing does */
	bool reflection;           /* REFLECTION */
	uint64_t max_concurrent_builds; /* MAX_CONCURRENT_BUILDS */
	uint64_t build_timeout_ms;      /* BUILD_TIMEOUT, a duration: 15m */
	uint64_t build_tries;           /* BUILD_TRIES: when the network fails */
	uint64_t retry_delay_ms;        /* BUILD_RETRY_DELAY before the second try; doubles with each */
	uint64_t retry_max_delay_ms;    /* BUILD_RETRY_MAX_DELAY */
	uint64_t shutdown_timeout_ms;   /* SHUTDOWN_TIMEOUT */
	char *log_level;                /* LOG_LEVEL: debug info warn error */
	char *log_format;               /* LOG_FORMAT: text json */
	/* storage */
	char *storage_backend;           /* STORAGE_BACKEND: auto dm file */
	char *state_dir;                 /* STATE_DIR: volumes, caches, products */
	uint64_t retention_days;         /* STORAGE_RETENTION_DAYS */
	bool rootfs_journal;             /* ROOTFS_JOURNAL: products get a journal, for VMs that write them */
	uint64_t max_size_gb;            /* STORAGE_MAX_SIZE_GB */
	uint64_t cache_max_size_gb;      /* STORAGE_CACHE_MAX_SIZE_GB */
	char *dm_data_device;            /* DM_DATA_DEVICE: the pool's, "" = none */
	char *dm_metadata_device;        /* DM_METADATA_DEVICE, "" = a part of the data device */
	char *dm_loop_file;              /* DM_LOOP_FILE: a file instead of a device, for trials */
	uint64_t dm_loop_size_gb;        /* DM_LOOP_SIZE_GB of a new loop file */
	char *dm_master_key_file;        /* DM_MASTER_KEY_FILE, "" = STATE_DIR/dm/master.key */
	uint64_t dm_tenant_size_gb;      /* DM_TENANT_SIZE_GB: virtual size of a new tenant's volume */
	bool dm_verity;                  /* DM_VERITY: a sealed rootfs gets a hash tree */
	uint64_t dm_tenant_idle_minutes; /* DM_TENANT_IDLE_MINUTES, 0 = never */
	bool dm_allow_discards;          /* DM_ALLOW_DISCARDS: the medium is told what is not used */
	char *audit_dir;                 /* AUDIT_DIR, STATE_DIR/audit if empty */
	uint64_t audit_max_size_mb;      /* AUDIT_MAX_SIZE_MB of one file */
	bool metrics_tenants;            /* METRICS_TENANTS */
	bool audit_reads;                /* AUDIT_READS */
	char *database_type;             /* DATABASE_TYPE: sqlite */
	char *database_dir;              /* DATABASE_DATA_DIR, "" = STATE_DIR/jobs */
	/* images */
	char *registry_mirror;     /* DOCKER_REGISTRY_MIRROR */
	char *insecure_registries; /* DOCKER_INSECURE_REGISTRIES: host:port,... plain HTTP; loopback always may */
	char *allowed_registries;  /* DOCKER_ALLOWED_REGISTRIES: exact, *, *.domain */
	char *registry_auth_file;  /* DOCKER_AUTH_FILE: a docker config.json of the operator */
	char *local_images_dir;    /* LOCAL_IMAGES_DIR: oci: and docker-archive: sources lie below it; "" = refused */
	bool allow_private_addresses; /* DOCKER_ALLOW_PRIVATE: registries at private addresses; loopback literals always
	                                 may */
	uint64_t max_image_size_gb;   /* DOCKER_MAX_IMAGE_SIZE_GB */
	uint64_t pull_timeout_ms;     /* DOCKER_PULL_TIMEOUT */
	uint64_t parallel_downloads;  /* DOCKER_PARALLEL_DOWNLOADS */
	/* tenants */
	char *default_tier;            /* TENANT_DEFAULT_TIER */
	char *tier_limits[TIER_COUNT]; /* TIER_FREE ...: tier_limits_set()'s form, by enum tenant_tier; [0] is "" */
	uint64_t build_max_bytes;      /* BUILD_MAX_DISK_BYTES: quota of one build unless its request asks for less */
	uint64_t build_max_inodes;     /* BUILD_MAX_INODES */
	/* sandbox */
	uint64_t uid_base; /* UID_BASE: first of the uids that the programs run under */
	/* LIMIT_*: struct image_limits; max_image comes from DOCKER_MAX_IMAGE_SIZE_GB */
	struct image_limits limits;
};

/* Uids made from uid_base. */
#define CONFIG_UID_API(c) ((unsigned)(c)->uid_base + 1)
#define CONFIG_UID_FETCH(c) ((unsigned)(c)->uid_base + 2)
#define CONFIG_UID_FS(c) ((unsigned)(c)->uid_base + 3)
#define CONFIG_UID_UNPACK(c, slot)                                                                                     \
	((unsigned)(c)->uid_base + 4096u + (unsigned)(slot)) /* one per build, slot < 4096                             \
	                                                      */

/* Defaults, then FILE (NULL: none), then ENVIRON (what lies behind CONFIG_PREFIX). 0 or -errno; free with config_free
 * either way. */
int config_load(struct config *c, const char *file, char *const *environ_list, struct err *e);
void config_free(struct config *c);

/* The canonical environment "UNKEY_BUILDERD_X=..." for a child, NULL-terminated, plus PATH; free with
 * config_environ_free. */
char **config_environ(const struct config *c);
void config_environ_free(char **env);

/* Every option with default and help, for --help and the manual. */
void config_print_options(FILE *f);

#endif
