/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>

#include <sys/epoll.h>
#include <unistd.h>

#include "base/loop.h"

static char letters[] = "abcdefghijklmnopqrstuvwxyz";
static char order[16];
static unsigned n_order;
static struct loop *the_loop;

static void note(void *arg)
{
	order[n_order++] = *(const char *)arg;
	if (n_order == 4)
		loop_stop(the_loop, 7);
}

Test(loop, timers_fire_in_order_and_can_be_removed)
{
	the_loop = loop_new();
	loop_timer_add(the_loop, 20, note, &letters['c' - 'a']);
	loop_timer_add(the_loop, 0, note, &letters['a' - 'a']);
	struct loop_timer *gone = loop_timer_add(the_loop, 5, note, &letters['x' - 'a']);
	loop_timer_add(the_loop, 10, note, &letters['b' - 'a']);
	loop_timer_add(the_loop, 20, note, &letters['d' - 'a']);
	loop_timer_del(gone);
	cr_assert_eq(loop_run(the_loop), 7);
	cr_assert_str_eq(order, "abcd");
	loop_free(the_loop);
}

struct pair {
	struct loop_source *self, *other;
	int fd, calls;
};

static void drop_both(void *arg, uint32_t events)
{
	struct pair *p = arg;

	p->calls++;
	loop_fd_del(p->self);
	loop_fd_del(p->other);
	loop_stop(the_loop, 0);
}

Test(loop, a_callback_may_remove_any_source)
{
	int fds[2];
	struct pair a = {0}, b = {0};

	cr_assert_eq(pipe(fds), 0);
	the_loop = loop_new();
	/* The write end of an empty pipe and its duplicate are both ready in the same round. */
	a.fd = fds[1];
	b.fd = dup(fds[1]);
	a.self = b.other = loop_fd_add(the_loop, a.fd, EPOLLOUT, drop_both, &a);
	b.self = a.other = loop_fd_add(the_loop, b.fd, EPOLLOUT, drop_both, &b);
	cr_assert_eq(loop_run(the_loop), 0);
	cr_assert_eq(a.calls + b.calls, 1);
	loop_free(the_loop);
}
