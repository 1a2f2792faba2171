/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "fuse/hash64.h"

struct nodes {
	struct node **buckets;   /* owns the nodes */
	size_t n_buckets, count; /* the root is not in the table */
	struct node root;
	struct node *oldest, *newest; /* with a descriptor */
	unsigned n_fds;
	uint32_t generation;
};

int nodes_new(struct fs *fs, struct err *e)
{
	struct nodes *t = fs->nodes = xcalloc(1, sizeof(*t));

	t->n_buckets = 256;
	t->buckets = xcalloc(t->n_buckets, sizeof(struct node *));
	t->root = (struct node){.lookups = 1, .type = S_IFDIR, .fd = fs->root_fd, .file_fd = -1};
	int rc = handle_get(&t->root.handle, fs->root_fd, "");
	return rc < 0 ? err_sys(e, rc, "take a file handle of the volume's root") : 0;
}

static size_t bucket_of(const struct nodes *t, const struct handle *h)
{
	return (size_t)hash64(0, h, sizeof(*h)) & (t->n_buckets - 1);
}

static struct node *find(const struct nodes *t, const struct handle *h)
{
	struct node *n = t->buckets[bucket_of(t, h)];

	while (n && !handle_equal(&n->handle, h))
		n = n->next;
	return n;
}

static void rehash(struct nodes *t)
{
	struct nodes old = *t;

	t->n_buckets *= 2;
	t->buckets = xcalloc(t->n_buckets, sizeof(struct node *));
	for (size_t i = 0; i < old.n_buckets; i++)
		for (struct node *n = old.buckets[i], *next; n; n = next) {
			size_t b = bucket_of(t, &n->handle);
			next = n->next;
			n->next = t->buckets[b];
			t->buckets[b] = n;
		}
	free(old.buckets);
}

static void insert(struct nodes *t, struct node *n)
{
	if (t->count >= t->n_buckets)
		rehash(t);
	size_t b = bucket_of(t, &n->handle);
	n->next = t->buckets[b];
	t->buckets[b] = n;
	t->count++;
}

static void lru_unlink(struct nodes *t, struct node *n)
{
	*(n->older ? &n->older->newer : &t->oldest) = n->newer;
	*(n->newer ? &n->newer->older : &t->newest) = n->older;
	n->older = n->newer = NULL;
	t->n_fds--;
}

static void lru_push(struct nodes *t, struct node *n)
{
	n->older = t->newest;
	n->newer = NULL;
	*(t->newest ? &t->newest->newer : &t->oldest) = n;
	t->newest = n;
	t->n_fds++;
}

static void drop_fd(struct nodes *t, struct node *n)
{
	if (n->fd < 0 || n == &t->root)
		return;
	if (!n->is_orphan)
		lru_unlink(t, n);
	close(n->fd);
	n->fd = -1;
}

static void node_free(struct nodes *t, struct node *n)
{
	struct node **at = &t->buckets[bucket_of(t, &n->handle)];

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	t->count--;
	drop_fd(t, n);
	free(n->phantom);
	free(n);
}

void nodes_free(struct fs *fs)
{
	struct nodes *t = fs->nodes;

	if (!t)
		return;
	for (size_t i = 0; i < t->n_buckets; i++)
		while (t->buckets[i])
			node_free(t, t->buckets[i]);
	free(t->buckets);
	free(t);
	fs->nodes = NULL;
}

struct node *nodes_root(const struct fs *fs)
{
	return &fs->nodes->root;
}

void nodes_each(const struct fs *fs, void (*fn)(void *arg, struct node *n), void *arg)
{
	fn(arg, &fs->nodes->root);
	for (size_t i = 0; i < fs->nodes->n_buckets; i++)
		for (struct node *n = fs->nodes->buckets[i]; n; n = n->next)
			fn(arg, n);
}

static int is_root(const struct fs *fs, const struct handle *h)
{
	return handle_equal(h, &fs->nodes->root.handle);
}

int node_lookup(struct fs *fs, int dirfd, const char *name, struct node **out, struct stat *st)
{
	struct nodes *t = fs->nodes;
	struct handle h;

	if (fstatat(dirfd, name, st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
		return -errno;
	int rc = handle_get(&h, dirfd, name);
	if (rc < 0)
		return rc;
	struct node *n = is_root(fs, &h) ? &t->root : find(t, &h);
	if (!n) {
		n = xcalloc(1, sizeof(*n));
		*n = (struct node){.handle = h,
		        .fd = -1,
		        .file_fd = -1,
		        .type = st->st_mode & S_IFMT,
		        .generation = ++t->generation};
		insert(t, n);
	}
	n->lookups++;
	*out = n;
	return 0;
}

struct node *node_phantom(struct fs *fs, const struct stat *st)
{
	struct nodes *t = fs->nodes;
	struct node *n = xcalloc(1, sizeof(*n));

	*n = (struct node){
	        .fd = -1, .file_fd = -1, .type = st->st_mode & S_IFMT, .lookups = 1, .generation = ++t->generation};
	/* No file system gives a handle of length 0: the number only keeps phantoms apart. */
	*(uint32_t *)(void *)(n->handle.bytes + 2) = n->generation;
	n->phantom = xcalloc(1, sizeof(*n->phantom));
	*n->phantom = *st;
	n->phantom->st_ino = UINT32_MAX + (uint64_t)n->generation;
	insert(t, n);
	return n;
}

void node_forget(struct fs *fs, struct node *n, uint64_t count)
{
	n->lookups -= count < n->lookups ? count : n->lookups;
	if (!n->lookups && !n->opens && n != &fs->nodes->root)
		node_free(fs->nodes, n);
}

int node_open(struct fs *fs, struct node *n, int flags)
{
	if (n == &fs->nodes->root)
		return openat(fs->root_fd, ".", flags | O_CLOEXEC);
	return handle_open(fs->root_fd, &n->handle, flags);
}

/* A descriptor that the node owns. */
static int own_fd(struct fs *fs, struct node *n)
{
	struct nodes *t = fs->nodes;

	if (n->fd >= 0) {
		if (n != &t->root && !n->is_orphan && n != t->newest) {
			lru_unlink(t, n);
			lru_push(t, n);
		}
		return n->fd;
	}
	if (t->n_fds >= NODE_FDS_MAX)
		drop_fd(t, t->oldest);
	bool is_plain = S_ISREG(n->type) || S_ISDIR(n->type);
	int fd = node_open(fs, n, is_plain ? O_RDONLY | O_NOFOLLOW : O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return fd;
	n->fd = fd;
	lru_push(t, n);
	return fd;
}

int node_fd(struct fs *fs, struct node *n)
{
	return n->fd < 0 && n->file_fd >= 0 ? n->file_fd : own_fd(fs, n);
}

struct node *nodes_find_name(struct fs *fs, int dirfd, const char *name)
{
	struct handle h;

	if (!fs->nodes->count || handle_get(&h, dirfd, name) < 0)
		return NULL;
	return find(fs->nodes, &h);
}

void node_before_unlink(struct fs *fs, struct node *n)
{
	if (n->opens)
		own_fd(fs, n);
	else
		drop_fd(fs->nodes, n);
}

bool node_orphan(struct fs *fs, struct node *n)
{
	if (!n->opens || n->fd < 0)
		return false;
	if (!n->is_orphan)
		lru_unlink(fs->nodes, n);
	n->is_orphan = true;
	return true;
}

static void orphan_end(struct fs *fs, struct node *n)
{
	struct stat st;

	if (fstat(n->fd, &st) == 0) {
		ledger_credit(&fs->ledger, fs_charge_of(fs, &st), 1);
		itab_drop(&fs->itab, st.st_ino);
	}
	drop_fd(fs->nodes, n);
	n->is_orphan = false;
}

void node_opened(struct node *n, int fd)
{
	if (!n->opens++)
		n->file_fd = fd;
}

void node_closed(struct fs *fs, struct node *n, int fd)
{
	if (n->file_fd == fd)
		n->file_fd = -1;
	close(fd);
	n->opens--;
	if (n->opens)
		return;
	if (n->is_orphan)
		orphan_end(fs, n);
	node_forget(fs, n, 0);
}

void nodes_close_orphans(struct fs *fs)
{
	struct nodes *t = fs->nodes;

	for (size_t i = 0; i < t->n_buckets; i++)
		for (struct node *n = t->buckets[i]; n; n = n->next)
			if (n->is_orphan)
				orphan_end(fs, n);
}
