/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device-mapper devices. The only user of <libdevmapper.h>, which is not thread-safe: a lock makes the calls one at a
 * time. udev is left out of it (DM_DISABLE_UDEV): the nodes below /dev/mapper are made by the library, and nothing here
 * waits for a cookie.
 */
#ifndef DM_DM_H
#define DM_DM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define DM_SECTOR 512
#define DM_DIR "/dev/mapper/"
#define DM_NAME_PREFIX "builderd-"
#define DM_UUID_PREFIX "BUILDERD-v1-"
#define DM_DEVICE_NAME_MAX 64
#define DM_DEVICE_UUID_MAX 96

struct dm_table {
	const char *type; /* "thin", "linear", ... */
	uint64_t size_bytes;
	const char *params;
	bool is_read_only;
};

struct dm_state {
	bool exists, is_suspended, is_read_only;
	unsigned opens; /* who has it open, devices above it included */
	dev_t dev;
};

/* Before the first thread: no udev, the library's messages go into our errors. */
void dm_init(void);

/* libcryptsetup calls libdevmapper behind our back: it runs between these two. */
void dm_lock(void);
void dm_unlock(void);

/* The kernel has TARGET, perhaps by loading its module. */
int dm_target_check(const char *target, struct err *e);
/* The same, with its version. */
int dm_target_version(const char *target, uint32_t version[3], struct err *e);

/* Bring NAME up. One that is up with this UUID is adopted: resumed if it was left suspended, enlarged if it is smaller
 * than T says; another's is -EEXIST. */
int dm_activate(const char *name, const char *uuid, const struct dm_table *t, struct err *e);

/* What a library that makes devices behind our back has left of NAME when the program died: 1: it is up. One that has
 * no table, and holds what it was to lie on, is taken away: 0, as for an absent one. */
int dm_remains(const char *name, struct err *e);

/* Take NAME down, trying again for TIMEOUT_MS while somebody has it open (then -EBUSY). One that is absent, or has
 * another UUID and so is somebody else's, is fine; one that is suspended is resumed first. */
int dm_deactivate(const char *name, const char *uuid, int timeout_ms, struct err *e);

/* The same, but what is in use after TIMEOUT_MS goes when its last user closes it: then 1. */
int dm_deactivate_later(const char *name, const char *uuid, int timeout_ms, struct err *e);

/* Replace the table of NAME, which may be in use. */
int dm_reload(const char *name, const struct dm_table *t, struct err *e);

int dm_state_get(const char *name, struct dm_state *out, struct err *e);
int dm_suspend(const char *name, struct err *e);
int dm_resume(const char *name, struct err *e);
int dm_message(const char *name, const char *text, struct err *e);

/* The parameters of NAME's only target: its status, or its live table. */
int dm_status(const char *name, char *out, size_t size, struct err *e);
int dm_live_table(const char *name, char *out, size_t size, struct err *e);

/* All devices whose names and uuids have our prefixes, of whatever pool. The caller frees *OUT. */
struct dm_device {
	char name[DM_DEVICE_NAME_MAX], uuid[DM_DEVICE_UUID_MAX];
	struct dm_state state;
};
int dm_list(struct dm_device **out, size_t *n, struct err *e);

/* Resume the device with this uuid, even while another thread is in a call here that does not end. */
int dm_resume_unlocked(const char *uuid, struct err *e);

/* A descriptor of the device by a node of our own that has no name: whoever gets the descriptor may open it anew, as
 * e2fsprogs does without rights; nobody else can. FLAGS as for open(2). */
int dm_open(const char *name, int flags, struct err *e);

/* Device-mapper ioctls made so far, without those of libcryptsetup; for tests and measurements. */
uint64_t dm_calls(void);

#endif
