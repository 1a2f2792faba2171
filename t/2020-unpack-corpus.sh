#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# check: limit=900
# The archive cases of the layer corpus through builderd-unpack alone, applied by a script (see t/tools/corpus-unpack.py).
# t/6050-corpus.sh runs all cases through the daemon.
. "$(dirname "$0")/lib/tap.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
corpus=${BUILDERD_SHARED:-$top/../shared}/corpus
[ -e "$corpus/layers.tar.zst" ] || skip "the corpus is not beside this tree ($corpus)"

mkdir "$tmp/corpus"
zstd -dcq "$corpus/layers.tar.zst" | tar -xf - -C "$tmp/corpus"
while IFS= read -r line; do
	case $line in
	"ok - "*) tap_result 0 "${line#ok - }" ;;
	"not ok - "*) tap_result 1 "${line#not ok - }" ;;
	"1.."*) ;;
	*) diag "${line#\# }" ;;
	esac
done < <(TMPDIR=$tmp timeout 800 /usr/bin/python3 "$top/t/tools/corpus-unpack.py" "$build" "$tmp/corpus/layers" "$corpus/check_tree.py" \
	"$top/t/data/corpus-choices.json" "$@" 2>&1)
done_testing
