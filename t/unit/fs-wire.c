/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is read from requests and added to the answer of INIT beside libfuse. */
#include <criterion/criterion.h>
#include <linux/fuse.h>
#include <string.h>

#include "fuse/wire.h"

struct request {
	struct fuse_in_header h;
	union {
		struct fuse_init_in init;
		struct fuse_setattr_in setattr;
		struct fuse_write_in write;
	} body;
};

static uint32_t flags_after(struct wire *w, uint64_t unique, int error, size_t size)
{
	struct fuse_out_header h = {.len = sizeof(h), .unique = unique, .error = error};
	struct fuse_init_out out = {.flags = FUSE_BIG_WRITES};
	const struct iovec iov[2] = {{&h, sizeof(h)}, {&out, size}};

	wire_complete(w, iov, size ? 2 : 1);
	return out.flags;
}

Test(wire, killpriv_is_agreed_only_where_offered)
{
	struct request r = {.h = {.opcode = FUSE_INIT, .unique = 8}, .body.init = {.major = 7, .minor = 38}};
	const size_t size = sizeof(struct fuse_init_out);
	struct wire w = {0};

	wire_look(&w, &r, sizeof(r.h) + sizeof(r.body.init));
	cr_assert_eq(flags_after(&w, 8, 0, size), FUSE_BIG_WRITES);
	r.body.init.flags = FUSE_HANDLE_KILLPRIV_V2;
	wire_look(&w, &r, sizeof(r.h) + 15); /* cut before the flags end */
	cr_assert_eq(flags_after(&w, 8, 0, size), FUSE_BIG_WRITES);
	wire_look(&w, &r, sizeof(r.h) + sizeof(r.body.init));
	cr_assert_eq(flags_after(&w, 7, 0, size), FUSE_BIG_WRITES); /* another answer */
	cr_assert_eq(flags_after(&w, 8, 0, size), FUSE_BIG_WRITES | FUSE_HANDLE_KILLPRIV_V2);
	cr_assert_eq(flags_after(&w, 8, 0, size), FUSE_BIG_WRITES); /* once */
	wire_look(&w, &r, sizeof(r.h) + sizeof(r.body.init));
	cr_assert_eq(flags_after(&w, 8, -71, 0), FUSE_BIG_WRITES);
}

Test(wire, set_id_bits_go_when_the_request_says_so)
{
	struct request r = {.h = {.opcode = FUSE_WRITE, .unique = 2}};
	struct wire w = {0};

	wire_look(&w, &r, sizeof(r));
	cr_assert(!w.kills_set_id);
	r.body.write.write_flags = FUSE_WRITE_KILL_SUIDGID;
	wire_look(&w, &r, sizeof(r.h) + sizeof(r.body.write));
	cr_assert(w.kills_set_id);
	wire_look(&w, &r, sizeof(r.h)); /* cut short: nothing of the request before */
	cr_assert(!w.kills_set_id);
	r = (struct request){.h = {.opcode = FUSE_SETATTR}, .body.setattr.valid = FATTR_SIZE | FATTR_KILL_SUIDGID};
	wire_look(&w, &r, sizeof(r));
	cr_assert(w.kills_set_id);
	r.h.opcode = FUSE_READ;
	wire_look(&w, &r, sizeof(r));
	cr_assert(!w.kills_set_id);
}
