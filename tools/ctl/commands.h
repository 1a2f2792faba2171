/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One function per command; each returns the program's exit code. */
#ifndef CTL_COMMANDS_H
#define CTL_COMMANDS_H

#include "tools/ctl/client.h"
#include "tools/ctl/options.h"

int command_build(const struct options *o);
int command_status(const struct options *o);
int command_logs(const struct options *o);
int command_ls(const struct options *o);
int command_artifact(const struct options *o);
int command_cancel(const struct options *o);
int command_rm(const struct options *o);
int command_tenant(const struct options *o);
int command_token(const struct options *o);
int command_lease(const struct options *o);
int command_store(const struct options *o);
int command_audit(const struct options *o);
int command_version(const struct options *o);
int command_help(const struct options *o);

/* Print a log message of the server to FILE (ARG). */
void log_print(void *file, const struct json *entry);
/* The same as JSON. */
void log_print_json(void *file, const struct json *entry);

/* Download the rootfs of build ID to PATH; with a live line. */
int artifact_download(struct client *c, const char *id, const char *path);

/* The request of "build"; wipe it after use, it may hold a password. */
int request_put(struct buf *b, const struct options *o, struct err *e);

#endif
