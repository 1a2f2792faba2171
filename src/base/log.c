/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static struct {
	const char *program;
	enum log_level min;
	bool is_json;
} conf = {"builderd", LOG_LEVEL_INFO, false};

void log_setup(const char *program, enum log_level min, bool is_json)
{
	conf.program = program;
	conf.min = min;
	conf.is_json = is_json;
}

enum log_level log_threshold(void)
{
	return conf.min;
}

const char *log_level_name(enum log_level level)
{
	return (unsigned)level < 4 ? level_names[level] : "info";
}

enum log_level log_level_parse(const char *name)
{
	enum log_level level = LOG_LEVEL_DEBUG;

	while (level < LOG_LEVEL_ERROR && strcmp(log_level_name(level), name) != 0)
		level++;
	return level;
}

/* JSON string escapes serve the text form too: one line per entry whatever a value holds. Bytes >= 0x80 that are not
 * UTF-8 could come from an image; they are written as \u00XX. */
static void quote(struct buf *b, const char *s, bool quotes)
{
	if (quotes)
		buf_puts(b, "\"");
	for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
		if (*p == '"' || *p == '\\')
			buf_printf(b, "\\%c", *p);
		else if (*p < 0x20 || *p >= 0x7f)
			buf_printf(b, "\\u%04x", *p);
		else
			buf_append(b, p, 1);
	}
	if (quotes)
		buf_puts(b, "\"");
}

static void pair(struct buf *b, const struct log_kv *kv)
{
	if (conf.is_json) {
		buf_printf(b, ",\"%s\":", kv->key);
		if (kv->str)
			quote(b, kv->str, true);
		else
			buf_printf(b, "%lld", (long long)kv->num);
		return;
	}
	buf_printf(b, " %s=", kv->key);
	if (kv->str)
		quote(b, kv->str, !*kv->str || strpbrk(kv->str, " =\"\t\n") != NULL);
	else
		buf_printf(b, "%lld", (long long)kv->num);
}

void log_write(enum log_level level, const char *msg, const struct log_kv *kv, unsigned n)
{
	if (level < conf.min)
		return;
	int saved = errno;
	AUTO_BUF struct buf b = {0};
	struct timespec ts;
	struct tm tm;
	char when[32];

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	if (conf.is_json) {
		buf_printf(&b, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"program\":\"%s\",\"msg\":", when,
		        ts.tv_nsec / 1000000, log_level_name(level), conf.program);
		quote(&b, msg, true);
	} else {
		buf_printf(&b, "%s.%03ldZ %-5s %s: ", when, ts.tv_nsec / 1000000, log_level_name(level), conf.program);
		quote(&b, msg, false);
	}
	for (unsigned i = 0; i < n; i++)
		pair(&b, &kv[i]);
	buf_puts(&b, conf.is_json ? "}\n" : "\n");
	/* One write per line: lines of several processes do not mix. A lost log line is not worth an error. */
	if (write(STDERR_FILENO, b.data, b.len) < 0)
		errno = saved;
	errno = saved;
}
