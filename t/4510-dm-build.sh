#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd on the dm backend in the guest (t/vm/dm-build.sh), and whether a text in an image can be read from the disk below.
# check: limit=400
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
needle=$(sed -n 's/^needle=//p' "$top/t/vm/dm-build.sh")
truncate -s 2G "$tmp/pool.img"
"$top/t/vm/run" tests --disk "$tmp/pool.img" --scratch 512M --mem 1G --timeout 380 --each 360 --log "$tmp/log" "$top/t/vm/dm-build.sh" >"$tmp/out" 2>&1
rc=$?
grep -E '^(not ok|#)' "$tmp/out" | sed 's/^/# /'
is "$rc" 0 "the guest's test passes: $(grep -c '^ok' "$tmp/log/dm-build.tap") checks"
ok "the pool holds data" test "$(stat -c %b "$tmp/pool.img")" -gt 20000
is "$(grep -c '' <<<"$needle")" 1 "there is a text to look for"
fails "it is nowhere in the pool's image" grep -qaF -- "$needle" "$tmp/pool.img"
done_testing
