/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes of images, and the rows of volumes.db. */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "dm/image.h"
#include "dm/tool.h"
#include "dm/volumes_db.h"

#define MIB (1024ull * 1024)

Test(image, size)
{
	static const struct {
		uint64_t bytes, inodes, want;
	} rows[] = {
	        {0, 0, 64 * MIB},
	        {64 * MIB, 0, 64 * MIB},
	        {64 * MIB + 1, 0, 128 * MIB},
	        {100 * MIB, 1000, 128 * MIB},
	        {0, 131072, 128 * MIB}, /* at least 1 KiB an inode */
	        {UINT64_MAX, 0, 16ull << 40},
	        {0, UINT64_MAX, 16ull << 40},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		cr_expect_eq(image_size(rows[i].bytes, rows[i].inodes), rows[i].want, "row %zu", i);
}

/* 100 ms after it began: the program is killed, nobody waits for it. */
Test(tool, a_stop_ends_a_running_program, .timeout = 20)
{
	const char *const argv[] = {"/bin/sleep", "30", NULL};
	struct itimerspec soon = {.it_value = {.tv_nsec = 100000000}};
	AUTO_CLOSE int stop = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	AUTO_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct tool_result r;
	struct err e = ERR_INIT;

	if (geteuid() != 0)
		cr_skip_test("needs root");
	cr_assert_eq(timerfd_settime(stop, 0, &soon, NULL), 0);
	volume_stop_fd_set(stop);
	int64_t start = time_mono_ms();
	cr_expect_eq(tool_run(argv, null, 30000, &r, &e), -ECANCELED, "%s", e.msg);
	cr_expect_lt(time_mono_ms() - start, 10000);
	cr_expect_eq(tool_stop_check(&e), -ECANCELED);
	volume_stop_fd_set(-1);
	cr_expect_eq(tool_stop_check(&e), 0);
}

static struct volumes_db *db;
static char path[] = "/tmp/volumes-db-test.XXXXXX";

static void setup(void)
{
	struct err e = ERR_INIT;
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	close(fd);
	cr_assert_eq(volumes_db_open(path, &db, &e), 0, "%s", e.msg);
}

static void teardown(void)
{
	volumes_db_close(db);
	unlink(path);
}

TestSuite(volumes_db, .init = setup, .fini = teardown);

static struct digest digest_of(uint8_t byte)
{
	struct digest d = {.algorithm = DIGEST_SHA256};

	memset(d.bytes, byte, 32);
	return d;
}

Test(volumes_db, chains)
{
	struct chain_row row = {.tenant = "acme",
	        .chain = digest_of(1),
	        .info = {.used_bytes = 1, .used_inodes = 2, .size_bytes = 3},
	        .last_use_ms = 20,
	        .boot_id = "b"};
	struct chain_row got;
	AUTO_FREE struct chain_row *list = NULL;
	size_t n;

	cr_expect_eq(volumes_db_chain_get(db, "acme", &row.chain, &got, NULL), -ENOENT);
	cr_expect_eq(volumes_db_chain_put(db, &row, NULL), 0);
	cr_expect_eq(volumes_db_chain_get(db, "other", &row.chain, &got, NULL), -ENOENT);
	cr_assert_eq(volumes_db_chain_get(db, "acme", &row.chain, &got, NULL), 0);
	cr_expect(digest_equal(&got.chain, &row.chain));
	cr_expect_str_eq(got.tenant, "acme");
	cr_expect_str_eq(got.boot_id, "b");
	cr_expect_eq(got.info.used_bytes, 1);
	cr_expect_eq(got.info.used_inodes, 2);
	cr_expect_eq(got.info.size_bytes, 3);
	cr_expect_eq(got.last_use_ms, 20);
	cr_expect_not(got.is_durable);
	row.chain = digest_of(2);
	row.last_use_ms = 30;
	cr_expect_eq(volumes_db_chain_put(db, &row, NULL), 0);
	struct digest one = digest_of(1);
	cr_expect_eq(volumes_db_chain_touch(db, "acme", &one, 40, NULL), 0);
	cr_expect_eq(volumes_db_chain_set_durable(db, "acme", &one, NULL), 0);
	cr_assert_eq(volumes_db_chain_list(db, &list, &n, NULL), 0);
	cr_assert_eq(n, 2);
	cr_expect_eq(list[0].chain.bytes[0], 2, "oldest use first");
	cr_expect(list[1].is_durable);
	cr_expect_eq(volumes_db_chain_delete(db, "acme", &one, NULL), 0);
	cr_expect_eq(volumes_db_chain_get(db, "acme", &one, &got, NULL), -ENOENT);
}

Test(volumes_db, rootfs_by_key_is_per_tenant_and_newest)
{
	struct rootfs_row row = {.tenant = "acme",
	        .build = "one",
	        .product_key = digest_of(7),
	        .info = {.used_bytes = 5, .checksum = digest_of(9)}};
	struct rootfs_row got;

	cr_expect_eq(volumes_db_rootfs_put(db, &row, NULL), 0);
	strcpy(row.build, "two");
	cr_expect_eq(volumes_db_rootfs_put(db, &row, NULL), 0);
	cr_assert_eq(volumes_db_rootfs_find(db, "acme", &row.product_key, &got, NULL), 0);
	cr_expect_str_eq(got.build, "two");
	cr_expect(digest_equal(&got.info.checksum, &row.info.checksum));
	cr_expect_eq(volumes_db_rootfs_find(db, "other", &row.product_key, &got, NULL), -ENOENT);
	cr_expect_eq(volumes_db_rootfs_delete(db, "acme", "two", NULL), 0);
	cr_assert_eq(volumes_db_rootfs_find(db, "acme", &row.product_key, &got, NULL), 0);
	cr_expect_str_eq(got.build, "one");
}

Test(volumes_db, a_newer_schema_is_refused)
{
	AUTO_FREE char *cmd = NULL;
	struct volumes_db *again = NULL;
	struct err e = ERR_INIT;

	cr_assert_geq(asprintf(&cmd, "sqlite3 %s 'PRAGMA user_version=99'", path), 0);
	cr_assert_eq(system(cmd), 0);
	cr_expect_eq(volumes_db_open(path, &again, &e), -EPROTO);
	cr_expect(strstr(e.msg, "version 99") != NULL, "%s", e.msg);
}
