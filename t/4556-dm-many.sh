#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# 64 tenants at once in 768 MiB, in the guest (t/vm/dm-many.sh).
# check: limit=800
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
"$top/t/vm/run" tests --scratch 4G --scratch 256M --mem 768M --timeout 780 --each 760 --log "$tmp/log" "$top/t/vm/dm-many.sh" >"$tmp/out" 2>&1
rc=$?
grep -E '^(not ok|#)' "$tmp/out" | sed 's/^/# /'
is "$rc" 0 "the guest's test passes: $(grep -c '^ok' "$tmp/log/dm-many.tap") checks"
done_testing
