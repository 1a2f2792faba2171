/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work for the API that takes longer than the main thread may: each piece in a thread of its own, answered by
 * monitor_post(). */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "monitor/monitor.h"

struct work {
	struct monitor *m;
	work_fn *fn;
	unsigned char arg[];
};

static void *work_thread(void *arg)
{
	struct work *w = arg;
	struct monitor *m = w->m;

	w->fn(m, w->arg);
	free(w);
	pthread_mutex_lock(&m->post_lock);
	m->n_works--;
	pthread_cond_broadcast(&m->work_ended);
	pthread_mutex_unlock(&m->post_lock);
	return NULL;
}

void work_start(struct monitor *m, work_fn *fn, const void *arg, size_t size)
{
	struct work *w = xcalloc(1, sizeof(*w) + size);
	sigset_t all, old;
	pthread_t thread;

	w->m = m;
	w->fn = fn;
	memcpy(w->arg, arg, size);
	pthread_mutex_lock(&m->post_lock);
	m->n_works++;
	pthread_mutex_unlock(&m->post_lock);
	sigfillset(&all); /* signals are the main thread's */
	pthread_sigmask(SIG_BLOCK, &all, &old);
	if (pthread_create(&thread, NULL, work_thread, w))
		work_thread(w);
	else
		pthread_detach(thread);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void work_wait(struct monitor *m)
{
	pthread_mutex_lock(&m->post_lock);
	while (m->n_works)
		pthread_cond_wait(&m->work_ended, &m->post_lock);
	pthread_mutex_unlock(&m->post_lock);
}
