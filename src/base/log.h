/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log lines on stderr: a lower-case message and key=value pairs; JSON with the same keys in production.
 *   log_info("build started", KV("build", id), KV_U("bytes", n));
 * error: someone must act; warn: we coped; info: a build's life in about six lines; debug: the rest.
 * Secrets never: credentials and env values of an image count as secrets.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

struct log_kv {
	const char *key;
	const char *str; /* NULL: num is the value */
	int64_t num;
};

#define KV(k, s) ((struct log_kv){(k), (s) ? (s) : "", 0})
#define KV_U(k, n) ((struct log_kv){(k), 0, (int64_t)(n)})

/* PROGRAM is borrowed for the process's life. */
void log_setup(const char *program, enum log_level min, bool is_json);
enum log_level log_threshold(void);
void log_write(enum log_level level, const char *msg, const struct log_kv *kv, unsigned n);
const char *log_level_name(enum log_level level);
/* The level of that name; error for a name that is none. */
enum log_level log_level_parse(const char *name);

#define log_at(level, msg, ...)                                                                                        \
	do {                                                                                                           \
		const struct log_kv log_kv_[] = {__VA_ARGS__ __VA_OPT__(, ){0, 0, 0}};                                 \
		log_write(level, msg, log_kv_, sizeof(log_kv_) / sizeof(log_kv_[0]) - 1);                              \
	} while (0)
#define log_debug(msg, ...) log_at(LOG_LEVEL_DEBUG, msg __VA_OPT__(, ) __VA_ARGS__)
#define log_info(msg, ...) log_at(LOG_LEVEL_INFO, msg __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(msg, ...) log_at(LOG_LEVEL_WARN, msg __VA_OPT__(, ) __VA_ARGS__)
#define log_error(msg, ...) log_at(LOG_LEVEL_ERROR, msg __VA_OPT__(, ) __VA_ARGS__)

#endif
