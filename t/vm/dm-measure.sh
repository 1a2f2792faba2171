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

# The deletion that "reap" waits for is the background's; a watchdog's questions are in there, too.
awk '{ name = $1; own = $2 }
	name == "lease" || name == "release" { name = name "-" (n[name]++ ? "cow" : "ro") }
	name == "reap" { own += $3 }
	{ print name, own }' "$tmp/counts" >"$tmp/own"
count() { # OPERATION
	awk -v want="$1" '$1 == want { print $2; exit }' "$tmp/own"
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
no_more lease-ro 4 "acquire READ_ONLY"
no_more lease-cow 4 "acquire COW"
no_more release-ro 2 "release READ_ONLY"
no_more release-cow 4 "release COW"
no_more delete 8 "delete"
no_more reap 20 "what is deleted goes away"
# libcryptsetup makes calls of its own when a tenant is opened; for the rest the counter counts what enters the kernel. A call in the
# background may fall between two steps.
difference=$(awk '$1 != "open" && $1 != "find" { d += $2 + $3 - $4 } END { print d + 0 }' "$tmp/counts")
like "$difference" '^-?[0-2]$' "builderd's counter and strace differ by $difference over all steps"
leaks_end
done_testing
