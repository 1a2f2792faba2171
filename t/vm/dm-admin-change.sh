#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4720-builder-volume-change.sh): what builder-volume changes on the dm backend, beside builderd and without.
# Disks: the pool's, one for the state directory.
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
export DM_DATA_DEVICE=$pool_disk DM_TENANT_MIB=1024
export UNKEY_BUILDERD_STATE_DIR=$state UNKEY_BUILDERD_DM_DATA_DEVICE=$pool_disk
leaks_begin

drive() {
	timeout 120 "$build/t/tools/drive-volume" "$state" "$@" 2>"$tmp/stderr"
}
devices_up() {
	dmsetup ls | awk '{print $1}' | sort
}
generation() {
	volume_json .tenant.key_generation inspect "$1"
}

ok "volumes are made" drive create b1 - 256 1000 mount fill a 20 unmount check snapshot k1 seal p1
ok "another tenant's" env DRIVE_TENANT=other timeout 120 "$build/t/tools/drive-volume" "$state" create o1 - 256 1000 mount fill a 5 unmount seal po

# --- on a stopped pool
exits 0 "a header backup" header backup acme "$tmp/acme.1"
like "$(file -b "$tmp/acme.1" 2>/dev/null || head -c 4 "$tmp/acme.1")" "LUKS" "is a LUKS header"
exits 1 "a file that is there is left alone" header backup acme "$tmp/acme.1"
exits 3 "of no tenant" header backup nobody "$tmp/nobody.1"
fails "leaves no file" test -e "$tmp/nobody.1"
exits 2 "neither backup nor restore" header steal acme "$tmp/x"
exits 0 "rekey" rekey acme
is "$(aligned "$tmp/said")" "" "its table"
is "$(generation b1) $(generation o1)" "2 1" "the one has a key of generation 2, the other has not"
exits 1 "the header from before opens nothing" header restore acme "$tmp/acme.1"
like "$(cat "$tmp/said")" "before a rekey" "it says so"
exits 0 "a new header backup" header backup acme "$tmp/acme.2"
exits 0 "is restored" header restore acme "$tmp/acme.2"
exits 0 "and opens it" export b1 "$tmp/b1.ext4"
ok "whole" e2fsck -fn "$tmp/b1.ext4"
exits 2 "rekey of nothing" rekey
exits 2 "of one and all" rekey acme --all
exits 3 "of no tenant" rekey nobody
exits 0 "rekey of all" rekey --all
is "$(generation b1) $(generation o1)" "3 2" "each has another key"
exits 0 "the master key" rekey --master
exits 0 "all is still there" inspect b1
is "$(devices_up)" "No" "all is down"

# --- fsck
exits 0 "fsck of a pool that is well" fsck
is "$(aligned "$tmp/said")" "" "its table"
is "$(volume_json '[.tenants[] | "\(.tenant) \(.metadata) \(.volumes | map(.is_clean) | all) \(.volumes | length > 1)"] | sort | join(",")' fsck)" \
	"acme ok true true,other ok true true" "metadata and volumes are checked"
is "$(volume_json '.tenants | map(.tenant) | join(",")' fsck other)" other "of one tenant"
exits 3 "of no tenant" fsck nobody
sqlite3 "$db" "UPDATE pools SET tid=tid+3 WHERE tenant='acme'"
exits 6 "a database that is not the pool's" fsck acme
is "$(volume_json '.tenants[0] | .tid_database - .tid_kernel' fsck acme)" 3 "by three transactions"
exits 0 "fsck --repair" fsck --repair acme
exits 0 "and all is well" fsck acme
is "$(volume_json '.tenant | .tid_database == .tid_kernel' inspect b1)" true "they agree"
exits 0 "products are there" inspect b1

# --- what belongs to nobody, on a stopped pool
exits 0 "no orphans" orphans
outer=$(sqlite3 "$db" "SELECT uuid FROM pools WHERE tenant=''")
foreign=00000000000000000000000000000000
orphans_make() {
	dmsetup create "builderd-${outer:0:8}-chain-77" --uuid "BUILDERD-v1-$outer-chain-77" --table "0 8 error"
	dmsetup create "builderd-${foreign:0:8}-pool-0" --uuid "BUILDERD-v1-$foreign-pool-0" --table "0 8 error"
	cp "$state/dm/keys/acme.3" "$state/dm/keys/ghost.7"
	cp "$state/dm/headers/acme.3" "$state/dm/headers/ghost.7"
	: >"$state/dm/strange"
}
orphans_make
exits 6 "orphans" orphans
is "$(aligned "$tmp/said")" "" "its table"
is "$(volume_json '.orphans[] | "\(.what):\(.name)"' orphans | sort | paste -sd' ')" \
	"device:builderd-${foreign:0:8}-pool-0 device:builderd-${outer:0:8}-chain-77 file:strange header:ghost.7 key:ghost.7" "all are found"
is "$(ls "$state/dm/keys" | grep -c ghost)" 1 "and left alone"
exits 6 "orphans --remove" orphans --remove
is "$(volume_json '.orphans[] | "\(.what):\(.name)"' orphans | sort | paste -sd' ')" "device:builderd-${foreign:0:8}-pool-0 file:strange" \
	"what is certainly ours is gone, the rest is not"
is "$(ls "$state/dm/keys" "$state/dm/headers" | grep -c ghost)" 0 "keys, headers"
rm -f "$state/dm/strange"
dmsetup remove "builderd-${foreign:0:8}-pool-0"

# --- beside builderd
ok "builderd starts" builderd_start DM_DATA_DEVICE="$pool_disk" DM_TENANT_SIZE_GB=1
exits 0 "rekey" rekey acme
is "$(generation b1)" 4 "another key"
exits 0 "a header backup" header backup acme "$tmp/acme.4"
exits 0 "is restored" header restore acme "$tmp/acme.4"
exits 0 "no orphans" orphans
exits 0 "fsck" fsck
fails "says when" test "$(volume_json .tenant.last_check_ms inspect b1)" = 0
inner=$(volume_json .tenant.pool inspect b1)
ok "a thin device behind the back of the database" dmsetup message "$inner" 0 "create_thin 7777"
exits 6 "is an orphan" orphans
is "$(volume_json '.orphans[] | "\(.what):\(.name)"' orphans)" "thin device:$inner/7777" "it alone"
exits 0 "orphans --remove" orphans --remove
fails "it is gone" dmsetup message "$inner" 0 "delete 7777"
image_make hello --cmd /hello layer d:etc f:etc/hello=world >/dev/null
ok "an image is built" build_run oci:layout:hello
exits 0 "no orphans after it" orphans

# --- the end of a tenant
sqlite3 "$db" "INSERT INTO leases (id, tenant, build, mode, holder, jail, device, created_ms) VALUES ('lease_1', 'acme', 'b1', 1, 'vm-1', '', 0, 1)"
is "$(volume_json '.tenants[] | select(.tenant == "acme") | .volumes[] | select(.id == "b1") | .leases[0].holder' ls)" vm-1 "a lease is shown"
exits 4 "a tenant with a lease is not destroyed" destroy acme --yes
like "$(cat "$tmp/said")" "lease" "it says why"
sqlite3 "$db" "DELETE FROM leases"
exits 1 "destroy asks" destroy acme </dev/null
exits 0 "destroy" destroy acme --yes
like "$(cat "$tmp/said")" "files are gone: yes.*header is zero: yes.*key opens nothing: yes.*device is gone: yes.*rows are gone: yes.*erased: yes" "with proof"
exits 3 "once" destroy acme --yes
is "$(volume_json '.tenants | map(.tenant) | sort | join(",")' ls)" "other,test" "the others are there"
is "$(ls "$state/dm/keys" "$state/dm/headers" | grep -c acme)" 0 "no key, no header of it"
exits 0 "no orphans" orphans
ok "builderd stops" builderd_stop
exits 0 "destroy without builderd" destroy other --yes
is "$(volume_json '.tenants | map(.tenant) | join(",")' ls)" "test" "one is left"
is "$(devices_up)" "No" "all is down"
leaks_end
done_testing
