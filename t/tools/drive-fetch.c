/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plays builderd for builderd-fetch: drive-fetch [options] REFERENCE
 *   --blobs DIR     the tenant's blobs (made if missing, given to fetch's uid)
 *   --images DIR    the operator's images (default /)
 *   --first N       layers from N on are wanted; -1: none (default 0)
 *   --spec JSON     the source spec instead of one made from REFERENCE
 *   --timeout MS    --quiet: only the last line
 * Configuration is taken from the environment as builderd would hand it on. Prints one line per message:
 *   image MANIFEST CONFIG LAYERS BYTES REFERENCE | layer I COMPRESSION SIZE BLOB DIFFID | blob I cached|fresh SIZE |
 * log LEVEL TEXT done BYTES MS, or: fail KIND SENTENCE, or: died STATUS. Exit code 0, 1, 2. Every blob's size is
 * compared with its plan.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "build/config.h"
#include "ipc/spawn.h"
#include "json/json.h"
#include "sandbox/sandbox.h"

extern char **environ;

static struct options {
	const char *blobs, *images, *spec, *reference;
	long first;
	unsigned timeout_ms;
	bool is_quiet;
} options = {.blobs = "blobs", .images = "/", .timeout_ms = 60000};

static struct config config;
static struct msg_fetch_image image;
static struct msg_fetch_layer layers[IMAGE_LAYERS_MAX];
static uint32_t n_layers, n_blobs;
static int64_t begin_ms;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	va_list ap;

	if (options.is_quiet)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
}

static void die(const char *what, int rc)
{
	fprintf(stderr, "drive-fetch: %s: %s\n", what, strerror(-rc));
	exit(3);
}

static void send_want(struct channel *c)
{
	const struct msg_fetch_want want = {.first = options.first < 0 ? image.layers : (uint32_t)options.first};

	channel_send_struct(c, MSG_FETCH_WANT, want);
}

static void on_image(struct channel *c, const struct message *m)
{
	char a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX];

	memcpy(&image, m->payload, sizeof(image));
	say("image %s %s %u %llu %s\n", digest_format(&image.manifest, a), digest_format(&image.config, b),
	        image.layers, (unsigned long long)image.compressed_bytes, image.reference);
	c->state = MSG_STATE_PLANNED;
	if (!image.layers)
		send_want(c);
}

static void on_layer(struct channel *c, const struct message *m)
{
	static const char *const names[] = {"none", "gzip", "zstd"};
	char a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX];
	struct msg_fetch_layer *l = &layers[n_layers];

	memcpy(l, m->payload, sizeof(*l));
	if (l->index != n_layers++ || l->index >= image.layers || l->compression >= COMPRESSION_COUNT)
		die("impossible layer", -EPROTO);
	say("layer %u %s %llu %s %s\n", l->index, names[l->compression], (unsigned long long)l->size,
	        digest_format(&l->blob, a), digest_format(&l->diff_id, b));
	if (n_layers == image.layers)
		send_want(c);
}

static void on_blob(struct channel *c, const struct message *m)
{
	const struct msg_fetch_blob *b = (const void *)m->payload;
	struct stat st;

	if (b->index >= n_layers || fstat(m->fds[0], &st) < 0 || (uint64_t)st.st_size != layers[b->index].size ||
	        (fcntl(m->fds[0], F_GETFL) & O_ACCMODE) != O_RDONLY || lseek(m->fds[0], 0, SEEK_CUR) != 0)
		die("impossible blob", -EPROTO);
	n_blobs++;
	say("blob %u %s %lld\n", b->index, b->is_cached ? "cached" : "fresh", (long long)st.st_size);
}

/* -1: go on; else the exit code. */
static int handle(struct channel *c, const struct message *m)
{
	switch (m->type) {
	case MSG_FETCH_IMAGE:
		on_image(c, m);
		return -1;
	case MSG_FETCH_LAYER:
		on_layer(c, m);
		return -1;
	case MSG_FETCH_BLOB:
		on_blob(c, m);
		return -1;
	case MSG_FETCH_LOG:
		say("log %s %s\n", log_level_name((int)((const struct msg_build_log *)(const void *)m->payload)->level),
		        ((const struct msg_build_log *)(const void *)m->payload)->text);
		return -1;
	case MSG_FETCH_DONE: {
		uint32_t want = options.first < 0 ? 0 : image.layers - (uint32_t)options.first;
		if (n_blobs != want)
			die("not every blob came", -EPROTO);
		printf("done %llu %lld\n",
		        (unsigned long long)((const struct msg_fetch_progress *)(const void *)m->payload)->bytes_done,
		        (long long)(time_mono_ms() - begin_ms));
		return 0;
	}
	case MSG_FETCH_FAIL: {
		struct err e = ((const struct msg_fail *)(const void *)m->payload)->err;
		err_sanitize(&e);
		printf("fail %s %s\n", err_kind_name(e.kind), e.msg);
		return 1;
	}
	default:
		return -1;
	}
}

static int open_blobs(void)
{
	if (mkdir(options.blobs, 0700) < 0 && errno != EEXIST)
		die(options.blobs, -errno);
	if (chown(options.blobs, CONFIG_UID_FETCH(&config), CONFIG_UID_FETCH(&config)) < 0)
		die("chown", -errno);
	return open(options.blobs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void send_start(struct child *c)
{
	AUTO_BUF struct buf spec = {0};
	struct msg_fetch_start start = {
	        .build_id = "build_drive", .timeout_ms = options.timeout_ms, .limits = config.limits};

	if (!strncmp(options.reference, "oci:", 4))
		start.source_kind = SOURCE_OCI_LAYOUT;
	else if (!strncmp(options.reference, "docker-archive:", 15))
		start.source_kind = SOURCE_DOCKER_ARCHIVE;
	if (options.spec) {
		buf_puts(&spec, options.spec);
	} else {
		buf_puts(&spec, "{\"reference\":");
		json_put_string(&spec, options.reference, strlen(options.reference));
		buf_puts(&spec, "}");
	}
	int fds[3] = {fd_memfile("spec", spec.data, spec.len), open_blobs(),
	        open(options.images, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	for (int i = 0; i < 3; i++)
		if (fds[i] < 0)
			die("open", -errno);
	int rc = channel_send(
	        &c->channel, MSG_FETCH_START, &start, sizeof(start), fds, start.source_kind == SOURCE_REGISTRY ? 2 : 3);
	if (rc < 0)
		die("send", rc);
	c->channel.state = MSG_STATE_RUNNING;
}

static int converse(struct child *c)
{
	static struct message m;
	struct err e = ERR_INIT;

	for (;;) {
		int rc = channel_recv(&c->channel, &m, &e);
		if (rc <= 0) {
			char text[64];
			int status = child_end(c, 1000);
			printf("died %s %s\n", child_status_text(status, text), rc ? e.msg : "");
			return 2;
		}
		rc = handle(&c->channel, &m);
		message_release(&m);
		if (rc >= 0)
			return rc;
	}
}

static void parse_options(int argc, char **argv)
{
	static const struct option table[] = {
	        {"blobs", 1, 0, 'b'},
	        {"images", 1, 0, 'i'},
	        {"first", 1, 0, 'f'},
	        {"spec", 1, 0, 's'},
	        {"timeout", 1, 0, 't'},
	        {"quiet", 0, 0, 'q'},
	        {0},
	};

	for (int o; (o = getopt_long(argc, argv, "", table, NULL)) >= 0;) {
		if (o == 'b')
			options.blobs = optarg;
		else if (o == 'i')
			options.images = optarg;
		else if (o == 'f')
			options.first = strtol(optarg, NULL, 10);
		else if (o == 's')
			options.spec = optarg;
		else if (o == 't')
			options.timeout_ms = (unsigned)strtoul(optarg, NULL, 10);
		else if (o == 'q')
			options.is_quiet = true;
		else
			exit(3);
	}
	options.reference = argv[optind] ? argv[optind] : "";
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct child c;

	parse_options(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (config_load(&config, NULL, environ, &e) < 0) {
		fprintf(stderr, "drive-fetch: %s\n", e.msg);
		return 3;
	}
	char **env = config_environ(&config);
	char *program = realpath("/proc/self/exe", NULL);
	AUTO_FREE char *path = NULL;
	const char *dir = getenv("BUILDERD_FETCH");
	if (!dir && program) { /* t/tools/drive-fetch -> builderd-fetch of the same build tree */
		for (int up = 0; up < 3; up++)
			*strrchr(program, '/') = 0;
		path = xasprintf("%s/builderd-fetch", program);
	}
	const char *const child_argv[] = {"builderd-fetch", NULL};
	const struct spawn s = {
	        .role = ROLE_FETCH,
	        .program = dir ? dir : path,
	        .argv = child_argv,
	        .envp = (const char *const *)env,
	        .namespaces = sandbox_namespaces(ROLE_FETCH),
	};
	begin_ms = time_mono_ms();
	if (spawn_program(&s, &c, &e) < 0) {
		fprintf(stderr, "drive-fetch: %s\n", e.msg);
		return 3;
	}
	send_start(&c);
	int rc = converse(&c);
	child_end(&c, 2000);
	fprintf(stderr, "peak %llu KiB\n", (unsigned long long)c.peak_bytes / 1024);
	config_environ_free(env);
	config_free(&config);
	free(program);
	return rc;
}
