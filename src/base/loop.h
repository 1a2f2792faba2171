/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event loop on epoll: descriptors, one-shot timers. One thread. A callback may remove any source, its own included:
 * sources removed during a round are freed at its end.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_source;
struct loop_timer;

typedef void loop_fd_fn(void *arg, uint32_t events /* EPOLL* */);
typedef void loop_timer_fn(void *arg);

struct loop *loop_new(void); /* NULL: errno says why */
void loop_free(struct loop *l);

/* Watch FD (borrowed) for EVENTS. NULL: errno says why. */
struct loop_source *loop_fd_add(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *arg);
void loop_fd_set(struct loop_source *s, uint32_t events);
/* Stops watching; takes NULL. Call before closing the descriptor. */
void loop_fd_del(struct loop_source *s);

/* Call FN once, DELAY_MS from now. NULL when out of memory. */
struct loop_timer *loop_timer_add(struct loop *l, int64_t delay_ms, loop_timer_fn *fn, void *arg);
/* Forget a timer that has not fired (a fired one is gone: forget the pointer in its callback); takes NULL. */
void loop_timer_del(struct loop_timer *t);

/* Run until loop_stop. Returns the code given to it, or -errno. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l, int code);

int64_t time_mono_ms(void); /* CLOCK_MONOTONIC */
int64_t time_wall_ms(void); /* Unix time */

#endif
