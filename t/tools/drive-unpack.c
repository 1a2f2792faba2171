/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Give builderd-unpack one job, as builderd does, and print its answer.
 *
 *   drive-unpack layer BLOB none|gzip|zstd DIFFID [LIMIT=N...]
 *   drive-unpack finish CONFIG RUNTIME INIT METADATA REFERENCE
 *   drive-unpack hash FILE
 *
 * The ingest stream goes to the file that INGEST names (the control file of a mount), else to standard output. The
 * answer is a line on standard error: "done DIGEST entries=N bytes=N dropped=N peak_kb=N ms=N" (exit code 0) or "fail
 * KIND: SENTENCE" (1).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/loop.h"
#include "build/config.h"
#include "ipc/spawn.h"
#include "sandbox/sandbox.h"

#define LIMITS(X)                                                                                                      \
	X(index_depth)                                                                                                 \
	X(index_entries)                                                                                               \
	X(json_depth)                                                                                                  \
	X(max_config)                                                                                                  \
	X(max_manifest)                                                                                                \
	X(max_layers)                                                                                                  \
	X(max_depth)                                                                                                   \
	X(max_entries)                                                                                                 \
	X(max_file)                                                                                                    \
	X(max_total)                                                                                                   \
	X(max_links)                                                                                                   \
	X(max_name)                                                                                                    \
	X(max_path)                                                                                                    \
	X(max_pax)                                                                                                     \
	X(max_sparse_segments)                                                                                         \
	X(max_xattr_bytes)                                                                                             \
	X(max_xattrs)                                                                                                  \
	X(max_ratio)                                                                                                   \
	X(max_image)

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

static int file_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		die("open %s: %s", path, strerror(errno));
	return fd;
}

static int ingest_open(void)
{
	const char *path = getenv("INGEST");

	return path ? file_open(path, O_RDWR) : fcntl(1, F_DUPFD_CLOEXEC, 10);
}

static void limit_set(struct image_limits *l, const char *arg)
{
	const char *equals = strchr(arg, '=');

#define X(name)                                                                                                        \
	if (equals && (size_t)(equals - arg) == strlen(#name) && !memcmp(arg, #name, strlen(#name))) {                 \
		l->name = strtoull(equals + 1, NULL, 10);                                                              \
		return;                                                                                                \
	}
	LIMITS(X)
#undef X
	die("no such limit: %s", arg);
}

static int send_layer(struct channel *c, int argc, char **argv, const struct config *conf)
{
	static const char *const forms[COMPRESSION_COUNT] = {"none", "gzip", "zstd"};
	struct msg_unpack_layer m = {.limits = conf->limits};
	int fds[2] = {file_open(argv[0], O_RDONLY), ingest_open()};
	struct err e = ERR_INIT;

	while (m.compression < COMPRESSION_COUNT && strcmp(forms[m.compression], argv[1]) != 0)
		m.compression++;
	if (digest_parse(&m.diff_id, argv[2], strlen(argv[2]), &e) < 0)
		die("%s", e.msg);
	m.size = (uint64_t)lseek(fds[0], 0, SEEK_END);
	for (int i = 3; i < argc; i++)
		limit_set(&m.limits, argv[i]);
	return channel_send(c, MSG_UNPACK_LAYER, &m, sizeof(m), fds, 2);
}

static int send_finish(struct channel *c, int argc, char **argv, const struct config *conf)
{
	static struct msg_unpack_finish m = {.layers = 2};
	const int fds[5] = {file_open(argv[0], O_RDONLY), file_open(argv[1], O_RDONLY), file_open(argv[2], O_RDONLY),
	        ingest_open(), file_open(argv[3], O_RDWR | O_CREAT | O_TRUNC)};

	snprintf(m.reference, sizeof(m.reference), "%s", argv[4]);
	m.image_digest.algorithm = m.layer_blobs[0].algorithm = DIGEST_SHA256;
	m.layer_blobs[1].algorithm = DIGEST_SHA256;
	memset(m.image_digest.bytes, 0x11, 32);
	memset(m.layer_blobs[0].bytes, 0x22, 32);
	memset(m.layer_blobs[1].bytes, 0x33, 32);
	return channel_send(c, MSG_UNPACK_FINISH, &m, sizeof(m), fds, 5);
}

static int send_hash(struct channel *c, int argc, char **argv, const struct config *conf)
{
	int fd = file_open(argv[0], O_RDONLY);
	const struct msg_unpack_hash m = {.size = (uint64_t)lseek(fd, 0, SEEK_END)};

	return channel_send(c, MSG_UNPACK_HASH, &m, sizeof(m), &fd, 1);
}

static const struct {
	const char *name;
	int min_args;
	int (*send)(struct channel *c, int argc, char **argv, const struct config *conf);
} jobs[] = {{"layer", 3, send_layer}, {"finish", 5, send_finish}, {"hash", 1, send_hash}};

/* Returns the exit code. */
static int listen_to(struct child *c, int64_t began)
{
	static struct message m;
	struct err e = ERR_INIT;
	char hex[DIGEST_TEXT_MAX], status[64];
	unsigned progress = 0;

	c->channel.state = MSG_STATE_RUNNING;
	while (channel_recv(&c->channel, &m, &e) > 0) {
		if (m.type == MSG_UNPACK_FAIL) {
			struct msg_fail *f = (void *)m.payload;
			err_sanitize(&f->err);
			fprintf(stderr, "fail %s: %s\n", err_kind_name(f->err.kind), f->err.msg);
			child_end(c, 5000);
			return 1;
		}
		progress += m.type == MSG_UNPACK_PROGRESS;
		if (m.type != MSG_UNPACK_DONE)
			continue;
		const struct msg_unpack_done *d = (void *)m.payload;
		struct rusage ru;
		int64_t ms = time_mono_ms() - began;
		child_end(c, 5000);
		getrusage(RUSAGE_CHILDREN, &ru);
		fprintf(stderr, "done %s entries=%llu bytes=%llu dropped=%llu peak_kb=%ld ms=%lld progress=%u\n",
		        d->digest.algorithm ? digest_format(&d->digest, hex) : "-", (unsigned long long)d->entries,
		        (unsigned long long)d->bytes, (unsigned long long)d->dropped_xattrs, ru.ru_maxrss,
		        (long long)ms, progress);
		return 0;
	}
	fprintf(stderr, "fail killed: no answer%s%s, %s\n", e.msg[0] ? ": " : "", e.msg,
	        child_status_text(child_end(c, 1000), status));
	return 1;
}

int main(int argc, char **argv)
{
	char self[4096] = "";
	struct config conf;
	struct err e = ERR_INIT;
	struct child child;
	size_t job = 0;

	while (argc > 1 && job < ARRAY_LEN(jobs) && strcmp(jobs[job].name, argv[1]) != 0)
		job++;
	if (argc < 3 || job == ARRAY_LEN(jobs) || argc - 2 < jobs[job].min_args)
		die("usage: drive-unpack layer|finish|hash ARGUMENTS (see the head of its source)");
	if (readlink("/proc/self/exe", self, sizeof(self) - 32) < 0 || config_load(&conf, NULL, environ, &e) < 0)
		die("start: %s", e.msg);
	for (int up = 0; up < 3; up++)
		*strrchr(self, '/') = 0;
	strcat(self, "/builderd-unpack");
	char **env = config_environ(&conf);
	const char *const child_argv[] = {"builderd-unpack", NULL};
	const struct spawn s = {.role = ROLE_UNPACK,
	        .program = self,
	        .argv = child_argv,
	        .envp = (const char *const *)env,
	        .namespaces = sandbox_namespaces(ROLE_UNPACK),
	        .uid = CONFIG_UID_UNPACK(&conf, 0)};
	int64_t began = time_mono_ms();
	if (spawn_program(&s, &child, &e) < 0 || jobs[job].send(&child.channel, argc - 2, argv + 2, &conf) < 0)
		die("start builderd-unpack: %s", e.msg);
	config_environ_free(env);
	config_free(&conf);
	return listen_to(&child, began);
}
