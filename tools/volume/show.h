/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers, as a person reads them: to stdout. Members that are missing are shown as "-". */
#ifndef VOLUME_SHOW_H
#define VOLUME_SHOW_H

struct json;

void show_ls(const struct json *answer);
void show_df(const struct json *answer);
void show_why_full(const struct json *answer);
void show_orphans(const struct json *answer);
void show_fsck(const struct json *answer);
void show_rekey(const struct json *answer);
void show_export(const struct json *answer);
void show_nothing(const struct json *answer);
/* Each member on a line of its own, what is inside of others further to the right. */
void show_facts(const struct json *answer);

#endif
