/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ext4 images, in files and on block devices: made, copied, grown, checked. Every image here is unmounted.
 * A full medium is -ENOSPC with kind DISK_FULL everywhere.
 */
#ifndef DM_IMAGE_H
#define DM_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define IMAGE_STEP (64ull << 20)       /* sizes are multiples of this */
#define IMAGE_BYTES_PER_INODE 8192     /* unless more are asked for */
#define IMAGE_MIN_BYTES_PER_INODE 1024 /* their tables take a quarter of the image then */
#define IMAGE_MIN_BYTES (64ull << 20)
#define IMAGE_MAX_BYTES (16ull << 40) /* ext4 with 4 KiB blocks */

/* SIZE rounded up to a step, within the bounds; big enough for INODES. */
uint64_t image_size(uint64_t size_bytes, uint64_t inodes);

/* Make an empty file system on the empty file FD, which becomes SIZE bytes long (from image_size) and stays sparse. */
int image_make(int fd, uint64_t size_bytes, uint64_t inodes, struct err *e);

/* The same on a block device of at least that size that reads as zeros. HAS_JOURNAL: it will live through power cuts,
 * mounted. */
int image_format(int fd, uint64_t size_bytes, uint64_t inodes, bool has_journal, struct err *e);

/* Make the unmounted file system on the block device FD as big as the device. */
int image_fill_device(int fd, struct err *e);

/* Give the unmounted file system on FD a journal of 4 MiB, so that a VM may write it through power cuts. */
int image_journal_add(int fd, struct err *e);

/* Whether image_copy() below DIRFD is free: the file system shares blocks between files (FICLONE). */
bool image_can_clone(int dirfd);

/* Copy the bytes of FROM to the empty file TO: a reflink where the file system has them, else data only, holes stay
 * holes. KEEP_CACHED: the copy will be read soon; else it goes past the page cache, if it can. */
int image_copy(int from, int to, bool keep_cached, struct err *e);

/* Make the file system on FD SIZE bytes big (from image_size), if it is smaller. */
int image_grow(int fd, uint64_t size_bytes, struct err *e);

/* Inodes in all and free, from the superblock. */
int image_inodes(int fd, uint64_t *total, uint64_t *free_inodes, struct err *e);

/* The file system's uuid, from the superblock. */
int image_uuid(int fd, unsigned char out[16], struct err *e);

/* e2fsck -fn finds nothing; else -EUCLEAN, kind INTERNAL, with the beginning of what it said. */
int image_check(int fd, struct err *e);

/* Replay the journal, repair what is damaged; for what may lose a file, never for a product. */
int image_mend(int fd, struct err *e);

/* e2fsprogs is there. */
int image_probe(struct err *e);

/* RC after a failed write: with ENOSPC or EDQUOT the kind becomes DISK_FULL. */
int image_error(struct err *e, int rc, const char *what);

#endif
