/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing the ingest stream (ipc/ingest.h): records are gathered into writes of up to one MiB. */
#ifndef UNPACK_ENCODE_H
#define UNPACK_ENCODE_H

#include "base/err.h"
#include "ipc/ingest.h"
#include "unpack/tar.h"

struct encoder {
	int fd;              /* borrowed: the control file */
	unsigned char *data; /* owns */
	size_t len;
	bool is_failed; /* the reader of the stream refused a record: its sentence names the entry */
};

void encode_init(struct encoder *w, int fd);
void encode_free(struct encoder *w);

/* A record and its variable parts; magic and lengths are filled in here. What is written may fail for any earlier
 * record: the error is then the one that the reader of the stream recorded. */
int encode_record(struct encoder *w, const struct ingest_record *r, struct bytes path, struct bytes link,
        struct bytes xattrs, struct err *e);
/* Content behind the last record. */
int encode_content(struct encoder *w, const void *data, size_t len, struct err *e);
int encode_flush(struct encoder *w, struct err *e);

/* A record without variable parts but the path. */
int encode_mark(struct encoder *w, enum ingest_type type, struct bytes path, struct err *e);

#endif
