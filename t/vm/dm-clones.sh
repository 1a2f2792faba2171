#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4592-dm-clones.sh): two VMs get a clone each of one sealed rootfs, and write.
#   dm-clones.sh LAYOUT TAG FILE FORMAT OUT    FILE of the image is written with FORMAT and the clone's number; OUT gets the clones' bytes
# Disks: the pool's, the state directory's.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/lib/builderd.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r pool_disk state_disk _ <<<"$VM_DISKS"
layout=$1 tag=$2 file=$3 format=$4 out=$5
mkdir -p /tmp/state /tmp/mnt "$images"
mke2fs -q -t ext4 "$state_disk"
mount "$state_disk" /tmp/state
cleanup "umount /tmp/state"
mount --bind "$layout" "$images"
cleanup "umount '$images'"
state=/tmp/state/b
sock=$tmp/api.sock
leaks_begin

volume() { # METHOD JSON: as the VM manager, root on the host's socket
	curl -sS --max-time 100 --unix-socket "$sock" -H 'content-type: application/json' -d "$2" "http://builderd/builder.v1.VolumeService/$1"
}
blocks() { # that the tenant's pool has in use
	local pool
	pool=$(sqlite3 "$state/dm/volumes.db" "SELECT substr(uuid, 1, 8) FROM pools WHERE tenant='test'")
	dmsetup status --noflush "builderd-$pool-pool-0" | awk '{ split($6, data, "/"); print data[1] }'
}
sum() {
	sha256sum "$1" | cut -d' ' -f1
}
written() { # N: what clone N's file says
	mount -o ro "${device[$1]}" /tmp/mnt && cat "/tmp/mnt/$file"
	umount /tmp/mnt
}

ok "builderd starts" builderd_start DM_DATA_DEVICE="$pool_disk" API_SOCKET="$sock"
ok "the image is built" build_run "oci:layout:$tag" || diag "$(build_error)"
base=$(build_get .rootfsChecksum | sed s/sha256://)
rootfs=$(build_get .rootfsPath)
sync
before=$(blocks)
for n in 1 2; do
	volume AcquireRootfs "{\"tenantId\":\"test\",\"buildId\":\"$build_id\",\"mode\":\"LEASE_MODE_COW\",\"holder\":\"vm$n\"}" >"$tmp/lease$n"
	device[n]=$(jq -r .lease.devicePath "$tmp/lease$n")
	like "${device[n]}" "^/dev/mapper/builderd-.*-vm-" "clone $n is a device" || diag "$(cat "$tmp/lease$n")"
done
is "$(blocks)" "$before" "two clones took no block of the tenant's pool: $before before and after"
is "$(sum "${device[1]}") $(sum "${device[2]}")" "$base $base" "both are what was sealed"
for n in 1 2; do
	# shellcheck disable=SC2059 # it is a format
	ok "clone $n is written to" eval 'mount "${device[n]}" /tmp/mnt && printf "$format\n" "$n" >"/tmp/mnt/$file" &&
		head -c 3M /dev/urandom >"/tmp/mnt/noise" && umount /tmp/mnt'
done
# shellcheck disable=SC2059
is "$(written 1)|$(written 2)" "$(printf "$format\n" 1)|$(printf "$format\n" 2)" "each has what was written to it"
fails "they differ" cmp -s "${device[1]}" "${device[2]}"
ok "what they wrote are blocks of their own" test "$(blocks)" -gt "$before"
is "$(sum "$rootfs")" "$base" "the sealed rootfs is as it was"
for n in 1 2; do
	ok "clone $n is clean" e2fsck -fn "${device[n]}"
	ok "its bytes are exported" dd if="${device[n]}" of="$out/clone$n.ext4" bs=1M conv=sparse status=none
done
for n in 1 2; do
	is "$(volume ReleaseRootfs "{\"leaseId\":\"$(jq -r .lease.leaseId "$tmp/lease$n")\"}")" "{}" "clone $n is given back"
done
is "$(sum "$rootfs")" "$base" "the sealed rootfs is as it was, still"
ok "builderd stops" builderd_stop
leaks_end
done_testing
