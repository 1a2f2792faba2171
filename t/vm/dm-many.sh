#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4556-dm-many.sh): 64 tenants opened at once in little memory. Disks: the pool's, one for the state
# directory.
. "$(dirname "$0")/../lib/tap.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r pool_disk state_disk _ <<<"$VM_DISKS"
mnt=/tmp/state
mkdir -p "$mnt"
mke2fs -q -t ext4 "$state_disk"
mount "$state_disk" "$mnt"
cleanup "umount $mnt"
state=$mnt/b
export DM_DATA_DEVICE=$pool_disk DM_TENANT_MIB=128
n=64
leaks_begin

drive() {
	timeout 300 "$build/t/tools/drive-keys" "$state" "$@" 2>"$tmp/stderr"
}
available() {
	awk '/^MemAvailable:/ {print $2}' /proc/meminfo
}

is "$(drive many $n)" "bad 0" "$n tenants are made" || diag "$(tail -n 3 "$tmp/stderr")"
is "$(dmsetup ls)" "No devices found" "and closed"
is "$(drive shell 'dmsetup ls | wc -l')" 3 "a start opens none of them: the pool and what it lies on is up"
echo 3 >/proc/sys/vm/drop_caches
start=$(available)
(
	least=$start
	while [ ! -e "$tmp/opened" ]; do
		now=$(available)
		[ "$now" -ge "$least" ] || least=$now
		echo "$least" >"$tmp/least"
		sleep 0.2
	done
) &
out=$(drive many $n shell "dmsetup ls --target crypt | wc -l; grep VmHWM /proc/\$PPID/status")
touch "$tmp/opened"
wait
like "$out" "bad 0.$n.VmHWM" "$n tenants are open at once" || diag "$out: $(tail -n 3 "$tmp/stderr")"
peak=$(((start - $(cat "$tmp/least")) / 1024))
ok "the machine had $((start / 1024)) MiB, and of these they took $peak MiB; the process $(awk '/VmHWM/ {print int($2 / 1024)}' <<<"$out") MiB" test "$peak" -lt 512
leaks_end
done_testing
