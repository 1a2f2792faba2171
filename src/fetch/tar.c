/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/tar.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"

#define BLOCK 512u
#define MEMBERS_MAX 65536u
#define EXTRA_MAX 65536u /* bytes of one long name or pax header */
#define LINKS_MAX 8

struct entry {
	char *name; /* owns; normalized: no "./", no leading or trailing "/" */
	char *link; /* owns; target within the archive, NULL for a regular file */
	off_t offset;
	uint64_t size;
};

struct tar {
	struct entry *entries; /* owns */
	size_t n, cap;
};

struct header { /* POSIX.1-1988 ustar */
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, linkname[100], magic[8];
	char owner[32], group[32], devmajor[8], devminor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a tar header is one block");

/* What extended headers said about the member that follows them. */
struct extra {
	char *path, *link; /* own */
	uint64_t size;
	bool has_size;
};

static void extra_clear(struct extra *x)
{
	free(x->path);
	free(x->link);
	*x = (struct extra){0};
}

static int bad(struct err *e, uint64_t at, const char *why)
{
	return err_kind_set(e, -EINVAL, ERR_KIND_BAD_LAYOUT, "archive: %s at offset %llu", why, (unsigned long long)at);
}

/* Octal, or base 256 with the top bit set (GNU); false for anything else. */
static bool parse_number(const char *p, size_t len, uint64_t *out)
{
	uint64_t v = 0;

	if ((unsigned char)p[0] & 0x80) {
		if ((unsigned char)p[0] != 0x80)
			return false;
		for (size_t i = 1; i < len; i++) {
			if (v >> 55)
				return false;
			v = v << 8 | (unsigned char)p[i];
		}
		*out = v;
		return true;
	}
	size_t i = 0;
	while (i < len && p[i] == ' ')
		i++;
	for (; i < len && p[i] >= '0' && p[i] <= '7'; i++)
		v = v << 3 | (uint64_t)(p[i] - '0');
	*out = v;
	return i == len || !p[i] || p[i] == ' ';
}

static bool checksum_matches(const struct header *h)
{
	const unsigned char *p = (const unsigned char *)h;
	uint64_t want;
	unsigned sum = 0;

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= 148 && i < 156 ? ' ' : p[i];
	return parse_number(h->checksum, sizeof(h->checksum), &want) && want == sum;
}

static char *copy_field(const char *p, size_t max)
{
	size_t n = strnlen(p, max);
	char *s = xcalloc(1, n + 1);

	memcpy(s, p, n);
	return s;
}

/* The path NAME, relative to directory part of BASE (NULL: the root), lexically. NULL when it leaves the archive. */
static char *normalize(const char *base, const char *name)
{
	const char *slash = base ? strrchr(base, '/') : NULL;
	AUTO_FREE char *whole = xasprintf("%.*s/%s", slash ? (int)(slash - base) : 0, base ? base : "", name);
	char *out = xcalloc(1, strlen(whole) + 2), *end = out;

	for (const char *p = whole; *p;) {
		p += strspn(p, "/");
		size_t n = strcspn(p, "/");
		if (n == 2 && !memcmp(p, "..", 2)) {
			if (end == out) {
				free(out);
				return NULL;
			}
			while (end > out && *--end != '/')
				;
			*end = 0;
		} else if (n && !(n == 1 && *p == '.')) {
			if (end > out)
				*end++ = '/';
			memcpy(end, p, n);
			end += n;
			*end = 0;
		}
		p += n;
	}
	return out;
}

static void pax_record(struct extra *x, const char *key, size_t key_len, const char *value, size_t value_len)
{
	AUTO_FREE char *v = copy_field(value, value_len);

	if (key_len == 4 && !memcmp(key, "path", 4)) {
		free(x->path);
		x->path = STEAL(&v);
	} else if (key_len == 8 && !memcmp(key, "linkpath", 8)) {
		free(x->link);
		x->link = STEAL(&v);
	} else if (key_len == 4 && !memcmp(key, "size", 4)) {
		x->size = strtoull(v, NULL, 10);
		x->has_size = true;
	}
}

/* Records "LENGTH KEY=VALUE\n", POSIX.1-2001 pax. */
static bool pax_parse(struct extra *x, const char *data, size_t len)
{
	while (len) {
		size_t digits = 0, n = 0;
		while (digits < len && digits < 7 && data[digits] >= '0' && data[digits] <= '9')
			n = n * 10 + (size_t)(data[digits++] - '0');
		if (!digits || n > len || n < digits + 3 || data[digits] != ' ' || data[n - 1] != '\n')
			return false;
		const char *key = data + digits + 1, *equals = memchr(key, '=', n - digits - 2);
		if (!equals)
			return false;
		pax_record(x, key, (size_t)(equals - key), equals + 1, (size_t)(data + n - 1 - equals - 1));
		data += n;
		len -= n;
	}
	return true;
}

static int read_extra(int fd, const struct header *h, uint64_t at, uint64_t size, struct extra *x, struct err *e)
{
	if (size > EXTRA_MAX)
		return bad(e, at, "an extended header is too long");
	AUTO_FREE char *data = xcalloc(1, size + 1);
	if (pread(fd, data, size, (off_t)at) != (ssize_t)size)
		return bad(e, at, "cut off");
	char **name = h->type == 'L' ? &x->path : &x->link;
	if (h->type == 'x')
		return pax_parse(x, data, size) ? 0 : bad(e, at, "a malformed pax header");
	free(*name);
	*name = STEAL(&data);
	return 0;
}

static void add(struct tar *t, const struct header *h, const struct extra *x, off_t offset, uint64_t size)
{
	AUTO_FREE char *prefix = copy_field(h->prefix, sizeof(h->prefix));
	AUTO_FREE char *base = copy_field(h->name, sizeof(h->name));
	bool has_prefix = !memcmp(h->magic, "ustar\0", 6) && *prefix; /* GNU's "ustar  " keeps times there */
	AUTO_FREE char *name =
	        x->path ? xstrdup(x->path) : xasprintf("%s%s%s", has_prefix ? prefix : "", has_prefix ? "/" : "", base);
	struct entry en = {.offset = offset, .size = size, .name = normalize(NULL, name)};

	if (en.name && (h->type == '1' || h->type == '2')) {
		AUTO_FREE char *target = x->link ? xstrdup(x->link) : copy_field(h->linkname, sizeof(h->linkname));
		en.link = normalize(h->type == '2' ? en.name : NULL, target);
	}
	bool is_kept = en.name && (h->type == '0' || !h->type || h->type == '7' || en.link);
	if (!is_kept) {
		free(en.name);
		free(en.link);
		return;
	}
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 64;
		t->entries = xrealloc(t->entries, t->cap * sizeof(*t->entries));
	}
	t->entries[t->n++] = en;
}

static bool is_zero(const struct header *h)
{
	static const struct header zero;

	return !memcmp(h, &zero, sizeof(zero));
}

static int scan(struct tar *t, int fd, uint64_t end, struct extra *x, struct err *e)
{
	struct header h;
	uint64_t size, seen = 0;

	for (uint64_t at = 0; at + BLOCK <= end; at += BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK) {
		if (pread(fd, &h, BLOCK, (off_t)at) != (ssize_t)BLOCK)
			return bad(e, at, "cut off");
		if (is_zero(&h))
			return 0;
		if (!checksum_matches(&h))
			return bad(e, at,
			        at ? "a damaged header"
			           : "no tar header (a compressed archive has to be decompressed first)");
		if (!parse_number(h.size, sizeof(h.size), &size))
			return bad(e, at, "a malformed size");
		bool is_extra = h.type == 'x' || h.type == 'L' || h.type == 'K';
		if (!is_extra && x->has_size)
			size = x->size;
		if (h.type == '1' || h.type == '2' || h.type == '5')
			size = 0;
		if (size > end - at - BLOCK)
			return bad(e, at, "a member that is cut off");
		if (++seen > MEMBERS_MAX)
			return bad(e, at, "too many members");
		if (is_extra) {
			int rc = read_extra(fd, &h, at + BLOCK, size, x, e);
			if (rc < 0)
				return rc;
		} else {
			add(t, &h, x, (off_t)(at + BLOCK), size);
			extra_clear(x);
		}
	}
	return 0;
}

struct tar *tar_open(int fd, uint64_t size, struct err *e)
{
	struct tar *t = xcalloc(1, sizeof(*t));
	struct extra x = {0};
	int rc = scan(t, fd, size, &x, e);

	extra_clear(&x);
	if (rc >= 0)
		return t;
	tar_free(t);
	return NULL;
}

void tar_free(struct tar *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++) {
		free(t->entries[i].name);
		free(t->entries[i].link);
	}
	free(t->entries);
	free(t);
}

int tar_find(const struct tar *t, const char *name, off_t *offset, uint64_t *size)
{
	AUTO_FREE char *wanted = normalize(NULL, name);

	for (int hops = 0; wanted && hops < LINKS_MAX; hops++) {
		const struct entry *found = NULL;
		for (size_t i = t->n; i-- > 0 && !found;)
			if (!strcmp(t->entries[i].name, wanted))
				found = &t->entries[i];
		if (!found)
			return -ENOENT;
		if (!found->link) {
			*offset = found->offset;
			*size = found->size;
			return 0;
		}
		free(wanted);
		wanted = xstrdup(found->link);
	}
	return -ENOENT;
}
