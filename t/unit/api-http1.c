/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every case is parsed whole, byte by byte, and cut at every position: the result must be the same. */
#include <criterion/criterion.h>
#include <string.h>

#include "api/http1.h"

#define HOST "Host: h\r\n"

struct outcome {
	unsigned status; /* 0: parsed */
	size_t rest;     /* bytes behind the request */
	char body[256];
	size_t body_len;
	bool is_done;
};

static void feed(struct http1_parser *p, struct outcome *o, const char *data, size_t len, size_t *total)
{
	size_t at = 0, used;

	for (;;) {
		enum http1_event ev = http1_parse(p, data + at, len - at, &used);
		at += used;
		*total += used;
		if (ev == HTTP1_BODY) {
			cr_assert(o->body_len + p->len < sizeof(o->body));
			memcpy(o->body + o->body_len, p->data, p->len);
			o->body_len += p->len;
		}
		o->is_done = ev == HTTP1_DONE;
		o->status = ev == HTTP1_ERROR ? p->status : 0;
		if (ev == HTTP1_ERROR || ev == HTTP1_DONE || ev == HTTP1_MORE)
			return;
	}
}

static struct outcome run(const char *text, size_t len, size_t cut)
{
	struct http1_parser p = {.max_header_bytes = 512, .max_headers = 8};
	struct outcome o = {0};
	size_t total = 0;

	if (cut == 0) {
		for (size_t i = 0; i < len && !o.status && !o.is_done; i++)
			feed(&p, &o, text + i, 1, &total);
	} else {
		feed(&p, &o, text, cut, &total);
		if (!o.status && !o.is_done)
			feed(&p, &o, text + cut, len - cut, &total);
	}
	o.rest = len - total;
	http1_parser_free(&p);
	return o;
}

static void check(const char *text, size_t len, unsigned status, const char *body, size_t rest)
{
	for (size_t cut = 0; cut <= len; cut++) {
		struct outcome o = run(text, len, cut);
		cr_assert_eq(o.status, status, "cut %zu: status %u, want %u: %s", cut, o.status, status, text);
		if (status)
			continue;
		cr_assert(o.is_done, "cut %zu: not whole: %s", cut, text);
		cr_assert_eq(o.rest, rest, "cut %zu: rest %zu: %s", cut, o.rest, text);
		cr_assert(o.body_len == strlen(body) && !memcmp(o.body, body, o.body_len), "cut %zu: body: %s", cut,
		        text);
	}
}

static const struct {
	const char *text;
	const char *body;
	size_t rest;
} good[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", "", 0},
        {"\r\nGET / HTTP/1.1\r\n" HOST "\r\n", "", 0},
        {"GET / HTTP/1.0\r\n\r\n", "", 0},
        {"GET / HTTP/1.1\r\n" HOST "\r\nGET /", "", 5},
        {"GET http://h:1/x?y HTTP/1.1\r\n" HOST "\r\n", "", 0},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhellomore", "hello", 4},
        {"POST / HTTP/1.1\r\n" HOST "content-LENGTH:  5 \t\r\n\r\nhello", "hello", 0},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\nG", "", 1},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nG", "hello", 1},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n00A\r\n0123456789\r\n0\r\n\r\n",
                "a0123456789", 0},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0;x\r\nT: v\r\nU: w\r\n\r\n",
                "abc", 0},
        {"GET / HTTP/1.1\r\n" HOST "X: \r\nY:\ta b\t\r\nZ: caf\xc3\xa9\r\n\r\n", "", 0},
        {"POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx", "x", 0},
};

Test(api_http1, takes_what_is_right)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		check(good[i].text, strlen(good[i].text), 0, good[i].body, good[i].rest);
}

#define POST "POST / HTTP/1.1\r\n" HOST
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static const struct {
	const char *why, *text;
	unsigned status;
} wrong[] = {
        {"bare LF in the request line", "GET / HTTP/1.1\n" HOST "\r\n", 400},
        {"bare LF in a header", "GET / HTTP/1.1\r\nHost: h\n\r\n", 400},
        {"bare LF as the empty line", "GET / HTTP/1.1\r\n" HOST "\n", 400},
        {"bare CR", "GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", 400},
        {"CR CR LF", "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", 400},
        {"two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"two spaces", "GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"two spaces before the version", "GET /  HTTP/1.1\r\n" HOST "\r\n", 400},
        {"space behind the version", "GET / HTTP/1.1 \r\n" HOST "\r\n", 400},
        {"tab for space", "GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400},
        {"no version", "GET /\r\n\r\n", 400},
        {"space first", " GET / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"lower-case protocol", "GET / http/1.1\r\n" HOST "\r\n", 400},
        {"version 2", "GET / HTTP/2.0\r\n" HOST "\r\n", 505},
        {"version 1.2", "GET / HTTP/1.2\r\n" HOST "\r\n", 505},
        {"long version", "GET / HTTP/1.10\r\n" HOST "\r\n", 400},
        {"raw 8-bit target", "GET /\xff HTTP/1.1\r\n" HOST "\r\n", 400},
        {"method is no token", "G(T / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"no host", "GET / HTTP/1.1\r\n\r\n", 400},
        {"two hosts", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"host with a path", "GET / HTTP/1.1\r\nHost: h/x\r\n\r\n", 400},
        {"space before the colon", "GET / HTTP/1.1\r\n" HOST "X : y\r\n\r\n", 400},
        {"tab before the colon", "GET / HTTP/1.1\r\n" HOST "X\t: y\r\n\r\n", 400},
        {"folded line", "GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", 400},
        {"folded first line", "GET / HTTP/1.1\r\n X: a\r\n" HOST "\r\n", 400},
        {"no colon", "GET / HTTP/1.1\r\n" HOST "X\r\n\r\n", 400},
        {"empty name", "GET / HTTP/1.1\r\n" HOST ": x\r\n\r\n", 400},
        {"control character in a value", "GET / HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n", 400},
        {"DEL in a value", "GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n", 400},
        {"both lengths", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"both lengths, other order", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
        {"Content-Length twice", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400},
        {"Content-Length list", POST "Content-Length: 5, 5\r\n\r\nhello", 400},
        {"Content-Length with sign", POST "Content-Length: +5\r\n\r\nhello", 400},
        {"negative Content-Length", POST "Content-Length: -1\r\n\r\n", 400},
        {"hexadecimal Content-Length", POST "Content-Length: 0x5\r\n\r\nhello", 400},
        {"empty Content-Length", POST "Content-Length:\r\n\r\n", 400},
        {"huge Content-Length", POST "Content-Length: 18446744073709551621\r\n\r\nhello", 400},
        {"space inside Content-Length", POST "Content-Length: 1 2\r\n\r\nhello", 400},
        {"Transfer-Encoding twice", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                400},
        {"Transfer-Encoding list", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
        {"Transfer-Encoding identity", POST "Transfer-Encoding: identity\r\n\r\n", 501},
        {"obscured chunked", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
        {"vertical tab before chunked", POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 400},
        {"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"chunk size with 0x", CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", 400},
        {"chunk size with sign", CHUNKED "+5\r\nhello\r\n0\r\n\r\n", 400},
        {"negative chunk size", CHUNKED "-5\r\nhello\r\n0\r\n\r\n", 400},
        {"space before the chunk size", CHUNKED " 5\r\nhello\r\n0\r\n\r\n", 400},
        {"space behind the chunk size", CHUNKED "5 \r\nhello\r\n0\r\n\r\n", 400},
        {"empty chunk size", CHUNKED "\r\nhello\r\n0\r\n\r\n", 400},
        {"underscore in the chunk size", CHUNKED "1_0\r\nhello\r\n0\r\n\r\n", 400},
        {"chunk size that wraps", CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n", 400},
        {"nine digits", CHUNKED "000000005\r\nhello\r\n0\r\n\r\n", 400},
        {"chunk line ended by LF", CHUNKED "5\nhello\r\n0\r\n\r\n", 400},
        {"chunk extension with LF", CHUNKED "5;a\nb\r\nhello\r\n0\r\n\r\n", 400},
        {"chunk longer than its size", CHUNKED "5\r\nhelloX\r\n0\r\n\r\n", 400},
        {"chunk data ended by LF", CHUNKED "5\r\nhello\n0\r\n\r\n", 400},
        {"folded trailer", CHUNKED "0\r\nX: a\r\n b\r\n\r\n", 400},
        {"trailer ended by LF", CHUNKED "0\r\nX: a\n\r\n", 400},
        {"no colon in a trailer", CHUNKED "0\r\nGET / HTTP/1.1\r\n\r\n", 400},
        {"another expectation", POST "Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx", 417},
        {"too many headers", "GET / HTTP/1.1\r\n" HOST "a:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\n\r\n", 431},
};

Test(api_http1, refuses_what_is_ambiguous)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		check(wrong[i].text, strlen(wrong[i].text), wrong[i].status, "", 0);
}

Test(api_http1, refuses_nul)
{
	static const char in_value[] = "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
	                  in_name[] = "GET / HTTP/1.1\r\nHo\0st: h\r\n\r\n";
	static const char in_target[] = "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n";

	check(in_value, sizeof(in_value) - 1, 400, "", 0);
	check(in_name, sizeof(in_name) - 1, 400, "", 0);
	check(in_target, sizeof(in_target) - 1, 400, "", 0);
}

Test(api_http1, bounds_the_head)
{
	char text[2048] = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
	size_t len = strlen(text);

	memset(text + len, 'x', 1024);
	strcpy(text + len + 1024, "\r\n\r\n");
	check(text, strlen(text), 431, "", 0);
}

Test(api_http1, bounds_chunk_extensions)
{
	char text[2048] = CHUNKED "5;";
	size_t len = strlen(text);

	memset(text + len, 'x', 512);
	strcpy(text + len + 512, "\r\nhello\r\n0\r\n\r\n");
	check(text, strlen(text), 400, "", 0);
}

Test(api_http1, keep_alive_and_expect)
{
	static const struct {
		const char *text;
		bool is_keep_alive, wants_continue;
	} cases[] = {
	        {"GET / HTTP/1.1\r\n" HOST "\r\n", true, false},
	        {"GET / HTTP/1.1\r\n" HOST "Connection: foo, Close\r\n\r\n", false, false},
	        {"GET / HTTP/1.1\r\n" HOST "Connection: closed\r\n\r\n", true, false},
	        {"GET / HTTP/1.0\r\n\r\n", false, false},
	        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true, false},
	        {POST "Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n", true, true},
	        {POST "Expect: 100-continue\r\n\r\n", true, false},
	        {"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", false, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http1_parser p = {.max_header_bytes = 512, .max_headers = 8};
		size_t used;
		cr_assert_eq(
		        http1_parse(&p, cases[i].text, strlen(cases[i].text), &used), HTTP1_HEAD, "%s", cases[i].text);
		cr_assert_eq(p.is_keep_alive, cases[i].is_keep_alive, "%s", cases[i].text);
		cr_assert_eq(p.wants_continue, cases[i].wants_continue, "%s", cases[i].text);
		http1_parser_free(&p);
	}
}
