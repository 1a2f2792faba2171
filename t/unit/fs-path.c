/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fuse/path.h"

static char base[64];
static struct fs fs;
static struct path_cache cache;

static int space(void *arg, struct ledger_space *out)
{
	*out = (struct ledger_space){.bytes = 1ull << 40, .inodes = 1u << 20};
	return 0;
}

/* A root with a sibling beside it, on the file system that tests run on. Not fs_init(): that needs CAP_DAC_READ_SEARCH.
 */
static void setup(void)
{
	const struct ledger_ops ops = {.space = space};
	struct stat st;
	char root[80];

	snprintf(base, sizeof(base), "/tmp/builderd-path.XXXXXX");
	cr_assert(mkdtemp(base));
	snprintf(root, sizeof(root), "%s/root", base);
	mkdir(root, 0755);
	fs = (struct fs){.block = 4096, .own_uid = getuid(), .own_gid = getgid()};
	fs.root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fstat(fs.root_fd, &st);
	fs.root_ino = st.st_ino;
	fs.limits = (struct image_limits){.max_depth = 10, .max_name = 255, .max_path = 1000};
	ledger_init(&fs.ledger, 1ull << 30, 1000, &ops);
	path_cache_init(&cache);
}

static void teardown(void)
{
	AUTO_FREE char *cmd = xasprintf("rm -rf '%s'", base);

	path_cache_free(&cache);
	itab_free(&fs.itab);
	marks_free(&fs.marks);
	close(fs.root_fd);
	cr_assert_eq(system(cmd), 0);
}
TestSuite(path, .init = setup, .fini = teardown);

static bool is_same(const struct path_dir *d, const char *path)
{
	struct stat st;

	return d && fstatat(fs.root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == d->ino;
}

static struct path_dir *get(const char *path, bool make, struct err *e)
{
	*e = (struct err)ERR_INIT;
	return path_dir_get(&fs, &cache, path, strlen(path), make, e);
}

static void link_to(const char *target, const char *name)
{
	cr_assert_eq(symlinkat(target, fs.root_fd, name), 0);
}

Test(path, form)
{
	static const struct {
		const char *path;
		int kind;
	} cases[] = {{"a/b", 0}, {"", 0}, {"a//b", ERR_KIND_BAD_NAME}, {"/a", ERR_KIND_BAD_NAME},
	        {"a/", ERR_KIND_BAD_NAME}, {"./a", ERR_KIND_BAD_NAME}, {"..", ERR_KIND_PATH_ESCAPE},
	        {"a/../b", ERR_KIND_PATH_ESCAPE}, {"...", 0}, {"a..", 0}, {".wh.x", ERR_KIND_BAD_WHITEOUT},
	        {".wh.d/x", ERR_KIND_BAD_WHITEOUT}, {"x.wh.", 0}, {".wh", 0}, {"a/b/c/d/e/f/g/h/i/j/k", 0},
	        {"a/b/c/d/e/f/g/h/i/j/k/l", ERR_KIND_LIMIT_PATH}};
	char name[300];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = ERR_INIT;
		path_check(&fs, cases[i].path, strlen(cases[i].path), &e);
		cr_assert_eq(e.kind, cases[i].kind, "%s: %s", cases[i].path, e.msg);
	}
	struct err e = ERR_INIT;
	memset(name, 'n', sizeof(name));
	name[255] = 0;
	cr_assert_eq(path_check(&fs, name, 255, &e), 0);
	name[255] = 'n';
	name[256] = 0;
	cr_assert_lt(path_check(&fs, name, 256, &e), 0);
	cr_assert_eq(e.kind, ERR_KIND_BAD_NAME);
}

Test(path, parents_are_made)
{
	struct err e;

	cr_assert_null(get("a/b/c", false, &e));
	cr_assert_eq(e.code, -ENOENT);
	cr_assert(is_same(get("a/b/c", true, &e), "a/b/c"), "%s", e.msg);
	cr_assert_eq(fs.ledger.used_inodes, 3);
	cr_assert(mark_has(&fs.marks, fs.root_ino, "a"));
	cr_assert(is_same(get("", true, &e), "."));
}

Test(path, links_stay_inside)
{
	struct err e;

	mkdirat(fs.root_fd, "usr", 0755);
	mkdirat(fs.root_fd, "usr/lib", 0755);
	link_to("usr/lib", "lib");
	link_to("/usr", "abs");
	link_to("../../../..", "usr/up");
	link_to("../..//../usr/./lib/../up/usr", "usr/lib/mixed");
	link_to("../../nowhere/sub", "dangling");
	cr_assert(is_same(get("lib", false, &e), "usr/lib"));
	cr_assert(is_same(get("abs/lib", false, &e), "usr/lib"));
	cr_assert(is_same(get("usr/up", false, &e), "."));
	cr_assert(is_same(get("usr/up/usr/up/abs/lib/mixed", false, &e), "usr"));
	cr_assert(is_same(get("dangling/x", true, &e), "nowhere/sub/x"), "%s", e.msg);
	/* the slow way alone */
	cr_assert(is_same(get("usr/up/usr/lib/mixed/lib/new", true, &e), "usr/lib/new"), "%s", e.msg);
}

Test(path, loops_and_files)
{
	struct err e;
	char name[8], target[24];

	link_to("self", "self");
	cr_assert_null(get("self", true, &e));
	cr_assert_eq(e.kind, ERR_KIND_PATH_LOOP);
	link_to(".", "x0"); /* each doubles what has to be resolved */
	for (int i = 1; i < 12; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		snprintf(target, sizeof(target), "x%d/x%d", i - 1, i - 1);
		link_to(target, name);
	}
	cr_assert_null(get("x11", true, &e));
	cr_assert_eq(e.kind, ERR_KIND_PATH_LOOP);
	close(openat(fs.root_fd, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	cr_assert_null(get("file", true, &e));
	cr_assert_eq(e.kind, ERR_KIND_NOT_A_DIRECTORY);
	link_to("file", "to-file");
	cr_assert_null(get("to-file/x", true, &e));
	cr_assert_eq(e.kind, ERR_KIND_NOT_A_DIRECTORY);
}

Test(path, cache_forgets_what_moved)
{
	struct err e;

	mkdirat(fs.root_fd, "d", 0755);
	cr_assert(is_same(get("d", false, &e), "d"));
	renameat(fs.root_fd, "d", fs.root_fd, "was-d");
	mkdirat(fs.root_fd, "d", 0755);
	fs.serial++;
	cr_assert(is_same(get("d", false, &e), "d"));
	for (int i = 0; i < 3 * PATH_CACHE; i++) {
		char name[16];
		snprintf(name, sizeof(name), "n%d", i);
		cr_assert(is_same(get(name, true, &e), name));
	}
}
