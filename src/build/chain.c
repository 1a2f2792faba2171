/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "build/chain.h"

#include <string.h>

#include "base/buf.h"
#include "digest/hash.h"

void chain_id_next(const struct digest *parent, const struct digest *diff_id, struct digest *out)
{
	char lower[DIGEST_TEXT_MAX], upper[DIGEST_TEXT_MAX];
	AUTO_BUF struct buf text = {0};

	if (!parent) {
		*out = *diff_id;
		return;
	}
	buf_printf(&text, "%s %s", digest_format(parent, lower), digest_format(diff_id, upper));
	hash_buffer(DIGEST_SHA256, text.data, text.len, out);
}

void chain_id_layers(struct digest *out)
{
	static const char text[] = "builderd-layers-v1";

	hash_buffer(DIGEST_SHA256, text, strlen(text), out);
}

void product_key(const struct product_inputs *in, struct digest *out)
{
	const struct digest *parts[] = {in->chain_id, in->manifest, in->config, in->runtime_key, in->init_program};
	AUTO_BUF struct buf text = {0};
	char hex[DIGEST_TEXT_MAX];

	buf_puts(&text, "builderd-product-v1");
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		buf_printf(&text, " %s", parts[i] ? digest_format(parts[i], hex) : "none");
	buf_printf(&text, " %s", in->reference);
	if (in->preserves_layers)
		buf_puts(&text, " layers");
	hash_buffer(DIGEST_SHA256, text.data, text.len, out);
}
