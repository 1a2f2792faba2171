/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libFuzzer: archive bytes through the tar reader, the rules for names and the choice of attributes. The first byte is
 * the size of the source's pieces. Good seeds: the uncompressed layers of the corpus. */
#include <stdlib.h>

#include "base/buf.h"
#include "unpack/names.h"
#include "unpack/tar.h"
#include "unpack/xattr.h"
#ifdef FUZZ_ENGINE
#include "t/fuzz/tar-mutator.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return tar_mutate(data, size, max_size, seed, 1);
}
#endif

struct pieces {
	const uint8_t *data;
	size_t left, step;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ssize_t pieces_next(void *arg, const unsigned char **data, struct err *e)
{
	struct pieces *p = arg;
	size_t n = p->left < p->step ? p->left : p->step;

	*data = p->data;
	p->data += n;
	p->left -= n;
	return (ssize_t)n;
}

static void entry_use(struct tar *t, const struct tar_entry *en, const struct image_limits *l, struct err *e)
{
	AUTO_BUF struct buf path = {0}, xattrs = {0};
	const unsigned char *data;
	uint64_t dropped = 0, sum = 0;
	ssize_t n;

	if (name_clean(&path, en->name.data, en->name.len, l, e) >= 0)
		name_role(&path, e);
	xattr_collect(&xattrs, en, l, &dropped, e);
	for (size_t i = 0; en->is_sparse && i < en->n_segments; i++)
		sum += en->segments[i].length;
	if (en->is_sparse &&
	        (sum != en->size || (en->n_segments && en->segments[en->n_segments - 1].offset > en->apparent)))
		abort();
	for (sum = 0; (n = tar_data(t, &data, e)) > 0; sum += (uint64_t)n)
		if (sum > en->size)
			abort();
	if (!n && sum != en->size)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct image_limits l = {.max_depth = 64,
	        .max_file = 1u << 20,
	        .max_name = 255,
	        .max_path = 4096,
	        .max_pax = 1u << 16,
	        .max_sparse_segments = 64,
	        .max_xattr_bytes = 4096,
	        .max_xattrs = 16};
	struct err e = ERR_INIT;
	struct tar_entry en;

	if (!size)
		return 0;
	struct pieces p = {data + 1, size - 1, data[0] ? data[0] * 64u + data[0] : size};
	struct tar *t = tar_new(&(struct tar_source){pieces_next, &p}, &l);
	while (tar_next(t, &en, &e) > 0)
		entry_use(t, &en, &l, &e);
	tar_free(t);
	return 0;
}
