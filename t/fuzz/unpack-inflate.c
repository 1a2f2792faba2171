/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A blob through the inflating drivers. The first byte is the size of the output's pieces, the second the form. Built
 * twice, once for each gzip engine. */
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "unpack/inflate.h"

#define OUTPUT_MAX (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	size_t sum = 0;
	ssize_t n = 1;

	if (size < 2)
		return 0;
	size_t step = data[0] < 128 ? data[0] + 1u : data[0] * 512u;
	AUTO_FREE unsigned char *out = xcalloc(1, step);
	AUTO_CLOSE int fd = fd_memfile("blob", data + 2, size - 2);
	if (fd < 0)
		abort();
	struct inflate *i = inflate_new((enum compression)(data[1] % COMPRESSION_COUNT), fd, size - 2, &e);
	while (i && n > 0 && sum < OUTPUT_MAX) {
		n = inflate_read(i, out, step, &e);
		if (n > (ssize_t)step || inflate_offset(i) > size - 2)
			abort();
		sum += n > 0 ? (size_t)n : 0;
	}
	if ((!i || n < 0) && !*e.msg)
		abort();
	inflate_free(i);
	return 0;
}
