/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A fuzz target without a fuzzer: replay FILE...  Each file goes through the target whole, then cut short: everywhere
 * up to 2 KiB, at some 64 places above. The bytes lie in memory of exactly their size, for the sanitizers. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define INPUT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const uint8_t *data, size_t size)
{
	AUTO_FREE uint8_t *exact = malloc(size ? size : 1);

	if (!exact)
		abort();
	memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
}

static int replay(const char *path)
{
	AUTO_FREE uint8_t *data = malloc(INPUT_MAX);
	AUTO_FILE FILE *f = fopen(path, "re");

	if (!data || !f) {
		perror(path);
		return 1;
	}
	size_t size = fread(data, 1, INPUT_MAX, f);
	run(data, size);
	for (size_t cut = 0; cut<size; cut += size> 2048 ? size / 64 : 1)
		run(data, cut);
	return 0;
}

int main(int argc, char **argv)
{
	int rc = argc < 2;

	for (int i = 1; i < argc; i++) {
		fprintf(stderr, "%s\n", argv[i]); /* the last line names what crashed */
		rc |= replay(argv[i]);
	}
	return rc;
}
