#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The dm backend in the guest: volumes, chains, products, crashes, recovery of transactions, keys (t/vm/dm-backend.sh).
# check: limit=800
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
"$top/t/vm/run" tests --scratch 3G --scratch 512M --mem 768M --timeout 780 --each 760 --log "$tmp/log" "$top/t/vm/dm-backend.sh" >"$tmp/out" 2>&1
rc=$?
grep -E '^(not ok|#)' "$tmp/out" | sed 's/^/# /'
is "$rc" 0 "the guest's test passes: $(grep -c '^ok' "$tmp/log/dm-backend.tap") checks"
done_testing
