/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One conversation with builderd: what the sources report, turned into messages. */
#ifndef FETCH_SESSION_H
#define FETCH_SESSION_H

#include "build/config.h"
#include "fetch/blob.h"
#include "fetch/manifest.h"
#include "fetch/reference.h"
#include "fetch/spec.h"
#include "ipc/channel.h"

struct session {
	struct channel channel;
	struct config config;
	char *auth_file; /* owns: text of the operator's credentials, read before the sandbox; NULL: none */
	size_t auth_file_len;
	struct msg_fetch_start start;
	int64_t deadline_ms; /* CLOCK_MONOTONIC */
	int images_dir;      /* owns; -1: a registry */
	struct blob_store store;
	struct spec spec;
	struct image image;
	char reference[REFERENCE_TEXT_MAX]; /* canonical */
	uint32_t first;                     /* layers from here on are wanted */
	bool is_sent[IMAGE_LAYERS_MAX];
	uint64_t bytes_done, bytes_total;
	int64_t progress_ms; /* when the last one was sent */
};

/* Layer I is verified: tell builderd, also for later layers that are the same blob. FD stays the caller's. */
int session_blob(struct session *s, uint32_t i, int fd, bool is_cached, struct err *e);
/* DELTA bytes more (or fewer: a download that started over); sends at most ten messages a second. */
void session_progress(struct session *s, int64_t delta);
void session_log(struct session *s, int level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
