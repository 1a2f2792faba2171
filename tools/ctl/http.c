/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/ctl/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "base/cleanup.h"

#define CONNECT_TIMEOUT_S 5
#define STALL_S 60

struct http {
	CURL *curl;
};

/* One transfer. */
struct transfer {
	CURL *curl;
	const struct http_request *request;
	struct http_answer *answer;
	struct err *err;
	int result; /* what the callback returned, < 0 */
};

struct http *http_new(void)
{
	struct http *h;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		return NULL;
	h = xcalloc(1, sizeof(*h));
	h->curl = curl_easy_init();
	if (!h->curl) {
		free(h);
		return NULL;
	}
	return h;
}

void http_free(struct http *h)
{
	if (h) {
		curl_easy_cleanup(h->curl);
		curl_global_cleanup();
		free(h);
	}
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	static const char name[] = "etag:";
	struct transfer *t = arg;
	size_t len = size * n;

	if (len > sizeof(name) && !strncasecmp(line, name, sizeof(name) - 1)) {
		const char *value = line + sizeof(name) - 1, *end = line + len;
		while (value < end && *value == ' ')
			value++;
		while (end > value && (end[-1] == '\n' || end[-1] == '\r' || end[-1] == ' '))
			end--;
		if ((size_t)(end - value) < sizeof(t->answer->etag)) {
			memcpy(t->answer->etag, value, (size_t)(end - value));
			t->answer->etag[end - value] = 0;
		}
	}
	return len;
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t len = size * n;
	long status = 0;

	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	t->answer->status = (unsigned)status;
	if (t->request->data && status >= 200 && status < 300) {
		t->result = t->request->data(t->request->arg, data, len, t->err);
		return t->result < 0 ? 0 : len;
	}
	if (len > HTTP_MAX_BODY - t->answer->body.len) {
		t->result = err_set(t->err, -EFBIG, "the server's answer is larger than %d bytes", HTTP_MAX_BODY);
		return 0;
	}
	buf_append(&t->answer->body, data, len);
	return len;
}

static int on_tick(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	struct transfer *t = arg;

	if (!t->request->tick || !t->request->tick(t->request->arg))
		return 0;
	t->result = -ECANCELED;
	return 1;
}

static void set_options(CURL *c, struct transfer *t, struct curl_slist *headers)
{
	const struct http_request *r = t->request;

	curl_easy_reset(c); /* connections stay */
	curl_easy_setopt(c, CURLOPT_URL, r->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	if (r->socket)
		curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, r->socket);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "builderctl/" PACKAGE_VERSION);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	if (r->timeout_s) {
		curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)r->timeout_s);
	} else if (!r->is_patient) {
		curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
		curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
	}
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 256L << 10);
	if (r->body) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->body);
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
	}
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_tick);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
}

static int result_of(struct transfer *t, CURLcode code, const char *detail)
{
	const char *why = *detail ? detail : curl_easy_strerror(code);
	int r;

	if (t->result < 0)
		return t->result;
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		r = -EINVAL;
		break;
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_OPERATION_TIMEDOUT:
		r = t->answer->status ? -EIO : -ENOTCONN;
		break;
	default:
		r = -EIO;
	}
	return err_set(t->err, r, "%s", why);
}

int http_send(struct http *h, const struct http_request *r, struct http_answer *a, struct err *e)
{
	char detail[CURL_ERROR_SIZE] = "";
	struct transfer t = {.curl = h->curl, .request = r, .answer = a, .err = e};
	struct curl_slist *headers = NULL;
	long status = 0;

	buf_free(&a->body);
	*a = (struct http_answer){0};
	for (size_t i = 0; r->headers && r->headers[i]; i++)
		headers = curl_slist_append(headers, r->headers[i]);
	set_options(h->curl, &t, headers);
	curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, detail);
	CURLcode code = curl_easy_perform(h->curl);
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
	a->status = (unsigned)status;
	curl_slist_free_all(headers);
	return result_of(&t, code, detail);
}
