/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hash trees for dm-verity (Linux Documentation/admin-guide/device-mapper/verity.rst): SHA-256, blocks of 4096 bytes on
 * both sides, a random salt, behind cryptsetup's superblock, so that veritysetup(8) and every other user of dm-verity
 * can read them. Written here and not by libcryptsetup: its calls take the lock of libdevmapper, and the reading of a
 * whole rootfs under it would let every other tenant wait.
 */
#ifndef DM_VERITY_H
#define DM_VERITY_H

#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"

/* Bytes that the superblock and the tree over DATA_BYTES (a multiple of 4096) need. */
uint64_t verity_size(uint64_t data_bytes);

/* Write them for the first DATA_BYTES of DATA to TREE, which is at least that big, and flush it. */
int verity_make(int data, uint64_t data_bytes, int tree, struct digest *root, struct err *e);

#endif
