/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "luks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <libcryptsetup.h>

#include "base/cleanup.h"
#include "dm.h"

#define VOLUME_KEY_BYTES 64
#define KDF_ROUNDS 1000 /* the least that LUKS2 allows for PBKDF2 */
#define UUID_TEXT_MAX 37

static const struct crypt_pbkdf_type kdf = {
        .type = CRYPT_KDF_PBKDF2, .hash = "sha256", .iterations = KDF_ROUNDS, .flags = CRYPT_PBKDF_NO_BENCHMARK};

/* The device of one call; holds dm_lock from begin to the end of its scope. */
struct device {
	struct crypt_device *cd; /* owns */
	char said[200];          /* the library's last complaint */
};

static void on_log(int level, const char *text, void *arg)
{
	struct device *d = arg;

	if (level != CRYPT_LOG_ERROR)
		return;
	snprintf(d->said, sizeof(d->said), "%s", text);
	d->said[strcspn(d->said, "\n")] = 0;
}

static void device_end(struct device *d)
{
	if (d->cd)
		crypt_free(d->cd);
	dm_unlock();
}

static int device_begin(struct device *d, const char *path, struct err *e)
{
	*d = (struct device){0};
	dm_lock();
	crypt_metadata_locking(NULL, 0); /* one builderd at a time has the pool: its state directory is locked */
	int rc = crypt_init(&d->cd, path);
	if (rc < 0)
		return err_sys(e, rc, "open %s as an encrypted device", path);
	crypt_set_log_callback(d->cd, on_log, d);
	return 0;
}

/* Theirs has dashes. */
static bool uuid_is(const char *theirs, const char *ours)
{
	for (; theirs && *theirs; theirs++)
		if (*theirs != '-' && *theirs != *ours++)
			return false;
	return theirs && !*ours;
}

static int device_error(const struct device *d, int rc, const char *what, const char *path, struct err *e)
{
	return err_sys(e, rc, "%s %s%s%s%s", what, path, d->said[0] ? " (" : "", d->said, d->said[0] ? ")" : "");
}

/* The header of PATH, if it is UUID's. */
static int device_load(struct device *d, const char *path, const char *uuid, struct err *e)
{
	int rc = device_begin(d, path, e);

	if (rc < 0)
		return rc;
	if (crypt_load(d->cd, CRYPT_LUKS2, NULL) < 0)
		return err_set(e, -EUCLEAN, "%s has no LUKS2 header that can be read%s%s%s", path,
		        d->said[0] ? " (" : "", d->said, d->said[0] ? ")" : "");
	if (!uuid_is(crypt_get_uuid(d->cd), uuid))
		return err_set(e, -EUCLEAN, "the LUKS2 header of %s is that of another volume: its uuid is %s", path,
		        crypt_get_uuid(d->cd));
	return 0;
}

/* The slot that KEY opens. */
static int slot_find(struct device *d, const char *path, const void *key, struct err *e)
{
	int rc = crypt_activate_by_passphrase(d->cd, NULL, CRYPT_ANY_SLOT, key, LUKS_KEY_BYTES, 0);

	if (rc == -EPERM || rc == -ENOENT)
		return err_set(e, -EPERM, "the tenant's key does not open %s", path);
	return rc < 0 ? device_error(d, rc, "try a key on", path, e) : rc;
}

int luks_format(const char *path, const char *uuid, const void *key, struct err *e)
{
	AUTO(device_end) struct device d;
	struct crypt_params_luks2 params = {.pbkdf = &kdf, .sector_size = 4096, .label = "builderd"};
	char dashed[UUID_TEXT_MAX];
	int rc = device_begin(&d, path, e);

	if (rc < 0)
		return rc;
	snprintf(dashed, sizeof(dashed), "%.8s-%.4s-%.4s-%.4s-%.12s", uuid, uuid + 8, uuid + 12, uuid + 16, uuid + 20);
	crypt_set_rng_type(d.cd, CRYPT_RNG_RANDOM);
	rc = crypt_set_data_offset(d.cd, LUKS_DATA_OFFSET / 512);
	if (rc >= 0)
		rc = crypt_set_metadata_size(d.cd, LUKS_METADATA_BYTES, LUKS_SLOTS_BYTES);
	if (rc >= 0)
		rc = crypt_set_pbkdf_type(d.cd, &kdf);
	if (rc >= 0)
		rc = crypt_format(d.cd, CRYPT_LUKS2, "aes", "xts-plain64", dashed, NULL, VOLUME_KEY_BYTES, &params);
	if (rc >= 0)
		rc = crypt_keyslot_add_by_volume_key(d.cd, CRYPT_ANY_SLOT, NULL, 0, key, LUKS_KEY_BYTES);
	return rc < 0 ? device_error(&d, rc, "write a LUKS2 header to", path, e) : 0;
}

/* Where the kernel takes no keys of type "logon", the library puts the key into the table, for root to read. */
static int keyring_check(struct device *d, const char *name, struct err *e)
{
	struct crypt_active_device active = {0};
	int rc = crypt_get_active_device(d->cd, name, &active);

	if (rc >= 0 && (active.flags & CRYPT_ACTIVATE_KEYRING_KEY))
		return 0;
	crypt_deactivate(d->cd, name);
	return err_set(e, -EOPNOTSUPP, "the volume key of %s cannot be kept in the kernel's keyring", name);
}

int luks_open(
        const char *path, const char *uuid, const char *name, const void *key, bool allows_discards, struct err *e)
{
	AUTO(device_end) struct device d;
	uint32_t flags = CRYPT_ACTIVATE_KEYRING_KEY | (allows_discards ? CRYPT_ACTIVATE_ALLOW_DISCARDS : 0);
	int rc = device_load(&d, path, uuid, e);

	if (rc < 0)
		return rc;
	rc = crypt_activate_by_passphrase(d.cd, name, CRYPT_ANY_SLOT, key, LUKS_KEY_BYTES, flags);
	if (rc == -EPERM || rc == -ENOENT)
		return err_set(e, -EPERM, "the tenant's key does not open %s", path);
	return rc < 0 ? device_error(&d, rc, "decrypt", path, e) : keyring_check(&d, name, e);
}

/* The key that is in the kernel's keyring belongs to the thread that opened the device. */
int luks_resize(const char *name, const void *key, size_t key_len, struct err *e)
{
	AUTO(device_end) struct device d = {0};

	dm_lock();
	int rc = crypt_init_by_name(&d.cd, name);
	if (rc < 0)
		return err_sys(e, rc, "look at the encrypted device %s", name);
	crypt_set_log_callback(d.cd, on_log, &d);
	rc = crypt_activate_by_passphrase(d.cd, NULL, CRYPT_ANY_SLOT, key, key_len, CRYPT_ACTIVATE_KEYRING_KEY);
	if (rc >= 0)
		rc = crypt_resize(d.cd, name, 0);
	return rc < 0 ? device_error(&d, rc, "enlarge the encrypted device", name, e) : 0;
}

int luks_close(const char *name, struct err *e)
{
	int rc = dm_remains(name, e);

	if (rc <= 0)
		return rc;
	AUTO(device_end) struct device d = {0};
	dm_lock();
	rc = crypt_init_by_name(&d.cd, name);
	if (rc == -ENODEV)
		return 0;
	if (rc < 0)
		return err_sys(e, rc, "look at the encrypted device %s", name);
	crypt_set_log_callback(d.cd, on_log, &d);
	rc = crypt_deactivate(d.cd, name);
	return rc < 0 ? device_error(&d, rc, "take down the encrypted device", name, e) : 0;
}

int luks_describe(const char *path, struct luks_info *out, struct err *e)
{
	AUTO(device_end) struct device d;
	struct crypt_pbkdf_type used = {0};
	int rc = device_begin(&d, path, e);

	*out = (struct luks_info){0};
	if (rc < 0)
		return rc;
	rc = crypt_load(d.cd, CRYPT_LUKS2, NULL);
	if (rc < 0)
		return device_error(&d, rc, "read the LUKS2 header of", path, e);
	snprintf(out->uuid, sizeof(out->uuid), "%s", crypt_get_uuid(d.cd));
	snprintf(out->cipher, sizeof(out->cipher), "%s-%s", crypt_get_cipher(d.cd), crypt_get_cipher_mode(d.cd));
	out->key_bits = (unsigned)crypt_get_volume_key_size(d.cd) * 8;
	out->sector_bytes = (unsigned)crypt_get_sector_size(d.cd);
	out->data_offset = crypt_get_data_offset(d.cd) * 512;
	for (int slot = crypt_keyslot_max(CRYPT_LUKS2) - 1; slot >= 0; slot--) {
		crypt_keyslot_info state = crypt_keyslot_status(d.cd, slot);
		if (state != CRYPT_SLOT_ACTIVE && state != CRYPT_SLOT_ACTIVE_LAST)
			continue;
		out->keyslots++;
		if (crypt_keyslot_get_pbkdf(d.cd, slot, &used) == 0) {
			snprintf(out->pbkdf, sizeof(out->pbkdf), "%s", used.type);
			out->iterations = used.iterations;
		}
	}
	return 0;
}

/* --- slots ------------------------------------------------------------------------------------------------------- */

int luks_key_check(const char *path, const char *uuid, const void *key, struct err *e)
{
	AUTO(device_end) struct device d;
	int rc = device_load(&d, path, uuid, e);

	if (rc == 0)
		rc = slot_find(&d, path, key, e);
	return rc < 0 ? rc : 0;
}

int luks_key_add(const char *path, const char *uuid, const void *key, const void *new_key, struct err *e)
{
	AUTO(device_end) struct device d;
	int rc = device_load(&d, path, uuid, e);

	if (rc < 0)
		return rc;
	rc = crypt_set_pbkdf_type(d.cd, &kdf);
	if (rc >= 0)
		rc = crypt_keyslot_add_by_passphrase(
		        d.cd, CRYPT_ANY_SLOT, key, LUKS_KEY_BYTES, new_key, LUKS_KEY_BYTES);
	return rc < 0 ? device_error(&d, rc, "add a key to", path, e) : 0;
}

static bool slot_is_used(struct device *d, int slot)
{
	crypt_keyslot_info info = crypt_keyslot_status(d->cd, slot);

	return info == CRYPT_SLOT_ACTIVE || info == CRYPT_SLOT_ACTIVE_LAST || info == CRYPT_SLOT_UNBOUND;
}

int luks_keys_keep_one(const char *path, const char *uuid, const void *key, struct err *e)
{
	AUTO(device_end) struct device d;
	int removed = 0, rc = device_load(&d, path, uuid, e);
	int ours = rc < 0 ? rc : slot_find(&d, path, key, e);

	if (ours < 0)
		return ours;
	for (int slot = 0; slot < crypt_keyslot_max(CRYPT_LUKS2); slot++) {
		if (slot == ours || !slot_is_used(&d, slot))
			continue;
		rc = crypt_keyslot_destroy(d.cd, slot);
		if (rc < 0)
			return device_error(&d, rc, "remove a key of", path, e);
		removed++;
	}
	return removed;
}

/* --- the header -------------------------------------------------------------------------------------------------- */

/* Unused slots are random bytes: they need not be kept. */
static int holes_punch(struct device *d, int fd)
{
	const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	off_t at = 2 * LUKS_METADATA_BYTES, end = LUKS_HEADER_BYTES;

	while (at < end) {
		off_t next = end, after = end; /* the first slot at AT or behind it, and what follows it */
		for (int slot = 0; slot < crypt_keyslot_max(CRYPT_LUKS2); slot++) {
			uint64_t offset, length;
			if (!slot_is_used(d, slot) || crypt_keyslot_area(d->cd, slot, &offset, &length) < 0)
				continue;
			if ((off_t)offset >= at && (off_t)offset < next) {
				next = (off_t)offset;
				after = (off_t)(offset + length);
			}
		}
		if (next > at && fallocate(fd, mode, at, next - at) < 0 && errno != EOPNOTSUPP)
			return -errno;
		at = after;
	}
	return 0;
}

int luks_header_backup(const char *path, const char *uuid, const char *file, struct err *e)
{
	AUTO(device_end) struct device d;
	int rc = device_load(&d, path, uuid, e);

	if (rc < 0)
		return rc;
	rc = crypt_header_backup(d.cd, CRYPT_LUKS2, file);
	if (rc < 0)
		return device_error(&d, rc, "back up the header of", path, e);
	AUTO_CLOSE int fd = open(file, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	rc = fd < 0 || fchmod(fd, 0400) < 0 ? -errno : holes_punch(&d, fd);
	return rc < 0 ? err_sys(e, rc, "write the header backup %s", file) : 0;
}

int luks_header_restore(const char *path, const char *file, struct err *e)
{
	AUTO(device_end) struct device d;
	int rc = device_begin(&d, path, e);

	if (rc < 0)
		return rc;
	rc = crypt_header_restore(d.cd, CRYPT_LUKS2, file);
	return rc < 0 ? device_error(&d, rc, "restore the header of", path, e) : 0;
}
