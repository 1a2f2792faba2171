#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every fuzz target takes its seeds and what was once found, whole and cut short. A file that crashes a target is the last one that it
# names. New findings go to t/data/fuzz/TARGET under a name that says what they are.
. "$(dirname "$0")/lib/tap.sh"

for target in "$top"/t/fuzz/*.c; do
	target=$(basename "$target" .c)
	[ "$target" != replay ] || continue
	for program in "$build/t/fuzz/$target"*; do
		[[ -x $program && -f $program ]] || continue
		ok "${program##*/} survives its files" timeout 60 "$program" "$top/t/data/fuzz/$target"/*
	done
	ok "$target is built" test -x "$build/t/fuzz/$target"
done
done_testing
