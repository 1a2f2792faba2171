/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The user of the command, from the image's own passwd and group. Not getpwnam(3): a static program cannot load NSS
 * modules, and the image's libraries are not ours to run.
 *
 * The forms of OCI image-spec config.md, "User": user, uid, user:group, uid:gid, uid:group, user:gid. A number that
 * passwd does not have is taken as it is (gid 0, home /); a name that it does not have is an error, because the only
 * other answer would be root. Without a group part the user is also in every group that names him.
 */
#ifndef INIT_USER_H
#define INIT_USER_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define USER_MAX_GROUPS 256 /* supplementary groups behind this are left out */
#define USER_MAX_HOME 1024

struct user {
	uid_t uid;
	gid_t gid;
	gid_t groups[USER_MAX_GROUPS];
	size_t n_groups;
	char home[USER_MAX_HOME];
};

/* SPEC "" is root. PASSWD and GROUP are the files' texts, "" when there is none. -ENOENT: no such user or group;
 * -EINVAL: not a user at all. */
int user_lookup(struct user *u, const char *spec, const char *passwd, const char *group, struct err *e);

#endif
