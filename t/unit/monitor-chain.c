/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "build/chain.h"
#include "digest/hash.h"

static struct digest of(const char *text)
{
	struct digest d;

	hash_buffer(DIGEST_SHA256, text, strlen(text), &d);
	return d;
}

/* image-spec config.md: ChainID(L0) = DiffID(L0), ChainID(L0|..|Ln) = Digest(ChainID(L0|..|Ln-1) + " " + DiffID(Ln)) */
Test(chain, ids_follow_the_specification)
{
	struct digest a = of("a"), b = of("b"), first, second, want;
	char ta[DIGEST_TEXT_MAX], tb[DIGEST_TEXT_MAX], joined[2 * DIGEST_TEXT_MAX];

	chain_id_next(NULL, &a, &first);
	cr_assert(digest_equal(&first, &a));
	chain_id_next(&first, &b, &second);
	int n = snprintf(joined, sizeof(joined), "%s %s", digest_format(&a, ta), digest_format(&b, tb));
	hash_buffer(DIGEST_SHA256, joined, (size_t)n, &want);
	cr_assert(digest_equal(&second, &want));
}

Test(chain, each_input_changes_the_product)
{
	struct digest d[5] = {of("chain"), of("manifest"), of("config"), of("runtime"), of("init")},
	              other = of("other"), base, key;
	struct product_inputs in = {&d[0], &d[1], &d[2], &d[3], &d[4], "a/b:1", false};
	const struct digest **members[] = {&in.chain_id, &in.manifest, &in.config, &in.runtime_key, &in.init_program};

	product_key(&in, &base);
	for (size_t i = 0; i < 5; i++) {
		const struct digest *saved = *members[i];
		*members[i] = &other;
		product_key(&in, &key);
		cr_assert_not(digest_equal(&base, &key), "input %zu", i);
		*members[i] = saved;
	}
	in.reference = "a/b:2";
	product_key(&in, &key);
	cr_assert_not(digest_equal(&base, &key));
	in.reference = "a/b:1";
	in.preserves_layers = true;
	product_key(&in, &key);
	cr_assert_not(digest_equal(&base, &key));
	in.preserves_layers = false;
	product_key(&in, &key);
	cr_assert(digest_equal(&base, &key));
}
