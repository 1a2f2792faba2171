/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `file` backend: one thread that starts the writing of volumes at once, and makes chains durable when the disk is
 * not needed by a build, or after a while. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"

#define PATIENCE_S                                                                                                     \
	30 /* a chain waits for busy builds at most this long, then a crash would cost more than a slower build */

struct item {
	struct item *next;
	int start_fd; /* owns; >= 0: begin to write this file, now; else sync the chain */
	char tenant[TENANT_ID_MAX];
	struct digest chain;
	struct timespec due;
};

struct syncer {
	struct store *store;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct item *head, **tail; /* owns; under lock, as all below */
	int busy;                  /* builds that write */
	bool is_ending;
};

static bool is_due(const struct item *i)
{
	struct timespec now;

	if (i->start_fd >= 0)
		return true;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > i->due.tv_sec || (now.tv_sec == i->due.tv_sec && now.tv_nsec >= i->due.tv_nsec);
}

/* The next chain to sync, or NULL at the end. */
static struct item *item_wait(struct syncer *y)
{
	pthread_mutex_lock(&y->lock);
	for (;;) {
		if (!y->head && y->is_ending)
			break;
		if (!y->head)
			pthread_cond_wait(&y->changed, &y->lock);
		else if (y->is_ending || !y->busy || is_due(y->head))
			break;
		else
			pthread_cond_timedwait(&y->changed, &y->lock, &y->head->due);
	}
	struct item *i = y->head;
	if (i) {
		y->head = i->next;
		if (!y->head)
			y->tail = &y->head;
	}
	pthread_mutex_unlock(&y->lock);
	return i;
}

static void item_sync(struct store *s, const struct item *i)
{
	struct err e = ERR_INIT;
	struct file_path p = file_chain_path(i->tenant, &i->chain, ".ext4");
	AUTO_CLOSE int fd = openat(s->dirfd, p.text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int rc = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (rc == -ENOENT) /* trimmed meanwhile */
		return;
	if (rc == 0)
		rc = file_dir_sync(s, i->tenant, "chains", &e);
	else
		err_sys(&e, rc, "sync %s", p.text);
	if (rc == 0)
		rc = volumes_db_chain_set_durable(s->db, i->tenant, &i->chain, &e);
	if (rc == 0)
		return;
	log_warn(
	        "a chain is dropped because it could not be made durable", KV("tenant", i->tenant), KV("error", e.msg));
	volumes_db_chain_delete(s->db, i->tenant, &i->chain, NULL);
	unlinkat(s->dirfd, p.text, 0);
}

static void *syncer_main(void *arg)
{
	struct syncer *y = arg;
	struct item *i;

	while ((i = item_wait(y))) {
		if (i->start_fd >= 0)
			sync_file_range(i->start_fd, 0, 0, SYNC_FILE_RANGE_WRITE);
		else
			item_sync(y->store, i);
		cleanup_close(&i->start_fd);
		free(i);
	}
	return NULL;
}

struct syncer *file_syncer_new(struct store *s, struct err *e)
{
	struct syncer *y = xcalloc(1, sizeof(*y));
	pthread_condattr_t attr;
	sigset_t all, saved;

	y->store = s;
	y->tail = &y->head;
	pthread_mutex_init(&y->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&y->changed, &attr);
	pthread_condattr_destroy(&attr);
	sigfillset(&all); /* builderd's signals are for its own thread */
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	int rc = pthread_create(&y->thread, NULL, syncer_main, y);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	if (rc) {
		err_sys(e, -rc, "start a thread");
		free(y);
		return NULL;
	}
	return y;
}

void file_syncer_free(struct syncer *y)
{
	if (!y)
		return;
	pthread_mutex_lock(&y->lock);
	y->is_ending = true;
	pthread_cond_signal(&y->changed);
	pthread_mutex_unlock(&y->lock);
	pthread_join(y->thread, NULL);
	pthread_cond_destroy(&y->changed);
	pthread_mutex_destroy(&y->lock);
	free(y);
}

void file_syncer_add(struct syncer *y, const char *tenant, const struct digest *chain)
{
	struct item *i = xcalloc(1, sizeof(*i));

	i->start_fd = -1;
	snprintf(i->tenant, sizeof(i->tenant), "%s", tenant);
	i->chain = *chain;
	clock_gettime(CLOCK_MONOTONIC, &i->due);
	i->due.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&y->lock);
	*y->tail = i;
	y->tail = &i->next;
	pthread_cond_signal(&y->changed);
	pthread_mutex_unlock(&y->lock);
}

void file_syncer_start(struct syncer *y, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		return; /* an optimization */
	struct item *i = xcalloc(1, sizeof(*i));
	i->start_fd = copy;
	pthread_mutex_lock(&y->lock);
	i->next = y->head; /* in front: it does not wait for idle times */
	y->head = i;
	if (!i->next)
		y->tail = &i->next;
	pthread_cond_signal(&y->changed);
	pthread_mutex_unlock(&y->lock);
}

void file_syncer_busy(struct syncer *y, int change)
{
	pthread_mutex_lock(&y->lock);
	y->busy += change;
	pthread_cond_signal(&y->changed);
	pthread_mutex_unlock(&y->lock);
}
