/* SPDX-License-Identifier: GPL-2.0-or-later */
/* GET GetBuildArtifact/{id}: the rootfs file, whole or one range of it (RFC 9110, 14; If-Range 13.1.5,
 * If-None-Match 13.1.2). */
#include "api/artifact_range.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/service.h"
#include "base/cleanup.h"

struct download {
	const struct service *service;
	struct http_exchange *exchange;
	struct jobs_waiter *waiter;
	char etag[128]; /* "\"sha256:...\"", "" if there is no checksum */
	char name[BUILD_ID_MAX + 8];
};

static void add_headers(const struct download *d)
{
	char disposition[96];

	snprintf(disposition, sizeof(disposition), "attachment; filename=\"%s\"", d->name);
	http_header_add(d->exchange, "Content-Disposition", disposition);
	http_header_add(d->exchange, "Accept-Ranges", "bytes");
	http_header_add(d->exchange, "Cache-Control", "private, max-age=31536000, immutable");
	if (*d->etag)
		http_header_add(d->exchange, "ETag", d->etag);
}

static void respond(struct download *d, int fd, uint64_t size)
{
	struct http_exchange *x = d->exchange;
	const char *text = http_header(x, "range"), *condition = http_header(x, "if-range");
	char content_range[96];
	struct range r = {0, size};

	add_headers(d);
	if (condition && strcmp(condition, d->etag) != 0)
		text = NULL;
	switch (text ? range_parse(text, size, &r) : RANGE_WHOLE) {
	case RANGE_WHOLE:
		http_respond_file(x, 200, "application/octet-stream", fd, 0, size);
		break;
	case RANGE_PART:
		snprintf(content_range, sizeof(content_range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, r.first,
		        r.first + r.len - 1, size);
		http_header_add(x, "Content-Range", content_range);
		http_respond_file(x, 206, "application/octet-stream", fd, r.first, r.len);
		break;
	case RANGE_IMPOSSIBLE:
		close(fd);
		snprintf(content_range, sizeof(content_range), "bytes */%" PRIu64, size);
		http_header_add(x, "Content-Range", content_range);
		http_respond_error(x, 416, "out_of_range", "the artifact has %" PRIu64 " bytes", size);
		break;
	}
}

static void audit_read(const struct download *d, const struct err *e)
{
	char build_id[BUILD_ID_MAX];

	snprintf(build_id, sizeof(build_id), "%.*s", (int)strcspn(d->name, "."), d->name);
	service_audit(d->service, caller_of_http(d->exchange), http_peer(d->exchange),
	        &(struct audit_event){.kind = AUDIT_STORAGE_ACCESS,
	                .outcome = e->code ? AUDIT_ERROR : AUDIT_ALLOWED,
	                .build = build_id,
	                .resource = "product",
	                .reason = e->code ? e->msg : "read"});
}

static void on_opened(void *arg, int fd, uint64_t size, const struct err *e)
{
	struct download *d = arg;

	audit_read(d, e);
	if (e->code) {
		cleanup_close(&fd);
		service_http_fail(d->exchange, e);
	} else {
		respond(d, fd, size);
	}
	free(d);
}

static void on_gone(struct http_exchange *x, void *arg)
{
	struct download *d = arg;

	jobs_forget(d->waiter);
	free(d);
}

static bool etag_listed(const char *list, const char *etag)
{
	return *etag && (!strcmp(list, "*") || strstr(list, etag));
}

void artifact_http(struct http_exchange *x, void *arg)
{
	struct service *s = arg;
	AUTO_JOB struct job job = {0};
	struct err e = ERR_INIT;
	AUTO_FREE struct download *d = xcalloc(1, sizeof(*d));
	const char *known = http_header(x, "if-none-match");

	d->service = s;
	d->exchange = x;
	if (store_job_get(s->jobs->store, tenant_of_http(x), http_suffix(x), &job, &e) < 0) {
		service_http_fail(x, &e);
		return;
	}
	snprintf(d->name, sizeof(d->name), "%s.ext4", job.build_id);
	if (*job.rootfs_checksum)
		snprintf(d->etag, sizeof(d->etag), "\"%.100s\"", job.rootfs_checksum);
	if (job.state == BUILD_COMPLETED && known && etag_listed(known, d->etag)) {
		add_headers(d);
		http_respond(x, 304, NULL, "", 0);
		return;
	}
	if (jobs_artifact(s->jobs, &job, on_opened, d, &d->waiter, &e) < 0) {
		service_http_fail(x, &e);
		return;
	}
	http_on(x, NULL, on_gone, d);
	STEAL(&d);
}
