/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "luks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <libcryptsetup.h>

#include "base/cleanup.h"
#include "dm.h"

#define VOLUME_KEY_BYTES 64
#define KDF_ROUNDS 1000 /* the least that LUKS2 allows for PBKDF2 */

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

static int device_error(const struct device *d, int rc, const char *what, const char *path, struct err *e)
{
	return err_sys(e, rc, "%s %s%s%s%s", what, path, d->said[0] ? " (" : "", d->said, d->said[0] ? ")" : "");
}

int luks_format(const char *path, const void *key, size_t key_len, struct err *e)
{
	AUTO(device_end) struct device d;
	struct crypt_params_luks2 params = {.pbkdf = &kdf, .sector_size = 4096, .label = "builderd"};
	int rc = device_begin(&d, path, e);

	if (rc < 0)
		return rc;
	crypt_set_rng_type(d.cd, CRYPT_RNG_RANDOM);
	rc = crypt_set_data_offset(d.cd, LUKS_DATA_OFFSET / 512);
	if (rc >= 0)
		rc = crypt_set_pbkdf_type(d.cd, &kdf);
	if (rc >= 0)
		rc = crypt_format(d.cd, CRYPT_LUKS2, "aes", "xts-plain64", NULL, NULL, VOLUME_KEY_BYTES, &params);
	if (rc >= 0)
		rc = crypt_keyslot_add_by_volume_key(d.cd, CRYPT_ANY_SLOT, NULL, 0, key, key_len);
	return rc < 0 ? device_error(&d, rc, "write a LUKS2 header to", path, e) : 0;
}

int luks_open(const char *path, const char *name, const void *key, size_t key_len, struct err *e)
{
	AUTO(device_end) struct device d;
	int rc = device_begin(&d, path, e);

	if (rc < 0)
		return rc;
	rc = crypt_load(d.cd, CRYPT_LUKS2, NULL);
	if (rc < 0)
		return device_error(&d, rc, "read the LUKS2 header of", path, e);
	rc = crypt_activate_by_passphrase(
	        d.cd, name, CRYPT_ANY_SLOT, key, key_len, CRYPT_ACTIVATE_ALLOW_DISCARDS | CRYPT_ACTIVATE_KEYRING_KEY);
	if (rc == -EPERM)
		return err_set(e, rc, "the tenant's key does not open %s", path);
	return rc < 0 ? device_error(&d, rc, "decrypt", path, e) : 0;
}

int luks_close(const char *name, struct err *e)
{
	AUTO(device_end) struct device d = {0};

	dm_lock();
	int rc = crypt_init_by_name(&d.cd, name);
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
