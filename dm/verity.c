/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verity.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "digest/hash.h"
#include "tool.h"

#define BLOCK 4096u
#define DIGEST_BYTES 32u
#define PER_BLOCK (BLOCK / DIGEST_BYTES)
#define SALT_BYTES 32u
#define LEVELS_MAX 10 /* 128^10 blocks */
#define CHUNK (256 * BLOCK)

/* cryptsetup, lib/verity/verity.c: struct verity_sb. Numbers are little-endian. */
struct superblock {
	char signature[8]; /* "verity\0\0" */
	uint32_t version;  /* 1 */
	uint32_t hash_type;
	unsigned char uuid[16];
	char algorithm[32];
	uint32_t data_block_size, hash_block_size;
	uint64_t data_blocks;
	uint16_t salt_size;
	char pad1[6];
	unsigned char salt[256];
	char pad2[168];
};
_Static_assert(sizeof(struct superblock) == 512, "as it is on disk");

/* Level 0 holds the digests of the data; each one above those of the blocks below. They lie top level first, behind the
 * superblock's block. */
struct tree {
	int fd;
	unsigned char salt[SALT_BYTES];
	unsigned levels;
	uint64_t blocks[LEVELS_MAX], at[LEVELS_MAX]; /* in blocks */
};

static uint64_t tree_lay_out(struct tree *t, uint64_t data_blocks)
{
	uint64_t n = data_blocks, at = 1;

	for (t->levels = 0; t->levels == 0 || n > 1; t->levels++) {
		n = (n + PER_BLOCK - 1) / PER_BLOCK;
		t->blocks[t->levels] = n;
	}
	for (unsigned i = t->levels; i-- > 0;) {
		t->at[i] = at;
		at += t->blocks[i];
	}
	return at;
}

uint64_t verity_size(uint64_t data_bytes)
{
	struct tree t;

	return tree_lay_out(&t, data_bytes / BLOCK) * BLOCK;
}

/* The salt goes in front (hash type 1). */
static void block_digest(const struct tree *t, const void *block, unsigned char out[DIGEST_BYTES])
{
	unsigned char salted[SALT_BYTES + BLOCK];
	struct digest d;

	memcpy(salted, t->salt, SALT_BYTES);
	memcpy(salted + SALT_BYTES, block, BLOCK);
	hash_buffer(DIGEST_SHA256, salted, sizeof(salted), &d);
	memcpy(out, d.bytes, DIGEST_BYTES);
}

static int read_all(int fd, void *to, size_t len, uint64_t at)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, (char *)to + done, len - done, (off_t)(at + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* The digests of BLOCKS blocks of FROM, beginning with block AT, become level LEVEL. */
static int level_make(
        const struct tree *t, unsigned level, int from, uint64_t at, uint64_t blocks, unsigned char *chunk)
{
	unsigned char digests[BLOCK];
	uint64_t to = t->at[level] * BLOCK;
	unsigned n = 0;
	int rc = 0;

	for (uint64_t i = 0; i < blocks && rc == 0; i++) {
		if (i * BLOCK % CHUNK == 0) {
			uint64_t left = (blocks - i) * BLOCK;
			rc = tool_stop_check(NULL);
			if (rc == 0)
				rc = read_all(from, chunk, left < CHUNK ? (size_t)left : CHUNK, (at + i) * BLOCK);
			if (rc < 0)
				return rc;
		}
		block_digest(t, chunk + i * BLOCK % CHUNK, digests + n++ * DIGEST_BYTES);
		if (n < PER_BLOCK && i + 1 < blocks)
			continue;
		memset(digests + n * DIGEST_BYTES, 0, sizeof(digests) - n * DIGEST_BYTES);
		rc = fd_pwrite_all(t->fd, digests, sizeof(digests), (off_t)to);
		to += BLOCK;
		n = 0;
	}
	return rc;
}

static int superblock_write(const struct tree *t, uint64_t data_blocks)
{
	struct superblock sb = {.signature = "verity",
	        .version = htole32(1),
	        .hash_type = htole32(1),
	        .algorithm = "sha256",
	        .data_block_size = htole32(BLOCK),
	        .hash_block_size = htole32(BLOCK),
	        .data_blocks = htole64(data_blocks),
	        .salt_size = htole16(SALT_BYTES)};
	unsigned char block[BLOCK] = {0};

	if (getrandom(sb.uuid, sizeof(sb.uuid), 0) != (ssize_t)sizeof(sb.uuid))
		return -EIO;
	sb.uuid[6] = (unsigned char)((sb.uuid[6] & 0x0f) | 0x40); /* RFC 9562: version 4 */
	sb.uuid[8] = (unsigned char)((sb.uuid[8] & 0x3f) | 0x80);
	memcpy(sb.salt, t->salt, SALT_BYTES);
	memcpy(block, &sb, sizeof(sb));
	return fd_pwrite_all(t->fd, block, sizeof(block), 0);
}

int verity_make(int data, uint64_t data_bytes, int tree, struct digest *root, struct err *e)
{
	struct tree t = {.fd = tree};
	AUTO_FREE unsigned char *chunk = xcalloc(1, CHUNK);
	int rc = getrandom(t.salt, sizeof(t.salt), 0) == (ssize_t)sizeof(t.salt) ? 0 : -EIO;

	tree_lay_out(&t, data_bytes / BLOCK);
	for (unsigned i = 0; i < t.levels && rc == 0; i++)
		rc = i ? level_make(&t, i, tree, t.at[i - 1], t.blocks[i - 1], chunk)
		       : level_make(&t, 0, data, 0, data_bytes / BLOCK, chunk);
	if (rc == 0)
		rc = read_all(tree, chunk, BLOCK, t.at[t.levels - 1] * BLOCK);
	if (rc == 0)
		rc = superblock_write(&t, data_bytes / BLOCK);
	if (rc == 0 && fsync(tree) < 0)
		rc = -errno;
	if (rc < 0)
		return err_sys(e, rc, "make a hash tree");
	*root = (struct digest){.algorithm = DIGEST_SHA256};
	block_digest(&t, chunk, root->bytes);
	return 0;
}
