/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/ctl/client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tools/ctl/text.h"

#define SERVICE "builder.v1.BuilderService"
#define ADMIN_SERVICE "builder.v1.AdminService"
#define MAX_DEPTH 64
#define CALL_TIMEOUT_S 30
#define MAX_MESSAGE (16 << 20) /* of a stream */
#define MAX_HEADERS 8

static volatile sig_atomic_t interrupts;

static void on_interrupt(int sig)
{
	if (interrupts++)
		_exit(EXIT_INTERRUPTED);
}

void client_catch_interrupts(void)
{
	struct sigaction sa = {.sa_handler = on_interrupt}; /* no SA_RESTART: sleeps end */

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

bool client_is_interrupted(void)
{
	return interrupts > 0;
}

void client_forget_interrupt(void)
{
	interrupts = 0;
}

int client_init(struct client *c, const struct options *o, struct err *e)
{
	*c = (struct client){.options = o, .service = SERVICE};
	if (strncmp(o->url, "http://", 7) != 0 && strncmp(o->url, "https://", 8) != 0)
		return err_set(e, -EINVAL, "\"%s\" is not a URL such as http://host:8082", o->url);
	/* They become header lines. */
	if ((o->tenant && strpbrk(o->tenant, "\r\n")) || (o->token && strpbrk(o->token, "\r\n")) ||
	        (o->idempotency_key && strpbrk(o->idempotency_key, "\r\n")))
		return err_set(e, -EINVAL, "a tenant, token or idempotency key is one line");
	c->url = xstrdup(o->url);
	for (size_t n = strlen(c->url); n && c->url[n - 1] == '/'; n--)
		c->url[n - 1] = 0;
	c->http = http_new();
	return c->http ? 0 : err_set(e, -ENOMEM, "libcurl does not start");
}

int client_init_admin(struct client *c, const struct options *o, struct err *e)
{
	*c = (struct client){.options = o, .service = ADMIN_SERVICE, .socket = o->socket};
	c->url = xstrdup("http://localhost");
	c->http = http_new();
	return c->http ? 0 : err_set(e, -ENOMEM, "libcurl does not start");
}

void client_close(struct client *c)
{
	http_free(c->http);
	free(c->url);
	*c = (struct client){0};
}

/* Header lines of a request; LINES are owned, the array ends with NULL. */
struct headers {
	char *lines[MAX_HEADERS + 1];
	size_t n;
};

static void headers_add(struct headers *h, const char *name, const char *prefix, const char *value)
{
	if (value && h->n < MAX_HEADERS)
		h->lines[h->n++] = xasprintf("%s: %s%s", name, prefix, value);
}

static void headers_free(struct headers *h)
{
	for (size_t i = 0; i < h->n; i++)
		free(h->lines[i]);
}

static struct headers headers_common(const struct client *c)
{
	struct headers h = {0};

	if (c->socket)
		return h;
	headers_add(&h, "X-Tenant-ID", "", c->options->tenant);
	headers_add(&h, "Authorization", "Bearer ", c->options->token);
	headers_add(&h, "Expect", "", ""); /* no 100-continue round trip */
	return h;
}

/* A Connect error object, {"code", "message"}, becomes E. */
static int refusal(struct client *c, const struct json *error, struct err *e)
{
	const char *code = NULL, *message = NULL;

	json_get_string(error, "code", JSON_OPTIONAL, &code, NULL);
	json_get_string(error, "message", JSON_OPTIONAL, &message, NULL);
	snprintf(c->code, sizeof(c->code), "%s", code ? code : "unknown");
	return err_set(e, -EREMOTEIO, "%s", message && *message ? message : c->code);
}

static int refusal_of_answer(struct client *c, struct http_answer *a, struct err *e)
{
	AUTO(json_cleanup) struct json *doc = json_load_strict(a->body.data, a->body.len, MAX_DEPTH, NULL);

	if (doc && json_member(doc, "code"))
		return refusal(c, doc, e);
	snprintf(c->code, sizeof(c->code), "unknown");
	return err_set(e, -EREMOTEIO, "the server answered HTTP %u%s", a->status,
	        a->status == 404 ? ": is there a builderd at this address?" : "");
}

static bool tick(void *arg)
{
	return client_is_interrupted();
}

int client_call(struct client *c, const char *method, const char *body, const char *idempotency_key, struct buf *text,
        struct json **out, struct err *e)
{
	AUTO_FREE char *url = xasprintf("%s/%s/%s", c->url, c->service, method);
	struct headers h = headers_common(c);
	struct http_answer a = {0};
	int r;

	*out = NULL;
	headers_add(&h, "Content-Type", "", "application/json");
	headers_add(&h, "Connect-Protocol-Version", "", "1");
	headers_add(&h, "Idempotency-Key", "", idempotency_key);
	r = http_send(c->http,
	        &(struct http_request){.url = url,
	                .socket = c->socket,
	                .headers = (const char *const *)h.lines,
	                .body = body,
	                .body_len = strlen(body),
	                .timeout_s = CALL_TIMEOUT_S,
	                .tick = tick},
	        &a, e);
	headers_free(&h);
	if (r == 0 && a.status != 200)
		r = refusal_of_answer(c, &a, e);
	if (r == 0 && !(*out = json_load_strict(buf_cstr(&a.body), a.body.len, MAX_DEPTH, e)))
		r = err_wrap(e, "the server's answer to %s is no JSON", method);
	if (r == 0 && text) {
		text->len = 0;
		buf_append(text, a.body.data, a.body.len);
	}
	buf_free(&a.body);
	return r;
}

struct stream {
	struct client *client;
	struct buf pending; /* owns; an incomplete envelope */
	void (*message)(void *arg, const struct json *m);
	void *arg;
	bool is_ended;
	int result; /* what the end-of-stream message said */
	struct err *err;
};

/* One envelope: flags, length, JSON. Flag 2 ends the stream, with {"error": ...} if it failed. */
static int stream_envelope(struct stream *s, unsigned flags, const char *data, size_t len, struct err *e)
{
	AUTO(json_cleanup) struct json *doc = json_load_strict(data, len, MAX_DEPTH, e);

	if (!doc)
		return err_wrap(e, "the server's stream is no JSON");
	if (!(flags & 2)) {
		s->message(s->arg, doc);
		return 0;
	}
	s->is_ended = true;
	const struct json *error = json_member(doc, "error");
	if (error)
		s->result = refusal(s->client, error, s->err);
	return 0;
}

static int stream_data(void *arg, const void *data, size_t len, struct err *e)
{
	struct stream *s = arg;

	buf_append(&s->pending, data, len);
	while (s->pending.len >= 5) {
		const unsigned char *p = (const unsigned char *)s->pending.data;
		size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
		if (n > MAX_MESSAGE || p[0] & ~2u)
			return err_set(e, -EPROTO, "the server's stream has a broken envelope");
		if (s->pending.len < 5 + n)
			break;
		int r = stream_envelope(s, p[0], s->pending.data + 5, n, e);
		if (r < 0)
			return r;
		buf_consume(&s->pending, 5 + n);
	}
	return 0;
}

static bool stream_tick(void *arg)
{
	return client_is_interrupted();
}

int client_stream(struct client *c, const char *method, const char *body,
        void (*message)(void *arg, const struct json *m), void *arg, struct err *e)
{
	AUTO_FREE char *url = xasprintf("%s/" SERVICE "/%s", c->url, method);
	AUTO_BUF struct buf request = {0};
	struct stream s = {.client = c, .message = message, .arg = arg, .err = e};
	struct headers h = headers_common(c);
	struct http_answer a = {0};
	size_t n = strlen(body);
	int r;

	buf_append(&request, (char[]){0, (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n}, 5);
	buf_append(&request, body, n);
	headers_add(&h, "Content-Type", "", "application/connect+json");
	headers_add(&h, "Connect-Protocol-Version", "", "1");
	r = http_send(c->http,
	        &(struct http_request){.url = url,
	                .headers = (const char *const *)h.lines,
	                .body = request.data,
	                .body_len = request.len,
	                .is_patient = true,
	                .data = stream_data,
	                .arg = &s,
	                .tick = stream_tick},
	        &a, e);
	headers_free(&h);
	if (r == 0 && a.status != 200)
		r = refusal_of_answer(c, &a, e);
	if (r == 0 && !s.is_ended)
		r = err_set(e, -EIO, "the server's stream broke off");
	buf_free(&a.body);
	buf_free(&s.pending);
	return r < 0 ? r : s.result;
}

int client_download(struct client *c, const char *path, const char *const *headers,
        int (*data)(void *arg, const void *data, size_t len, struct err *e), void *arg, bool (*tick_fn)(void *arg),
        struct http_answer *a, struct err *e)
{
	AUTO_FREE char *url = xasprintf("%s/%s/%s", c->url, c->service, path);
	struct headers h = headers_common(c);
	int r;

	for (size_t i = 0; headers && headers[i] && h.n < MAX_HEADERS; i++)
		h.lines[h.n++] = xstrdup(headers[i]);
	r = http_send(c->http,
	        &(struct http_request){.url = url,
	                .socket = c->socket,
	                .headers = (const char *const *)h.lines,
	                .data = data,
	                .arg = arg,
	                .tick = tick_fn},
	        a, e);
	headers_free(&h);
	if (r == 0 && a->status >= 300 && a->status != 416)
		r = refusal_of_answer(c, a, e);
	return r;
}

void client_put_id(const struct client *c, struct buf *b, const char *id, const char *more)
{
	buf_puts(b, "{\"buildId\":");
	json_put_string(b, id, strlen(id));
	if (c->options->tenant) {
		buf_puts(b, ",\"tenantId\":");
		json_put_string(b, c->options->tenant, strlen(c->options->tenant));
	}
	buf_printf(b, "%s}", more);
}

int client_fail(const struct client *c, int r, const struct err *e)
{
	AUTO_BUF struct buf text = {0};

	if (r == -ECANCELED) {
		fputs("builderctl: interrupted\n", stderr);
		return EXIT_INTERRUPTED;
	}
	text_put(&text, e->msg);
	if (r == -ENOTCONN && c->socket) {
		fprintf(stderr,
		        "builderctl: cannot reach builderd at %s: %s\n"
		        "Is it running on this machine, and are you root? Another socket: --socket PATH or "
		        "BUILDERD_SOCKET.\n",
		        c->socket, buf_cstr(&text));
		return EXIT_UNREACHED;
	}
	if (r == -ENOTCONN) {
		fprintf(stderr,
		        "builderctl: cannot reach builderd at %s: %s\n"
		        "Is it running there? Another address: --url URL or BUILDERD_URL.\n",
		        c->url, buf_cstr(&text));
		return EXIT_UNREACHED;
	}
	fprintf(stderr, "builderctl: %s\n", buf_cstr(&text));
	if (!strcmp(c->code, "unauthenticated"))
		fputs("The server wants a token: BUILDERD_TOKEN.\n", stderr);
	return EXIT_FAILED;
}
