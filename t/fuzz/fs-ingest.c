/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parser of the ingest stream over a file system that only remembers: whatever way the stream is cut into writes,
 * the sink is told the same, and never anything that the format does not allow. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "fuse/ingest.h"

struct memory {
	struct buf said; /* calls and content, in order */
	uint64_t left;   /* of the record's content */
	bool is_open;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static int on_entry(void *arg, const struct ingest_entry *en, struct err *e)
{
	struct memory *m = arg;
	struct ingest_xattr x;
	size_t pos = 0;

	must(!m->is_open && strlen(en->path) == en->rec.path_len && strlen(en->link) == en->rec.link_len);
	buf_append(&m->said, &en->rec, sizeof(en->rec));
	buf_append(&m->said, en->path, en->rec.path_len + 1);
	buf_append(&m->said, en->link, en->rec.link_len + 1);
	while (ingest_xattr_next(en, &pos, &x)) {
		must(x.name_len && x.name_len <= 255);
		buf_append(&m->said, x.name, x.name_len);
		buf_append(&m->said, x.value, x.value_len);
	}
	must(pos == en->rec.xattr_len);
	m->left = en->rec.size;
	m->is_open = true;
	return en->rec.uid == 4711 ? err_set(e, -ENOSPC, "no room") : 0; /* a sink may fail */
}

static int on_content(void *arg, const void *data, size_t len, struct err *e)
{
	struct memory *m = arg;

	must(m->is_open && len && len <= m->left);
	m->left -= len;
	buf_append(&m->said, data, len);
	return 0;
}

static int on_finish(void *arg, struct err *e)
{
	struct memory *m = arg;

	must(m->is_open && !m->left);
	m->is_open = false;
	buf_puts(&m->said, "]");
	return 0;
}

/* STEP bytes at a time; 0 or -errno. */
static int feed(struct memory *m, const uint8_t *data, size_t size, size_t step)
{
	const struct ingest_sink sink = {.entry = on_entry, .content = on_content, .finish = on_finish, .arg = m};
	struct ingest in;
	int rc = 0;

	ingest_init(&in, &sink);
	for (size_t at = 0; at < size && !rc; at += step)
		rc = ingest_feed(&in, data + at, size - at < step ? size - at : step);
	must(rc ? in.status.err.code && *in.status.err.msg : !in.status.err.code);
	if (rc)
		must(ingest_feed(&in, "x", 1) == -EIO);
	ingest_free(&in);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t steps[] = {1, 7, 97};
	AUTO_BUF struct buf said = {0};
	struct memory whole = {0};
	int rc = size ? feed(&whole, data, size, size) : 0;

	said = whole.said;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct memory cut = {0};
		must(feed(&cut, data, size, steps[i]) == rc);
		must(cut.said.len == said.len && (!said.len || !memcmp(cut.said.data, said.data, said.len)));
		buf_free(&cut.said);
	}
	return 0;
}
