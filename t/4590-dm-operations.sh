#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# How many ioctls the operations of the dm backend take, in the guest (t/vm/dm-measure.sh).
# check: limit=400
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
"$top/t/vm/run" tests --scratch 1G --mem 512M --timeout 380 --each 360 --log "$tmp/log" "$top/t/vm/dm-measure.sh" >"$tmp/out" 2>&1
rc=$?
grep -E '^(not ok|#)' "$tmp/out" | sed 's/^/# /'
is "$rc" 0 "the guest's test passes: $(grep -c '^ok' "$tmp/log/dm-measure.tap") checks"
done_testing
