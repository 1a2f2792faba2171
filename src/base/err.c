/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const kind_names[ERR_KIND_COUNT] = {
#define X(id, name) [ERR_KIND_##id] = name,
        ERR_KINDS(X)
#undef X
};

static void err_vset(struct err *e, int code, enum err_kind kind, const char *fmt, va_list ap)
{
	e->code = code;
	e->kind = kind;
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return code;
	va_start(ap, fmt);
	err_vset(e, code, ERR_KIND_NONE, fmt, ap);
	va_end(ap);
	return code;
}

int err_kind_set(struct err *e, int code, enum err_kind kind, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return code;
	va_start(ap, fmt);
	err_vset(e, code, kind, fmt, ap);
	va_end(ap);
	return code;
}

int err_sys(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (!e)
		return code;
	va_start(ap, fmt);
	err_vset(e, code, ERR_KIND_NONE, fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	snprintf(e->msg + n, sizeof(e->msg) - n, ": %s", strerror(-code));
	return code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char fact[sizeof(e->msg)], whole[2 * sizeof(e->msg) + 2];
	va_list ap;

	if (!e)
		return 0;
	va_start(ap, fmt);
	vsnprintf(fact, sizeof(fact), fmt, ap);
	va_end(ap);
	/* A long sentence loses its end, never the fact in front of it. */
	snprintf(whole, sizeof(whole), "%s: %s", fact, e->msg);
	whole[sizeof(e->msg) - 1] = 0;
	memcpy(e->msg, whole, sizeof(e->msg));
	return e->code;
}

const char *err_kind_name(int kind)
{
	return kind >= 0 && kind < ERR_KIND_COUNT ? kind_names[kind] : kind_names[ERR_KIND_NONE];
}

void err_sanitize(struct err *e)
{
	e->msg[sizeof(e->msg) - 1] = 0;
	for (char *p = e->msg; *p; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p == 0x7f)
			*p = '?';
	if (e->kind < 0 || e->kind >= ERR_KIND_COUNT)
		e->kind = ERR_KIND_INTERNAL;
	if (e->code > 0 || e->code < -4095)
		e->code = -5; /* EIO */
}
