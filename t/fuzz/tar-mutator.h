/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mutated archives whose headers still have the right checksum: without it a fuzzer never gets behind the first one. */
#ifndef FUZZ_TAR_MUTATOR_H
#define FUZZ_TAR_MUTATOR_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static inline void tar_checksum_set(uint8_t *block)
{
	char text[8];
	unsigned sum = 8 * ' ';

	for (unsigned i = 0; i < 512; i++)
		sum += i >= 148 && i < 156 ? 0 : block[i];
	snprintf(text, sizeof(text), "%06o", sum);
	memcpy(block + 148, text, 7);
	block[155] = ' ';
}

/* Change one header's type, size or a whole block's place, as no mutation of single bytes would. */
static inline void tar_block_mutate(uint8_t *block, const uint8_t *other, unsigned seed)
{
	static const char types[] = "0000123567gxxLKSV";
	static const char sizes[][13] = {"00000000000", "00000000001", "00000001000", "00000002000", "77777777777",
	        "\200\0\0\0\0\0\0\0\0\0\2", "-1"};

	switch (seed % 4) {
	case 0:
		block[156] = (uint8_t)types[seed / 4 % sizeof(types)];
		break;
	case 1:
		memcpy(block + 124, sizes[seed / 4 % (sizeof(sizes) / sizeof(sizes[0]))], 12);
		break;
	case 2:
		memmove(block, other, 512);
		break;
	default:
		memcpy(block + 257, seed / 4 % 2 ? "ustar  " : "ustar\00000", 8);
	}
}

/* SKIP bytes stand before the archive. */
static inline size_t tar_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed, size_t skip)
{
	size_t blocks = size > skip ? (size - skip) / 512 : 0;

	if (blocks && seed % 3 == 0)
		tar_block_mutate(
		        data + skip + seed / 3 % blocks * 512, data + skip + seed / 7 % blocks * 512, seed / 64);
	else if (blocks && seed % 3 == 1) /* inside one block: the others keep their place */
		LLVMFuzzerMutate(data + skip + seed / 3 % blocks * 512, 512, 512);
	else
		size = LLVMFuzzerMutate(data, size, max_size);
	for (size_t at = skip; at + 512 <= size; at += 512)
		if (!memcmp(data + at + 257, "ustar", 5))
			tar_checksum_set(data + at);
	return size;
}

#endif
