/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unpack/metadata.h"

#include <string.h>

#include "json/json.h"

static void put_string(struct buf *b, const char *s)
{
	json_put_string(b, s, strlen(s));
}

/* `"KEY": ` with what separates it from the member before. */
static void put_key(struct buf *b, const char *key)
{
	if (b->data[b->len - 1] != '{')
		buf_puts(b, ",");
	put_string(b, key);
	buf_puts(b, ":");
}

static void put_member(struct buf *b, const char *key, const char *value)
{
	put_key(b, key);
	put_string(b, value);
}

static void put_items(struct buf *b, const struct strings *s)
{
	for (size_t i = 0; i < s->n; i++) {
		if (b->data[b->len - 1] != '[')
			buf_puts(b, ",");
		put_string(b, s->items[i]);
	}
}

static void put_strings(struct buf *b, const char *key, const struct strings *s)
{
	put_key(b, key);
	buf_puts(b, "[");
	put_items(b, s);
	buf_puts(b, "]");
}

static void put_pairs(struct buf *b, const char *key, const struct pairs *p)
{
	put_key(b, key);
	buf_puts(b, "{");
	for (size_t i = 0; i < p->n; i++)
		put_member(b, p->items[i].key, p->items[i].value);
	buf_puts(b, "}");
}

void metadata_command(struct buf *out, const struct effective *x)
{
	buf_puts(out, "[");
	put_items(out, &x->entrypoint);
	put_items(out, &x->command);
	if (!x->entrypoint.n && !x->command.n)
		put_string(out, "/bin/sh");
	buf_puts(out, "]\n");
}

static void put_ports(struct buf *b, const struct strings *ports)
{
	put_key(b, "exposed_ports");
	buf_puts(b, "[");
	for (size_t i = 0; i < ports->n; i++) {
		size_t n = strlen(ports->items[i]);
		if (n > 4 && !strcmp(ports->items[i] + n - 4, "/tcp"))
			n -= 4;
		if (i)
			buf_puts(b, ",");
		json_put_string(b, ports->items[i], n);
	}
	buf_puts(b, "]");
}

void metadata_environment(struct buf *out, const struct effective *x)
{
	buf_puts(out, "{");
	put_member(out, "working_dir", x->working_dir);
	put_pairs(out, "env", &x->env);
	put_ports(out, &x->ports);
	put_member(out, "user", x->user);
	if (x->strategy != INIT_CUSTOM) /* metald-init is not asked then */
		put_member(out, "init_strategy", init_strategy_name(x->strategy));
	buf_puts(out, "}\n");
}

static void put_layers(struct buf *b, const struct msg_unpack_finish *job)
{
	char text[DIGEST_TEXT_MAX];

	put_key(b, "layers");
	buf_puts(b, "[");
	for (uint32_t i = 0; i < job->layers && i < IMAGE_LAYERS_MAX; i++) {
		if (i)
			buf_puts(b, ",");
		put_string(b, digest_format(&job->layer_blobs[i], text));
	}
	buf_puts(b, "]");
}

void metadata_image(struct buf *out, const struct effective *x, const struct msg_unpack_finish *job)
{
	char text[DIGEST_TEXT_MAX];

	buf_puts(out, "{");
	put_key(out, "original_image");
	json_put_string(out, job->reference, strnlen(job->reference, sizeof(job->reference)));
	put_member(out, "image_digest", digest_format(&job->image_digest, text));
	put_layers(out, job);
	put_pairs(out, "labels", &x->labels);
	put_strings(out, "command", &x->command);
	put_strings(out, "entrypoint", &x->entrypoint);
	put_member(out, "working_dir", x->working_dir);
	put_pairs(out, "env", &x->env);
	put_strings(out, "exposed_ports", &x->ports);
	put_member(out, "user", x->user);
	put_strings(out, "volumes", &x->volumes);
	put_member(out, "init_path", x->init_path);
	put_member(out, "init_strategy", init_strategy_name(x->strategy));
	put_member(out, "stop_signal", x->stop_signal);
	buf_puts(out, "}\n");
}
