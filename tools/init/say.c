/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/init/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

void say(const char *fmt, ...)
{
	static const char prefix[] = "metald-init: ";
	char line[1024];
	va_list ap;

	memcpy(line, prefix, sizeof(prefix));
	size_t len = sizeof(prefix) - 1;
	va_start(ap, fmt);
	vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	/* Names from the image are quoted in messages: they must not steer the operator's terminal. */
	for (; line[len]; len++)
		if ((unsigned char)line[len] < 0x20 || line[len] == 0x7f)
			line[len] = '?';
	line[len++] = '\n';
	fd_write_all(STDERR_FILENO, line, len);
}
