#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4590-dm-operations.sh): how many device-mapper ioctls enter the kernel for each operation of the dm backend, counted by
# strace, and that builderd's own counter says the same. Counts, no times: t/bench/dm-operations.sh has those. Disk: the pool's.
. "$(dirname "$0")/../lib/tap.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r disk _ <<<"$VM_DISKS"
state=/tmp/state
. "$top/t/vm/dm-measure-lib.sh"
leaks_begin

operations_prepare
ok "the operations run" eval 'operations_counted "${OPERATIONS_ALL[@]}" >"$tmp/counts"'
sed 's/^/# /' "$tmp/counts"

# What goes on in the background after "delete" is counted with it.
awk '$1 == "reap" { print "delete", ioctls + $2, calls + $3; next }
	{ ioctls = $2; calls = $3 }
	$1 != "delete" { print $1, ioctls, calls }' "$tmp/counts" >"$tmp/sums"
count() { # OPERATION [COLUMN]
	awk -v want="$1" -v column="${2:-2}" '$1 == want { print $column; exit }' "$tmp/sums"
}
no_more() { # OPERATION LIMIT DESC
	local n
	n=$(count "$1")
	like "$n" '^[0-9]+$' "$1 was counted"
	ok "$3: $n ioctls, no more than $2" test "${n:-1000}" -le "$2"
}
no_more open 20 "open the host's pool"
no_more find 30 "open a tenant"
no_more create 9 "begin a build on a cached chain"
no_more mount 0 "mount"
no_more seal 6 "seal"
no_more share 9 "an identical build"
no_more delete 30 "delete, its part in the background included"
for operation in create seal share; do
	is "$(count $operation)" "$(count $operation 3)" "$operation: builderd's counter says the same as strace"
done
leaks_end
done_testing
