/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An archive's table of contents. What is found must lie inside the archive. */
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "fetch/tar.h"
#ifdef FUZZ_ENGINE
#include "t/fuzz/tar-mutator.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return tar_mutate(data, size, max_size, seed, 0);
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
	        "manifest.json", "/index.json", "./oci-layout", "blobs/sha256/aa", "a", "a/b", "b/../a", ""};
	AUTO_CLOSE int fd = fd_memfile("archive", data, size);
	struct err e = ERR_INIT;
	uint64_t length;
	off_t offset;

	if (fd < 0)
		abort();
	struct tar *t = tar_open(fd, size, &e);
	if (!t && !*e.msg)
		abort();
	for (size_t i = 0; t && i < ARRAY_LEN(names); i++)
		if (!tar_find(t, names[i], &offset, &length) &&
		        (offset < 0 || (uint64_t)offset > size || length > size - (uint64_t)offset))
			abort();
	tar_free(t);
	return 0;
}
