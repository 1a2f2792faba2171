/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JSON texts that leave the finishing pass: for PID 1 in the rootfs, for metald beside it. */
#ifndef UNPACK_METADATA_H
#define UNPACK_METADATA_H

#include "base/buf.h"
#include "ipc/message.h"
#include "unpack/effective.h"

/* /container.cmd: ["program", "argument", ...]; ["/bin/sh"] when there is nothing to run. */
void metadata_command(struct buf *out, const struct effective *x);
/* /container.env: {"working_dir", "env": {}, "exposed_ports": [], "user", "init_strategy"}; ports without "/tcp". */
void metadata_environment(struct buf *out, const struct effective *x);
/* metadata.json. */
void metadata_image(struct buf *out, const struct effective *x, const struct msg_unpack_finish *job);

#endif
