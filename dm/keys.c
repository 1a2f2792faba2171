/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "keys.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define MAGIC "BUILDKEY"
#define NONCE_BYTES 12
#define TAG_BYTES 16

struct key_file {
	char magic[8];
	uint32_t generation; /* little endian */
	uint8_t nonce[NONCE_BYTES];
	uint8_t sealed[TENANT_KEY_BYTES];
	uint8_t tag[TAG_BYTES];
} __attribute__((packed));

void keys_wipe(void *key, size_t size)
{
	explicit_bzero(key, size);
	munlock(key, size);
}

static int random_fill(void *out, size_t size, struct err *e)
{
	mlock(out, size); /* best effort: RLIMIT_MEMLOCK may be small; core files are off in any case */
	if (getrandom(out, size, 0) != (ssize_t)size)
		return err_sys(e, -errno, "get random bytes");
	return 0;
}

/* DATA under its final NAME or not at all; durable. FLAGS: RENAME_NOREPLACE or 0. */
static int file_put(int dirfd, const char *name, const void *data, size_t len, unsigned flags, struct err *e)
{
	char tmp[256];

	if (snprintf(tmp, sizeof(tmp), "%s.new", name) >= (int)sizeof(tmp))
		return err_set(e, -ENAMETOOLONG, "key file name \"%.100s\" is too long", name);
	unlinkat(dirfd, tmp, 0);
	AUTO_CLOSE int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
	int rc = fd < 0 ? -errno : fd_write_all(fd, data, len);
	if (rc == 0 && (fsync(fd) < 0 || renameat2(dirfd, tmp, dirfd, name, flags) < 0 || fsync(dirfd) < 0))
		rc = -errno;
	if (rc < 0) {
		unlinkat(dirfd, tmp, 0);
		return err_sys(e, rc, "write the key file %s", name);
	}
	return 0;
}

/* --- the master key ---------------------------------------------------------------------------------------------- */

int keys_master_read(const char *path, struct master_key *out, struct err *e)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_sys(e, -errno, "open the master key %s", path);
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "look at the master key %s", path);
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
		return err_set(e, -EPERM,
		        "the master key %s must be a regular file of user %u with mode 0400, it has mode %04o and user "
		        "%u",
		        path, geteuid(), st.st_mode & 07777, st.st_uid);
	if (st.st_size != MASTER_KEY_BYTES)
		return err_set(e, -EINVAL, "the master key %s has %lld bytes, expected %d", path, (long long)st.st_size,
		        MASTER_KEY_BYTES);
	mlock(out, sizeof(*out));
	if (fd_read_full(fd, out->bytes, sizeof(out->bytes)) != MASTER_KEY_BYTES)
		return err_set(e, -EIO, "the master key %s cannot be read", path);
	return 0;
}

int keys_master_make(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char dir[256];
	struct master_key key;

	if (!slash || slash - path >= (ptrdiff_t)sizeof(dir))
		return err_set(e, -EINVAL, "master key \"%.200s\": expected an absolute path", path);
	snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	AUTO_CLOSE int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_sys(e, -errno, "open the master key's directory %s", dir);
	int rc = random_fill(&key, sizeof(key), e);
	if (rc == 0)
		rc = file_put(dirfd, slash + 1, &key, sizeof(key), RENAME_NOREPLACE, e);
	keys_wipe(&key, sizeof(key));
	return rc;
}

/* --- tenants' keys ----------------------------------------------------------------------------------------------- */

static void ctx_free(EVP_CIPHER_CTX **c)
{
	EVP_CIPHER_CTX_free(*c);
}

/* Seal or open 64 bytes. False: the library failed, or the tag does not fit. */
static bool gcm_run(struct key_file *f, const char *tenant, const struct master_key *master, struct tenant_key *key,
        bool is_sealing)
{
	AUTO(ctx_free) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t *out = is_sealing ? f->sealed : key->bytes;
	const uint8_t *in = is_sealing ? key->bytes : f->sealed;
	int n;

	if (!c || !EVP_CipherInit_ex2(c, EVP_aes_256_gcm(), master->bytes, f->nonce, is_sealing, NULL))
		return false;
	if (!is_sealing && !EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, f->tag))
		return false;
	if (!EVP_CipherUpdate(c, NULL, &n, (const uint8_t *)f, offsetof(struct key_file, nonce)) ||
	        !EVP_CipherUpdate(c, NULL, &n, (const uint8_t *)tenant, (int)strlen(tenant)) ||
	        !EVP_CipherUpdate(c, out, &n, in, TENANT_KEY_BYTES) || n != TENANT_KEY_BYTES ||
	        !EVP_CipherFinal_ex(c, out + n, &n))
		return false;
	return !is_sealing || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, f->tag);
}

static void file_name(char out[128], const char *tenant, uint32_t generation)
{
	snprintf(out, 128, "%s.%u", tenant, generation);
}

int keys_tenant_make(int dirfd, const char *tenant, uint32_t generation, const struct master_key *master,
        struct tenant_key *out, struct err *e)
{
	struct key_file f = {.generation = htole32(generation)};
	char name[128];
	int rc = random_fill(out, sizeof(*out), e);

	memcpy(f.magic, MAGIC, sizeof(f.magic));
	if (rc == 0 && getrandom(f.nonce, sizeof(f.nonce), 0) != sizeof(f.nonce))
		rc = err_sys(e, -errno, "get random bytes");
	if (rc < 0)
		return rc;
	if (!gcm_run(&f, tenant, master, out, true))
		return err_set(e, -EIO, "the key of tenant %s cannot be sealed", tenant);
	file_name(name, tenant, generation);
	return file_put(dirfd, name, &f, sizeof(f), 0, e);
}

int keys_tenant_read(int dirfd, const char *tenant, uint32_t generation, const struct master_key *master,
        struct tenant_key *out, struct err *e)
{
	struct key_file f;
	char name[128];

	file_name(name, tenant, generation);
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, -errno, "open the key file of tenant %s", tenant);
	mlock(out, sizeof(*out));
	if (fd_read_full(fd, &f, sizeof(f)) != sizeof(f) || memcmp(f.magic, MAGIC, sizeof(f.magic)) ||
	        le32toh(f.generation) != generation || !gcm_run(&f, tenant, master, out, false))
		return err_set(e, -EBADMSG,
		        "the key file of tenant %s is damaged, or was sealed under another master key", tenant);
	return 0;
}
