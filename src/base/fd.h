/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors: whole reads and writes, paths beneath a directory, sealed memory files. Everything is O_CLOEXEC. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Write all of DATA; -errno on failure. */
int fd_write_all(int fd, const void *data, size_t len);
int fd_pwrite_all(int fd, const void *data, size_t len, off_t off);
/* Read until LEN bytes or end of file; returns the count or -errno. */
ssize_t fd_read_full(int fd, void *data, size_t len);
/* The whole file from offset 0, at most MAX bytes, NUL-terminated behind *LEN. -EFBIG above MAX. The caller frees *OUT.
 */
int fd_slurp(int fd, size_t max, char **out, size_t *len);

/* Open PATH beneath DIRFD: never leaves it, by "..", absolute path, symlink or magic link (openat2 RESOLVE_BENEATH |
 * RESOLVE_NO_MAGICLINKS). Returns the fd or -errno (-EXDEV: it tried to leave). */
int fd_open_beneath(int dirfd, const char *path, int flags, mode_t mode);

/* A memory file holding DATA, sealed against every change, offset 0. Returns the fd or -errno. */
int fd_memfile(const char *name, const void *data, size_t len);

/* Set or clear FD_CLOEXEC / O_NONBLOCK. */
int fd_set_cloexec(int fd, int on);
int fd_set_nonblock(int fd, int on);

#endif
