/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two hash tables against plain arrays. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/hash64.h"
#include "fuse/itab.h"
#include "fuse/mark.h"

Test(itab, against_an_array)
{
	static uint64_t model[2000]; /* 0: absent */
	struct itab t = {0};
	size_t count = 0;

	srand(1);
	for (int i = 0; i < 200000; i++) {
		uint64_t ino = (uint64_t)rand() % 2000;
		if (!ino)
			continue;
		if (rand() % 2) {
			count += !model[ino];
			model[ino] = (uint64_t)i + 1;
			itab_add(&t, ino)->charge = model[ino];
		} else {
			count -= !!model[ino];
			model[ino] = 0;
			itab_drop(&t, ino);
		}
		cr_assert_eq(t.count, count);
		uint64_t probe = (uint64_t)rand() % 1999 + 1;
		const struct itab_row *r = itab_find(&t, probe);
		cr_assert_eq(r ? r->charge : 0, model[probe]);
	}
	itab_free(&t);
}

Test(marks, names_of_directories)
{
	struct marks m = {0};
	char name[32];

	cr_assert_eq(hash64_setup(), 0);
	cr_assert(!mark_has(&m, 1, "a"));
	for (int i = 0; i < 50000; i++) {
		snprintf(name, sizeof(name), "name-%d", i);
		mark_add(&m, (uint64_t)i % 100, name);
		mark_add(&m, (uint64_t)i % 100, name);
	}
	cr_assert_eq(m.count, 50000);
	cr_assert_lt(m.cap * sizeof(*m.slots), 2 << 20, "bounded memory for a large layer");
	for (int i = 0; i < 50000; i++) {
		snprintf(name, sizeof(name), "name-%d", i);
		cr_assert(mark_has(&m, (uint64_t)i % 100, name));
		cr_assert(!mark_has(&m, (uint64_t)i % 100 + 1, name));
	}
	marks_free(&m);
}

Test(hash64, lengths_and_seeds_differ)
{
	static const char zero[64];

	for (size_t a = 0; a < 64; a++) {
		cr_assert_eq(hash64(1, zero, a), hash64(1, zero, a));
		cr_assert_neq(hash64(1, zero, a), hash64(2, zero, a));
		for (size_t b = a + 1; b < 64; b++)
			cr_assert_neq(hash64(1, zero, a), hash64(1, zero, b));
	}
}
