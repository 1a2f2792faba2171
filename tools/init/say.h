/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What PID 1 tells the console. There is nobody to hand an error to: each is a line here, and the boot goes on. */
#ifndef INIT_SAY_H
#define INIT_SAY_H

/* "metald-init: <message>" and a newline on stderr, in one write; control bytes become '?'. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
