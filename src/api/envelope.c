/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/envelope.h"

#include <errno.h>

ssize_t envelope_read(struct envelope *v, const char *data, size_t len, size_t max)
{
	const uint8_t *p = (const uint8_t *)data;

	if (len < ENVELOPE_HEADER_BYTES)
		return 0;
	*v = (struct envelope){.flags = p[0],
	        .len = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4],
	        .data = data + ENVELOPE_HEADER_BYTES};
	if (v->len > max)
		return -EMSGSIZE;
	if (len - ENVELOPE_HEADER_BYTES < v->len)
		return 0;
	return (ssize_t)(ENVELOPE_HEADER_BYTES + (size_t)v->len);
}

void envelope_put(struct buf *b, uint8_t flags, const void *data, size_t len)
{
	const uint8_t head[ENVELOPE_HEADER_BYTES] = {
	        flags, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};

	buf_append(b, head, sizeof(head));
	buf_append(b, data, len);
}
