#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Power cuts at each flush: the writes of a build, a seal and its deletion, replayed from a log (t/vm/dm-fail-torn.sh, in the guest).
# STEPS=all looks after every flush; else after each eighth.
# check: limit=900
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
stride=8 limit=600
[ "${STEPS:-}" != all ] || stride=1 limit=7200
"$top/t/vm/run" tests --scratch 400M --scratch 1G --scratch 512M --scratch 512M --mem 512M --timeout "$limit" --each "$limit" \
	--log "$tmp/log" --env TMPDIR=/tmp --env "TORN_STRIDE=$stride" "$top/t/vm/dm-fail-torn.sh" >"$tmp/out" 2>&1
rc=$?
grep -E '^(not ok|#)' "$tmp/out" | sed 's/^/# /'
is "$rc" 0 "the guest's test passes: $(grep -o 'after [0-9]* of [0-9]* flushes' "$tmp/log/dm-fail-torn.tap")"
done_testing
