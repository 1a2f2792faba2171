/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The three jobs of builderd-unpack (ipc/message.h). A process does one and ends. */
#ifndef UNPACK_JOB_H
#define UNPACK_JOB_H

#include "ipc/channel.h"

/* Do the job that M asks for, with M's descriptors; progress goes to C. 0 with DONE filled in, or -errno with the
 * sentence in E. */
typedef int job_fn(struct channel *c, struct message *m, struct msg_unpack_done *done, struct err *e);

job_fn job_layer, job_finish, job_hash;

/* Tell C how far the job is, at most ten times a second. */
struct progress {
	struct channel *channel; /* borrowed */
	int64_t next_ms;
};
void progress_tell(struct progress *p, uint64_t bytes_done, uint64_t entries);

#endif
