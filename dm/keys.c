/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "keys.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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
#define TENANT_TEXT_MAX 100

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

/* --- files ------------------------------------------------------------------------------------------------------- */

struct generation_name keys_file_name(const char *tenant, uint32_t generation)
{
	struct generation_name n;

	snprintf(n.text, sizeof(n.text), "%s.%u", tenant, generation);
	return n;
}

/* Into tenant and generation. False: it is something else. */
static bool file_name_split(const char *name, char tenant[TENANT_TEXT_MAX], uint32_t *generation)
{
	const char *dot = strrchr(name, '.');
	char *end;

	if (!dot || dot == name || dot - name >= TENANT_TEXT_MAX || dot[1] < '1' || dot[1] > '9')
		return false;
	snprintf(tenant, TENANT_TEXT_MAX, "%.*s", (int)(dot - name), name);
	*generation = (uint32_t)strtoul(dot + 1, &end, 10);
	return !*end;
}

bool keys_file_exists(int dirfd, const char *tenant, uint32_t generation)
{
	return faccessat(dirfd, keys_file_name(tenant, generation).text, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int overwrite(int fd)
{
	uint8_t block[4096];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	for (off_t at = 0; at < st.st_size; at += (off_t)sizeof(block)) {
		off_t left = st.st_size - at;
		size_t n = left < (off_t)sizeof(block) ? (size_t)left : sizeof(block);
		if (getrandom(block, n, 0) != (ssize_t)n)
			return -EIO;
		int rc = fd_pwrite_all(fd, block, n, at);
		if (rc < 0)
			return rc;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

int keys_file_shred(int dirfd, const char *name, struct err *e)
{
	AUTO_CLOSE int fd = openat(dirfd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	int rc = fd < 0 ? -errno : overwrite(fd);

	if (rc == -ENOENT)
		return 0;
	if (rc == 0 && (unlinkat(dirfd, name, 0) < 0 || fsync(dirfd) < 0))
		rc = -errno;
	return rc < 0 ? err_sys(e, rc, "destroy the file %s", name) : 0;
}

/* A copy of DIRFD to list, with an offset of its own. */
static DIR *dir_list(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		cleanup_close(&fd);
	return d;
}

/* NAME without the ending of a file that is being written. */
static bool new_strip(char *name)
{
	size_t n = strlen(name);
	bool is_new = n > 4 && !strcmp(name + n - 4, ".new");

	if (is_new)
		name[n - 4] = 0;
	return is_new;
}

void keys_leftovers_remove(int dirfd)
{
	AUTO_DIR DIR *d = dir_list(dirfd);
	char name[256];

	for (struct dirent *entry; d && (entry = readdir(d));) {
		snprintf(name, sizeof(name), "%s", entry->d_name);
		if (new_strip(name))
			keys_file_shred(dirfd, entry->d_name, NULL);
	}
}

int keys_files_shred(int dirfd, const char *tenant, struct err *e)
{
	AUTO_DIR DIR *d = dir_list(dirfd);
	char whose[TENANT_TEXT_MAX], name[256];
	uint32_t generation;
	int removed = 0;

	if (!d)
		return err_sys(e, -errno, "list key files");
	for (struct dirent *entry; (entry = readdir(d));) {
		snprintf(name, sizeof(name), "%s", entry->d_name);
		new_strip(name);
		if (!file_name_split(name, whose, &generation) || strcmp(whose, tenant))
			continue;
		int rc = keys_file_shred(dirfd, entry->d_name, e);
		if (rc < 0)
			return rc;
		removed++;
	}
	return removed;
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

/* The directory of PATH, opened, and PATH's last part in *NAME. */
static int dir_of(const char *path, const char **name, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char dir[256];

	if (!slash || slash - path >= (ptrdiff_t)sizeof(dir))
		return err_set(e, -EINVAL, "master key \"%.200s\": expected an absolute path", path);
	snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	*name = slash + 1;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, -errno, "open the master key's directory %s", dir) : fd;
}

int keys_master_make(const char *path, struct err *e)
{
	const char *name;
	struct master_key key;
	AUTO_CLOSE int dirfd = dir_of(path, &name, e);

	if (dirfd < 0)
		return dirfd;
	int rc = random_fill(&key, sizeof(key), e);
	if (rc == 0)
		rc = file_put(dirfd, name, &key, sizeof(key), RENAME_NOREPLACE, e);
	keys_wipe(&key, sizeof(key));
	return rc;
}

int keys_master_replace(const char *from, const char *to, struct err *e)
{
	const char *name;
	AUTO_CLOSE int dirfd = dir_of(to, &name, e);

	if (dirfd < 0)
		return dirfd;
	AUTO_CLOSE int old = openat(dirfd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	int rc = renameat(AT_FDCWD, from, dirfd, name) < 0 || fsync(dirfd) < 0 ? -errno : 0;
	if (rc == 0 && old >= 0)
		rc = overwrite(old);
	return rc < 0 ? err_sys(e, rc, "replace the master key %s", to) : 0;
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

static int key_put(int dirfd, const char *tenant, uint32_t generation, const struct master_key *master,
        struct tenant_key *key, struct err *e)
{
	struct key_file f = {.generation = htole32(generation)};

	memcpy(f.magic, MAGIC, sizeof(f.magic));
	if (getrandom(f.nonce, sizeof(f.nonce), 0) != sizeof(f.nonce))
		return err_sys(e, -errno, "get random bytes");
	if (!gcm_run(&f, tenant, master, key, true))
		return err_set(e, -EIO, "the key of tenant %s cannot be sealed", tenant);
	return file_put(dirfd, keys_file_name(tenant, generation).text, &f, sizeof(f), 0, e);
}

int keys_tenant_make(int dirfd, const char *tenant, uint32_t generation, const struct master_key *master,
        struct tenant_key *out, struct err *e)
{
	int rc = random_fill(out, sizeof(*out), e);

	return rc < 0 ? rc : key_put(dirfd, tenant, generation, master, out, e);
}

int keys_tenant_read(int dirfd, const char *tenant, uint32_t generation, const struct master_key *master,
        struct tenant_key *out, struct err *e)
{
	struct key_file f;
	AUTO_CLOSE int fd = openat(dirfd, keys_file_name(tenant, generation).text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, -errno, "open the key file of tenant %s", tenant);
	mlock(out, sizeof(*out));
	if (fd_read_full(fd, &f, sizeof(f)) != sizeof(f) || memcmp(f.magic, MAGIC, sizeof(f.magic)) ||
	        le32toh(f.generation) != generation || !gcm_run(&f, tenant, master, out, false))
		return err_set(e, -EBADMSG,
		        "the key file of tenant %s is damaged, or was sealed under another master key", tenant);
	return 0;
}

static int reseal(int dirfd, const char *tenant, uint32_t generation, const struct master_key *now,
        const struct master_key *next, struct err *e)
{
	AUTO(tenant_key_cleanup) struct tenant_key key = {0};

	if (keys_tenant_read(dirfd, tenant, generation, next, &key, NULL) == 0)
		return 0;
	int rc = keys_tenant_read(dirfd, tenant, generation, now, &key, e);
	return rc < 0 ? rc : key_put(dirfd, tenant, generation, next, &key, e);
}

int keys_reseal_all(int dirfd, const struct master_key *now, const struct master_key *next, struct err *e)
{
	AUTO_DIR DIR *d = dir_list(dirfd);
	char tenant[TENANT_TEXT_MAX];
	uint32_t generation;
	int rc = 0;

	if (!d)
		return err_sys(e, -errno, "list key files");
	for (struct dirent *entry; rc == 0 && (entry = readdir(d));)
		if (file_name_split(entry->d_name, tenant, &generation))
			rc = reseal(dirfd, tenant, generation, now, next, e);
	return rc;
}
