/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

union kernel_handle {
	struct file_handle h;
	unsigned char space[sizeof(struct file_handle) + HANDLE_MAX];
};

int handle_get(struct handle *h, int dirfd, const char *name)
{
	union kernel_handle k = {.h.handle_bytes = HANDLE_MAX};
	int mount_id;

	if (name_to_handle_at(dirfd, name, &k.h, &mount_id, *name ? 0 : AT_EMPTY_PATH) < 0)
		return -errno;
	if (k.h.handle_bytes > HANDLE_MAX || k.h.handle_type < 0 || k.h.handle_type > 255)
		return -EOVERFLOW;
	*h = (struct handle){.len = (uint8_t)k.h.handle_bytes, .type = (uint8_t)k.h.handle_type};
	memcpy(h->bytes, k.h.f_handle, h->len);
	return 0;
}

int handle_open(int mount_fd, const struct handle *h, int flags)
{
	union kernel_handle k = {.h = {.handle_bytes = h->len, .handle_type = h->type}};

	memcpy(k.h.f_handle, h->bytes, h->len);
	int fd = open_by_handle_at(mount_fd, &k.h, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void stack_push(struct stack *s, const struct handle *h)
{
	s->dirs = xrealloc(s->dirs, (s->n + 1) * sizeof(*s->dirs));
	s->dirs[s->n++] = *h;
}

struct stack stack_copy(const struct stack *s)
{
	struct stack copy = {0};

	for (unsigned i = 0; i < s->n; i++)
		stack_push(&copy, &s->dirs[i]);
	return copy;
}

void stack_free(struct stack *s)
{
	free(s->dirs);
	*s = (struct stack){0};
}

bool handle_equal(const struct handle *a, const struct handle *b)
{
	return !memcmp(a, b, sizeof(*a));
}
