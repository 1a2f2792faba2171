/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What names in a layer mean: paths below the root, and whiteouts (OCI image-spec, layer.md, "Whiteouts"). */
#ifndef UNPACK_NAMES_H
#define UNPACK_NAMES_H

#include "base/buf.h"
#include "ipc/message.h"

enum name_role {
	NAME_PLAIN,
	NAME_WHITEOUT, /* remove what lower layers have at this path */
	NAME_OPAQUE,   /* remove the lower children of this directory */
	NAME_METADATA, /* an AUFS bookkeeping file: not part of the image */
};

/* LEN bytes of RAW as a path relative to the root into OUT (replaced): leading slashes, "." components and empty ones
 * go;
 * "" is the root. PATH_ESCAPE for "..", BAD_NAME for an empty name, a NUL or a component over max_name, LIMIT_PATH
 * beyond max_path bytes or max_depth components. */
int name_clean(struct buf *out, const char *raw, size_t len, const struct image_limits *l, struct err *e);

/* The role of a clean path; PATH becomes what the marker names. BAD_WHITEOUT for markers that name nothing, "." or
 * "..", or that stand for a directory. */
int name_role(struct buf *path, struct err *e);

#endif
