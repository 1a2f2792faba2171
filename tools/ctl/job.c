/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/ctl/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "tools/ctl/text.h"

#define STATE_PREFIX "BUILD_STATE_"

const char *job_text(const struct json *object, const char *member)
{
	const char *s = json_as_string(json_member(object, member));

	return s ? s : "";
}

int64_t job_int(const struct json *object, const char *member)
{
	const struct json *value = json_member(object, member);
	const char *s = json_as_string(value);

	return s ? strtoll(s, NULL, 10) : json_as_int64(value);
}

const char *job_state(const struct json *build)
{
	const char *state = job_text(build, "state");

	return strncmp(state, STATE_PREFIX, strlen(STATE_PREFIX)) ? state : state + strlen(STATE_PREFIX);
}

static const char *job_image(const struct json *build)
{
	const struct json *source = json_member(json_member(build, "config"), "source");

	return job_text(json_member(source, "dockerImage"), "imageUri");
}

int job_get(struct client *c, const char *id, struct job *j, struct err *e)
{
	AUTO_BUF struct buf body = {0};
	int r;

	*j = (struct job){0};
	client_put_id(c, &body, id, "");
	r = client_call(c, "GetBuild", buf_cstr(&body), NULL, &j->text, &j->doc, e);
	if (r < 0) {
		job_free(j);
		return r;
	}
	const struct json *b = j->build = json_member(j->doc, "build");
	j->id = job_text(b, "buildId");
	j->state = job_state(b);
	j->step = job_text(b, "currentStep");
	j->error = job_text(b, "errorMessage");
	j->image = job_image(b);
	j->rootfs_path = job_text(b, "rootfsPath");
	j->checksum = job_text(b, "rootfsChecksum");
	j->rootfs_bytes = job_int(b, "rootfsSizeBytes");
	j->percent = (int)job_int(b, "progressPercent");
	j->bytes_done = job_int(b, "bytesDone");
	j->bytes_total = job_int(b, "bytesTotal");
	return 0;
}

void job_free(struct job *j)
{
	json_release(j->doc);
	buf_free(&j->text);
	*j = (struct job){0};
}

static bool state_is_over(const char *state)
{
	return !strcmp(state, "COMPLETED") || !strcmp(state, "FAILED") || !strcmp(state, "CANCELLED");
}

bool job_is_over(const struct job *j)
{
	return state_is_over(j->state);
}

bool job_is_completed(const struct job *j)
{
	return !strcmp(j->state, "COMPLETED");
}

static void print_field(FILE *f, const char *name, const char *value)
{
	AUTO_BUF struct buf text = {0};

	if (!*value)
		return;
	text_put(&text, value);
	fprintf(f, "%-9s %s\n", name, buf_cstr(&text));
}

static void print_size(const struct job *j, FILE *f)
{
	int64_t disk = job_int(json_member(j->build, "metrics"), "diskUsageBytes");
	char size[TEXT_NUMBER_MAX], used[TEXT_NUMBER_MAX];

	if (!j->rootfs_bytes)
		return;
	fprintf(f, "%-9s %s", "size", text_bytes(j->rootfs_bytes, size));
	if (disk)
		fprintf(f, ", %s on disk", text_bytes(disk, used));
	fputs("\n", f);
}

static void print_times(const struct job *j, FILE *f)
{
	static const char *const steps[][2] = {{"pull", "pullDurationMs"}, {"unpack", "extractDurationMs"},
	        {"finish", "buildDurationMs"}, {"optimize", "optimizeDurationMs"}};
	const struct json *metrics = json_member(j->build, "metrics");
	int64_t total = job_int(metrics, "totalDurationMs"), ms;
	char text[TEXT_NUMBER_MAX];

	if (!total)
		return;
	fprintf(f, "%-9s %s", "time", text_duration(total, text));
	const char *before = " (";
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		if (!(ms = job_int(metrics, steps[i][1])))
			continue;
		fprintf(f, "%s%s %s", before, steps[i][0], text_duration(ms, text));
		before = ", ";
	}
	fputs(*before == ',' ? ")\n" : "\n", f);
}

void job_print(const struct job *j, FILE *f)
{
	char state[160];

	snprintf(state, sizeof(state), "%s%s%.100s", j->state, *j->step && !job_is_over(j) ? ": " : "",
	        job_is_over(j) ? "" : j->step);
	print_field(f, "build", j->id);
	print_field(f, "name", job_text(json_member(j->build, "config"), "buildName"));
	print_field(f, "state", state);
	if (!job_is_over(j))
		fprintf(f, "%-9s %d %%\n", "progress", j->percent);
	print_field(f, "error", j->error);
	print_field(f, "image", j->image);
	print_field(f, "digest", job_text(json_member(j->build, "imageMetadata"), "imageDigest"));
	print_field(f, "rootfs", j->rootfs_path);
	print_size(j, f);
	print_field(f, "checksum", j->checksum);
	print_times(j, f);
}

#define ROW "%-32s  %-10s  %8s  %-16s  "

void job_print_heading(FILE *f)
{
	fprintf(f, ROW "%s\n", "BUILD", "STATE", "SIZE", "CREATED", "IMAGE");
}

/* RFC 3339 to the local date and time, to the minute. */
static const char *local_time(const char *rfc3339, char out[32])
{
	struct tm tm = {0};

	if (!strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm))
		return "-";
	time_t t = timegm(&tm);
	localtime_r(&t, &tm);
	strftime(out, 32, "%Y-%m-%d %H:%M", &tm);
	return out;
}

void job_print_row(const struct json *build, FILE *f)
{
	AUTO_BUF struct buf id = {0}, image = {0}, state = {0};
	int64_t bytes = job_int(build, "rootfsSizeBytes");
	char size[TEXT_NUMBER_MAX] = "-", when[32];

	if (bytes)
		text_bytes(bytes, size);
	text_put(&id, job_text(build, "buildId"));
	text_put(&state, job_state(build));
	text_put(&image, job_image(build));
	fprintf(f, ROW "%s\n", buf_cstr(&id), buf_cstr(&state), size, local_time(job_text(build, "createdAt"), when),
	        buf_cstr(&image));
}
