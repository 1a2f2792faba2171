/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The grammar of tar's parts: header fields, pax records, sparse maps. No input, no state beyond the structs. */
#ifndef UNPACK_TAR_PARSE_H
#define UNPACK_TAR_PARSE_H

#include "base/buf.h"
#include "unpack/tar.h"

/* POSIX.1-2017, pax, "ustar Interchange Format"; numbers may be GNU base-256. */
struct tar_header {
	char name[100];
	char mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8];
	char typeflag;
	char linkname[100];
	char magic[8]; /* "ustar\0" "00", or GNU's "ustar  \0" */
	char uname[32], gname[32];
	char devmajor[8], devminor[8];
	union {
		char prefix[155];
		struct { /* star: "tar\0" at the header's end */
			char prefix[131], atime[12], ctime[12];
		} star;
	};
	char tail[12];
};
_Static_assert(sizeof(struct tar_header) == TAR_BLOCK, "a tar header is one block");

enum tar_dialect { TAR_V7, TAR_USTAR, TAR_STAR, TAR_GNU };

enum tar_dialect header_dialect(const struct tar_header *h);
bool header_checksum_is_right(const struct tar_header *h);
/* A numeric field of LEN bytes: octal with blanks around it, or base-256. False for anything else. */
bool header_number(const char *field, size_t len, int64_t *out);
/* The name with its prefix, into OUT (replaced). */
void header_name(const struct tar_header *h, struct buf *out);

/* Sparse maps grow up to the limit; the segments are checked when they are complete. */
struct sparse_map {
	struct tar_segment *segments; /* owns */
	size_t n, cap;
	bool has_half; /* pax 0.0: an offset came, its numbytes did not */
};

void sparse_clear(struct sparse_map *m);
void sparse_free(struct sparse_map *m);
int sparse_add(struct sparse_map *m, uint64_t offset, uint64_t length, const struct image_limits *l, struct err *e);
/* In order, not overlapping, inside APPARENT, lengths adding up to SIZE: else BAD_ARCHIVE. */
int sparse_check(const struct sparse_map *m, uint64_t apparent, uint64_t size, struct err *e);
/* N slots of the old GNU format (offset[12], numbytes[12]) at P; stops at an empty one. Returns how many were used,
 * -errno. */
int sparse_add_gnu(struct sparse_map *m, const char *p, unsigned n, const struct image_limits *l, struct err *e);

/* What the records of one extended header said. Spans point into the text that was parsed. */
struct tar_pax {
	struct bytes path, link, sparse_name;
	bool has_path, has_link, has_size, has_uid, has_gid, has_mtime, has_sparse_name, has_sparse_size;
	int64_t size, uid, gid;
	int64_t mtime_sec;
	uint32_t mtime_nsec;
	int64_t sparse_major, sparse_minor; /* -1: not given */
	int64_t sparse_size;
	bool has_map; /* formats 0.0 and 0.1 */
	struct sparse_map map;
	struct tar_xattr *xattrs; /* owns */
	size_t n_xattrs, cap_xattrs;
};

void pax_clear(struct tar_pax *x);
void pax_free(struct tar_pax *x);
/* Parse all records of TEXT. -EBADMSG: BAD_ARCHIVE, LIMIT_SPARSE, LIMIT_XATTR. */
int pax_parse(struct tar_pax *x, const char *text, size_t len, const struct image_limits *l, struct err *e);

/* All LEN bytes are decimal digits of a number that fits. */
bool decimal_parse(const char *s, size_t len, int64_t *out);
/* Seconds with an optional sign and fraction; the fraction is floored to ns; numbers that do not fit saturate. */
bool mtime_parse(const char *s, size_t len, int64_t *sec, uint32_t *nsec);

#endif
