/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ingest stream applied to the tree: the rules of unpacking.
 *
 * An entry over an existing one: two directories merge, the new attributes replace the old; anything else is
 * removed and made anew, never written into, so that other names of the old inode keep their content. Attributes in the
 * order owner, mode, xattrs (capabilities last), times; directory times when the layer ends.
 */
#ifndef FUSE_APPLY_H
#define FUSE_APPLY_H

#include "fuse/ingest.h"
#include "fuse/path.h"
#include "fuse/tree.h"

struct apply {
	struct fs *fs; /* borrowed */
	struct path_cache paths;
	struct ingest_sink sink; /* for ingest_init */
	bool is_begun;           /* between BEGIN and END */
	uint64_t entries, total; /* of this layer, against the limits */

	/* The file being written; fd -1: none. */
	struct {
		int fd;                    /* owns */
		struct ingest_entry entry; /* texts are the parser's */
		bool is_setgid_dir;        /* the group came from the directory */
		uint64_t reserved, blocks, segments;
		uint64_t offset;
	} file;
	struct buf held;  /* texts of a sparse file's entry: it outlives its record */
	bool is_skipping; /* content of an entry that is not applied */
};

void apply_init(struct apply *a, struct fs *fs);
/* Close and settle what an incomplete stream left open. */
void apply_free(struct apply *a);

#endif
