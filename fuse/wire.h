/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libfuse does not pass on: the agreement that the file system itself takes set-id bits and capabilities away
 * (FUSE_HANDLE_KILLPRIV_V2, protocol 7.33). Without it the kernel asks for security.capability at each write and for
 * the attributes at each chown: a quarter of all requests of an unpacking tar. Source: linux/fuse.h, there also what
 * the flags of a request mean.
 *
 * The backing file system drops capabilities by itself at every write, truncation and chown; what is left to do are the
 * set-id bits, which it leaves to a writer with CAP_FSETID, as this process is.
 */
#ifndef FUSE_WIRE_H
#define FUSE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct wire {
	uint64_t init_unique; /* of the INIT request whose answer is to be completed; 0: none */
	bool kills_set_id;    /* the current request demands that set-id bits go */
};

/* A request before libfuse has it. LEN is what was read. */
void wire_look(struct wire *w, const void *request, size_t len);

/* An answer before the kernel has it. */
void wire_complete(struct wire *w, const struct iovec *iov, int count);

#endif
