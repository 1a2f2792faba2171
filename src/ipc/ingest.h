/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ingest stream: what builderd-unpack writes into the hidden control file of a builderd-fs mount.
 *
 * The file is INGEST_NAME in the mount's root; it is never listed, and only a process that was handed its descriptor
 * writes it. The stream is a sequence of records, each struct ingest_record, then its variable parts in the order of
 * the fields: path, link target, xattrs, content. It may be cut into write() calls anywhere; only content may span more
 * than one MiB. Native byte order: writer and reader are one build on one host. The reader trusts nothing: it checks
 * every length, name and number again.
 *
 * A failed write gives an errno; pread() of the file from offset 0 then gives struct ingest_status with the whole
 * sentence. After an error every further write fails with EIO. A read before any error gives the counters so far.
 * Applied so far means applied completely: records are applied in order, no later than the write that completes them.
 */
#ifndef IPC_INGEST_H
#define IPC_INGEST_H

#include <stdint.h>

#include "base/err.h"

#define INGEST_NAME ".builderd-ingest"
/* Where layers are preserved (msg_fs_start.layer), a volume keeps each of them as a directory of its own, in the form
 * of the kernel's overlayfs with "userxattr": INGEST_LAYERS "/" INGEST_LAYER_NAME, 0 is the lowest. */
#define INGEST_LAYERS "layers"
#define INGEST_LAYER_NAME "%03u"
#define INGEST_INIT_DIR "usr/bin" /* what boots: linked to from the volume's root, too */
#define INGEST_INIT "metald-init"
#define INGEST_LAYERS_MAX 128    /* those of an image, and the finishing pass */
#define INGEST_MAGIC 0x31474e49u /* "ING1" */
#define INGEST_WRITE_MAX (1u << 20)
#define INGEST_PATH_MAX 65535u /* the rules' limits are tighter: struct image_limits */

enum ingest_type {
	INGEST_BEGIN = 1, /* a layer starts: what exists now is "lower" for whiteouts */
	INGEST_END,       /* the layer is complete: deferred directory times are applied; the last record of a layer */
	INGEST_FILE, /* size = bytes of content that follow (0 with INGEST_SPARSE: CONTENT records follow instead) */
	INGEST_DIR,
	INGEST_SYMLINK,  /* link = target, stored as it is */
	INGEST_HARDLINK, /* link = path of an existing entry of this tree; attributes are ignored */
	INGEST_CHR,
	INGEST_BLK,
	INGEST_FIFO,
	INGEST_SOCKET,
	INGEST_CONTENT,  /* for the sparse file above: size bytes at offset; no path */
	INGEST_WHITEOUT, /* path = the name to remove from the lower tree (without ".wh.") */
	INGEST_OPAQUE,   /* path = the directory whose lower children vanish */
	INGEST_TYPE_COUNT
};

/* Flags. */
#define INGEST_IF_ABSENT 1u /* do nothing if the path exists, symlinks at the end not followed (content is skipped) */
#define INGEST_KEEP_DIR 2u  /* DIR: an existing directory (also through a symlink) keeps its attributes */
#define INGEST_SPARSE 4u    /* FILE: apparent size is `apparent`, content comes as CONTENT records */
#define INGEST_REPLACE 8u   /* finishing: a directory in the way of a file is an error (never removed); else as usual */

struct ingest_record {
	uint32_t magic; /* INGEST_MAGIC */
	uint16_t type;  /* enum ingest_type */
	uint16_t flags;
	uint32_t mode;       /* permission bits 07777 */
	uint32_t uid, gid;   /* 0 .. 2^32-2 */
	uint32_t mtime_nsec; /* 0 .. 999999999 */
	int64_t mtime_sec;
	uint64_t size;     /* bytes of content behind this record */
	uint64_t apparent; /* INGEST_SPARSE: size of the file */
	uint64_t offset;   /* CONTENT: where it goes */
	uint32_t rdev_major, rdev_minor;
	uint32_t path_len; /* bytes, no NUL inside, relative, "." components and ".." already refused by the writer; ""
	                      = root */
	uint32_t link_len;
	uint32_t xattr_len; /* bytes of all xattrs: each u16 name_len, u16 0, u32 value_len, name, value; no padding */
	uint32_t reserved;  /* 0 */
};

struct ingest_status {
	struct err err;   /* code 0: no error */
	uint64_t entries; /* records applied */
	uint64_t bytes;   /* content written */
};

#endif
