/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef API_CONNECT_GZIP_H
#define API_CONNECT_GZIP_H

#include "base/buf.h"

/* Inflate one gzip member that is all of DATA. 0, -EMSGSIZE above MAX bytes of output, -EBADMSG for anything else. */
int connect_gunzip(struct buf *to, const char *data, size_t len, size_t max);

#endif
