/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP/2 on a connection (RFC 9113); the one user of <nghttp2/nghttp2.h>.
 *
 * An exchange is a stream's user data, made at its HEADERS and freed at its close. nghttp2's callbacks only fill
 * exchanges and run handlers; handlers only mark the connection; http2_fill then submits answers, resumes streams that
 * have new output and lets nghttp2 write. So nghttp2 is never re-entered.
 */
#include <nghttp2/nghttp2.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/server_internal.h"

struct http2 {
	nghttp2_session *ng; /* owns */
	int64_t block_ms;    /* since when a header block is under way; 0: none */
	uint32_t resets;     /* streams that ended in an error, ebbing away with time */
	int64_t resets_ms;
	bool is_flooded;
};

/* A client may cancel as many requests as it likes, but not quickly: each costs us work (CVE-2023-44487). */
#define RESETS_MAX 500u
#define RESETS_PER_SECOND 100

/* What is answered by its headers alone waits for the rest of the request, if that is short and comes soon: not every
 * client finds an answer that comes, with its RST_STREAM, while it sends. */
#define EARLY_BYTES 65536u
#define EARLY_MS 500

#define WINDOW_BYTES (1 << 20) /* of a connection: bodies are taken at once */

static int reset(struct http2 *s, int32_t stream_id, uint32_t code)
{
	return nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, stream_id, code);
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
	struct conn *c = arg;
	struct http2 *s = c->session;

	s->block_ms = time_mono_ms();
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	struct http_exchange *x = exchange_new(c);
	x->stream_id = frame->hd.stream_id;
	nghttp2_session_set_stream_user_data(ng, x->stream_id, x);
	return 0;
}

static int take_pseudo(struct http_exchange *x, const char *name, size_t name_len, const char *value, size_t len)
{
	if (name_len == 7 && !memcmp(name, ":method", 7)) {
		x->method = strndup(value, len);
	} else if (name_len == 5 && !memcmp(name, ":path", 5)) {
		if (!exchange_set_target(x, value, len))
			return -EINVAL;
	} else if (name_len == 10 && !memcmp(name, ":authority", 10)) {
		http_headers_add(&x->headers, "host", 4, value, len);
	}
	return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
        const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct conn *c = arg;
	const struct server_limits *l = &c->server->limits;
	struct http_exchange *x = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);

	if (!x || x->is_head_done) /* trailers are of no use here */
		return 0;
	x->header_bytes += name_len + value_len + 32;
	if (x->header_bytes > l->max_header_bytes || x->headers.n >= l->max_headers) {
		/* Not stored any more; answered when the block is whole. nghttp2 has to decode it all for HPACK's
		 * state. */
		x->is_oversized = true;
		return x->header_bytes > 4ull * l->max_header_bytes ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
	}
	if (*name == ':') {
		if (take_pseudo(x, (const char *)name, name_len, (const char *)value, value_len) < 0)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		return 0;
	}
	http_headers_add(&x->headers, (const char *)name, name_len, (const char *)value, value_len);
	return 0;
}

static void headers_whole(struct conn *c, struct http_exchange *x)
{
	x->method = x->method ? x->method : xstrdup("?");
	if (x->is_oversized) {
		x->is_head_done = true;
		http_respond_error(x, 431, "resource_exhausted",
		        "the headers are over the limit of %u bytes or %u lines", c->server->limits.max_header_bytes,
		        c->server->limits.max_headers);
	} else if (!x->path) { /* CONNECT, OPTIONS * */
		x->is_head_done = true;
		http_respond_error(x, 400, "invalid_argument", "%s without a path", x->method);
	} else {
		exchange_headers_done(x);
	}
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
	struct conn *c = arg;
	struct http2 *s = c->session;
	struct http_exchange *x;

	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS)
		s->block_ms = 0;
	x = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
	if (!x)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		headers_whole(c, x);
		x->is_early = x->status != 0;
	}
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		exchange_body_done(x);
	return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t len, void *arg)
{
	struct http_exchange *x = nghttp2_session_get_stream_user_data(ng, stream_id);

	if (x)
		exchange_body(x, data, len);
	return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t stream_id, uint32_t code, void *arg)
{
	struct conn *c = arg;
	struct http2 *s = c->session;
	struct http_exchange *x = nghttp2_session_get_stream_user_data(ng, stream_id);
	int64_t now = time_mono_ms();

	nghttp2_session_set_stream_user_data(ng, stream_id, NULL);
	exchange_free(x);
	if (code == NGHTTP2_NO_ERROR)
		return 0;
	int64_t ebbed = (now - s->resets_ms) * RESETS_PER_SECOND / 1000;
	if (ebbed > 0) {
		s->resets = ebbed >= s->resets ? 0 : s->resets - (uint32_t)ebbed;
		s->resets_ms = now;
	}
	s->is_flooded = s->is_flooded || ++s->resets > RESETS_MAX;
	return 0;
}

/* RFC 9113 8.1: a server that has answered before the request was whole tells the client to stop sending. */
static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
	struct http_exchange *x;

	if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
	        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	x = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
	if (x && !x->is_request_done)
		nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
	return 0;
}

static nghttp2_nv pair(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
	        NGHTTP2_NV_FLAG_NONE};
}

static int submit_trailers(nghttp2_session *ng, const struct http_exchange *x)
{
	nghttp2_nv *nv = xcalloc(x->trailers.n, sizeof(*nv));

	for (size_t i = 0; i < x->trailers.n; i++)
		nv[i] = pair(x->trailers.v[i].name, x->trailers.v[i].value);
	int rc = nghttp2_submit_trailer(ng, x->stream_id, nv, x->trailers.n);
	free(nv);
	return rc;
}

static ssize_t read_body(nghttp2_session *ng, int32_t stream_id, uint8_t *to, size_t len, uint32_t *flags,
        nghttp2_data_source *source, void *arg)
{
	struct http_exchange *x = source->ptr;
	ssize_t n = exchange_pull(x, to, len);

	if (n < 0)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (exchange_is_sent(x)) {
		if (x->is_aborted)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (x->trailers.n) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			if (submit_trailers(ng, x))
				return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		}
	} else if (!n) {
		x->is_deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	return n;
}

static int submit(struct http2 *s, struct http_exchange *x)
{
	nghttp2_data_provider body = {.source.ptr = x, .read_callback = read_body};
	char status[12], length[24];
	nghttp2_nv *nv = xcalloc(x->answer.n + 2, sizeof(*nv));
	size_t n = 0;

	snprintf(status, sizeof(status), "%u", x->status);
	nv[n++] = pair(":status", status);
	for (size_t i = 0; i < x->answer.n; i++)
		nv[n++] = pair(x->answer.v[i].name, x->answer.v[i].value);
	if (x->length >= 0 && x->status != 204 && x->status != 304) {
		snprintf(length, sizeof(length), "%lld", (long long)x->length);
		nv[n++] = pair("content-length", length);
	}
	bool is_empty = exchange_is_bodyless(x) || (x->is_ended && !exchange_has_output(x) && !x->trailers.n);
	int rc = nghttp2_submit_response(s->ng, x->stream_id, nv, n, is_empty ? NULL : &body);
	free(nv);
	x->is_submitted = true;
	return rc;
}

static bool is_held(const struct http_exchange *x)
{
	return x->is_early && !x->is_request_done && x->dropped_bytes <= EARLY_BYTES &&
	       time_mono_ms() - x->since_ms < EARLY_MS;
}

static int http2_fill(struct conn *c)
{
	struct http2 *s = c->session;

	for (struct http_exchange *x = c->exchanges; x; x = x->next) {
		if (x->status && !x->is_submitted && !is_held(x) && submit(s, x) < 0)
			return -ENOMEM;
		if (x->is_deferred && (exchange_has_output(x) || x->is_ended)) {
			x->is_deferred = false;
			nghttp2_session_resume_data(s->ng, x->stream_id);
		}
	}
	if (s->is_flooded && !c->is_closing)
		nghttp2_session_terminate_session(s->ng, NGHTTP2_ENHANCE_YOUR_CALM);
	while (c->out.len - c->out_at < CONN_OUT_MAX) {
		const uint8_t *data;
		ssize_t n = nghttp2_session_mem_send(s->ng, &data);
		if (n < 0)
			return -EPROTO;
		if (!n)
			break;
		buf_append(&c->out, data, (size_t)n);
	}
	if (!nghttp2_session_want_read(s->ng) && !nghttp2_session_want_write(s->ng))
		c->is_closing = c->is_lingering = true;
	return 0;
}

static ssize_t http2_input(struct conn *c, const char *data, size_t len)
{
	struct http2 *s = c->session;
	ssize_t n = nghttp2_session_mem_recv(s->ng, (const uint8_t *)data, len);

	return n < 0 ? -EPROTO : n;
}

static int http2_sweep(struct conn *c, int64_t now_ms)
{
	const struct server_limits *l = &c->server->limits;
	struct http2 *s = c->session;

	if (s->block_ms && now_ms - s->block_ms > l->header_timeout_ms)
		return -ETIMEDOUT;
	for (struct http_exchange *x = c->exchanges; x; x = x->next) {
		bool is_late = !x->is_request_done && !x->status && now_ms - x->since_ms > l->body_timeout_ms;
		if (x->status && !x->is_submitted)
			conn_wake(c);
		bool is_stalled = x->status && exchange_has_output(x) && now_ms - x->progress_ms > l->stall_timeout_ms;
		if (!is_late && !is_stalled)
			continue;
		reset(s, x->stream_id, NGHTTP2_CANCEL);
		conn_wake(c);
	}
	return 0;
}

static void http2_drain(struct conn *c, bool is_final)
{
	struct http2 *s = c->session;

	if (!is_final)
		nghttp2_submit_shutdown_notice(s->ng);
	else
		nghttp2_submit_goaway(s->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(s->ng),
		        NGHTTP2_NO_ERROR, NULL, 0);
}

static void http2_free(struct conn *c)
{
	struct http2 *s = c->session;

	nghttp2_session_del(s->ng);
	free(s);
}

static const struct session_ops http2_ops = {http2_input, http2_fill, http2_sweep, http2_drain, http2_free};

static int new_session(struct conn *c, struct http2 *s)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt;

	if (nghttp2_session_callbacks_new(&cb) || nghttp2_option_new(&opt))
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_option_set_no_closed_streams(opt, 1); /* no memory for streams that are over */
	nghttp2_option_set_max_outbound_ack(opt, 100);
	int rc = nghttp2_session_server_new2(&s->ng, cb, c, opt);
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cb);
	return rc ? -ENOMEM : 0;
}

int http2_start(struct conn *c)
{
	const struct server_limits *l = &c->server->limits;
	struct http2 *s = xcalloc(1, sizeof(*s));
	const nghttp2_settings_entry settings[] = {
	        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, l->max_streams},
	        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, l->max_header_bytes},
	};

	if (new_session(c, s) < 0) {
		free(s);
		return -ENOMEM;
	}
	c->session = s;
	c->ops = &http2_ops;
	nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0]));
	nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES);
	return 0;
}
