#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4552-dm-idle.sh): which tenants are open, and for how long.
# Disks: the pool's, one for the state directory.
. "$(dirname "$0")/../lib/tap.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r pool_disk state_disk _ <<<"$VM_DISKS"
mnt=/tmp/state
mkdir -p "$mnt"
mke2fs -q -t ext4 "$state_disk"
mount "$state_disk" "$mnt"
cleanup "umount $mnt"
state=$mnt/b
db=$state/dm/volumes.db
export DM_DATA_DEVICE=$pool_disk DM_TENANT_MIB=512
leaks_begin

drive() {
	timeout 120 "$build/t/tools/drive-keys" "$state" "$@" 2>"$tmp/stderr"
}
sql() {
	sqlite3 "$db" "$1"
}

ok "two tenants with products" drive build b1 build b2 tenant other build o1

# --- idle
cat >"$tmp/crypts" <<'END'
# WORD [gone]: how many are decrypted, after a while or as soon as none is
n() { dmsetup ls --target crypt | grep -c builderd; }
[ "$2" = gone ] && for i in $(seq 300); do [ "$(n)" = 0 ] && break; sleep 0.1; done || sleep 1.5
echo "$1=$(n)"
END
crypts="sh $tmp/crypts"
out=$(DM_TENANT_IDLE_MS=300 drive open b1 shell "$crypts idle gone" tenant other blobs shell "$crypts blobs" drop shell "$crypts dropped gone" \
	tenant acme hold b1 shell "$crypts held" drop begin b4 shell "$crypts building" write 1 end open b1 shell "$crypts end gone")
like "$out" "idle=0" "an idle tenant is closed" || diag "$out"
like "$out" "blobs=1.*dropped=0" "not while somebody has its blobs"
like "$out" "held=1" "nor a product"
like "$out" "building=1.*opened.*end=0" "nor while it builds"
sql "INSERT INTO leases (id, tenant, build, mode, holder, jail, device, created_ms) VALUES ('lease_1', 'acme', 'b1', 1, 'vm', '', 0, 0)"
out=$(DM_TENANT_IDLE_MS=300 drive open b2 shell "$crypts leased")
like "$out" "leased=1" "nor with a lease"
is "$(dmsetup ls | grep -c -- -rootfs-):$(dmsetup ls --target crypt | wc -l)" "1:1" "a clean stop leaves the leased rootfs up, and no other"
out=$(drive tenant other open o1 shell 'dmsetup ls | grep -- -rootfs- | wc -l')
is "$(tail -n 1 <<<"$out")" 2 "the next start finds it there"
rootfs=/dev/mapper/$(dmsetup ls | awk '/-rootfs-/ {print $1}')
ok "it is whole" e2fsck -fn "$rootfs"
sql "DELETE FROM leases"
ok "when the lease is gone" drive tenant other open o1
is "$(dmsetup ls)" "No devices found" "it goes down, too"
sql "INSERT INTO leases (id, tenant, build, mode, holder, jail, device, created_ms) VALUES ('lease_1', 'acme', 'b2', 1, 'vm', '', 0, 0)"
is "$(drive shell 'dmsetup ls | grep -c -- -rootfs-; dmsetup ls --target crypt | wc -l' | paste -sd:)" "1:1" "a start brings up what is leased, and nothing else"
sql "DELETE FROM leases"
drive >/dev/null
leaks_end
done_testing
