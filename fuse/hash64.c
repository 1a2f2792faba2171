/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/hash64.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static uint64_t key[2];

int hash64_setup(void)
{
	ssize_t n = getrandom(key, sizeof(key), 0);

	return n == sizeof(key) ? 0 : n < 0 ? -errno : -EIO;
}

static uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static void mix(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] = rotl(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] = rotl(v[2], 32);
}

static void absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	mix(v);
	v[0] ^= word;
}

uint64_t hash64(uint64_t seed, const void *data, size_t len)
{
	uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
	        key[1] ^ 0x7465646279746573};
	const unsigned char *p = data;
	size_t left = len;
	uint64_t word;

	absorb(v, seed);
	for (; left >= 8; left -= 8, p += 8) {
		memcpy(&word, p, 8);
		absorb(v, word);
	}
	word = (uint64_t)(len + 8) << 56;
	memcpy(&word, p, left);
	absorb(v, word);
	v[2] ^= 0xff;
	mix(v);
	mix(v);
	mix(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
