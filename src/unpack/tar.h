/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A reader for tar archives of layers: v7, POSIX ustar and pax, GNU long names, star prefixes, the four sparse formats.
 *
 * Why not libarchive. A layer must mean to us what it means to the program that made it and to every other runtime
 * (most of them read it with Go's archive/tar), and each wrong archive has to be refused with its own cause. Version
 * 3.6.2, asked for tar only and raw names, was run over the same corpus of archives: it takes without an error, at most
 * with a warning, pax records with a wrong length or no "=", a path with a NUL, a time that is no number, unknown types
 * (as files), 20,000 empty sparse extensions, a map of a million segments. A validator in front of it would have to
 * know headers, pax records, sizes and sparse maps itself, that is, be a second reader of the same bytes; and where two
 * readers of one archive disagree is exactly how archives are smuggled. So there is one, small, and it follows
 * archive/tar where POSIX is silent.
 *
 * Rules: a pax record beats the header, GNU long names beat both; an extended header belongs to the next member that is
 * not one itself; one of each per member; types without content have none, whatever their size says; global pax headers
 * are checked and then ignored, and stand in front of a member's own; two zero blocks, one at the end, or the end of
 * the bytes end the archive.
 */
#ifndef UNPACK_TAR_H
#define UNPACK_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "ipc/message.h"

#define TAR_BLOCK 512u

/* Where the archive's bytes come from, in pieces of any size. */
struct tar_source {
	/* The next piece, valid until the next call. Returns its length, 0 at the end, -errno. */
	ssize_t (*next)(void *arg, const unsigned char **data, struct err *e);
	void *arg;
};

struct bytes {
	const char *data; /* not terminated */
	size_t len;
};

enum tar_type { TAR_FILE, TAR_HARDLINK, TAR_SYMLINK, TAR_CHR, TAR_BLK, TAR_DIR, TAR_FIFO };

struct tar_segment {
	uint64_t offset, length;
};

enum tar_xattr_form { TAR_XATTR_SCHILY, TAR_XATTR_LIBARCHIVE /* percent-encoded name, base64 value */ };

struct tar_xattr {
	enum tar_xattr_form form;
	struct bytes name, value;
};

/* Everything points into the reader and holds until the next tar_next. */
struct tar_entry {
	enum tar_type type;
	struct bytes name; /* as it is in the archive */
	struct bytes link; /* hard links and symlinks */
	uint32_t mode;     /* 07777 */
	int64_t uid, gid;  /* any value: the caller checks the range */
	int64_t mtime_sec;
	uint32_t mtime_nsec;
	uint32_t rdev_major, rdev_minor;
	uint64_t size;     /* bytes of content in the archive */
	uint64_t apparent; /* size of the file */
	bool is_sparse;    /* the content is that of the segments, one after the other; the lengths add up to size */
	const struct tar_segment *segments;
	size_t n_segments;
	const struct tar_xattr *xattrs;
	size_t n_xattrs;
	bool has_trailing_slash;
};

struct tar;

struct tar *tar_new(const struct tar_source *s, const struct image_limits *limits);
void tar_free(struct tar *t); /* takes NULL */

/* Go to the next member, over what is left of the current one. 1, 0 at the end of the archive, -errno with the kind in
 * E. */
int tar_next(struct tar *t, struct tar_entry *out, struct err *e);

/* The next piece of the current member's content, valid until the next call. Returns its length, 0 at its end. */
ssize_t tar_data(struct tar *t, const unsigned char **data, struct err *e);

/* After the end of the archive: pass over what is left of the source, at most MAX bytes (LIMIT_SIZE). */
int tar_drain(struct tar *t, uint64_t max, struct err *e);

static inline void tar_cleanup(struct tar **t)
{
	tar_free(*t);
}

#endif
