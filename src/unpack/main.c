/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * builderd-unpack: turns hostile bytes (layer archives, image configurations) into records for builderd-fs, with no
 * right to anything but the descriptors of its one job.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "build/config.h"
#include "sandbox/sandbox.h"
#include "unpack/job.h"

static job_fn *const jobs[MSG_TYPE_COUNT] = {
        [MSG_UNPACK_LAYER] = job_layer,
        [MSG_UNPACK_FINISH] = job_finish,
        [MSG_UNPACK_HASH] = job_hash,
};

void progress_tell(struct progress *p, uint64_t bytes_done, uint64_t entries)
{
	const struct msg_unpack_progress m = {.bytes_done = bytes_done, .entries = entries};
	int64_t now = time_mono_ms();

	if (now < p->next_ms)
		return;
	p->next_ms = now + 100;
	channel_send_struct(p->channel, MSG_UNPACK_PROGRESS, m);
}

static int job_run(struct channel *c, struct err *e)
{
	static struct message m; /* 16 KiB */
	struct msg_unpack_done done = {0};
	int rc = channel_recv(c, &m, e);

	if (rc <= 0)
		return rc; /* 0: not needed any more */
	c->state = MSG_STATE_RUNNING;
	rc = jobs[m.type](c, &m, &done, e);
	message_release(&m);
	if (rc < 0)
		return rc;
	rc = channel_send_struct(c, MSG_UNPACK_DONE, done);
	return rc == -EPIPE ? 0 : rc;
}

static int enter(struct err *e)
{
	struct config conf;
	int rc = config_load(&conf, NULL, environ, e);

	if (rc >= 0) {
		log_setup("builderd-unpack", LOG_LEVEL_INFO, !strcmp(conf.log_format, "json"));
		rc = sandbox_enter(ROLE_UNPACK, &(struct sandbox_options){0}, e);
	}
	config_free(&conf);
	return rc;
}

int main(void)
{
	struct channel c;
	struct err e = ERR_INIT;

	channel_init(&c, CHANNEL_FD, ROLE_MONITOR);
	if (enter(&e) >= 0 && job_run(&c, &e) >= 0)
		return 0;
	channel_fail(&c, MSG_UNPACK_FAIL, &e);
	return 1;
}
