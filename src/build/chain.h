/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of layer chains and products. Source: OCI image-spec config.md, "Layer ChainID". */
#ifndef BUILD_CHAIN_H
#define BUILD_CHAIN_H

#include <stdbool.h>

#include "base/digest.h"

/* ChainID of a chain whose lower part is PARENT (NULL: DIFF_ID is the lowest layer). */
void chain_id_next(const struct digest *parent, const struct digest *diff_id, struct digest *out);

/* Where layers are preserved: the parent of the lowest layer. Such volumes hold the layers in another form. */
void chain_id_layers(struct digest *out);

/* What decides every byte of a rootfs and of its metadata.json: same key, same product. */
struct product_inputs {
	const struct digest *chain_id; /* of the whole image; NULL: no layers */
	const struct digest *manifest, *config, *runtime_key, *init_program;
	const char *reference;
	bool preserves_layers;
};
void product_key(const struct product_inputs *in, struct digest *out);

#endif
