/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inodes that the kernel knows. A node is a handle, not a descriptor: descriptors are opened when needed and the
 * few used last are kept. Identity is the handle with its generation, never (device, number).
 *
 * A node whose last name goes while it is open becomes an orphan: its descriptor is held, its charge stays, and both
 * end with the last close.
 */
#ifndef FUSE_NODE_H
#define FUSE_NODE_H

#include <sys/stat.h>

#include "fuse/handle.h"
#include "fuse/tree.h"

#define NODE_FDS_MAX 256 /* descriptors kept */

/* Overlay mode: a node may move from a lower to the upper directory. */
struct node_place {
	struct node *parent; /* kept while this exists; NULL: the root, or no name that is known */
	char *name;          /* owns; in the parent; NULL with it */
	uint32_t kids;       /* nodes whose parent this is */
	bool is_upper;
	uint64_t ino;       /* shown to the kernel for good; 0: the real one */
	struct stack below; /* owns; of a directory: the lower ones it is merged of, itself included if it is one */
	int *fds;           /* owns the array; files open on the lower inode */
	unsigned n_fds;
};

struct node {
	struct handle handle;       /* who it is */
	struct handle real;         /* where it is: the same, unless it was copied up */
	struct node_place *place;   /* owns; overlay mode only */
	uint64_t lookups;           /* references that the kernel holds */
	uint32_t opens;             /* files open on it */
	uint32_t generation;        /* of this struct for this number, for the kernel */
	mode_t type;                /* S_IFMT bits */
	bool is_orphan;             /* no name left, open */
	struct stat *phantom;       /* owns; a whiteout marker: attributes without an inode */
	int fd;                     /* owns; -1: none. O_RDONLY for files and directories, O_PATH for the rest */
	int file_fd;                /* borrowed from the file opened first; -1: none, or closed again */
	struct node *older, *newer; /* list of nodes that hold a descriptor, orphans excepted */
	struct node *next;          /* of the same hash */
};

int nodes_new(struct fs *fs, struct err *e);
void nodes_free(struct fs *fs);
/* Credit the files that end with this process. */
void nodes_close_orphans(struct fs *fs);

struct node *nodes_root(const struct fs *fs);

/* Call FN for every node, the root included. */
void nodes_each(const struct fs *fs, void (*fn)(void *arg, struct node *n), void *arg);

/* The node that is KEY, NULL if the kernel does not know it. */
struct node *nodes_find(const struct fs *fs, const struct handle *key);
/* ... made if it is missing; it lies at REAL. With one more reference. */
struct node *node_get(struct fs *fs, const struct handle *key, const struct handle *real, mode_t type);
/* Overlay mode: N is (also) NAME in PARENT now. PARENT NULL: no name is known. */
void node_move(struct fs *fs, struct node *n, struct node *parent, const char *name);
/* Overlay mode: N lies at REAL in the upper directory now; what is open for reading follows. */
void node_moved_up(struct fs *fs, struct node *n, const struct handle *real);
/* ... where it has no name: FD, which is taken over, is all there is of it. */
void node_orphan_up(struct fs *fs, struct node *n, const struct handle *real, int fd);
/* Overlay mode: FD was opened on N's lower inode for reading; until node_closed. */
void node_reads_lower(struct node *n, int fd);

/* The node of NAME in DIRFD with one more reference, and its state. 0 or -errno. */
int node_lookup(struct fs *fs, int dirfd, const char *name, struct node **out, struct stat *st);
/* A node that is only attributes, with one reference. */
struct node *node_phantom(struct fs *fs, const struct stat *st);
void node_forget(struct fs *fs, struct node *n, uint64_t count);

/* A descriptor of the node, borrowed until the next call here; of a file in any access mode. -errno. */
int node_fd(struct fs *fs, struct node *n);
/* A new descriptor; FLAGS as for open(2). -errno. */
int node_open(struct fs *fs, struct node *n, int flags);
/* A file of the node was opened; it is closed by node_closed, and the node may go with it. */
void node_opened(struct node *n, int fd);
void node_closed(struct fs *fs, struct node *n, int fd);

/* For removal. Without a reference: NULL if the kernel does not know the inode. */
struct node *nodes_find_name(struct fs *fs, int dirfd, const char *name);
/* Before the last name goes: hold a descriptor if the node is open, drop it if not. */
void node_before_unlink(struct fs *fs, struct node *n);
/* The last name is gone. True: it is open, so its charge stays. */
bool node_orphan(struct fs *fs, struct node *n);

#endif
