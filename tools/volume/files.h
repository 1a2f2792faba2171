/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What commands do here, with files and directories of the administrator's. */
#ifndef VOLUME_FILES_H
#define VOLUME_FILES_H

#include "tools/volume/options.h"

/* FILE is made; one that is there is left alone. A file that did not become whole is removed; with --delta its map is
 * FILE.json. */
int export_begin(const struct options *o, int *fd, struct err *e);
int export_end(const struct options *o, int rc, int result_fd, const char *json, struct err *e);

/* The file of a header: made for a backup, read for a restore. */
int header_begin(const struct options *o, int *fd, struct err *e);
int header_end(const struct options *o, int rc, int result_fd, const char *json, struct err *e);

/* Attach the mount that the request gave back to DIR. */
int mount_begin(const struct options *o, int *fd, struct err *e);
int mount_end(const struct options *o, int rc, int result_fd, const char *json, struct err *e);

/* Unmount DIR, which must be one of ours, and ask for the end of its device. */
int umount_fill(const struct options *o, struct msg_admin_request *r, struct err *e);

#endif
