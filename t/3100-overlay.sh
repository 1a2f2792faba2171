#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd-fs in overlay mode, beside the kernel's overlayfs: every operation on every kind of name has the same outcome, and the
# kernel mounts what we left and sees the tree that we showed.
. "$(dirname "$0")/lib/tap.sh"

drive() {
	timeout 240 "$build/t/tools/drive-fs" -L -p "$build/builderd-fs" -d "$tmp" "$@" 2>&1
}
ops="python3 $top/t/lib/overlay-ops.py"

leaks_begin

# The kernel's: redirect_dir lets it rename directories, index keeps hard links together.
cat >"$tmp/kernel.sh" <<BASH
set -e
mount -t tmpfs none $tmp/k
cd $tmp/k
mkdir lower upper work merged
$ops lower lower
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work,redirect_dir=on,index=on merged
$ops run merged >$tmp/kernel.out
$ops tree merged >$tmp/kernel.tree
BASH
mkdir "$tmp/k"
ok "the kernel's overlayfs" timeout 120 unshare -m bash "$tmp/kernel.sh"
out=$(drive -s 512 "run:$ops lower \$MNT" next "run:$ops run \$MNT >$tmp/ours.out; $ops tree \$MNT >$tmp/ours.tree" \
	"run:$ops tree \$MNT >$tmp/again.tree" stop "run:$ops tree \$MNT >$tmp/session.tree" stop "kernel:$ops tree \$KERNEL >$tmp/mounted.tree")
is "$(grep -c 'exact status=0' <<<"$out")" 3 'the ledger is exact'
unlike "$out" 'status [1-9]' 'all ran'
cases=$(wc -l <"$tmp/ours.out")
ok "$cases outcomes" test "$cases" -gt 600
# What differs on purpose: names of a merged directory's subdirectories are counted by neither; a directory's size is its own.
is "$(diff "$tmp/kernel.out" "$tmp/ours.out" | grep '^[<>]' | head -20)" '' "the kernel's outcomes and ours are the same"
is "$(diff "$tmp/kernel.tree" "$tmp/ours.tree" | head -20)" '' 'and so are the trees'
is "$(diff "$tmp/ours.tree" "$tmp/session.tree" | head -20)" '' 'another session on the same layer shows the same'
is "$(diff "$tmp/ours.tree" "$tmp/mounted.tree" | head -20)" '' 'the kernel mounts our layers and shows the same tree'

leaks_end
done_testing
