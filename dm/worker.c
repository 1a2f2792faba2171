/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "worker.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"

int worker_start(struct worker *w, void *(*main)(void *), void *arg, struct err *e)
{
	sigset_t all, saved;

	w->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sigfillset(&all); /* builderd's signals are for its own thread */
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	int rc = w->poke_fd < 0 || w->stop_fd < 0 ? -EMFILE : -pthread_create(&w->thread, NULL, main, arg);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	w->is_running = rc == 0;
	if (rc == 0)
		return 0;
	cleanup_close(&w->poke_fd);
	cleanup_close(&w->stop_fd);
	return err_sys(e, rc, "start a thread");
}

void worker_poke(struct worker *w)
{
	if (w->is_running)
		eventfd_write(w->poke_fd, 1);
}

bool worker_wait(struct worker *w, int timeout_ms)
{
	struct pollfd p[] = {{.fd = w->stop_fd, .events = POLLIN}, {.fd = w->poke_fd, .events = POLLIN}};
	eventfd_t n;

	if (poll(p, 2, timeout_ms) > 0 && p[1].revents & POLLIN)
		eventfd_read(w->poke_fd, &n);
	return !(p[0].revents & POLLIN);
}

bool worker_pause(struct worker *w, int timeout_ms)
{
	struct pollfd p = {.fd = w->stop_fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) <= 0;
}

void worker_stop(struct worker *w)
{
	if (!w->is_running)
		return;
	eventfd_write(w->stop_fd, 1);
	pthread_join(w->thread, NULL);
	w->is_running = false;
	cleanup_close(&w->poke_fd);
	cleanup_close(&w->stop_fd);
}
