/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sqlite3.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "store/page.h"
#include "store/sqlite.h"
#include "store/store.h"

static char dir[] = "/tmp/store-test.XXXXXX";
static struct store *store;
static struct err err;

static void open_store(void)
{
	int rc = store_open(dir, &store, &err);
	cr_assert(rc >= 0, "%s", err.msg);
}

static void setup(void)
{
	cr_assert(mkdtemp(dir));
	open_store();
}

static void teardown(void)
{
	store_close(store);
	AUTO_FREE char *command = xasprintf("rm -r %s", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(store, .init = setup, .fini = teardown);

static void add(const char *tenant, const char *id, int64_t created, unsigned state)
{
	struct job j = {.created_ms = created, .state = state, .source = (char *)"img:1"};

	strcpy(j.build_id, id);
	strcpy(j.tenant_id, tenant);
	cr_assert_eq(store_job_add(store, &j,
	                     &(struct log_line){.time_ms = 1, .component = "build", .message = "queued"}, &err),
	        0, "%s", err.msg);
}

static int count_lines(void *arg, const struct log_line *l)
{
	int *n = arg;
	(*n)++;
	cr_assert_eq(l->seq, *n);
	return 0;
}

static int lines_of(const char *id)
{
	int n = 0;
	cr_assert_eq(store_log_each(store, id, 0, 1000, count_lines, &n, &err), 0);
	return n;
}

Test(store, keeps_every_column)
{
	struct job j = {.customer_id = (char *)"cust",
	        .created_ms = 5,
	        .source = (char *)"a:1",
	        .had_credentials = 1,
	        .max_bytes = 1LL << 40,
	        .state = BUILD_PENDING};
	AUTO_JOB struct job back;

	strcpy(j.build_id, "build_A");
	strcpy(j.tenant_id, "t");
	buf_append(&j.config, "\0\1\2", 3);
	cr_assert_eq(store_job_add(store, &j, NULL, &err), 0, "%s", err.msg);
	j.state = BUILD_COMPLETED;
	j.rootfs_path = (char *)"/x.ext4";
	j.total_ms = 77;
	j.error_kind = (char *)"it's";
	cr_assert_eq(store_job_update(store, &j, BUILD_PENDING, NULL, &err), 0, "%s", err.msg);
	store_close(store);
	open_store();
	cr_assert_eq(store_job_get(store, "t", "build_A", &back, &err), 0);
	cr_assert_str_eq(back.customer_id, "cust");
	cr_assert_eq(back.max_bytes, 1LL << 40);
	cr_assert_eq(back.state, BUILD_COMPLETED);
	cr_assert_eq(back.had_credentials, 1);
	cr_assert_eq(back.total_ms, 77);
	cr_assert_str_eq(back.rootfs_path, "/x.ext4");
	cr_assert_str_eq(back.error_kind, "it's");
	cr_assert_eq(back.config.len, 3);
	cr_assert_eq(memcmp(back.config.data, "\0\1\2", 3), 0);
	buf_free(&j.config);
}

Test(store, hides_other_tenants)
{
	AUTO_JOB struct job a, b;

	add("t", "build_A", 1, BUILD_PENDING);
	cr_assert_eq(store_job_get(store, "other", "build_A", &a, &err), -ENOENT);
	cr_assert_eq(store_job_get(store, NULL, "build_A", &b, &err), 0);
}

Test(store, refuses_a_change_from_another_state_and_its_line)
{
	struct job j = {.state = BUILD_COMPLETED};

	add("t", "build_A", 1, BUILD_PENDING);
	strcpy(j.build_id, "build_A");
	cr_assert_eq(store_log_append(store, "build_A", &(struct log_line){.message = "before"}, &err), 0);
	cr_assert_eq(store_job_update(store, &j, BUILD_PULLING, &(struct log_line){.message = "no"}, &err), -ESTALE);
	cr_assert_eq(lines_of("build_A"), 2, "the line collected before stays, the change's own does not");
}

Test(store, idempotency_key_is_unique_within_a_tenant)
{
	struct job j = {.state = BUILD_PENDING, .idempotency_key = (char *)"k"};
	AUTO_JOB struct job back;

	strcpy(j.build_id, "build_A");
	strcpy(j.tenant_id, "t");
	cr_assert_eq(store_job_add(store, &j, NULL, &err), 0);
	strcpy(j.build_id, "build_B");
	cr_assert_eq(store_job_add(store, &j, NULL, &err), -EEXIST);
	strcpy(j.tenant_id, "u");
	cr_assert_eq(store_job_add(store, &j, NULL, &err), 0);
	cr_assert_eq(store_job_get_by_key(store, "t", "k", &back, &err), 0);
	cr_assert_str_eq(back.build_id, "build_A");
}

Test(store, no_key_is_no_key)
{
	AUTO_JOB struct job back;

	add("t", "build_A", 1, BUILD_PENDING);
	add("t", "build_B", 1, BUILD_PENDING);
	cr_assert_eq(store_job_get_by_key(store, "t", "", &back, &err), -ENOENT);
}

Test(store, remove_takes_the_lines_along)
{
	AUTO_JOB struct job back;

	add("t", "build_A", 1, BUILD_FAILED);
	cr_assert_eq(lines_of("build_A"), 1);
	cr_assert_eq(store_job_remove(store, "build_A", &err), 0);
	cr_assert_eq(lines_of("build_A"), 0);
	cr_assert_eq(store_job_get(store, NULL, "build_A", &back, &err), -ENOENT);
}

static int collect_ids(void *arg, const struct job *j)
{
	strcat(arg, j->build_id + 6);
	return 0;
}

Test(store, lists_newest_first_with_filter_and_cursor)
{
	char ids[64] = "";
	struct job_filter f = {.tenant_id = "t", .limit = 2};

	add("t", "build_A", 10, BUILD_PENDING);
	add("t", "build_C", 20, BUILD_COMPLETED);
	add("t", "build_B", 20, BUILD_PENDING);
	add("u", "build_D", 30, BUILD_PENDING);
	cr_assert_eq(store_job_each(store, &f, collect_ids, ids, &err), 0);
	cr_assert_str_eq(ids, "CB");
	f.after_ms = 20;
	strcpy(f.after_id, "build_B");
	cr_assert_eq(store_job_each(store, &f, collect_ids, ids, &err), 0);
	cr_assert_str_eq(ids, "CBA");
	f = (struct job_filter){.tenant_id = "t", .states = 1u << BUILD_PENDING, .from_ms = 10, .to_ms = 20};
	ids[0] = 0;
	cr_assert_eq(store_job_each(store, &f, collect_ids, ids, &err), 0);
	cr_assert_str_eq(ids, "A");
	ids[0] = 0;
	cr_assert_eq(store_job_each_unfinished(store, collect_ids, ids, &err), 0);
	cr_assert_str_eq(ids, "ABD");
}

Test(store, totals)
{
	struct job_totals t;
	struct job_filter f = {.tenant_id = "t"};

	add("t", "build_A", 10, BUILD_PENDING);
	add("t", "build_B", 20, BUILD_COMPLETED);
	add("t", "build_C", 20, BUILD_EXTRACTING);
	cr_assert_eq(store_job_totals(store, &f, &t, &err), 0);
	cr_assert(t.jobs == 3 && t.completed == 1 && t.queued == 1 && t.running == 1 && t.failed == 0);
}

Test(store, second_process_is_refused)
{
	struct store *other = NULL;
	pid_t pid = fork();

	if (!pid)
		_exit(store_open(dir, &other, &err) == -EBUSY ? 0 : 1);
	int status;
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
}

Test(store, damaged_file_is_refused_with_a_sentence)
{
	AUTO_FREE char *path = xasprintf("%s/jobs.db", dir);

	for (int i = 0; i < 200; i++) {
		AUTO_FREE char *id = xasprintf("build_%04d", i);
		add("t", id, i, BUILD_PENDING);
	}
	store_close(store);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	char rubbish[6000];
	memset(rubbish, 0xa5, sizeof(rubbish));
	cr_assert_eq(fd_pwrite_all(fd, rubbish, sizeof(rubbish), 8192), 0);
	store = NULL;
	cr_assert_eq(store_open(dir, &store, &err), -EUCLEAN);
	cr_assert(strstr(err.msg, path) && strstr(err.msg, "move the file away"), "%s", err.msg);
}

Test(store, files_are_private_and_killed_writer_loses_nothing)
{
	AUTO_FREE char *path = xasprintf("%s/jobs.db", dir);
	struct stat st;
	AUTO_JOB struct job back;

	store_close(store);
	pid_t pid = fork();
	if (!pid) {
		open_store();
		add("t", "build_K", 1, BUILD_PENDING);
		store_log_append(store, "build_K", &(struct log_line){.message = "not committed"}, &err);
		raise(SIGKILL);
	}
	int status;
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	open_store();
	cr_assert_eq(store_job_get(store, "t", "build_K", &back, &err), 0);
	cr_assert_eq(lines_of("build_K"), 1);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 077, 0);
}

/* As the first version of the program left it, with a build of each kind. */
static void make_version_1(const char *path)
{
	AUTO_FREE char *sql = xasprintf("%s PRAGMA application_id = 1651862628; PRAGMA user_version = 1;"
	                                "INSERT INTO jobs SELECT 'build_' || v, 't', '', '', '', 86400000 * 3 + v, "
	                                "'i', x'', 0, 1, 1, 1, v, 0, 0, 0, '',"
	                                " '', '', '', CASE v WHEN 6 THEN 'sha256:0' ELSE '' END, '', '', 0, 0, 5, 70, "
	                                "0, 0, 0, 0, 0, 0, 0, 0, 0, 10"
	                                " FROM (SELECT 1 AS v UNION SELECT 6 UNION SELECT 7)",
	        sqlite_migrations[0]);
	sqlite3 *db;

	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
	sqlite3_close(db);
}

Test(store, an_old_file_is_brought_up_to_date)
{
	AUTO_FREE char *path = xasprintf("%s/jobs.db", dir);
	struct store_usage u;
	AUTO_JOB struct job back;

	store_close(store);
	cr_assert_eq(unlink(path), 0);
	make_version_1(path);
	open_store();
	cr_assert_eq(store_job_get(store, "t", "build_7", &back, &err), 0);
	cr_assert(back.tries == 0 && back.retry_ms == 0 && back.state == BUILD_FAILED);
	cr_assert_eq(store_usage_get(store, "t", 3, &u, &err), 0);
	cr_assert(u.builds == 3 && u.completed == 1 && u.failed == 1 && u.cancelled == 0);
	cr_assert(u.compute_ms == 30 && u.pulled_bytes == 15 && u.stored_bytes == 70);
	add("t", "build_N", 86400000LL * 3, BUILD_PENDING);
	store_close(store);
	open_store(); /* a second time there is nothing to do */
	cr_assert_eq(store_usage_get(store, "t", 3, &u, &err), 0);
	cr_assert_eq(u.builds, 4);
}

static int step_all(struct store_backup *b)
{
	int rc, steps = 0;

	while ((rc = store_backup_step(b, &err)) > 0) {
		steps++;
		AUTO_FREE char *id = xasprintf("build_S%d", steps);
		add("t", id, 5, BUILD_PENDING); /* while it is copied */
	}
	return rc < 0 ? rc : steps;
}

Test(store, a_copy_has_what_was_there)
{
	struct store_backup *b = NULL;
	AUTO_FREE char *to = xasprintf("%s/copy", dir);
	AUTO_FREE char *path = xasprintf("%s/jobs.db", to);
	AUTO_FREE char *data = NULL;
	struct job_totals here, there;
	size_t len;

	for (int i = 0; i < 200; i++) { /* more than one step takes */
		struct job j = {.created_ms = i, .state = BUILD_PENDING, .source = xasprintf("%09999d", i)};
		snprintf(j.build_id, sizeof(j.build_id), "build_%04d", i);
		strcpy(j.tenant_id, "t");
		cr_assert_eq(store_job_add(store, &j, NULL, &err), 0, "%s", err.msg);
		free(j.source);
	}
	store_log_append(store, "build_0001", &(struct log_line){.message = "collected"}, &err);
	cr_assert_eq(store_backup_begin(store, &b, &err), 0, "%s", err.msg);
	cr_assert_gt(step_all(b), 0, "%s", err.msg);
	AUTO_CLOSE int fd = store_backup_file(b, &err);
	cr_assert_geq(fd, 0, "%s", err.msg);
	store_backup_free(b);
	store_backup_free(NULL);
	cr_assert_eq(fd_slurp(fd, 64 << 20, &data, &len), 0);
	cr_assert_eq(store_job_totals(store, &(struct job_filter){.tenant_id = "t"}, &here, &err), 0);
	store_close(store);
	cr_assert_eq(mkdir(to, 0700), 0);
	AUTO_CLOSE int out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(fd_write_all(out, data, len), 0);
	cr_assert(store_open(to, &store, &err) >= 0, "%s", err.msg);
	cr_assert_eq(store_job_totals(store, &(struct job_filter){.tenant_id = "t"}, &there, &err), 0);
	cr_assert_eq(here.jobs, there.jobs);
	cr_assert_gt(there.jobs, 200);
	cr_assert_eq(lines_of("build_0001"), 1, "collected lines are in it");
}

Test(page, round_trip_and_tampering)
{
	uint8_t secret[32] = {1, 2, 3}, other[32] = {3, 2, 1};
	struct job_filter f = {.tenant_id = "t", .states = 2}, back = f;
	char token[PAGE_TOKEN_MAX];

	page_token_make(secret, &f, 1234567890123, "build_01ABC", token);
	cr_assert_eq(page_token_read(secret, &back, token), 0);
	cr_assert_eq(back.after_ms, 1234567890123);
	cr_assert_str_eq(back.after_id, "build_01ABC");
	cr_assert_eq(page_token_read(other, &back, token), -EINVAL);
	struct job_filter foreign = {.tenant_id = "u", .states = 2}, wider = {.tenant_id = "t"};
	cr_assert_eq(page_token_read(secret, &foreign, token), -EINVAL);
	cr_assert_eq(page_token_read(secret, &wider, token), -EINVAL);
	for (size_t i = 0; token[i]; i++) {
		char saved = token[i];
		token[i] = saved == 'A' ? 'B' : 'A';
		cr_assert_eq(page_token_read(secret, &back, token), -EINVAL);
		token[i] = saved;
	}
	cr_assert_eq(page_token_read(secret, &back, ""), -EINVAL);
	cr_assert_eq(page_token_read(secret, &back, "not a token"), -EINVAL);
}
