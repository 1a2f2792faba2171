/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A BuildJob as the server tells it, and how it is shown. */
#ifndef CTL_JOB_H
#define CTL_JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tools/ctl/client.h"

/* Strings are borrowed from DOC and never NULL. */
struct job {
	struct json *doc;         /* owns */
	const struct json *build; /* in DOC */
	struct buf text;          /* owns; the answer as it came */
	const char *id, *state;   /* "COMPLETED" */
	const char *step, *error, *image, *rootfs_path, *checksum;
	int percent;
	int64_t bytes_done, bytes_total, rootfs_bytes;
};

int job_get(struct client *c, const char *id, struct job *j, struct err *e);
void job_free(struct job *j);
bool job_is_over(const struct job *j);
bool job_is_completed(const struct job *j);

/* The summary of an ended build, the status of another; no secrets in either. */
void job_print(const struct job *j, FILE *f);
/* One line of a list. */
void job_print_row(const struct json *build, FILE *f);
void job_print_heading(FILE *f);

/* A member as text, "" if there is none. */
const char *job_text(const struct json *object, const char *member);
/* proto3 JSON writes int64 as a string; both forms, 0 if absent. */
int64_t job_int(const struct json *object, const char *member);
/* "BUILD_STATE_PULLING" -> "PULLING" */
const char *job_state(const struct json *build);

#endif
