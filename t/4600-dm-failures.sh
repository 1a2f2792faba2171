#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What users of comparable systems report, on the dm backend, in the guest (t/vm/dm-fail-medium.sh). doc/testing.md says which test
# shows which failure.
# check: limit=600
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
"$top/t/vm/run" tests --scratch 800M --scratch 384M --mem 640M --timeout 580 --each 570 --log "$tmp/log" --env TMPDIR=/tmp "$top/t/vm/dm-fail-medium.sh" >"$tmp/out" 2>&1
rc=$?
grep -E '^(not ok|#)' "$tmp/out" | sed 's/^/# /'
is "$rc" 0 "the guest's test passes: $(grep -c '^ok' "$tmp/log/dm-fail-medium.tap") checks"
done_testing
