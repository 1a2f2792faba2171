#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4710-builder-volume-dm.sh): builder-volume on the dm backend. Disks: the pool's, one for the state directory.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/lib/builderd.sh"
. "$top/t/lib/admin.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r pool_disk state_disk _ <<<"$VM_DISKS"
mkdir -p /tmp/state
mke2fs -q -t ext4 "$state_disk"
mount "$state_disk" /tmp/state
cleanup "umount /tmp/state"
state=/tmp/state/b
db=$state/dm/volumes.db
export DM_DATA_DEVICE=$pool_disk DM_TENANT_MIB=2048
export UNKEY_BUILDERD_STATE_DIR=$state UNKEY_BUILDERD_DM_DATA_DEVICE=$pool_disk
leaks_begin

drive() {
	timeout 120 "$build/t/tools/drive-volume" "$state" "$@" 2>"$tmp/stderr"
}
devices_up() {
	dmsetup ls | awk '{print $1}' | sort
}

# --- nothing there
exits 5 "without storage there is nothing to show" ls
fails "and none is made" test -e "$state"

# --- on a stopped pool
out=$(drive create b1 - 256 1000 mount fill a 20 unmount check snapshot k1 mount fill b 5 unmount check seal p1 \
	create b2 k1 256 1000 mount fill c 8 unmount check snapshot k2 seal p2 share b3 p2)
is $? 0 "volumes are made" || diag "$out"
is "$(devices_up)" "No" "all is down"
sum=$(sha256sum <"$pool_disk")
exits 0 "ls" ls
cp "$tmp/said" "$tmp/table"
is "$(aligned "$tmp/table")" "" "cells stand under their titles"
is "$(awk '{print $3}' "$tmp/table" | sort | uniq -c | awk '{print $2 $1}' | paste -sd' ')" "KIND1 cache1 chain2 golden1 rootfs3" "what is in the pool"
like "$(volume_json '.tenants[0].volumes[] | select(.id == "b1") | .exclusive_bytes' ls)" "^5[0-9]{6}$" "b1 has alone what it wrote after the snapshot"
like "$(volume_json '.tenants[0].volumes[] | select(.id == "b1") | .shared_bytes' ls)" "^2[1-2][0-9]{6}$" "and shares what it wrote before"
exits 0 "df" df
is "$(aligned "$tmp/said")" "" "its table"
exits 0 "inspect" inspect b2
like "$(cat "$tmp/said")" "cipher: aes-xts-plain64.*key bits: 512.*sector: 4.1 kB.*data offset: 16.8 MB.*keyslots: 1.*pbkdf: pbkdf2" "LUKS parameters"
is "$(volume_json '.volume.parents | map(.kind) | join(",")' inspect b2)" "chain,rootfs,golden" "its parents: a chain, the volume that it was a snapshot of, an empty one"
is "$(volume_json '.tenant.tid_kernel == .tenant.tid_database and .tenant.tid_kernel > 0' inspect b2)" true "K = D"
like "$(volume_json .tenant.luks.table inspect b2)" "aes-xts-plain64 :64:logon:" "the key's name, not the key"
is "$(devices_up)" "No" "all is down again"
is "$(sha256sum <"$pool_disk")" "$sum" "and not a byte of the pool has changed"

# --- builderd was killed: what is up stays up
drive open b1 shell 'kill -9 $PPID' >/dev/null 2>&1
devices_up >"$tmp/up"
like "$(cat "$tmp/up")" "-crypt-" "everything is up"
exits 0 "ls" ls
is "$(devices_up)" "$(cat "$tmp/up")" "it stays up"

# --- beside builderd
ok "builderd starts" builderd_start DM_DATA_DEVICE="$pool_disk" DM_TENANT_SIZE_GB=2
exits 0 "ls" ls
is "$(aligned "$tmp/said")" "" "its table"
is "$(volume_json '.tenants[0].volumes | length' ls)" 7 "all volumes"
like "$(volume_json '.tenants[0].volumes[] | select(.id == "b1") | .exclusive_bytes' ls)" "^5[0-9]{6}$" "with what they have alone"
exits 0 "df" df
exits 0 "inspect" inspect b2
like "$(dmsetup status --target thin-pool | awk '{print $8}' | paste -sd' ')" "^- -$" "no metadata snapshot is left in a pool"
exits 3 "a tenant that is none" ls nobody
exits 3 "a volume that is none" inspect b9
ok "builderd stops" builderd_stop
is "$(devices_up)" "No" "all is down"
leaks_end
done_testing
