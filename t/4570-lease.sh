#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Leases of the dm backend in the guest, over two boots of it on the same disks (t/vm/dm-lease.sh).
# check: limit=1200
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
truncate -s 3G "$tmp/pool"
truncate -s 512M "$tmp/state"
for boot in 1 2; do
	"$top/t/vm/run" tests --disk "$tmp/pool" --disk "$tmp/state" --mem 768M --timeout 580 --each 560 --log "$tmp/log" \
		"$top/t/vm/dm-lease.sh" >"$tmp/out" 2>&1
	rc=$?
	grep -E '^(not ok|#)' "$tmp/out" | sed 's/^/# /'
	is "$rc" 0 "boot $boot: the guest's test passes: $(grep -c '^ok' "$tmp/log/dm-lease.tap") checks"
done
done_testing
