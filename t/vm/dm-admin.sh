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
exits 0 "why-full" why-full acme
cp "$tmp/said" "$tmp/table"
is "$(head -n -1 "$tmp/table" >"$tmp/head"; aligned "$tmp/head")" "" "its table"
is "$(volume_json '.owned_bytes == .used_bytes and .used_bytes > 0' why-full acme)" true "owners add up to what is in use"
is "$(volume_json '. as $x | [.owners[].owned_bytes] | add == $x.used_bytes and . == (sort | reverse)' why-full acme)" true "each of them, the biggest first"
is "$(volume_json '.owners[] | select(.kind == "chain") | "\(.layer) \(.build)"' why-full acme | sort | paste -sd,)" "1 b1,2 b2" "layers have numbers and builds"
like "$(volume_json '.owners[] | select(.layer == 1) | .owned_bytes' why-full acme)" "^2[1-2][0-9]{6}$" "the first layer owns what it wrote"
like "$(volume_json '.owners[] | select(.layer == 2) | .owned_bytes' why-full acme)" "^[89][0-9]{6}$" "the second, too"
like "$(volume_json '.owners[] | select(.id == "b1") | .owned_bytes' why-full acme)" "^5[0-9]{6}$" "what came after the last layer is the rootfs's"
is "$(volume_json '.owners[] | select(.id == "b1") | .metadata' why-full acme)" '{"key":"p1"}' "its metadata is at hand"
exits 3 "of no tenant" why-full nobody
exits 0 "export" export b1 "$tmp/b1.ext4"
ok "is clean" e2fsck -fn "$tmp/b1.ext4"
is "$(stat -c %s "$tmp/b1.ext4")" 268435456 "as big as its volume"
fails "and sparse" test "$(stat -c %b "$tmp/b1.ext4")" -gt $((40 << 11))
chain=$(volume_json '.owners[] | select(.layer == 2) | .id' why-full acme)
exits 0 "export of a chain" export "${chain:0:10}" "$tmp/chain.ext4"
exits 0 "export of what is in b1 and not in it" export b1 "$tmp/delta.ext4" --delta "$chain"
cp --sparse=always "$tmp/chain.ext4" "$tmp/copy.ext4"
jq -r '.changes[] | "\(.offset) \(.length) \(.content)"' "$tmp/delta.ext4.json" | while read -r offset length content; do
	from=$tmp/delta.ext4
	[ "$content" = data ] || from=/dev/zero
	dd if="$from" of="$tmp/copy.ext4" bs=64k iflag=count_bytes,skip_bytes oflag=seek_bytes conv=notrunc status=none \
		count="$length" skip="$([ "$content" = data ] && echo "$offset" || echo 0)" seek="$offset"
done
ok "both together are b1" cmp "$tmp/copy.ext4" "$tmp/b1.ext4"
fails "the difference is smaller" test "$(stat -c %b "$tmp/delta.ext4")" -ge "$(stat -c %b "$tmp/b1.ext4")"
exits 4 "what may be written to cannot be had" export cache "$tmp/cache.ext4"
rm -f "$tmp"/*.ext4
is "$(devices_up)" "No" "all is down again"
is "$(sha256sum <"$pool_disk")" "$sum" "and not a byte of the pool has changed"

mkdir "$tmp/mnt"
mount_umount() { # WHEN
	exits 0 "mount ($1)" mount b1 "$tmp/mnt"
	is "$(stat -c %s "$tmp/mnt/a")" 20971520 "what is in it"
	like "$(grep " $tmp/mnt " /proc/self/mounts)" " ext4 ro,nosuid,nodev,noexec,noatime" "read-only, no device, no program"
	exits 0 "umount" umount "$tmp/mnt"
	fails "it is gone" mountpoint -q "$tmp/mnt"
}
mount_umount "stopped"
is "$(devices_up)" "No" "all is down again"

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
is "$(volume_json '.owned_bytes == .used_bytes' why-full acme)" true "why-full: owners add up"
exits 0 "export" export b2 "$tmp/b2.ext4"
ok "the file is the rootfs" cmp "/dev/mapper/$(volume_json .volume.device_name inspect b2)" "$tmp/b2.ext4"
rm -f "$tmp/b2.ext4"
mount_umount "running"
exits 0 "trim" trim
image_make hello --cmd /hello layer d:etc f:etc/hello=world n:noise=3000000 >/dev/null
ok "an image is built" build_run oci:layout:hello
exits 0 "why-full" why-full test
like "$(cat "$tmp/said")" "layer 1 +$build_id +oci:layout:hello" "names its layer, its build and its image"
like "$(dmsetup status --target thin-pool | awk '{print $8}' | paste -sd' ')" "^- - -$" "no metadata snapshot is left in a pool"
exits 3 "a tenant that is none" ls nobody
exits 3 "a volume that is none" inspect b9
ok "builderd stops" builderd_stop
is "$(devices_up)" "No" "all is down"
leaks_end
done_testing
