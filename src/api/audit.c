/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/audit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/present.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "digest/hash.h"
#include "json/json.h"

#define SYNC_MS 1000
#define LINE_MAX_BYTES 8192
#define REFUSALS_PER_SECOND 100 /* lines about what was denied: a flood of them must not fill the disk */
#define NAME_FORMAT "audit-%08u.jsonl"

struct audit {
	int dir_fd, fd;  /* own */
	unsigned number; /* of the file */
	uint64_t size, max_bytes;
	struct audit_end end;
	struct loop *loop;
	struct store *store;
	struct loop_timer *sync_timer;
	int64_t second;    /* of the count below */
	unsigned refusals; /* in this second */
	uint64_t withheld; /* refusals that got no line since the last one that did */
	uint64_t lost;
};

static const char *const kinds[] = {
#define X(id, name) [AUDIT_##id] = name,
        AUDIT_KINDS(X)
#undef X
};
static const char *const outcomes[] = {[AUDIT_ALLOWED] = "allowed", [AUDIT_DENIED] = "denied", [AUDIT_ERROR] = "error"};

/* --- files ----------------------------------------------------------------------------------------------------- */

int audit_dir_open(const char *dir, unsigned uid, struct err *e)
{
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "make the audit log's directory %s", dir);
	AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(e, -errno, "open the audit log's directory %s", dir);
	if (fchown(fd, uid, uid) < 0 || fchmod(fd, 0700) < 0)
		return err_sys(e, -errno, "give %s to user %u", dir, uid);
	return STEAL_FD(&fd);
}

static int file_open(struct audit *a, unsigned number, int flags, struct err *e)
{
	char name[32];

	snprintf(name, sizeof(name), NAME_FORMAT, number);
	int fd = openat(a->dir_fd, name, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	return fd < 0 ? err_sys(e, -errno, "audit log %s", name) : fd;
}

/* The largest number of a file, 0: there is none. */
static int newest_number(const struct audit *a, unsigned *number, struct err *e)
{
	int copy = fcntl(a->dir_fd, F_DUPFD_CLOEXEC, 3);
	AUTO_DIR DIR *d = copy < 0 ? NULL : fdopendir(copy);

	*number = 0;
	if (!d) {
		int code = -errno;
		cleanup_close(&copy);
		return err_sys(e, code, "read the audit log's directory");
	}
	rewinddir(d);
	for (struct dirent *entry; (entry = readdir(d));) {
		char name[32];
		unsigned n = 0;
		if (sscanf(entry->d_name, "audit-%8u.jsonl", &n) != 1)
			continue;
		snprintf(name, sizeof(name), NAME_FORMAT, n);
		if (!strcmp(name, entry->d_name) && n > *number)
			*number = n;
	}
	return 0;
}

static void hash_line(const char *line, size_t len, uint8_t out[32])
{
	struct digest d;

	hash_buffer(DIGEST_SHA256, line, len, &d);
	memcpy(out, d.bytes, 32);
}

/* Take the number and hash of the last whole line of FD; what a crash left behind it is cut off. 1: there is one. */
static int tail_read(int fd, uint64_t *size, struct audit_end *end, struct err *e)
{
	char tail[2 * LINE_MAX_BYTES];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "audit log");
	off_t from = st.st_size > (off_t)sizeof(tail) ? st.st_size - (off_t)sizeof(tail) : 0;
	ssize_t n = pread(fd, tail, sizeof(tail), from);
	if (n < 0)
		return err_sys(e, -errno, "read the audit log");
	const char *stop = memrchr(tail, '\n', (size_t)n);
	*size = (uint64_t)(from + (stop ? stop + 1 - tail : 0));
	if (!stop && from)
		return err_set(e, -EUCLEAN, "audit log: its last line has no end");
	if (*size < (uint64_t)st.st_size) {
		log_warn("audit log: an unfinished line is cut off", KV_U("bytes", (uint64_t)st.st_size - *size));
		if (ftruncate(fd, (off_t)*size) < 0)
			return err_sys(e, -errno, "cut off an unfinished line of the audit log");
	}
	if (!stop)
		return 0;
	const char *before = memrchr(tail, '\n', (size_t)(stop - tail)), *line = before ? before + 1 : tail;
	AUTO(json_cleanup) struct json *doc = json_load_strict(line, (size_t)(stop - line), 4, e);
	if (!doc || json_get_int64(doc, "seq", JSON_REQUIRED, &end->seq, e) < 0)
		return err_set(e, -EUCLEAN,
		        "audit log: its last line cannot be read: check it with builderctl audit verify, and move the "
		        "files away");
	hash_line(line, (size_t)(stop - line), end->hash);
	return 1;
}

static int next_file(struct audit *a, struct err *e)
{
	int fd = file_open(a, a->number + 1, O_CREAT | O_EXCL, e);

	if (fd < 0)
		return fd;
	if (a->fd >= 0)
		fdatasync(a->fd);
	cleanup_close(&a->fd);
	a->fd = fd;
	a->number++;
	a->size = 0;
	fsync(a->dir_fd);
	return 0;
}

/* Find the last line: the newest file may be empty still. */
static int go_on(struct audit *a, struct err *e)
{
	unsigned newest;
	int rc = newest_number(a, &newest, e);

	for (unsigned n = newest; rc >= 0 && n > 0; n--) {
		AUTO_CLOSE int fd = file_open(a, n, 0, e);
		uint64_t size = 0;
		if (fd == -ENOENT)
			break; /* older ones were taken away */
		rc = fd < 0 ? fd : tail_read(fd, &size, &a->end, e);
		if (n == newest && rc >= 0) {
			a->fd = STEAL_FD(&fd);
			a->number = n;
			a->size = size;
		}
		if (rc)
			break;
	}
	return rc < 0 || a->fd >= 0 ? rc : next_file(a, e);
}

/* --- lines ----------------------------------------------------------------------------------------------------- */

static void put_hex(struct buf *b, const uint8_t hash[32])
{
	for (int i = 0; i < 32; i++)
		buf_printf(b, "%02x", hash[i]);
}

static void put_member(struct buf *b, const char *name, const char *value, size_t max)
{
	size_t len = value ? strlen(value) : 0;

	if (!len)
		return;
	buf_printf(b, ",\"%s\":", name);
	json_put_string(b, value, len < max ? len : max);
}

static void line_write(struct buf *b, const struct audit *a, const struct audit_event *ev)
{
	char when[32];

	buf_printf(b, "{\"seq\":%" PRId64 ",\"time\":\"%s\",\"event\":\"%s\",\"outcome\":\"%s\"", a->end.seq + 1,
	        present_time_text(time_wall_ms(), when), kinds[ev->kind], outcomes[ev->outcome]);
	put_member(b, "tenant", ev->tenant, 128);
	put_member(b, "customer", ev->customer, 256);
	put_member(b, "build", ev->build, 64);
	put_member(b, "address", ev->address, 128);
	put_member(b, "identity", ev->identity, 64);
	put_member(b, "resource", ev->resource, 256);
	put_member(b, "reason", ev->reason, 512);
	buf_puts(b, ",\"prev\":\"");
	put_hex(b, a->end.hash);
	buf_puts(b, "\"}\n");
}

static void on_sync(void *arg)
{
	struct audit *a = arg;
	struct err e = ERR_INIT;

	a->sync_timer = NULL;
	if (fdatasync(a->fd) < 0)
		log_error("audit log not synced", KV("error", strerror(errno)));
	if (store_audit_end_set(a->store, &a->end, &e) < 0 || store_flush(a->store, &e) < 0)
		log_error("end of the audit log not stored", KV("error", e.msg));
}

static int append(struct audit *a, const struct audit_event *ev, struct err *e)
{
	AUTO_BUF struct buf b = {0};

	if (a->size >= a->max_bytes) {
		int rc = next_file(a, e);
		if (rc < 0)
			return rc;
	}
	line_write(&b, a, ev);
	int rc = fd_write_all(a->fd, b.data, b.len);
	if (rc < 0) {
		if (ftruncate(a->fd, (off_t)a->size) < 0)
			log_error("audit log: half a line stays", KV("error", strerror(errno)));
		return err_sys(e, rc, "write a line");
	}
	a->size += b.len;
	a->end.seq++;
	hash_line(b.data, b.len - 1, a->end.hash);
	if (!a->sync_timer)
		a->sync_timer = loop_timer_add(a->loop, SYNC_MS, on_sync, a);
	return 0;
}

static void append_or_lose(struct audit *a, const struct audit_event *ev)
{
	struct err e = ERR_INIT;

	if (append(a, ev, &e) >= 0)
		return;
	if (!a->lost++)
		log_error("audit log cannot be written", KV("error", e.msg));
}

/* True: this one gets no line of its own. */
static bool is_withheld(struct audit *a, const struct audit_event *ev)
{
	int64_t now = time_mono_ms() / 1000;

	if (now != a->second) {
		a->second = now;
		a->refusals = 0;
	}
	if (ev->outcome != AUDIT_DENIED || a->refusals++ < REFUSALS_PER_SECOND)
		return false;
	a->withheld++;
	return true;
}

void audit_write(struct audit *a, const struct audit_event *ev)
{
	char text[96];

	if (!a || is_withheld(a, ev))
		return;
	if (a->withheld) {
		snprintf(text, sizeof(text), "%" PRIu64 " more refusals than %d a second got no line", a->withheld,
		        REFUSALS_PER_SECOND);
		a->withheld = 0;
		append_or_lose(
		        a, &(struct audit_event){.kind = AUDIT_AUDIT_GAP, .outcome = AUDIT_DENIED, .reason = text});
	}
	append_or_lose(a, ev);
}

void audit_end_get(const struct audit *a, struct audit_end *out)
{
	*out = a->end;
}

uint64_t audit_lost(const struct audit *a)
{
	return a ? a->lost : 0;
}

/* --- begin and end --------------------------------------------------------------------------------------------- */

/* The store remembers more than the files have: they were cut off, or are others. */
static void check_end(struct audit *a, const struct audit_end *known)
{
	char text[160];
	const char *why = text;
	bool is_cut = known->seq > a->end.seq;
	bool is_other = known->seq == a->end.seq && memcmp(known->hash, a->end.hash, 32) != 0;

	if (!known->seq || (!is_cut && !is_other))
		return;
	if (is_cut)
		snprintf(text, sizeof(text), "lines %" PRId64 " to %" PRId64 " were written and are not there any more",
		        a->end.seq + 1, known->seq);
	else
		snprintf(text, sizeof(text), "line %" PRId64 " is not the one that was written", known->seq);
	log_error("the audit log was changed", KV("reason", why));
	if (is_cut)
		a->end = *known; /* no number is given twice */
	audit_write(a, &(struct audit_event){.kind = AUDIT_AUDIT_GAP, .outcome = AUDIT_ERROR, .reason = text});
}

int audit_open(int dir_fd, uint64_t max_bytes, struct loop *l, struct store *s, struct audit **out, struct err *e)
{
	struct audit *a = xcalloc(1, sizeof(*a));
	struct audit_end known;

	*a = (struct audit){.dir_fd = dir_fd, .fd = -1, .max_bytes = max_bytes, .loop = l, .store = s};
	int rc = go_on(a, e);
	if (rc >= 0)
		rc = store_audit_end_get(s, &known, e);
	if (rc < 0) {
		audit_close(a);
		return err_wrap(e, "audit log");
	}
	check_end(a, &known);
	*out = a;
	return 0;
}

void audit_close(struct audit *a)
{
	if (!a)
		return;
	if (a->sync_timer) {
		loop_timer_del(a->sync_timer);
		on_sync(a);
	}
	cleanup_close(&a->fd);
	cleanup_close(&a->dir_fd);
	free(a);
}
