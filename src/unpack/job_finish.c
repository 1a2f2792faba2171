/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unpack/job.h"

#include <errno.h>

int job_finish(struct channel *c, struct message *m, struct msg_unpack_done *done, struct err *e)
{
	return err_set(e, -ENOSYS, "this builderd-unpack has no finishing pass");
}
