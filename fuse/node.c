/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fuse/hash64.h"
#include "fuse/overlay.h"

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
	t->root.real = t->root.handle;
	return rc < 0 ? err_sys(e, rc, "take a file handle of the volume's root") : 0;
}

static size_t bucket_of(const struct nodes *t, const struct handle *h)
{
	return (size_t)hash64(0, h, sizeof(*h)) & (t->n_buckets - 1);
}

static struct node *find(struct nodes *t, const struct handle *h)
{
	struct node *n = t->buckets[bucket_of(t, h)];

	if (handle_equal(h, &t->root.handle))
		return &t->root;

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

/* Nobody refers to it. */
static bool is_unused(const struct nodes *t, const struct node *n)
{
	return !n->lookups && !n->opens && n != &t->root && !(n->place && n->place->kids);
}

static void place_free(struct node_place *p)
{
	if (!p)
		return;
	free(p->name);
	stack_free(&p->below);
	free(p->fds);
	free(p);
}

static void node_free_one(struct nodes *t, struct node *n)
{
	struct node **at = &t->buckets[bucket_of(t, &n->handle)];

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	t->count--;
	drop_fd(t, n);
	free(n->phantom);
	place_free(n->place);
	free(n);
}

/* With it the ancestors that only it kept. */
static void node_free(struct nodes *t, struct node *n)
{
	while (n && is_unused(t, n)) {
		struct node *parent = n->place ? n->place->parent : NULL;
		node_free_one(t, n);
		if (parent)
			parent->place->kids--;
		n = parent;
	}
}

void nodes_free(struct fs *fs)
{
	struct nodes *t = fs->nodes;

	if (!t)
		return;
	for (size_t i = 0; i < t->n_buckets; i++)
		while (t->buckets[i])
			node_free_one(t, t->buckets[i]);
	place_free(t->root.place);
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

struct node *nodes_find(const struct fs *fs, const struct handle *key)
{
	return find(fs->nodes, key);
}

struct node *node_get(struct fs *fs, const struct handle *key, const struct handle *real, mode_t type)
{
	struct nodes *t = fs->nodes;
	struct node *n = find(t, key);

	if (!n) {
		n = xcalloc(1, sizeof(*n));
		*n = (struct node){.handle = *key,
		        .real = *real,
		        .fd = -1,
		        .file_fd = -1,
		        .type = type & S_IFMT,
		        .generation = ++t->generation};
		if (fs->ov)
			n->place = xcalloc(1, sizeof(*n->place));
		insert(t, n);
	}
	n->lookups++;
	return n;
}

void node_move(struct fs *fs, struct node *n, struct node *parent, const char *name)
{
	struct node_place *p = n->place;
	struct node *old = p->parent;

	if (parent)
		parent->place->kids++;
	free(p->name);
	p->name = parent ? xstrdup(name) : NULL;
	p->parent = parent;
	if (!old)
		return;
	old->place->kids--;
	node_free(fs->nodes, old);
}

/* What reads the lower inode reads the upper one from now on. */
static void readers_follow(struct node_place *p, int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (unsigned i = 0; i < p->n_fds; i++) {
		AUTO_CLOSE int again = open(path, O_RDONLY | O_CLOEXEC);
		if (again >= 0)
			dup3(again, p->fds[i], O_CLOEXEC);
	}
	p->n_fds = 0;
}

void node_moved_up(struct fs *fs, struct node *n, const struct handle *real)
{
	drop_fd(fs->nodes, n);
	n->real = *real;
	n->place->is_upper = true;
	if (!n->place->n_fds)
		return;
	AUTO_CLOSE int fd = node_open(fs, n, O_RDONLY);
	if (fd >= 0)
		readers_follow(n->place, fd);
}

void node_orphan_up(struct fs *fs, struct node *n, const struct handle *real, int fd)
{
	drop_fd(fs->nodes, n);
	n->real = *real;
	n->place->is_upper = true;
	n->fd = fd;
	n->is_orphan = true;
	readers_follow(n->place, fd);
}

void node_reads_lower(struct node *n, int fd)
{
	struct node_place *p = n->place;

	p->fds = xrealloc(p->fds, (p->n_fds + 1) * sizeof(*p->fds));
	p->fds[p->n_fds++] = fd;
}

static void reader_closed(struct node_place *p, int fd)
{
	for (unsigned i = 0; p && i < p->n_fds; i++)
		if (p->fds[i] == fd) {
			p->fds[i] = p->fds[--p->n_fds];
			break;
		}
}

int node_lookup(struct fs *fs, int dirfd, const char *name, struct node **out, struct stat *st)
{
	struct handle h;
	uint64_t ino = 0;

	if (fstatat(dirfd, name, st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
		return -errno;
	int rc = handle_get(&h, dirfd, name);
	if (rc < 0)
		return rc;
	*out = node_get(fs, origins_key(fs, &h, &ino), &h, st->st_mode);
	if (fs->ov) {
		(*out)->place->is_upper = true;
		if (ino)
			(*out)->place->ino = ino;
	}
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
	node_free(fs->nodes, n);
}

int node_open(struct fs *fs, struct node *n, int flags)
{
	if (n == &fs->nodes->root)
		return openat(fs->root_fd, ".", flags | O_CLOEXEC);
	return handle_open(fs->root_fd, &n->real, flags);
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
	struct node *n = find(fs->nodes, origins_key(fs, &h, NULL));
	return n == &fs->nodes->root ? NULL : n;
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
	reader_closed(n->place, fd);
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
