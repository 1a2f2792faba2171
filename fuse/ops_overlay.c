/* SPDX-License-Identifier: GPL-2.0-or-later */
/* POSIX operations on names in overlay mode, and how a node gets into the upper directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fuse/merge.h"
#include "fuse/ops.h"
#include "fuse/overlay.h"

/* --- nodes ------------------------------------------------------------------------------------------------------ */

bool ov_is_gone(const struct fs *fs, const struct node *dir)
{
	return dir != nodes_root(fs) && !dir->place->parent;
}

/* A descriptor of the upper directory, the caller's; -1: there is none. Or -errno below that. */
static int upper_open(struct fs *fs, struct node *dir)
{
	int fd = dir->place->is_upper ? node_open(fs, dir, O_RDONLY | O_DIRECTORY) : -1;

	return !dir->place->is_upper || fd >= 0 ? fd : fd == -1 ? -EIO : fd;
}

static int dir_find(struct fs *fs, struct node *dir, const char *name, struct ov_found *f, int *upper)
{
	*f = (struct ov_found){0};
	*upper = -1;
	if (ov_is_gone(fs, dir))
		return -ENOENT;
	*upper = upper_open(fs, dir);
	return *upper < -1 ? *upper : ov_find(fs, *upper, &dir->place->below, name, f);
}

/* The node of what was found; what a merged directory of an earlier session is made of gives it its number. */
static const struct handle *key_of(struct fs *fs, const struct ov_found *f, uint64_t *ino)
{
	struct stat st;

	if (f->is_upper && f->below.n && origins_key(fs, &f->real, NULL) == &f->real) {
		AUTO_CLOSE int fd = handle_open(fs->root_fd, &f->below.dirs[0], O_PATH);
		if (fd >= 0 && fstat(fd, &st) == 0)
			origins_add(fs, &f->real, &f->below.dirs[0], st.st_ino);
	}
	return origins_key(fs, &f->real, ino);
}

static struct node *node_known(struct fs *fs, const struct ov_found *f)
{
	struct node *n = nodes_find(fs, origins_key(fs, &f->real, NULL));

	return n == nodes_root(fs) ? NULL : n;
}

void ov_node_stat(struct fs *fs, struct node *n, struct stat *st)
{
	const struct node_place *p = n->place;

	if (!p)
		return;
	if (p->ino)
		st->st_ino = p->ino;
	/* As the kernel's overlayfs: subdirectories of all layers are not counted. */
	if (S_ISDIR(st->st_mode) && p->below.n && n != nodes_root(fs))
		st->st_nlink = p->name ? 1 : 0;
	if (S_ISDIR(st->st_mode) || p->is_upper)
		return;
	int names = st->st_nlink > 1 ? aliases_count(fs, &n->real, st) : p->name != NULL;
	st->st_nlink = names < 0 ? st->st_nlink : (nlink_t)names;
}

int ov_op_lookup(struct fs *fs, struct node *dir, const char *name, struct found *out)
{
	struct ov_found f;
	AUTO_CLOSE int upper = -1;
	uint64_t ino = 0;
	int rc = dir_find(fs, dir, name, &f, &upper);

	if (rc < 0 || !f.exists) {
		ov_found_free(&f);
		return rc < 0 ? rc : -ENOENT;
	}
	const struct handle *key = key_of(fs, &f, &ino);
	struct node *n = node_get(fs, key, &f.real, f.st.st_mode);
	if (ino)
		n->place->ino = ino;
	n->place->is_upper = f.is_upper;
	stack_free(&n->place->below);
	n->place->below = f.below;
	node_move(fs, n, dir, name);
	out->node = n;
	out->st = f.st;
	ov_node_stat(fs, n, &out->st);
	return 0;
}

/* The path of a directory's node; its caller frees. NULL: it has none any more. */
static char *node_path(const struct fs *fs, const struct node *n)
{
	char *path = xstrdup("");

	for (; n != nodes_root(fs); n = n->place->parent) {
		if (!n->place->parent) {
			free(path);
			return NULL;
		}
		char *longer = *path ? xasprintf("%s/%s", n->place->name, path) : xstrdup(n->place->name);
		free(path);
		path = longer;
	}
	return path;
}

static int one_up(struct fs *fs, struct node *n, uint64_t size)
{
	AUTO_CLOSE int dir = node_open(fs, n->place->parent, O_RDONLY | O_DIRECTORY);

	return dir < 0 ? dir : copy_up(fs, dir, n->place->name, &n->real, size);
}

static int name_recall(struct fs *fs, const char *path, void *arg)
{
	struct node *n = arg, *dir = nodes_root(fs);
	struct found f = {.node = NULL};
	int rc = 0;

	/* Look-ups give nodes on the way; each keeps its parent. */
	for (const char *p = path; rc == 0 && !n->place->parent;) {
		const char *end = strchrnul(p, '/');
		AUTO_FREE char *name = strndup(p, (size_t)(end - p));
		struct node *before = f.node;
		rc = ov_op_lookup(fs, dir, name, &f);
		if (before)
			node_forget(fs, before, 1);
		if (rc < 0)
			return rc;
		dir = f.node;
		p = *end ? end + 1 : end;
	}
	if (f.node)
		node_forget(fs, f.node, 1);
	return rc;
}

/* A lower file without a name: another of its names, if one is left; else an inode that has none. */
static int nameless_up(struct fs *fs, struct node *n, uint64_t size)
{
	struct stat st;
	AUTO_CLOSE int fd = node_open(fs, n, O_PATH);

	if (fd < 0 || fstat(fd, &st) < 0)
		return fd < 0 ? fd : -errno;
	int rc = st.st_nlink > 1 && !S_ISDIR(st.st_mode) ? aliases_each(fs, &n->real, st.st_ino, name_recall, n) : 0;
	if (rc < 0)
		return rc;
	return n->place->parent ? ov_node_up(fs, n, size) : copy_up_orphan(fs, n, size);
}

int ov_node_up(struct fs *fs, struct node *n, uint64_t size)
{
	int rc = 0;

	if (n->phantom || n->place->is_upper)
		return 0;
	if (!n->place->parent)
		return S_ISDIR(n->type) ? -ENOENT : nameless_up(fs, n, size);
	while (rc == 0 && !n->place->is_upper) {
		struct node *top = n;
		while (!top->place->parent->place->is_upper) {
			top = top->place->parent;
			if (!top->place->parent)
				return -ENOENT;
		}
		rc = one_up(fs, top, top == n ? size : 0);
	}
	return rc;
}

int ov_dir_open(struct fs *fs, struct node *dir)
{
	int rc = ov_is_gone(fs, dir) ? -ENOENT : ov_node_up(fs, dir, 0);

	return rc < 0 ? rc : node_open(fs, dir, O_RDONLY | O_DIRECTORY);
}

/* --- unlink ----------------------------------------------------------------------------------------------------- */

static int is_empty(struct fs *fs, int upper, const char *name, const struct ov_found *f)
{
	AUTO_CLOSE int fd = f->is_upper ? openat(upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	struct merge m;

	if (f->is_upper && fd < 0)
		return -errno;
	int rc = merge_read(fs, fd, &f->below, &m);
	size_t n = m.n;
	merge_free(&m);
	return rc < 0 ? rc : n ? -ENOTEMPTY : 0;
}

/* What the upper directory has of a name that goes: a directory holds whiteouts at most. */
static int upper_remove(struct fs *fs, int upper, const char *name, const struct ov_found *f)
{
	struct stat st;

	if (!f->is_upper && !f->is_hidden)
		return 0;
	if (S_ISDIR(f->st.st_mode))
		return tree_remove(fs, upper, name);
	return fstatat(upper, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : tree_unlink(fs, upper, name, &st);
}

static void name_gone(struct fs *fs, struct node *dir, const char *name, struct node *n)
{
	if (n && n->place->parent == dir && !strcmp(n->place->name, name))
		node_move(fs, n, NULL, NULL);
}

static int unlink_found(struct fs *fs, struct node *dir, const char *name, const struct ov_found *f)
{
	AUTO_CLOSE int upper = ov_dir_open(fs, dir);

	if (upper < 0)
		return upper;
	int rc = f->covers ? ov_whiteout_prepare(fs, upper) : 0;
	if (rc == 0)
		rc = upper_remove(fs, upper, name, f);
	if (rc == 0 && f->covers)
		rc = ov_whiteout_commit(fs, upper, name);
	else if (f->covers)
		tree_remove(fs, upper, OVERLAY_TEMP);
	return rc;
}

int ov_op_unlink(struct fs *fs, struct node *dir, const char *name, bool is_dir)
{
	struct ov_found f;
	AUTO_CLOSE int upper = -1;
	int rc = dir_find(fs, dir, name, &f, &upper);

	if (rc == 0 && !f.exists)
		rc = -ENOENT;
	if (rc == 0 && is_dir != S_ISDIR(f.st.st_mode))
		rc = is_dir ? -ENOTDIR : -EISDIR;
	if (rc == 0 && is_dir)
		rc = is_empty(fs, upper, name, &f);
	/* A reference: the node shall be there when its name goes. */
	struct node *n = rc == 0 ? node_known(fs, &f) : NULL;
	if (n)
		n->lookups++;
	if (rc == 0)
		rc = unlink_found(fs, dir, name, &f);
	if (rc == 0)
		name_gone(fs, dir, name, n);
	if (n)
		node_forget(fs, n, 1);
	if (rc == 0)
		fs->serial++;
	ov_found_free(&f);
	return rc;
}

/* --- rename ----------------------------------------------------------------------------------------------------- */

struct end {
	struct node *dir;
	const char *name;
	struct ov_found f;
	struct node *node; /* one more reference; NULL: unknown to the kernel */
	int upper;         /* owns */
};

static int end_find(struct fs *fs, struct end *x)
{
	int rc = dir_find(fs, x->dir, x->name, &x->f, &x->upper);

	x->node = rc == 0 && x->f.exists ? node_known(fs, &x->f) : NULL;
	if (x->node)
		x->node->lookups++;
	return rc;
}

static void end_free(struct fs *fs, struct end *x)
{
	if (x->node)
		node_forget(fs, x->node, 1);
	ov_found_free(&x->f);
	cleanup_close(&x->upper);
}

/* Look again, after something was copied up. */
static int end_again(struct fs *fs, struct end *x)
{
	end_free(fs, x);
	return end_find(fs, x);
}

/* What moves lies in the upper directory, all of it. */
static int end_up(struct fs *fs, struct end *x)
{
	int rc = ov_node_up(fs, x->dir, 0);

	if (rc == 0 && S_ISDIR(x->f.st.st_mode) && x->f.below.n) {
		AUTO_FREE char *parent = node_path(fs, x->dir);
		AUTO_FREE char *path = parent ? xasprintf("%s%s%s", parent, *parent ? "/" : "", x->name) : NULL;
		rc = path ? copy_up_tree(fs, path) : -ENOENT;
	} else if (rc == 0 && !x->f.is_upper) {
		AUTO_CLOSE int dir = node_open(fs, x->dir, O_RDONLY | O_DIRECTORY);
		rc = dir < 0 ? dir : copy_up(fs, dir, x->name, &x->f.real, UINT64_MAX);
	}
	if (rc == 0)
		rc = end_again(fs, x);
	if (rc == 0 && S_ISDIR(x->f.st.st_mode) && x->f.below.n) {
		AUTO_CLOSE int fd = openat(x->upper, x->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		rc = fd < 0 ? -errno : ov_opaque(fs, fd);
		if (rc == 0)
			rc = ov_marks_remove(fs, fd);
	}
	return rc;
}

static int rename_check(struct fs *fs, const struct end *from, const struct end *to, unsigned flags)
{
	bool from_dir = S_ISDIR(from->f.st.st_mode), to_dir = S_ISDIR(to->f.st.st_mode);

	if (!from->f.exists)
		return -ENOENT;
	if (flags & RENAME_EXCHANGE)
		return to->f.exists ? 0 : -ENOENT;
	if (!to->f.exists)
		return 0;
	if (flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (from_dir != to_dir)
		return from_dir ? -ENOTDIR : -EISDIR;
	return to_dir && !(from->dir == to->dir && !strcmp(from->name, to->name))
	               ? is_empty(fs, to->upper, to->name, &to->f)
	               : 0;
}

/* A moved directory must not merge with what lower layers have at its new name. */
static int moved_opaque(struct fs *fs, const struct end *to, mode_t mode)
{
	const struct ov_cover cover = {.covers = to->f.covers};

	return ov_covered(fs, to->upper, to->name, mode, &cover);
}

static int rename_exchange(struct fs *fs, struct end *from, struct end *to)
{
	if (syscall(SYS_renameat2, from->upper, from->name, to->upper, to->name, RENAME_EXCHANGE) < 0)
		return -errno;
	int rc = moved_opaque(fs, to, from->f.st.st_mode);
	if (rc == 0)
		rc = moved_opaque(fs, from, to->f.st.st_mode);
	if (from->node)
		node_move(fs, from->node, to->dir, to->name);
	if (to->node)
		node_move(fs, to->node, from->dir, from->name);
	return rc;
}

/* The old name is free; the new one may be taken by a file, which goes with the call. */
static int rename_move(struct fs *fs, struct end *from, struct end *to)
{
	struct stat was, st;
	int rc = from->f.covers ? ov_whiteout_prepare(fs, from->upper) : 0;

	if (rc == 0)
		rc = upper_remove(fs, to->upper, to->name, &to->f);
	if (rc == 0 && fstat(to->upper, &was) < 0)
		rc = -errno;
	if (rc == 0)
		rc = ledger_reserve(&fs->ledger, fs_dir_growth(fs), 0, NULL);
	if (rc < 0)
		return rc;
	rc = renameat(from->upper, from->name, to->upper, to->name) < 0 ? -errno : 0;
	int charged = fs_charge_fd(fs, to->upper, fs_dir_growth(fs), stat_bytes(&was), &st);
	if (rc < 0)
		return rc;
	rc = moved_opaque(fs, to, from->f.st.st_mode);
	if (rc == 0 && from->f.covers)
		rc = ov_whiteout_commit(fs, from->upper, from->name);
	name_gone(fs, to->dir, to->name, to->node);
	if (from->node)
		node_move(fs, from->node, to->dir, to->name);
	return rc < 0 ? rc : charged;
}

/* Two names of one inode: rename(2) does nothing. */
static bool is_same(const struct fs *fs, const struct end *a, const struct end *b)
{
	return a->f.exists && b->f.exists &&
	       handle_equal(origins_key(fs, &a->f.real, NULL), origins_key(fs, &b->f.real, NULL));
}

int ov_op_rename(
        struct fs *fs, struct node *dir, const char *name, struct node *to_dir, const char *to_name, unsigned flags)
{
	struct end from = {.dir = dir, .name = name, .upper = -1}, to = {.dir = to_dir, .name = to_name, .upper = -1};

	int rc = end_find(fs, &from);
	if (rc == 0)
		rc = end_find(fs, &to);
	if (rc == 0)
		rc = rename_check(fs, &from, &to, flags);
	if (rc == 0 && !is_same(fs, &from, &to)) {
		rc = end_up(fs, &from);
		if (rc == 0)
			rc = flags & RENAME_EXCHANGE ? end_up(fs, &to) : ov_node_up(fs, to_dir, 0);
		if (rc == 0)
			rc = end_again(fs, &from);
		if (rc == 0)
			rc = end_again(fs, &to);
		if (rc == 0)
			rc = flags & RENAME_EXCHANGE ? rename_exchange(fs, &from, &to) : rename_move(fs, &from, &to);
		if (from.upper >= 0)
			tree_remove(fs, from.upper, OVERLAY_TEMP);
		fs->serial++;
	}
	end_free(fs, &from);
	end_free(fs, &to);
	return rc;
}
