/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unpack/tar_parse.h"

#include <errno.h>
#include <inttypes.h>

void sparse_clear(struct sparse_map *m)
{
	m->n = 0;
	m->has_half = false;
}

void sparse_free(struct sparse_map *m)
{
	free(m->segments);
	*m = (struct sparse_map){0};
}

int sparse_add(struct sparse_map *m, uint64_t offset, uint64_t length, const struct image_limits *l, struct err *e)
{
	if (m->n >= l->max_sparse_segments)
		return err_kind_set(e, -EBADMSG, ERR_KIND_LIMIT_SPARSE, "sparse file of more than %" PRIu64 " segments",
		        l->max_sparse_segments);
	if (m->n == m->cap) {
		m->cap = m->cap ? 2 * m->cap : 16;
		m->segments = xrealloc(m->segments, m->cap * sizeof(*m->segments));
	}
	m->segments[m->n++] = (struct tar_segment){offset, length};
	return 0;
}

int sparse_check(const struct sparse_map *m, uint64_t apparent, uint64_t size, struct err *e)
{
	uint64_t end = 0, sum = 0;

	if (m->has_half)
		return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_ARCHIVE, "sparse map with an offset and no length");
	for (size_t i = 0; i < m->n; i++) {
		const struct tar_segment *s = &m->segments[i];
		if (s->offset < end || s->offset > apparent || s->length > apparent - s->offset)
			return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_ARCHIVE,
			        "sparse map: segment %zu (%" PRIu64 " bytes at %" PRIu64
			        ") is out of order or outside the file of %" PRIu64 " bytes",
			        i, s->length, s->offset, apparent);
		end = s->offset + s->length;
		sum += s->length;
	}
	if (sum != size)
		return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_ARCHIVE,
		        "sparse map describes %" PRIu64 " bytes, the archive holds %" PRIu64, sum, size);
	return 0;
}

int sparse_add_gnu(struct sparse_map *m, const char *p, unsigned n, const struct image_limits *l, struct err *e)
{
	for (unsigned i = 0; i < n; i++, p += 24) {
		int64_t offset, length;

		if (!p[0])
			return (int)i;
		if (!header_number(p, 12, &offset) || !header_number(p + 12, 12, &length) || offset < 0 || length < 0)
			return err_kind_set(e, -EBADMSG, ERR_KIND_BAD_ARCHIVE, "sparse map: a segment is not a number");
		int rc = sparse_add(m, (uint64_t)offset, (uint64_t)length, l, e);
		if (rc < 0)
			return rc;
	}
	return (int)n;
}
