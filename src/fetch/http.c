/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/http.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <curl/curl.h>

#include "base/cleanup.h"
#include "base/loop.h"

#define HEADERS_BYTES_MAX (64 * 1024)
#define ERROR_BODY_MAX (16 * 1024)
#define CONNECT_TIMEOUT_MS 15000L
#define LOW_SPEED_BYTES 1024L /* a second, over LOW_SPEED_S seconds: a server that trickles is given up */
#define LOW_SPEED_S 30L
#define BUFFER_BYTES (512L * 1024) /* the most that libcurl takes; one read, one write and one hash update each */

struct http {
	CURLM *multi; /* owns */
	struct http_options options;
	struct http_request *delayed;  /* to be started at start_ms */
	struct http_request *finished; /* nobody has looked at them */
	struct http_request **finished_tail;
	unsigned running;
};

struct http *http_new(const struct http_options *o, struct err *e)
{
	static bool is_ready;
	struct http *h;

	if (!is_ready && curl_global_init(CURL_GLOBAL_DEFAULT)) {
		err_kind_set(e, -EIO, ERR_KIND_INTERNAL, "libcurl could not be initialized");
		return NULL;
	}
	is_ready = true;
	h = xcalloc(1, sizeof(*h));
	h->options = *o;
	h->finished_tail = &h->finished;
	h->multi = curl_multi_init();
	if (h->multi)
		return h;
	free(h);
	err_kind_set(e, -ENOMEM, ERR_KIND_INTERNAL, "libcurl could not be initialized");
	return NULL;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	curl_multi_cleanup(h->multi);
	free(h);
}

/* --- what libcurl calls ------------------------------------------------------------------------------------------ */

static void copy_value(char *out, size_t size, const char *value, size_t len)
{
	snprintf(out, size, "%.*s", (int)(len < size ? len : size - 1), value);
}

static void join_value(char *out, size_t size, const char *value, size_t len)
{
	size_t n = strlen(out);

	/* What does not fit is dropped whole: half a challenge is none. */
	if (n + 2 + len < size)
		snprintf(out + n, size - n, "%s%.*s", n ? ", " : "", (int)len, value);
}

static void take_header(struct http_response *p, const char *line, size_t len)
{
	const struct {
		const char *name;
		char *out;
		size_t size;
		void (*take)(char *out, size_t size, const char *value, size_t len);
	} wanted[] = {
	        {"content-type", p->content_type, sizeof(p->content_type), copy_value},
	        {"content-range", p->content_range, sizeof(p->content_range), copy_value},
	        {"location", p->location, sizeof(p->location), copy_value},
	        {"www-authenticate", p->challenge, sizeof(p->challenge), join_value},
	};
	const char *colon = memchr(line, ':', len);

	if (!colon)
		return;
	size_t name_len = (size_t)(colon - line);
	const char *value = colon + 1, *end = line + len;
	while (value < end && isspace((unsigned char)*value))
		value++;
	while (end > value && isspace((unsigned char)end[-1]))
		end--;
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		if (strlen(wanted[i].name) == name_len && !strncasecmp(wanted[i].name, line, name_len))
			wanted[i].take(wanted[i].out, wanted[i].size, value, (size_t)(end - value));
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	struct http_request *r = arg;
	struct http_response *p = &r->response;

	n *= size;
	r->header_bytes += n;
	if (r->header_bytes > HEADERS_BYTES_MAX) {
		err_kind_set(&r->err, -EFBIG, ERR_KIND_NETWORK, "more than %d bytes of headers", HEADERS_BYTES_MAX);
		return 0;
	}
	if (n >= 5 && !memcmp(data, "HTTP/", 5)) /* 1xx responses come before the one that counts */
		p->content_type[0] = p->content_range[0] = p->location[0] = p->challenge[0] = 0;
	else if (memchr(data, 0, n))
		return 0;
	else
		take_header(p, data, n);
	return n;
}

static int start_body(struct http_request *r)
{
	curl_off_t length = -1;

	if (r->has_body)
		return 0;
	r->has_body = true;
	curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &r->response.status);
	curl_easy_getinfo(r->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	r->response.content_length = length;
	bool is_wanted = r->response.status == 200 || r->response.status == 206;
	return is_wanted && r->on_start ? r->on_start(r->arg, &r->response, &r->err) : 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct http_request *r = arg;
	struct buf *b = &r->response.error_body;

	n *= size;
	if (start_body(r) < 0)
		return 0;
	if (r->response.status == 200 || r->response.status == 206)
		return r->on_data(r->arg, data, n, &r->err) < 0 ? 0 : n;
	if (b->len + n > ERROR_BODY_MAX) {
		r->is_cut = true;
		return 0;
	}
	buf_append(b, data, n);
	return n;
}

/* Every address, of every hop, after resolution: this is where a name that points inward is caught. */
static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct http_request *r = arg;
	char text[INET6_ADDRSTRLEN] = "?";
	const char *why = policy_address_refused(r->policy, &a->addr);

	if (!why) {
		r->is_address_tried = true;
		return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
	}
	const void *bytes = a->family == AF_INET6 ? (const void *)&((struct sockaddr_in6 *)(void *)&a->addr)->sin6_addr
	                                          : (const void *)&((struct sockaddr_in *)(void *)&a->addr)->sin_addr;
	inet_ntop(a->family, bytes, text, sizeof(text));
	snprintf(r->refused, sizeof(r->refused), "%s is %s", text, why);
	return CURL_SOCKET_BAD;
}

/* --- requests ---------------------------------------------------------------------------------------------------- */

static void set_options(struct http *h, struct http_request *r, int64_t now)
{
	static const struct {
		CURLoption option;
		long value;
	} numbers[] = {
	        {CURLOPT_NOSIGNAL, 1},
	        {CURLOPT_FOLLOWLOCATION, 0},
	        {CURLOPT_DISALLOW_USERNAME_IN_URL, 1},
	        {CURLOPT_HTTP_CONTENT_DECODING, 0},
	        {CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS},
	        {CURLOPT_LOW_SPEED_LIMIT, LOW_SPEED_BYTES},
	        {CURLOPT_LOW_SPEED_TIME, LOW_SPEED_S},
	        {CURLOPT_BUFFERSIZE, BUFFER_BYTES},
	        {CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
	        {CURLOPT_TCP_KEEPALIVE, 1},
	};
	CURL *c = r->easy;
	char range[32];
	int64_t left = h->options.deadline_ms - now;

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		curl_easy_setopt(c, numbers[i].option, numbers[i].value);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_USERAGENT, PACKAGE_NAME "/" PACKAGE_VERSION);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(left > 1 ? left : 1));
	curl_easy_setopt(c, CURLOPT_URL, r->url);
	curl_easy_setopt(c, CURLOPT_PRIVATE, r);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, r->error_text);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, r);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, r);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, r->list);
	if (r->post)
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->post);
	if (r->offset) { /* not CURLOPT_RESUME_FROM: that fails when the server answers with everything */
		snprintf(range, sizeof(range), "%llu-", (unsigned long long)r->offset);
		curl_easy_setopt(c, CURLOPT_RANGE, range);
	}
}

static void release(struct http_request *r)
{
	if (r->easy) {
		if (r->is_started) {
			curl_multi_remove_handle(r->http->multi, r->easy);
			r->http->running--;
		}
		curl_easy_cleanup(r->easy);
	}
	curl_slist_free_all(r->list);
	r->easy = r->list = NULL;
	r->is_started = false;
}

static void unlink_request(struct http_request **list, struct http_request *r)
{
	for (; *list; list = &(*list)->next)
		if (*list == r) {
			*list = r->next;
			return;
		}
}

static void finish(struct http *h, struct http_request *r)
{
	release(r);
	r->is_done = true;
	r->next = NULL;
	*h->finished_tail = r;
	h->finished_tail = &r->next;
}

static void take_finished(struct http *h, struct http_request *r)
{
	unlink_request(&h->finished, r);
	h->finished_tail = &h->finished;
	while (*h->finished_tail)
		h->finished_tail = &(*h->finished_tail)->next;
}

int http_start(struct http *h, struct http_request *r, struct err *e)
{
	struct curl_slist *list = curl_slist_append(NULL, "Accept-Encoding: identity");
	bool is_good = list;

	buf_free(&r->response.error_body);
	memset(&r->response, 0, sizeof(r->response));
	r->response.content_length = -1;
	r->err = (struct err)ERR_INIT;
	r->failure = 0;
	r->how = HTTP_FAILURE_FINAL;
	r->header_bytes = 0;
	r->has_body = r->is_cut = r->is_address_tried = r->is_done = r->is_started = false;
	r->error_text[0] = r->refused[0] = 0;
	r->http = h;
	for (size_t i = 0; i < HTTP_HEADERS_MAX && r->headers[i] && is_good; i++) {
		struct curl_slist *longer = curl_slist_append(list, r->headers[i]);
		is_good = longer;
		list = longer ? longer : list;
	}
	r->list = list;
	r->easy = curl_easy_init();
	if (!r->easy || !is_good) {
		release(r);
		return err_kind_set(e, -ENOMEM, ERR_KIND_INTERNAL, "libcurl is out of memory");
	}
	r->start_ms = time_mono_ms() + r->delay_ms;
	r->next = h->delayed;
	h->delayed = r;
	return 0;
}

void http_cancel(struct http *h, struct http_request *r)
{
	unlink_request(&h->delayed, r);
	take_finished(h, r);
	release(r);
	buf_free(&r->response.error_body);
	r->response.error_body = (struct buf){0};
}

static const char *host_of(const struct http_request *r, char out[300])
{
	struct http_url u;
	bool is_known = http_url_parse(r->url, &u), is_v6 = is_known && strchr(u.host, ':');

	if (!is_known)
		return "?";
	snprintf(out, 300, "%s%s%s:%u", is_v6 ? "[" : "", u.host, is_v6 ? "]" : "", u.port);
	return out;
}

static const struct {
	CURLcode code;
	enum err_kind kind;
	enum http_failure how;
	const char *text; /* NULL: libcurl's own words */
} curl_errors[] = {
        {CURLE_COULDNT_RESOLVE_HOST, ERR_KIND_NETWORK, HTTP_FAILURE_RETRY, "no such host"},
        {CURLE_OPERATION_TIMEDOUT, ERR_KIND_TIMEOUT, HTTP_FAILURE_RETRY, NULL},
        {CURLE_PEER_FAILED_VERIFICATION, ERR_KIND_NETWORK, HTTP_FAILURE_FINAL, NULL},
        {CURLE_SSL_CONNECT_ERROR, ERR_KIND_NETWORK, HTTP_FAILURE_PROTOCOL, NULL},
        {CURLE_UNSUPPORTED_PROTOCOL, ERR_KIND_NETWORK, HTTP_FAILURE_PROTOCOL,
                NULL}, /* HTTP/0.9: something else answered */
        {CURLE_WEIRD_SERVER_REPLY, ERR_KIND_NETWORK, HTTP_FAILURE_PROTOCOL, NULL},
        {CURLE_GOT_NOTHING, ERR_KIND_NETWORK, HTTP_FAILURE_RETRY, "the connection was closed without an answer"},
        {CURLE_URL_MALFORMAT, ERR_KIND_NETWORK, HTTP_FAILURE_FINAL, NULL},
        {CURLE_OUT_OF_MEMORY, ERR_KIND_INTERNAL, HTTP_FAILURE_FINAL, NULL},
};

static void connect_failed(struct http_request *r, const char *host)
{
	long code = 0;

	curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &code);
	if (r->refused[0] && !r->is_address_tried) {
		r->failure = err_kind_set(
		        &r->err, -EACCES, ERR_KIND_DENIED, "%s: %s, and those are not allowed", host, r->refused);
		return;
	}
	r->how = HTTP_FAILURE_RETRY;
	r->failure = err_kind_set(&r->err, code ? -(int)code : -EIO, ERR_KIND_NETWORK, "%s: %s", host,
	        code == ECONNREFUSED ? "connection refused"
	        : code               ? strerror((int)code)
	                             : "could not connect");
}

static void fail(struct http_request *r, CURLcode code)
{
	char host[300];
	const char *text = r->error_text[0] ? r->error_text : curl_easy_strerror(code);
	enum err_kind kind = ERR_KIND_NETWORK;

	host_of(r, host);
	if (r->err.code) { /* a callback's own decision */
		r->failure = r->err.code;
		return;
	}
	if (code == CURLE_COULDNT_CONNECT) {
		connect_failed(r, host);
		return;
	}
	r->how = HTTP_FAILURE_RETRY;
	for (size_t i = 0; i < ARRAY_LEN(curl_errors); i++)
		if (curl_errors[i].code == code) {
			kind = curl_errors[i].kind;
			r->how = curl_errors[i].how;
			text = curl_errors[i].text ? curl_errors[i].text : text;
		}
	r->failure = err_kind_set(&r->err, kind == ERR_KIND_TIMEOUT ? -ETIMEDOUT : -EIO, kind, "%s: %s", host, text);
}

static void complete(struct http *h, struct http_request *r, CURLcode code)
{
	curl_off_t retry = 0;

	if (code == CURLE_WRITE_ERROR && r->is_cut)
		code = CURLE_OK;
	if (code == CURLE_OK && start_body(r) < 0)
		code = CURLE_WRITE_ERROR;
	if (code == CURLE_OK)
		curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &retry);
	else
		fail(r, code);
	r->response.retry_after_s = retry;
	finish(h, r);
}

/* Start what is due; returns milliseconds until the next one is, at most 1000. */
static int start_due(struct http *h, int64_t now)
{
	int64_t wait = 1000;

	for (struct http_request **at = &h->delayed; *at;) {
		struct http_request *r = *at;
		if (r->start_ms > now) {
			wait = r->start_ms - now < wait ? r->start_ms - now : wait;
			at = &r->next;
			continue;
		}
		*at = r->next;
		set_options(h, r, now);
		if (curl_multi_add_handle(h->multi, r->easy) == CURLM_OK) {
			r->is_started = true;
			h->running++;
		} else {
			r->failure = err_kind_set(&r->err, -EIO, ERR_KIND_INTERNAL, "libcurl refused the request");
			finish(h, r);
		}
	}
	return (int)wait;
}

static int deadline_check(const struct http *h, int64_t now, struct err *e)
{
	if (now < h->options.deadline_ms)
		return 0;
	return err_kind_set(e, -ETIMEDOUT, ERR_KIND_TIMEOUT, "the time for the whole pull is over");
}

/* One round: start, move bytes, collect; sleep when nothing was finished. */
static int pump(struct http *h, struct err *e)
{
	struct curl_waitfd watch = {.fd = h->options.watch_fd, .events = CURL_WAIT_POLLIN};
	int64_t now = time_mono_ms();
	int rc = deadline_check(h, now, e), running = 0, queued, ready = 0;

	if (rc < 0)
		return rc;
	int wait = start_due(h, now);
	if (curl_multi_perform(h->multi, &running) != CURLM_OK)
		return err_kind_set(e, -EIO, ERR_KIND_INTERNAL, "libcurl failed");
	for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &queued));) {
		struct http_request *r = NULL;
		CURLcode code = m->data.result; /* M is gone once the handle is removed */
		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &r);
		complete(h, r, code);
	}
	bool has_watch = h->options.watch_fd >= 0;
	if (curl_multi_poll(h->multi, has_watch ? &watch : NULL, has_watch, h->finished ? 0 : wait, &ready) != CURLM_OK)
		return err_kind_set(e, -EIO, ERR_KIND_INTERNAL, "libcurl failed");
	if (has_watch && watch.revents)
		return err_kind_set(e, -ECANCELED, ERR_KIND_CANCELLED, "the build was ended");
	return 0;
}

int http_wait(struct http *h, struct http_request *r, struct err *e)
{
	while (!r->is_done) {
		int rc = pump(h, e);
		if (rc < 0)
			return rc;
	}
	take_finished(h, r);
	return 0;
}

int http_next(struct http *h, struct http_request **out, struct err *e)
{
	while (!h->finished) {
		int rc = pump(h, e);
		if (rc < 0)
			return rc;
	}
	*out = h->finished;
	take_finished(h, *out);
	return 0;
}

/* --- URLs: the parser that decides is the one that connects ------------------------------------------------------- */

static bool get_part(CURLU *u, CURLUPart part, unsigned flags, char *out, size_t size)
{
	char *text = NULL;
	bool is_good = curl_url_get(u, part, &text, flags) == CURLUE_OK && strlen(text) < size;

	if (is_good)
		strcpy(out, text);
	curl_free(text);
	return is_good;
}

static bool has_part(CURLU *u, CURLUPart part)
{
	char *text = NULL;
	bool has = curl_url_get(u, part, &text, 0) == CURLUE_OK;

	curl_free(text);
	return has;
}

static bool url_parts(CURLU *u, struct http_url *out)
{
	char port[8];

	if (!get_part(u, CURLUPART_SCHEME, 0, out->scheme, sizeof(out->scheme)) ||
	        !get_part(u, CURLUPART_HOST, 0, out->host, sizeof(out->host)) ||
	        !get_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof(port)) || has_part(u, CURLUPART_USER) ||
	        has_part(u, CURLUPART_PASSWORD) || has_part(u, CURLUPART_ZONEID))
		return false;
	size_t n = strlen(out->host);
	if (n > 2 && out->host[0] == '[') {
		memmove(out->host, out->host + 1, n - 2);
		out->host[n - 2] = 0;
	}
	for (char *p = out->host; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	out->port = (unsigned)strtoul(port, NULL, 10);
	return !strcmp(out->scheme, "http") || !strcmp(out->scheme, "https");
}

bool http_url_parse(const char *url, struct http_url *out)
{
	CURLU *u = curl_url();

	memset(out, 0, sizeof(*out));
	bool is_good = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK && url_parts(u, out);
	curl_url_cleanup(u);
	return is_good;
}

bool http_url_join(const char *base, const char *location, char out[HTTP_URL_MAX])
{
	struct http_url parts;
	CURLU *u = curl_url();
	bool is_good = u && curl_url_set(u, CURLUPART_URL, base, 0) == CURLUE_OK &&
	               curl_url_set(u, CURLUPART_URL, location, 0) == CURLUE_OK && url_parts(u, &parts) &&
	               curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK &&
	               get_part(u, CURLUPART_URL, 0, out, HTTP_URL_MAX);

	curl_url_cleanup(u);
	return is_good;
}

void http_url_escape(struct buf *b, const char *s)
{
	for (; *s; s++)
		if (isalnum((unsigned char)*s) || strchr("-._~", *s))
			buf_append(b, s, 1);
		else
			buf_printf(b, "%%%02X", (unsigned char)*s);
}
