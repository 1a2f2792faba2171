#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd-fs in overlay mode: random operations on what earlier layers left have the results of a plain directory, and the ledger
# is the disk's after each thousand.  By hand, for more: t/3105-overlay-random.sh OPERATIONS [SEED]
. "$(dirname "$0")/lib/tap.sh"
operations=${1:-4000} seed=${2:-$RANDOM}

leaks_begin
diag "seed $seed"
steps=()
for layer in 0 1 2; do
	steps+=("run:LAYERS=1 timeout 100000 python3 $top/t/tools/random-ops.py $((seed + layer)) $operations \$MNT $tmp/model" next)
done
out=$(timeout 100000 "$build/t/tools/drive-fs" -L -s 1024 -p "$build/builderd-fs" -d "$tmp" "${steps[@]}" 2>&1)
is "$(grep -c 'same tree' <<<"$out")" 3 'three layers: as on a plain directory'
is "$(grep -c 'exact status=0' <<<"$out")" 3 'the ledger is exact'
[[ $(grep -c 'same tree' <<<"$out") == 3 ]] || diag "$out"
leaks_end
done_testing
