#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What can be read below and beside a tenant's volumes (t/vm/dm-raw.sh, in the guest): no plaintext below the key, no stale bytes in
# a new volume, no device for unprivileged programs. Here: nothing of a file's content or name in the pool's image as a whole.
# check: limit=400
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
word=name-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
head -c 1M /dev/urandom >"$tmp/secret"
truncate -s 2G "$tmp/pool.img"
truncate -s 512M "$tmp/state.img"
printf '#!/bin/bash\nexec %q %q %q\n' "$(realpath "$top/t/vm/dm-raw.sh")" "$tmp/secret" "$word" >"$tmp/dm-raw"
chmod +x "$tmp/dm-raw"
"$top/t/vm/run" tests --disk "$tmp/pool.img" --disk "$tmp/state.img" --scratch 320M --mem 1G --timeout 380 --each 360 --log "$tmp/log" "$tmp/dm-raw" \
	>"$tmp/out" 2>&1
rc=$?
grep -E '^(not ok|#)' "$tmp/out" | sed 's/^/# /'
is "$rc" 0 "the guest's test passes: $(grep -c '^ok' "$tmp/log/dm-raw.tap") checks"
like "$("$top/t/lib/needles.py" "$tmp/secret" "$tmp/secret" "$word")" "^32 of 32 pieces" "the search finds the secret where it is"
for image in pool state; do
	like "$("$top/t/lib/needles.py" "$tmp/$image.img" "$tmp/secret" "$word")" "^0 of 32 pieces, 0 times the word, in [1-9][0-9]+ MiB" \
		"nothing of it is anywhere in the image of the $image device"
done
done_testing
