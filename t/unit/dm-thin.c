/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Key files, and the rows that a transaction over a pool goes through. */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "dm/keys.h"
#include "dm/luks.h"
#include "dm/thin.h"
#include "dm/volumes_db.h"

static char dir[] = "/tmp/builderd-dm-XXXXXX";
static char path[64];
static int dirfd_;
static struct err e;

static void setup(void)
{
	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(dirfd_ >= 0);
}

static void teardown(void)
{
	char cmd[80];

	close(dirfd_);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(keys, .init = setup, .fini = teardown);
TestSuite(transactions, .init = setup, .fini = teardown);

Test(keys, master)
{
	struct master_key a, b;
	struct stat st;

	cr_assert_eq(keys_master_read(path, &a, &e), -ENOENT);
	cr_assert_eq(keys_master_make(path, &e), 0, "%s", e.msg);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0400);
	cr_assert_eq(st.st_size, MASTER_KEY_BYTES);
	cr_assert_eq(keys_master_read(path, &a, &e), 0, "%s", e.msg);
	cr_assert_eq(keys_master_make(path, &e), -EEXIST, "a key is never replaced");
	cr_assert_eq(keys_master_read(path, &b, &e), 0);
	cr_assert_arr_eq(a.bytes, b.bytes, sizeof(a.bytes));
	cr_assert_eq(chmod(path, 0440), 0);
	cr_assert_eq(keys_master_read(path, &b, &e), -EPERM);
	cr_assert_eq(chmod(path, 0600), 0);
	cr_assert_eq(truncate(path, 31), 0);
	cr_assert_eq(keys_master_read(path, &b, &e), -EINVAL);
}

Test(keys, tenant)
{
	struct master_key master = {{1}}, other = {{2}};
	struct tenant_key made, read_back, second;

	cr_assert_eq(keys_tenant_read(dirfd_, "acme", 1, &master, &read_back, &e), -ENOENT);
	cr_assert_eq(keys_tenant_make(dirfd_, "acme", 1, &master, &made, &e), 0, "%s", e.msg);
	cr_assert_eq(keys_tenant_read(dirfd_, "acme", 1, &master, &read_back, &e), 0, "%s", e.msg);
	cr_assert_arr_eq(made.bytes, read_back.bytes, sizeof(made.bytes));
	cr_assert_eq(keys_tenant_make(dirfd_, "other", 1, &master, &second, &e), 0);
	cr_assert_neq(memcmp(made.bytes, second.bytes, sizeof(made.bytes)), 0);
	cr_assert_eq(keys_tenant_read(dirfd_, "acme", 1, &other, &read_back, &e), -EBADMSG, "another master key");
	cr_assert_eq(renameat(dirfd_, "acme.1", dirfd_, "other.1"), 0);
	cr_assert_eq(keys_tenant_read(dirfd_, "other", 1, &master, &read_back, &e), -EBADMSG, "another tenant's");
	cr_assert_eq(renameat(dirfd_, "other.1", dirfd_, "acme.2"), 0);
	cr_assert_eq(keys_tenant_read(dirfd_, "acme", 2, &master, &read_back, &e), -EBADMSG, "another generation's");
}

Test(keys, damage)
{
	struct master_key master = {{1}};
	struct tenant_key key;
	unsigned char b;

	cr_assert_eq(keys_tenant_make(dirfd_, "acme", 1, &master, &key, &e), 0);
	AUTO_CLOSE int fd = openat(dirfd_, "acme.1", O_RDWR | O_CLOEXEC);
	for (off_t at = 0; at < 104; at++) {
		cr_assert_eq(pread(fd, &b, 1, at), 1);
		b ^= 0x10;
		cr_assert_eq(pwrite(fd, &b, 1, at), 1);
		cr_assert_eq(keys_tenant_read(dirfd_, "acme", 1, &master, &key, &e), -EBADMSG, "byte %d", (int)at);
		b ^= 0x10;
		cr_assert_eq(pwrite(fd, &b, 1, at), 1);
	}
	cr_assert_eq(keys_tenant_read(dirfd_, "acme", 1, &master, &key, &e), 0);
	cr_assert_eq(ftruncate(fd, 103), 0);
	cr_assert_eq(keys_tenant_read(dirfd_, "acme", 1, &master, &key, &e), -EBADMSG);
}

/* A tenant's files and no other's, whatever dots are in their ids; half-written ones, too. */
Test(keys, shred)
{
	struct master_key master = {{1}};
	struct tenant_key key;
	struct stat st;
	char first[104], after[104];

	cr_assert_eq(keys_tenant_make(dirfd_, "a", 1, &master, &key, &e), 0);
	cr_assert_eq(keys_tenant_make(dirfd_, "a", 12, &master, &key, &e), 0);
	cr_assert_eq(keys_tenant_make(dirfd_, "a.1", 1, &master, &key, &e), 0);
	cr_assert_eq(linkat(dirfd_, "a.12", dirfd_, "a.13.new", 0), 0);
	AUTO_CLOSE int fd = openat(dirfd_, "a.1", O_RDONLY | O_CLOEXEC);
	cr_assert_eq(pread(fd, first, sizeof(first), 0), 104);
	cr_assert_eq(keys_files_shred(dirfd_, "a", &e), 3, "%s", e.msg);
	cr_assert_eq(pread(fd, after, sizeof(after), 0), 104);
	cr_assert_neq(memcmp(first + 24, after + 24, 64), 0, "who has it open reads random bytes");
	cr_assert_eq(fstatat(dirfd_, "a.12", &st, 0), -1);
	cr_assert_eq(fstatat(dirfd_, "a.13.new", &st, 0), -1);
	cr_assert(keys_file_exists(dirfd_, "a.1", 1));
	cr_assert_eq(keys_files_shred(dirfd_, "a", &e), 0);
	cr_assert_eq(keys_file_shred(dirfd_, "a.1", &e), 0, "an absent one is fine");
	cr_assert_eq(linkat(dirfd_, "a.1.1", dirfd_, "b.1.new", 0), 0);
	keys_leftovers_remove(dirfd_);
	cr_assert_eq(fstatat(dirfd_, "b.1.new", &st, 0), -1);
}

Test(keys, reseal)
{
	struct master_key a = {{1}}, b = {{2}}, c = {{3}};
	struct tenant_key made[2], key;

	cr_assert_eq(keys_tenant_make(dirfd_, "acme", 1, &a, &made[0], &e), 0);
	cr_assert_eq(keys_tenant_make(dirfd_, "other", 3, &b, &made[1], &e), 0, "sealed before it was interrupted");
	cr_assert_eq(keys_reseal_all(dirfd_, &a, &b, &e), 0, "%s", e.msg);
	cr_assert_eq(keys_tenant_read(dirfd_, "acme", 1, &b, &key, &e), 0);
	cr_assert_arr_eq(key.bytes, made[0].bytes, sizeof(key.bytes));
	cr_assert_eq(keys_tenant_read(dirfd_, "other", 3, &b, &key, &e), 0);
	cr_assert_arr_eq(key.bytes, made[1].bytes, sizeof(key.bytes));
	cr_assert_eq(keys_tenant_read(dirfd_, "acme", 1, &a, &key, &e), -EBADMSG);
	cr_assert_eq(keys_reseal_all(dirfd_, &c, &a, &e), -EBADMSG, "neither opens them");
	cr_assert_eq(keys_tenant_read(dirfd_, "acme", 1, &b, &key, &e), 0, "they are as they were");
}

Test(keys, master_replace)
{
	struct master_key a, b;
	char next[80];

	snprintf(next, sizeof(next), "%s.next", path);
	cr_assert_eq(keys_master_make(path, &e), 0);
	AUTO_CLOSE int old = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_eq(pread(old, &a, sizeof(a), 0), MASTER_KEY_BYTES);
	cr_assert_eq(keys_master_make(next, &e), 0);
	cr_assert_eq(keys_master_replace(next, path, &e), 0, "%s", e.msg);
	cr_assert_eq(access(next, F_OK), -1);
	cr_assert_eq(pread(old, &b, sizeof(b), 0), MASTER_KEY_BYTES);
	cr_assert_neq(memcmp(&a, &b, sizeof(a)), 0, "the old bytes are overwritten");
}

static void tid_is(struct volumes_db *db, uint64_t want, size_t devices)
{
	AUTO_FREE struct device_row *rows = NULL;
	struct pool_row pool;
	size_t n;

	cr_assert_eq(volumes_db_pool_get(db, "acme", &pool, &e), 0);
	cr_assert_eq(pool.tid, want);
	cr_assert_eq(volumes_db_device_list(db, pool.id, &rows, &n, &e), 0);
	cr_assert_eq(n, devices);
}

Test(transactions, rows)
{
	struct device_row dev = {.kind = "chain", .name = "it's", .size_bytes = 1ull << 40}, got;
	struct volumes_db *db;
	struct intent_row intent;
	struct pool_row pool;

	cr_assert_eq(volumes_db_open(path, &db, &e), 0, "%s", e.msg);
	cr_assert_eq(volumes_db_pool_get(db, "acme", &pool, &e), -ENOENT);
	cr_assert_eq(volumes_db_pool_add(db, "acme", "00112233445566778899aabbccddeeff", &pool, &e), 0, "%s", e.msg);
	dev.pool = pool.id;
	cr_assert_eq(volumes_db_create_begin(db, &dev, true, &e), 0, "%s", e.msg);
	cr_assert_eq(dev.id, 1);
	cr_assert_eq(volumes_db_intent_get(db, pool.id, &intent, &e), 0);
	cr_assert(intent.tid == 1 && intent.op == INTENT_CREATE && intent.device == 1);
	cr_assert_lt(volumes_db_delete_begin(db, pool.id, 1, &e), 0, "one transaction at a time");
	cr_assert_eq(volumes_db_intent_abort(db, pool.id, &e), 0);
	tid_is(db, 0, 0);
	cr_assert_eq(volumes_db_create_begin(db, &dev, true, &e), 0, "%s", e.msg);
	cr_assert_eq(dev.id, 2, "an id is never used again");
	cr_assert_eq(volumes_db_intent_finish(db, pool.id, &e), 0);
	tid_is(db, 1, 1);
	cr_assert_eq(volumes_db_device_get(db, pool.id, "chain", "it's", &got, &e), 0);
	cr_assert(got.id == 2 && got.size_bytes == 1ull << 40 && !got.is_ready);
	dev.is_ready = true;
	cr_assert_eq(volumes_db_device_update(db, &dev, &e), 0);
	cr_assert_lt(volumes_db_create_begin(db, &dev, true, &e), 0, "a name is used once");
	cr_assert_eq(volumes_db_intent_get(db, pool.id, &intent, &e), -ENOENT, "a refused row leaves no intent");
	cr_assert_eq(volumes_db_delete_begin(db, pool.id, 2, &e), 0);
	cr_assert_eq(volumes_db_intent_abort(db, pool.id, &e), 0);
	tid_is(db, 1, 1);
	cr_assert_eq(volumes_db_delete_begin(db, pool.id, 2, &e), 0);
	cr_assert_eq(volumes_db_intent_finish(db, pool.id, &e), 0);
	tid_is(db, 2, 0);
	cr_assert_eq(volumes_db_create_begin(db, &dev, false, &e), 0, "%s", e.msg);
	cr_assert_eq(volumes_db_intent_get(db, pool.id, &intent, &e), 0);
	cr_assert_eq(intent.tid, 2, "a clone does not move the transaction id");
	cr_assert_eq(volumes_db_intent_abort(db, pool.id, &e), 0);
	tid_is(db, 2, 0);
	cr_assert_eq(volumes_db_create_begin(db, &dev, false, &e), 0, "%s", e.msg);
	cr_assert_eq(volumes_db_intent_finish(db, pool.id, &e), 0);
	tid_is(db, 2, 1);
	cr_assert_eq(volumes_db_pool_delete(db, pool.id, &e), 0);
	cr_assert_eq(volumes_db_pool_get(db, "acme", &pool, &e), -ENOENT);
	volumes_db_close(db);
}

/* --- how a tenant's decrypted device is divided --------------------------------------------------------------------
 */

Test(layout, regions)
{
	static const uint64_t mib[] = {256, 1024, 8192, 100 * 1024, 1024 * 1024};

	for (size_t i = 0; i < ARRAY_LEN(mib); i++) {
		uint64_t bytes = mib[i] << 20, meta = inner_meta_bytes(bytes);
		struct inner_split now = inner_split(bytes, meta), later = inner_split(3 * bytes, meta);
		cr_assert_eq(2 * meta + now.data + LUKS_DATA_OFFSET, bytes, "all of it is used");
		cr_assert_eq(now.data_offset, later.data_offset, "data stays where it is when a tenant grows");
		cr_assert_geq(inner_bytes_max(meta), 3 * bytes, "%ju MiB can grow threefold", (uintmax_t)mib[i]);
		cr_assert_geq(meta / 96, inner_split(inner_bytes_max(meta), meta).data >> 16, "and then be mapped");
	}
	cr_assert_eq(inner_split(1ull << 30, 0).meta, 16u << 20, "an older pool has what older versions gave it");
	cr_assert_eq(inner_split(100ull << 30, 0).meta, 150u << 20);
}
