/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The finishing pass: an image's tree becomes a rootfs.
 *
 * Added, all 0:0 and with the time at which the image was created, so that the same image and request make the same
 * bytes: /usr/bin/metald-init  0755   our PID 1 /sbin/init                   a hard link to it if there is none: right
 * wherever a merged /usr puts it. Not for CUSTOM. /container.cmd        0644   what to run (metadata.h) /container.env
 * 0644   how the working directory 0755   if it is missing A file of that name in the image is replaced, a directory in
 * the way is an error. resolv.conf, hosts and hostname are left as they are: what belongs in them is known when a VM
 * starts, and metald-init then puts files there, not through links.
 */
#include "unpack/job.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "unpack/effective.h"
#include "unpack/encode.h"
#include "unpack/metadata.h"

#define CONFIG_MAX (64u << 20) /* bytes; fetch has applied the configured limit */
#define INIT_MAX (64u << 20)

struct finish {
	struct encoder out;
	struct effective config;
	int64_t mtime_sec;
	uint64_t entries;
};

static struct bytes bytes_cstr(const char *s)
{
	return (struct bytes){s, strlen(s)};
}

static int add(struct finish *f, struct ingest_record *r, const char *path, const char *link, struct err *e)
{
	r->mtime_sec = f->mtime_sec;
	f->entries++;
	return encode_record(&f->out, r, bytes_cstr(path), bytes_cstr(link), (struct bytes){0}, e);
}

static int add_file(struct finish *f, const char *path, uint32_t mode, const char *data, size_t len, struct err *e)
{
	struct ingest_record r = {.type = INGEST_FILE, .flags = INGEST_REPLACE, .mode = mode, .size = len};
	int rc = add(f, &r, path, "", e);

	return rc < 0 ? rc : encode_content(&f->out, data, len, e);
}

static int add_init(struct finish *f, int init_fd, struct err *e)
{
	struct ingest_record link = {.type = INGEST_HARDLINK, .flags = INGEST_IF_ABSENT};
	AUTO_FREE char *data = NULL;
	size_t len;
	int rc = fd_slurp(init_fd, INIT_MAX, &data, &len);

	if (rc < 0)
		return err_sys(e, rc, "read the init program");
	rc = add_file(f, EFFECTIVE_INIT + 1, 0755, data, len, e);
	if (rc < 0 || f->config.strategy == INIT_CUSTOM)
		return rc;
	return add(f, &link, "sbin/init", EFFECTIVE_INIT + 1, e);
}

static int add_specs(struct finish *f, struct err *e)
{
	AUTO_BUF struct buf command = {0}, environment = {0};

	metadata_command(&command, &f->config);
	metadata_environment(&environment, &f->config);
	int rc = add_file(f, "container.cmd", 0644, command.data, command.len, e);
	return rc < 0 ? rc : add_file(f, "container.env", 0644, environment.data, environment.len, e);
}

static int add_working_dir(struct finish *f, struct err *e)
{
	/* What the image has at this path stays, whatever it is: a name in a configuration removes no file. */
	struct ingest_record r = {.type = INGEST_DIR, .flags = INGEST_KEEP_DIR | INGEST_IF_ABSENT, .mode = 0755};
	const char *path = f->config.working_dir + 1; /* without the leading slash */

	return *path ? add(f, &r, path, "", e) : 0;
}

static int add_all(struct finish *f, int init_fd, struct err *e)
{
	int rc = encode_mark(&f->out, INGEST_BEGIN, (struct bytes){0}, e);

	if (rc >= 0 && f->config.is_finishing) {
		rc = add_init(f, init_fd, e);
		if (rc >= 0)
			rc = add_specs(f, e);
		if (rc >= 0)
			rc = add_working_dir(f, e);
	}
	if (rc >= 0)
		rc = encode_mark(&f->out, INGEST_END, (struct bytes){0}, e);
	return rc < 0 ? rc : encode_flush(&f->out, e);
}

static int config_load_files(struct finish *f, const int *fds, struct err *e)
{
	AUTO_FREE char *config = NULL, *runtime = NULL;
	size_t config_len, runtime_len;
	int rc = fd_slurp(fds[0], CONFIG_MAX, &config, &config_len);

	if (rc < 0)
		return err_sys(e, rc, "read the image's configuration");
	rc = fd_slurp(fds[1], CONFIG_MAX, &runtime, &runtime_len);
	if (rc < 0)
		return err_sys(e, rc, "read the request's runtime configuration");
	return effective_load(&f->config, config, config_len, runtime, runtime_len, e);
}

static int metadata_write(const struct finish *f, const struct msg_unpack_finish *job, int fd, struct err *e)
{
	AUTO_BUF struct buf text = {0};

	metadata_image(&text, &f->config, job);
	int rc = fd_write_all(fd, text.data, text.len);
	return rc < 0 ? err_sys(e, rc, "write metadata.json") : 0;
}

int job_finish(struct channel *c, struct message *m, struct msg_unpack_done *done, struct err *e)
{
	const struct msg_unpack_finish *job = (const void *)m->payload;
	struct finish f = {0};
	int rc = config_load_files(&f, m->fds, e);

	f.mtime_sec = f.config.created_sec;
	encode_init(&f.out, m->fds[3]);
	if (rc >= 0)
		rc = metadata_write(&f, job, m->fds[4], e);
	if (rc >= 0)
		rc = add_all(&f, m->fds[2], e);
	encode_free(&f.out);
	effective_free(&f.config);
	done->entries = f.entries;
	return rc;
}
