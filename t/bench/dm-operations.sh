#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the operations of the dm backend cost, in the guest: ioctls that enter the kernel (strace), builderd's own count, milliseconds.
#   t/bench/dm-operations.sh [-n ROUNDS]
# "open" is the start of builderd, "find" opens the tenant, "create" begins a build on a cached chain, of two leases the first is
# READ_ONLY. Needs root, user-mode-linux, strace, a build in $PWD or $BUILDERD_BUILD. t/4590-dm-operations.sh pins the counts.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/bench/in-guest.sh"
tap_planned=1 # no test: no plan
rounds=10
while getopts n: option; do
	case $option in n) rounds=$OPTARG ;; *) exit 2 ;; esac
done

in_guest() {
	read -r disk _ <<<"$VM_DISKS"
	state=/tmp/state
	. "$top/t/vm/dm-measure-lib.sh"
	operations_prepare
	operations_counted "${OPERATIONS_ALL[@]}" >"$tmp/counts"
	for ((round = 1; round <= rounds; round++)); do
		operations_timed "${OPERATIONS_ALL[@]}" | awk '$1 == "lease" || $1 == "release" { $1 = $1 "-" (n[$1]++ ? "cow" : "ro") } 1' >"$tmp/times"
		while read -r name ms; do
			note "$name" "$ms"
		done <"$tmp/times"
	done
	echo "ioctls: own thread, background, by builderd's counter, and which they are"
	sed 's/^/  /' "$tmp/counts"
	echo
	table milliseconds $(awk '{ print $1 }' "$tmp/times" | sort -u)
}

if [ -n "${VM_GUEST:-}" ]; then in_guest; else run_in_guest --scratch 2G --mem 1G -- -n "$rounds"; fi
