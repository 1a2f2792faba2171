/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Volumes: what builderd asks of a storage backend. Two implement it: `file` (ext4 image files) and `dm` (thin
 * devices).
 *
 * Vocabulary: a *volume* is an ext4 file system while a build writes it; a *chain* is the read-only snapshot taken
 * after a layer, named by tenant and chainID; a *rootfs* is the sealed product, named by build id; a *product key*
 * names what a rootfs was made from, so that the same image gives the same product without work; a *lease* says that a
 * VM has a rootfs, and keeps it.
 *
 * Calls block and may be made from several build threads at once on different volumes; the backend locks what it
 * shares. All ids were validated by the caller (msg_*_id_is_valid). Errors are sentences in E.
 */
#ifndef DM_VOLUME_H
#define DM_VOLUME_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <sys/types.h>

#include "base/digest.h"
#include "base/err.h"
#include "ipc/message.h"

struct store;  /* an open backend */
struct volume; /* a build's writable volume; one thread uses it */

struct admin_call; /* dm/admin.h */

enum store_access {
	STORE_SERVE,  /* builderd: set up what is missing, recover, open every tenant */
	STORE_CHANGE, /* an admin while no builderd runs: recover what is asked for; nothing is set up */
	STORE_LOOK    /* the same, and nothing is changed: no recovery, pools are read-only */
};

struct store_options {
	enum store_access access;
	const char *state_dir;    /* absolute */
	unsigned fetch_uid;       /* owner of the blob directories */
	uint64_t cache_max_bytes; /* blobs and chains that no build uses may take this much */
	const char *jail_dir;     /* VMs' directories lie below it; "" or NULL: nothing is placed in any */

	/* dm only; empty texts: not configured */
	const char *dm_data_device, *dm_metadata_device; /* no metadata device: a part of the data device */
	const char *dm_loop_file;                        /* instead of a device, for trials */
	uint64_t dm_loop_bytes;                          /* of a new loop file */
	const char *dm_master_key_file;                  /* "": STATE_DIR/dm/master.key */
	uint64_t dm_tenant_bytes;                        /* virtual size of a new tenant's volume */
	bool dm_forbids_discards;                        /* the medium is not told what tenants do not use */
	bool dm_verity;                                  /* a sealed rootfs gets a hash tree */
	uint64_t dm_tenant_idle_ms;                      /* a tenant that nobody uses is closed then; 0: never */
};

struct chain_info {
	uint64_t used_bytes, used_inodes; /* the ledger at the chain's end */
	uint64_t work_bytes;              /* for snapshot(): what unpacking its last layer wrote */
	uint64_t size_bytes;              /* of the volume */
};

struct rootfs_info {
	uint64_t used_bytes, used_inodes;
	uint64_t size_bytes;    /* of the block device or file */
	struct digest checksum; /* SHA-256 of all size_bytes */
	char path[256];         /* what metald opens */
};

struct lease_request {
	char tenant[TENANT_ID_MAX], build[BUILD_ID_MAX];
	int mode;                      /* enum lease_mode */
	char holder[LEASE_HOLDER_MAX]; /* the VM, as the VM manager calls it */
	char jail[LEASE_JAIL_MAX];     /* its directory, below jail_dir; "": nothing is placed */
};

struct lease {
	char id[LEASE_ID_MAX];
	struct lease_request what;
	int64_t created_ms;  /* Unix time */
	char path[256];      /* of the device, or of the file */
	dev_t dev;           /* its number; 0: a file */
	uint64_t size_bytes; /* of the device */
	unsigned char fs_uuid[16];
	struct digest checksum;    /* of the rootfs when it was sealed */
	struct digest verity_root; /* READ_ONLY; not valid: there is no hash tree */
	char verity_path[256];     /* of the hash tree's device, "": none */
};

struct store_usage {
	uint64_t total_bytes, free_bytes; /* of the medium */
	uint64_t used_bytes;              /* by all tenants */
	char trouble[128];                /* "": none; else what a person has to know */
};

struct volume_ops {
	const char *name; /* "file", "dm" */

	/* Can this host run the backend? 0, or -errno with the reason in E. */
	int (*probe)(const struct store_options *o, struct err *e);

	/* Open, recover: leftovers of builds that did not finish are gone afterwards. */
	int (*open)(const struct store_options *o, struct store **out, struct err *e);
	void (*close)(struct store *s);
	int (*usage)(struct store *s, struct store_usage *out, struct err *e);

	/* A descriptor of the tenant's blob directory, made if missing. The caller closes it. */
	int (*blob_dir)(struct store *s, const char *tenant, struct err *e);

	/* -ENOENT: not cached. */
	int (*chain_find)(struct store *s, const char *tenant, const struct digest *chain_id, struct chain_info *out,
	        struct err *e);

	/* A writable volume for BUILD: a snapshot of PARENT, or an empty ext4 if NULL; at least SIZE_BYTES big, with
	 * inodes for INODES. -ENOENT if the parent is gone. */
	int (*create)(struct store *s, const char *tenant, const char *build, const struct digest *parent,
	        uint64_t size_bytes, uint64_t inodes, struct volume **out, struct err *e);

	/* Mount it nowhere (a detached mount: nosuid, nodev, noexec, noatime); returns a descriptor of its root, which
	 * the caller closes; unmount waits until the kernel has let go. */
	int (*mount)(struct volume *v, struct err *e);
	int (*unmount)(struct volume *v, struct err *e);

	/* Make a mounted volume bigger, to at least SIZE_BYTES in all, inodes in proportion. ROOT_FD is the mount's
	 * root. */
	int (*grow)(struct volume *v, int root_fd, uint64_t size_bytes, struct err *e);
	uint64_t (*size)(const struct volume *v);

	/* Unmounted only. Keep the state as CHAIN_ID; an existing chain of that name is left as it is. 1: not kept,
	 * because the backend would have to copy much more than unpacking the layers since the last chain again would
	 * write. */
	int (*snapshot)(struct volume *v, const struct digest *chain_id, const struct chain_info *info, struct err *e);

	/* Unmounted only: give it a journal, for VMs that will write it. */
	int (*journal)(struct volume *v, struct err *e);

	/* Unmounted only: e2fsck -fn must find nothing (else -EUCLEAN, kind INTERNAL). */
	int (*check)(struct volume *v, struct err *e);

	/* A read-only descriptor of the unmounted volume's bytes, for hashing. The caller closes it. */
	int (*open_raw)(struct volume *v, struct err *e);

	/* Make the volume the rootfs of its build, durable before it returns; frees V in every case. METADATA (bytes of
	 * metadata.json) is put beside it. INFO's sizes and checksum are the caller's, path is filled in. */
	int (*seal)(struct volume *v, const struct digest *product_key, const char *metadata, size_t metadata_len,
	        struct rootfs_info *info, struct err *e);

	/* Throw an unfinished volume away, mounted or not. Takes NULL. */
	void (*discard)(struct volume *v);

	/* A sealed rootfs with this product key becomes BUILD's rootfs too, without work. *METADATA is the caller's to
	 * free. -ENOENT: none. */
	int (*share)(struct store *s, const char *tenant, const char *build, const struct digest *product_key,
	        struct rootfs_info *info, char **metadata, size_t *metadata_len, struct err *e);

	/* Read-only descriptor of a sealed rootfs. -ENOENT: none. */
	int (*rootfs_open)(
	        struct store *s, const char *tenant, const char *build, struct rootfs_info *info, struct err *e);

	/* Delete BUILD's rootfs and what it left (not shared chains). FREED gets the bytes that came back. -ENOENT:
	 * none. -EBUSY: it is open, or leased (kind LEASED), the sentence says to whom. */
	int (*rootfs_delete)(struct store *s, const char *tenant, const char *build, uint64_t *freed, struct err *e);

	/* Give the rootfs of a build to a VM: the sealed device itself, or a writable clone of its own. The same
	 * holder, build and mode again give the same lease, so that an answer that was lost leaves nothing behind;
	 * -EEXIST: with another jail. -ENOENT: no such rootfs. METADATA (bytes of metadata.json, the caller's to free;
	 * NULL on failure). */
	int (*lease_acquire)(struct store *s, const struct lease_request *q, struct lease *out, char **metadata,
	        size_t *metadata_len, struct err *e);

	/* Drop the lease, and its clone with all that was written to it. -EBUSY: somebody has it open, the sentence
	 * says who. -ENOENT: no such lease (any more). */
	int (*lease_release)(struct store *s, const char *id, struct err *e);

	/* Leases of TENANT and BUILD ("": of any) behind the id AFTER, in the order of their ids, at most MAX (the size
	 * of OUT). Returns how many. What is not known of one that is damaged is zero. */
	int (*lease_list)(struct store *s, const char *tenant, const char *build, const char *after, struct lease *out,
	        size_t max, struct err *e);

	/* Bring the caches below cache_max_bytes, oldest use first. */
	int (*trim)(struct store *s, uint64_t *freed, struct err *e);

	/* An administrator's command, through admin_run() (dm/admin.h). From any thread. */
	int (*admin)(struct store *s, struct admin_call *c, struct err *e);

	/* What all tenants' storage lies on, while no store is open on it: check it, and repair it if IS_REPAIR. 0: it
	 * is well; 1: it was damaged and is repaired; -EUCLEAN: it is damaged. TEXT is what was found. -EBUSY: it is in
	 * use. NULL: the backend has nothing of the kind. */
	int (*host_repair)(const struct store_options *o, bool is_repair, char text[400], struct err *e);
};

/* FD (an eventfd, say; borrowed, -1: none) speaks for the calling thread: once it is readable, what a backend does for
 * this thread and takes long, copies and e2fsprogs, ends with -ECANCELED. discard() works all the same. */
void volume_stop_fd_set(int fd);

/* What this host has of what the dm backend uses, a line each; nothing is changed. */
void volume_dm_host_report(const struct store_options *o, FILE *out);

extern const struct volume_ops volume_file_ops;
extern const struct volume_ops volume_dm_ops;

#endif
