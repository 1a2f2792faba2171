/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A thread that waits for work until it is to end. */
#ifndef DM_WORKER_H
#define DM_WORKER_H

#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"

struct worker {
	pthread_t thread;
	bool is_running;
	int poke_fd, stop_fd; /* own; stop_fd is readable from worker_stop on */
};

/* Run MAIN(ARG), without signals. W, all zero before, must stay where it is until worker_stop. */
int worker_start(struct worker *w, void *(*main)(void *), void *arg, struct err *e);

/* Make its waiting end early. Harmless if it does not run. */
void worker_poke(struct worker *w);

/* In the thread: sleep until poked, at most TIMEOUT_MS (-1: no limit). False: it is to end. */
bool worker_wait(struct worker *w, int timeout_ms);
/* The same, but a poke stays for the next worker_wait. */
bool worker_pause(struct worker *w, int timeout_ms);

/* Returns when the thread has ended. Harmless on one that was never started. */
void worker_stop(struct worker *w);

#endif
