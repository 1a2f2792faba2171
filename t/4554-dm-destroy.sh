#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The crypto-erase of a tenant, in the guest (t/vm/dm-destroy.sh).
# check: limit=800
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
"$top/t/vm/run" tests --scratch 1G --scratch 256M --mem 768M --timeout 780 --each 760 --log "$tmp/log" "$top/t/vm/dm-destroy.sh" >"$tmp/out" 2>&1
rc=$?
grep -E '^(not ok|#)' "$tmp/out" | sed 's/^/# /'
is "$rc" 0 "the guest's test passes: $(grep -c '^ok' "$tmp/log/dm-destroy.tap") checks"
done_testing
