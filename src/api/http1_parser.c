/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/http1.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	STATE_HEAD,
	STATE_BODY,
	STATE_CHUNK_SIZE,
	STATE_CHUNK_DATA,
	STATE_CHUNK_CRLF,
	STATE_TRAILERS,
	STATE_DONE,
	STATE_DEAD
};

#define CHUNK_LINE_MAX 256 /* the size and its extensions, which are ignored */
#define TRAILERS_MAX 8192

static enum http1_event refuse(struct http1_parser *p, unsigned status, const char *why)
{
	p->status = status;
	p->why = why;
	p->state = STATE_DEAD;
	return HTTP1_ERROR;
}

/* RFC 9110 5.6.2 */
static bool is_token_char(unsigned char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t token_len(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && is_token_char((unsigned char)s[n]))
		n++;
	return n;
}

/* Collect a section into p->line, byte by byte up to its end: an empty line, or one line if IS_LINE. Returns bytes
 * used; *OUT is HTTP1_MORE until the section is whole, then HTTP1_DONE. Line ends other than CRLF never get further
 * than here. */
static size_t collect(struct http1_parser *p, const char *data, size_t len, size_t max, bool is_line, unsigned status,
        enum http1_event *out)
{
	struct buf *b = &p->line;

	*out = HTTP1_MORE;
	for (size_t i = 0; i < len; i++) {
		char c = data[i];
		bool after_cr = b->len && b->data[b->len - 1] == '\r';
		if (after_cr != (c == '\n')) {
			*out = refuse(p, 400, after_cr ? "a CR without LF" : "a LF without CR");
			return i;
		}
		if (b->len >= max) {
			*out = refuse(p, status, "the header section is over the limit");
			return i;
		}
		buf_append(b, &c, 1);
		if (c != '\n')
			continue;
		bool is_empty = b->len == 2 || (b->len >= 4 && b->data[b->len - 3] == '\n');
		if (is_line || is_empty) {
			*out = HTTP1_DONE;
			return i + 1;
		}
	}
	return len;
}

/* method SP request-target SP HTTP-version, with exactly one space each (RFC 9112 3). */
static const char *parse_request_line(struct http1_parser *p, const char *s, size_t len)
{
	size_t n = token_len(s, len);

	if (!n || n > 32 || n == len || s[n] != ' ')
		return "the request line has no method";
	const char *target = s + n + 1, *end = s + len, *space = memchr(target, ' ', (size_t)(end - target));
	if (!space || space == target)
		return "the request line has no target";
	for (const char *c = target; c < space; c++)
		if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
			return "the request target has a character that must be percent-encoded";
	const char *version = space + 1;
	if (end - version != 8 || memcmp(version, "HTTP/", 5) || version[6] != '.' || version[5] < '0' ||
	        version[5] > '9' || version[7] < '0' || version[7] > '9')
		return "the request line does not end in an HTTP version";
	p->method = strndup(s, n);
	p->target = strndup(target, (size_t)(space - target));
	p->is_http10 = version[7] == '0';
	p->status = version[5] == '1' && version[7] <= '1' ? 0 : 505;
	return p->status ? "only HTTP/1.0, HTTP/1.1 and HTTP/2 with prior knowledge are spoken here" : NULL;
}

static const char *parse_field(struct http1_parser *p, const char *s, size_t len)
{
	size_t n = token_len(s, len);

	if (*s == ' ' || *s == '\t')
		return "a folded header line";
	if (!n || n == len || s[n] != ':')
		return "a header line without a valid name and a colon right behind it";
	const char *value = s + n + 1, *end = s + len;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	for (const char *c = value; c < end; c++)
		if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f)
			return "a control character in a header value";
	http_headers_add(&p->headers, s, n, value, (size_t)(end - value));
	p->header_bytes += n + (size_t)(end - value) + 32;
	return NULL;
}

/* The only value of NAME; *COUNT how many there are. */
static const char *single(const struct http1_parser *p, const char *name, size_t *count)
{
	const char *value = NULL;

	*count = 0;
	for (size_t i = 0; i < p->headers.n; i++)
		if (!strcmp(p->headers.v[i].name, name) && !(*count)++)
			value = p->headers.v[i].value;
	return value;
}

/* True if the comma-separated list of NAME, over all its lines, has TOKEN. */
static bool has_token(const struct http1_parser *p, const char *name, const char *token)
{
	for (size_t i = 0; i < p->headers.n; i++) {
		if (strcmp(p->headers.v[i].name, name))
			continue;
		for (const char *v = p->headers.v[i].value; *v;) {
			v += strspn(v, ", \t");
			size_t n = strcspn(v, ", \t");
			if (n == strlen(token) && !strncasecmp(v, token, n))
				return true;
			v += n;
		}
	}
	return false;
}

/* RFC 9112 6: how long is the body? */
static const char *parse_framing(struct http1_parser *p)
{
	size_t n_length, n_coding, digits;
	const char *length = single(p, "content-length", &n_length),
	           *coding = single(p, "transfer-encoding", &n_coding);

	if (n_length && n_coding)
		return "Content-Length and Transfer-Encoding together";
	if (n_length > 1 || n_coding > 1)
		return n_length ? "more than one Content-Length" : "more than one Transfer-Encoding";
	if (coding) {
		if (p->is_http10)
			return "Transfer-Encoding in HTTP/1.0";
		p->is_chunked = !strcasecmp(coding, "chunked");
		p->status = p->is_chunked ? 0 : 501;
		return p->is_chunked ? NULL : "a Transfer-Encoding other than chunked";
	}
	if (!length)
		return NULL;
	digits = strspn(length, "0123456789");
	if (!digits || digits > 18 || length[digits])
		return "a Content-Length that is no number";
	p->content_length = strtoull(length, NULL, 10);
	return NULL;
}

static const char *parse_connection(struct http1_parser *p)
{
	size_t n_host, n_expect;
	const char *host = single(p, "host", &n_host), *expect = single(p, "expect", &n_expect);

	if (n_host > 1 || (!host && !p->is_http10))
		return "not exactly one Host header";
	if (host && strpbrk(host, " \t,/@"))
		return "a Host header that is no host";
	p->is_keep_alive =
	        !has_token(p, "connection", "close") && (!p->is_http10 || has_token(p, "connection", "keep-alive"));
	if (!expect || p->is_http10)
		return NULL;
	p->wants_continue = n_expect == 1 && !strcasecmp(expect, "100-continue");
	p->status = p->wants_continue ? 0 : 417;
	return p->wants_continue ? NULL : "an expectation other than 100-continue";
}

static const char *parse_lines(struct http1_parser *p)
{
	const char *s = p->line.data, *end = s + p->line.len - 2; /* without the empty line */
	const char *why = NULL;

	for (bool is_first = true; s < end && !why; is_first = false) {
		const char *eol = memchr(s, '\r', (size_t)(end - s + 1));
		why = is_first ? parse_request_line(p, s, (size_t)(eol - s)) : parse_field(p, s, (size_t)(eol - s));
		if (p->headers.n > p->max_headers) {
			p->status = 431;
			return "too many headers";
		}
		s = eol + 2;
	}
	return why;
}

static enum http1_event parse_head(struct http1_parser *p)
{
	if (p->line.len == 2) { /* RFC 9112 2.2: one empty line before the request line is skipped */
		if (p->had_empty_line)
			return refuse(p, 400, "empty lines instead of a request");
		p->had_empty_line = true;
		p->line.len = 0;
		return HTTP1_MORE;
	}
	if (memchr(p->line.data, 0, p->line.len))
		return refuse(p, 400, "a NUL character");
	p->status = 0;
	const char *why = parse_lines(p);
	if (!why)
		why = parse_framing(p);
	if (!why)
		why = parse_connection(p);
	if (why)
		return refuse(p, p->status ? p->status : 400, why);
	p->line.len = 0;
	p->body_left = p->content_length;
	p->state = p->is_chunked ? STATE_CHUNK_SIZE : p->body_left ? STATE_BODY : STATE_DONE;
	p->wants_continue = p->wants_continue && p->state != STATE_DONE;
	return HTTP1_HEAD;
}

/* RFC 9112 7.1: chunk-size [ chunk-ext ] CRLF. */
static enum http1_event parse_chunk_size(struct http1_parser *p)
{
	const char *s = p->line.data;
	size_t len = p->line.len - 2, n = 0;
	uint64_t size = 0;

	for (; n < len && n < 9; n++) {
		char c = s[n], low = (char)(c | 0x20);
		unsigned digit;
		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if (low >= 'a' && low <= 'f')
			digit = (unsigned)(low - 'a' + 10);
		else
			break;
		size = size << 4 | digit;
	}
	if (!n || n == 9 || (n < len && s[n] != ';'))
		return refuse(p, 400, "a broken chunk size");
	for (; n < len; n++)
		if (((unsigned char)s[n] < 0x20 && s[n] != '\t') || s[n] == 0x7f)
			return refuse(p, 400, "a control character in a chunk extension");
	p->line.len = 0;
	p->body_left = size;
	p->state = size ? STATE_CHUNK_DATA : STATE_TRAILERS;
	return HTTP1_MORE;
}

/* Trailers must be well-formed and are dropped. */
static enum http1_event parse_trailers(struct http1_parser *p)
{
	struct http_headers saved = p->headers;
	size_t bytes = p->header_bytes;
	const char *s = p->line.data, *end = s + p->line.len - 2, *why = NULL;

	p->headers = (struct http_headers){0};
	if (memchr(s, 0, p->line.len))
		why = "a NUL character";
	while (s < end && !why) {
		const char *eol = memchr(s, '\r', (size_t)(end - s + 1));
		why = parse_field(p, s, (size_t)(eol - s));
		s = eol + 2;
	}
	http_headers_free(&p->headers);
	p->headers = saved;
	p->header_bytes = bytes;
	if (why)
		return refuse(p, 400, why);
	p->state = STATE_DONE;
	return HTTP1_DONE;
}

static enum http1_event take_body(struct http1_parser *p, const char *data, size_t len, size_t *used)
{
	p->data = data;
	p->len = len < p->body_left ? len : (size_t)p->body_left;
	p->body_left -= p->len;
	*used = p->len;
	if (!p->body_left)
		p->state = p->is_chunked ? STATE_CHUNK_CRLF : STATE_DONE;
	return HTTP1_BODY;
}

static enum http1_event take_section(struct http1_parser *p, const char *data, size_t len, size_t *used)
{
	static const struct {
		bool is_line;
		unsigned status; /* when it is too long */
		enum http1_event (*parse)(struct http1_parser *p);
	} sections[] = {
	        [STATE_HEAD] = {false, 431, parse_head},
	        [STATE_CHUNK_SIZE] = {true, 400, parse_chunk_size},
	        [STATE_TRAILERS] = {false, 431, parse_trailers},
	};
	size_t max = p->state == STATE_HEAD       ? p->max_header_bytes
	             : p->state == STATE_TRAILERS ? TRAILERS_MAX
	                                          : CHUNK_LINE_MAX;
	enum http1_event ev;
	int state = p->state;

	*used = collect(p, data, len, max, sections[state].is_line, sections[state].status, &ev);
	return ev == HTTP1_DONE ? sections[state].parse(p) : ev;
}

static enum http1_event take_crlf(struct http1_parser *p, const char *data, size_t *used)
{
	static const char crlf[] = "\r\n";

	if (data[0] != crlf[p->line.len])
		return refuse(p, 400, "a chunk longer than its size");
	buf_append(&p->line, data, 1);
	*used = 1;
	if (p->line.len == 2) {
		p->line.len = 0;
		p->state = STATE_CHUNK_SIZE;
	}
	return HTTP1_MORE;
}

enum http1_event http1_parse(struct http1_parser *p, const char *data, size_t len, size_t *used)
{
	enum http1_event ev = HTTP1_MORE;

	*used = 0;
	while (ev == HTTP1_MORE) {
		size_t n = 0;
		if (p->state == STATE_DONE)
			return HTTP1_DONE;
		if (p->state == STATE_DEAD)
			return HTTP1_ERROR;
		if (*used == len)
			return HTTP1_MORE;
		if (p->state == STATE_BODY || p->state == STATE_CHUNK_DATA)
			ev = take_body(p, data + *used, len - *used, &n);
		else if (p->state == STATE_CHUNK_CRLF)
			ev = take_crlf(p, data + *used, &n);
		else
			ev = take_section(p, data + *used, len - *used, &n);
		*used += n;
	}
	return ev;
}

bool http1_parser_is_fresh(const struct http1_parser *p)
{
	return p->state == STATE_HEAD && !p->line.len && !p->had_empty_line;
}

void http1_parser_next(struct http1_parser *p)
{
	struct http1_parser fresh = {.max_header_bytes = p->max_header_bytes, .max_headers = p->max_headers};

	fresh.line = p->line;
	fresh.line.len = 0;
	free(p->method);
	free(p->target);
	http_headers_free(&p->headers);
	*p = fresh;
}

void http1_parser_free(struct http1_parser *p)
{
	http1_parser_next(p);
	buf_free(&p->line);
}
