/* SPDX-License-Identifier: GPL-2.0-or-later */
/* GET /admin/store-backup: a copy of the job store as it is now, made piece by piece between other work. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/service.h"
#include "base/cleanup.h"
#include "base/log.h"

struct backup {
	struct service *service;
	struct http_exchange *exchange;
	struct store_backup *copy; /* owns */
	struct loop_timer *timer;  /* owns */
};

static void backup_free(struct backup *b)
{
	loop_timer_del(b->timer);
	store_backup_free(b->copy);
	b->service->is_backing_up = false;
	free(b);
}

static void on_gone(struct http_exchange *x, void *arg)
{
	backup_free(arg);
}

static int answer(struct backup *b, struct err *e)
{
	struct stat st;
	AUTO_CLOSE int fd = store_backup_file(b->copy, e);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "size of the copy");
	log_info("job store copied", KV_U("bytes", st.st_size));
	http_respond_file(b->exchange, 200, "application/vnd.sqlite3", STEAL_FD(&fd), 0, (uint64_t)st.st_size);
	return 0;
}

static void on_step(void *arg)
{
	struct backup *b = arg;
	struct err e = ERR_INIT;
	int rc = store_backup_step(b->copy, &e);

	b->timer = NULL;
	if (rc > 0) {
		b->timer = loop_timer_add(b->service->jobs->loop, 1, on_step, b);
		return;
	}
	if (rc == 0)
		rc = answer(b, &e);
	if (rc < 0)
		service_http_fail(b->exchange, &e);
	backup_free(b);
}

void backup_http(struct http_exchange *x, void *arg)
{
	struct service *s = arg;
	struct backup *b = xcalloc(1, sizeof(*b));
	struct err e = ERR_INIT;
	int rc = s->is_backing_up ? err_set(&e, -EBUSY, "another copy is being made") : 0;

	*b = (struct backup){.service = s, .exchange = x};
	if (rc >= 0)
		rc = store_backup_begin(s->jobs->store, &b->copy, &e);
	if (rc < 0) {
		service_http_fail(x, &e);
		free(b);
		return;
	}
	s->is_backing_up = true;
	http_on(x, NULL, on_gone, b);
	b->timer = loop_timer_add(s->jobs->loop, 0, on_step, b);
}
