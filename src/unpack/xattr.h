/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which extended attributes of an archive entry become the file's. */
#ifndef UNPACK_XATTR_H
#define UNPACK_XATTR_H

#include "unpack/tar.h"
#include "base/buf.h"

/* The attributes of EN that are kept, as an ingest record wants them, into OUT (replaced); security.capability is the
 * last one, since writing and chown take it away. Those that are left out by rule add to *DROPPED. A name given twice:
 * the last one. BAD_XATTR: a value that the kernel would refuse; LIMIT_XATTR. */
int xattr_collect(
        struct buf *out, const struct tar_entry *en, const struct image_limits *l, uint64_t *dropped, struct err *e);

#endif
