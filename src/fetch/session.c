/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"

#define PROGRESS_MS 100

static int gone(struct err *e, int rc)
{
	return err_kind_set(e, rc, ERR_KIND_CANCELLED, "builderd is gone");
}

int session_blob(struct session *s, uint32_t i, int fd, bool is_cached, struct err *e)
{
	const struct digest *d = &s->image.layers[i].blob.digest;

	for (; i < s->image.n_layers; i++) {
		if (s->is_sent[i] || !digest_equal(&s->image.layers[i].blob.digest, d))
			continue;
		const struct msg_fetch_blob blob = {.index = i, .is_cached = is_cached};
		int rc = channel_send(&s->channel, MSG_FETCH_BLOB, &blob, sizeof(blob), &fd, 1);
		if (rc < 0)
			return gone(e, rc);
		s->is_sent[i] = true;
	}
	return 0;
}

void session_progress(struct session *s, int64_t delta)
{
	int64_t now = time_mono_ms();

	s->bytes_done += (uint64_t)delta;
	if (now - s->progress_ms < PROGRESS_MS)
		return;
	s->progress_ms = now;
	const struct msg_fetch_progress p = {.bytes_done = s->bytes_done, .bytes_total = s->bytes_total};
	channel_send_struct(&s->channel, MSG_FETCH_PROGRESS, p); /* a peer that is gone is noticed where it matters */
}

void session_log(struct session *s, int level, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	channel_log(&s->channel, MSG_FETCH_LOG, level, "fetch", "%s", text);
}
