#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The dm backend in the guest: full pools, writers that wait, pools and tenants that grow, the host's metadata (t/vm/dm-full.sh).
# check: limit=400
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
"$top/t/vm/run" tests --scratch 1500M --mem 768M --timeout 380 --each 360 --log "$tmp/log" "$top/t/vm/dm-full.sh" >"$tmp/out" 2>&1
rc=$?
grep -E '^(not ok|#)' "$tmp/out" | sed 's/^/# /'
is "$rc" 0 "the guest's test passes: $(grep -c '^ok' "$tmp/log/dm-full.tap") checks"
done_testing
