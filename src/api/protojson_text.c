/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts inside of JSON strings: time and base64. */
#include "api/protojson_internal.h"

#include <stdio.h>
#include <string.h>

#define SECONDS_MIN -62135596800LL /* 0001-01-01T00:00:00Z */
#define SECONDS_MAX 253402300799LL /* 9999-12-31T23:59:59Z */

/* Days since 1970-01-01 of a date of the Gregorian calendar, counted in eras of 400 years that begin in March. */
static int64_t days_from_date(int64_t y, unsigned m, unsigned d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	unsigned yoe = (unsigned)(y - era * 400);
	unsigned doy = (153 * (m + (m > 2 ? -3u : 9u)) + 2) / 5 + d - 1;
	unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + (int64_t)doe - 719468;
}

static void date_from_days(int64_t days, int64_t *y, unsigned *m, unsigned *d)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	unsigned doe = (unsigned)(days - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;

	*d = doy - (153 * mp + 2) / 5 + 1;
	*m = mp < 10 ? mp + 3 : mp - 9;
	*y = (int64_t)yoe + era * 400 + (*m <= 2);
}

/* A time outside of the range is put as its nearest end: answers are ours, and an answer beats none. */
void protojson_put_time(struct buf *b, int64_t seconds, int32_t nanos)
{
	unsigned month, day;
	int64_t year;

	seconds = seconds < SECONDS_MIN ? SECONDS_MIN : seconds > SECONDS_MAX ? SECONDS_MAX : seconds;
	nanos = nanos < 0 || nanos > 999999999 ? 0 : nanos;
	int64_t days = (seconds - (seconds < 0 ? 86399 : 0)) / 86400;
	unsigned rest = (unsigned)(seconds - days * 86400);
	date_from_days(days, &year, &month, &day);
	buf_printf(b, "\"%04d-%02u-%02uT%02u:%02u:%02u", (int)year, month, day, rest / 3600, rest / 60 % 60, rest % 60);
	if (nanos % 1000)
		buf_printf(b, ".%09d", nanos);
	else if (nanos % 1000000)
		buf_printf(b, ".%06d", nanos / 1000);
	else if (nanos)
		buf_printf(b, ".%03d", nanos / 1000000);
	buf_puts(b, "Z\"");
}

/* N digits at *P, stepping over them; -1: they are not there. */
static int digits(const char **p, int n)
{
	int v = 0;

	for (; n; n--, (*p)++) {
		if (**p < '0' || **p > '9')
			return -1;
		v = v * 10 + (**p - '0');
	}
	return v;
}

static bool get_fraction(const char **p, int32_t *nanos)
{
	int n = 0;

	*nanos = 0;
	if (**p != '.')
		return true;
	for ((*p)++; **p >= '0' && **p <= '9'; (*p)++, n++) {
		if (n == 9)
			return false;
		*nanos = *nanos * 10 + (**p - '0');
	}
	for (int i = n; i < 9; i++)
		*nanos *= 10;
	return n > 0;
}

/* "Z" or "+HH:MM", to the end of the text. */
static bool get_zone(const char *p, int *offset_seconds)
{
	int sign = *p == '-' ? -1 : 1;

	*offset_seconds = 0;
	if (*p == 'Z' || *p == 'z')
		return !p[1];
	if (*p != '+' && *p != '-')
		return false;
	p++;
	int hours = digits(&p, 2);
	if (hours < 0 || hours > 23 || *p++ != ':')
		return false;
	int minutes = digits(&p, 2);
	*offset_seconds = sign * (hours * 3600 + minutes * 60);
	return minutes >= 0 && minutes < 60 && !*p;
}

bool protojson_get_time(const char *text, int64_t *seconds, int32_t *nanos)
{
	static const unsigned char month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	static const char separators[] = "--T::";
	int v[6], offset;

	for (int i = 0; i < 6; i++) {
		v[i] = digits(&text, i ? 2 : 4);
		if (v[i] < 0 || (i < 5 && (*text | (i == 2 ? 0x20 : 0)) != (separators[i] | (i == 2 ? 0x20 : 0))))
			return false;
		text += i < 5;
	}
	if (v[0] < 1 || v[1] < 1 || v[1] > 12 || v[2] < 1 || v[3] > 23 || v[4] > 59 || v[5] > 59)
		return false;
	bool is_leap = v[0] % 4 == 0 && (v[0] % 100 != 0 || v[0] % 400 == 0);
	if (v[2] > month_days[v[1] - 1] + (v[1] == 2 && is_leap))
		return false;
	if (!get_fraction(&text, nanos) || !get_zone(text, &offset))
		return false;
	*seconds =
	        days_from_date(v[0], (unsigned)v[1], (unsigned)v[2]) * 86400 + v[3] * 3600 + v[4] * 60 + v[5] - offset;
	return *seconds >= SECONDS_MIN && *seconds <= SECONDS_MAX;
}

void base64_put(struct buf *b, const void *data, size_t len, bool padded)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t v = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0);
		char out[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63], alphabet[v >> 6 & 63], alphabet[v & 63]};
		if (n < 3)
			memset(out + n + 1, '=', 3 - n);
		buf_append(b, out, padded ? 4 : n + 1);
	}
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

bool base64_get(struct buf *b, const char *text, size_t len)
{
	uint32_t v = 0;
	unsigned bits = 0;
	size_t pad = 0;

	while (len && text[len - 1] == '=' && pad < 2) {
		len--;
		pad++;
	}
	if (len % 4 == 1 || (pad && (len + pad) % 4))
		return false;
	for (size_t i = 0; i < len; i++) {
		int d = base64_value(text[i]);
		if (d < 0)
			return false;
		v = (v << 6 | (uint32_t)d) & 0xffffff;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			char byte = (char)(v >> bits);
			buf_append(b, &byte, 1);
		}
	}
	return true;
}
