#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4570-lease.sh), twice: leases on real thin pools, crashes in the middle of one; then what a reboot leaves.
. "$(dirname "$0")/../lib/tap.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r pool_disk state_disk _ <<<"$VM_DISKS"
mnt=/tmp/state
state=$mnt/b
db=$state/dm/volumes.db
export DM_DATA_DEVICE=$pool_disk JAIL_DIR=$mnt/jails
mkdir -p "$mnt"

drive() {
	timeout 120 "$build/t/tools/drive-volume" "$state" "$@" 2>"$tmp/stderr"
}
sql() {
	sqlite3 "$db" "$1"
}
inner_pool() {
	dmsetup ls | awk '{print $1}' | grep -- '-pool-0$' | grep -v "^builderd-$(sql "SELECT substr(uuid,1,8) FROM pools WHERE tenant=''")-"
}
mapped() { # FILE: data blocks of the tenant's pool in a status
	grep "^$(inner_pool):" "$1" | awk '{split($7, a, "/"); print a[1]}'
}
sum() {
	sha256sum "$1" | cut -d' ' -f1
}
lease_of() { # HOLDER: its id
	sql "SELECT id FROM leases WHERE holder='$1'"
}
path_of() { # HOLDER: its device
	drive leases | awk -v h="$1" '$3 == h {print $5}'
}
node() { # JAIL: type, mode, owner, device number in decimal
	stat -c '%F %a %u %Hr:%Lr' "$JAIL_DIR/$1/rootfs.ext4"
}
write_file() { # DEVICE TEXT
	mkdir -p "$tmp/m" && mount "$1" "$tmp/m" && echo "$2" >"$tmp/m/written" && umount "$tmp/m"
}
read_file() { # DEVICE
	mkdir -p "$tmp/m" && mount -o ro "$1" "$tmp/m" && cat "$tmp/m/written"
	umount "$tmp/m"
}

# --- the second boot ----------------------------------------------------------------------------------------------------
if mount "$state_disk" "$mnt" 2>/dev/null; then
	cleanup "umount $mnt"
	before=$(cat "$mnt/node")
	dmsetup create taken --table "0 8 zero" # so that the numbers are other ones
	ok "after the reboot the leases are opened" drive leases
	is "$(sql 'SELECT count(*) FROM leases')" 3 "all three are there"
	p1=$(path_of vm1) p2=$(path_of vm2)
	is "$(read_file "$p1")" one "the first clone has what its VM wrote"
	is "$(read_file "$p2")" two "the second one has what its VM wrote"
	is "$(sum "$(path_of vm3)")" "$(cat "$mnt/sum")" "the read-only one is what was sealed"
	is "$(node vm1/root)" "block special file 600 1000 $(stat -L -c '%Hr:%Lr' "$p1")" "the node in the jail is the clone's"
	unlike "$(node vm1/root)" " ${before##* }$" "which has another number now"
	ok "all are released" drive release vm1 release vm2 release vm3
	fails "the nodes are gone" test -e "$JAIL_DIR/vm1/root/rootfs.ext4"
	ok "the build can be deleted" drive delete b1
	dmsetup remove taken
	is "$(dmsetup ls)" "No devices found" "and nothing stays up"
	done_testing
	exit
fi

# --- the first one ------------------------------------------------------------------------------------------------------
mke2fs -q -t ext4 "$state_disk"
mount "$state_disk" "$mnt"
cleanup "umount $mnt"
mkdir -p "$JAIL_DIR"/vm{1,2,3,4,5,6}/root
chown 1000:1000 "$JAIL_DIR"/vm*/root
ok "a product" drive create b1 - 256 1000 mount fill a 40 unmount check seal p1
rootfs=$(drive open b1 | awk '{print $2}')

like "$(drive lease none cow vm1 -)" "lease failed: not-found: build none has no rootfs" "no lease of what is not there"
like "$(drive delete b1 lease b1 cow vm1 -)" "not-found" "nor of what was deleted"
ok "another product" drive create b1 - 256 1000 mount fill a 40 unmount check seal p1
out=$(drive open b1 shell "dmsetup ls >$tmp/names; sha256sum \$(ls /dev/mapper/*-rootfs-*) | cut -d' ' -f1 >$tmp/sum; sync; dmsetup status >$tmp/before" \
	times lease b1 cow vm1 vm1/root lease b1 cow vm2 - lease b1 ro vm3 vm3/root shell "dmsetup status >$tmp/after")
sum=$(cat "$tmp/sum")
like "$out" "lease_[0-9A-Z]{26} /dev/mapper/builderd-[0-9a-f]{8}-vm-[0-9a-f]+ 254:[0-9]+ 268435456 \{\"key\":\"p1\"\}" "a lease says what a VM needs"
diag "$(grep '^lease: ' <<<"$out" | head -n 1)"
is "$(mapped "$tmp/after")" "$(mapped "$tmp/before")" "two clones took no data block: $(mapped "$tmp/after") mapped"
ok "a clean stop leaves what is leased up" test -b "$(path_of vm1)"
unlike "$(dmsetup ls)" "-cache-|-golden-" "and takes the rest down"
p1=$(path_of vm1) p2=$(path_of vm2) p3=$(path_of vm3)
is "$(node vm1/root)" "block special file 600 1000 $(stat -L -c '%Hr:%Lr' "$p1")" "the clone's node is in the jail, its owner's"
is "$(node vm3/root)" "block special file 400 1000 $(stat -L -c '%Hr:%Lr' "$p3")" "the read-only node can be read only"
is "$(stat -c '%a %u' "$JAIL_DIR/vm1/root/metadata.json"; cat "$JAIL_DIR/vm1/root/metadata.json")" "444 0
{\"key\":\"p1\"}" "with metadata.json beside it"

is "$(sum "$p1") $(sum "$p2") $(sum "$p3")" "$sum $sum $sum" "both clones and the sealed device have the same bytes"
ok "one VM writes" write_file "$p1" one
ok "the other one, too" write_file "$p2" two
is "$(read_file "$p1") $(read_file "$p2")" "one two" "neither sees the other"
is "$(sum "$p3")" "$sum" "and the base is what it was"
fails "which nobody can write" dd if=/dev/zero of="$p3" bs=4096 count=1 oflag=direct status=none

# --- the same again
id=$(lease_of vm1)
like "$(drive lease b1 cow vm1 vm1/root)" "^$id $p1 " "the same request gives the same lease"
like "$(drive lease b1 cow vm1 vm2/root)" "lease failed: .*has this rootfs as $id already, with the jail \"vm1/root\"" "not with another jail"
is "$(sql "SELECT count(*) FROM devices WHERE kind='vm'")" 2 "and makes no clone"
rm "$JAIL_DIR/vm1/root/rootfs.ext4"
drive lease b1 cow vm1 vm1/root >/dev/null
is "$(node vm1/root)" "block special file 600 1000 $(stat -L -c '%Hr:%Lr' "$p1")" "names that were lost are placed again"

# --- what is leased is kept
like "$(drive delete b1)" "delete failed: .*build b1 is leased 3 times: $id \(vm1\), $(lease_of vm2) \(vm2\), $(lease_of vm3) \(vm3\)" \
	"what is leased is not deleted, and it says to whom"
ok "trim with no room for caches" env CACHE_MAX=0 "$build/t/tools/drive-volume" "$state" trim
is "$(read_file "$p1")" one "takes nothing of it"
drive shell 'kill -9 $PPID' >/dev/null 2>&1
is "$(read_file "$p1")" one "a kill -9 neither"
exec 7<"$p1"
like "$(drive release "$id")" "release failed: .*$id is in use: its device .* is open in .*\(pid $$\)" "who has it open is named"
exec 7<&-
mkdir -p "$tmp/m"
mount "$p2" "$tmp/m"
like "$(drive release vm2)" "is open in .*mounted at $tmp/m" "a mount, too"
umount "$tmp/m"
is "$(sql 'SELECT count(*) FROM leases')" 3 "and nothing is released"
ok "a node is still in its jail" test -b "$JAIL_DIR/vm1/root/rootfs.ext4"

# --- a hash tree
out=$(DM_VERITY=1 drive create v1 - 64 100 mount fill a 10 unmount check seal pv share v2 pv lease v1 ro vm7 - lease v2 ro vm8 - lease v1 cow vm9 -)
read -r tree root < <(sed -n 's/^verity //p' <<<"$out" | head -n 1)
read -r tree2 root2 < <(sed -n 's/^verity //p' <<<"$out" | tail -n 1)
like "$root" '^[0-9a-f]{64}$' "a sealed rootfs has a hash tree, and a read-only lease says its root"
ok "veritysetup finds the data as it was" veritysetup verify "$(path_of vm7)" "$tree" "$root"
fails "not under another root" veritysetup verify "$(path_of vm7)" "$tree" "${root//a/b}"
is "$root2" "$root" "what is shared has the same one"
ok "on a device of its own" veritysetup verify "$(path_of vm8)" "$tree2" "$root"
fails "which is another" test "$tree" = "$tree2"
is "$(grep -c ^verity <<<"$out")" 2 "a writable clone has none"
ok "though the tree fits it until it is written" veritysetup verify "$(path_of vm9)" "$tree" "$root"
printf x | dd of="$(path_of vm9)" bs=1 seek=8388609 conv=notrunc,fsync status=none
fails "one byte is enough" veritysetup verify "$(path_of vm9)" "$tree" "$root"
ok "leases and products go" drive release vm7 release vm8 release vm9 delete v1 delete v2 reap
is "$(sql "SELECT count(*) FROM devices WHERE kind='verity'")" 0 "and their trees with them"

# --- jails
attack() { # JAIL WANT DESC
	like "$(drive lease b1 cow vm4 "$1")" "lease failed: .*$2" "$3"
}
ln -s /tmp "$JAIL_DIR/link"
ln -s ../vm1/root "$JAIL_DIR/vm4/link"
touch "$JAIL_DIR/file"
attack link "leads out of the jails' directory, or over a link" "a jail that is a link"
attack vm4/link "over a link" "a link below it"
attack vm4/../../b "leads out of the jails' directory" "dots are no way out"
attack nowhere/root "there is no jail \"nowhere/root\"" "a jail that is not there"
attack file "there is no jail" "a jail that is a file"
ln -s "$tmp/target" "$JAIL_DIR/vm4/root/rootfs.ext4"
attack vm4/root "rootfs.ext4 exists in the jail" "a link in the node's place"
fails "nothing was made behind it" test -e "$tmp/target"
rm "$JAIL_DIR/vm4/root/rootfs.ext4"
echo mine >"$JAIL_DIR/vm4/root/rootfs.ext4"
attack vm4/root "rootfs.ext4 exists in the jail" "a file in the node's place"
is "$(cat "$JAIL_DIR/vm4/root/rootfs.ext4")" mine "it is left alone"
rm "$JAIL_DIR/vm4/root/rootfs.ext4"
ln -s "$tmp/target" "$JAIL_DIR/vm4/root/metadata.json"
attack vm4/root "metadata.json exists in the jail" "a link in the place of metadata.json"
fails "the node is not left without it" test -e "$JAIL_DIR/vm4/root/rootfs.ext4"
rm "$JAIL_DIR/vm4/root/metadata.json"
is "$(sql "SELECT count(*) FROM leases WHERE holder='vm4'"):$(sql "SELECT count(*) FROM devices WHERE kind='vm'")" "0:2" "no attempt left a lease or a clone"
is "$(find "$JAIL_DIR" -name '.builderd*')" "" "nor a temporary name"
like "$(JAIL_DIR='' drive lease b1 cow vm5 vm5/root)" "JAIL_DIR is not configured" "without JAIL_DIR nothing is placed"
# What was put over our names meanwhile is not ours to remove.
drive lease b1 cow vm4 vm4/root >/dev/null
rm "$JAIL_DIR/vm4/root/rootfs.ext4"
echo mine >"$JAIL_DIR/vm4/root/rootfs.ext4"
ok "a release" drive release vm4
is "$(cat "$JAIL_DIR/vm4/root/rootfs.ext4")" mine "removes nothing that is not ours"
like "$(drive release lease_01ARZ3NDEKTSV4RRFFQ69G5FAV)" "release failed: not-found: there is no lease lease_01ARZ" "nor what is not there"

# --- a crash before each step of a lease
${CC:-cc} -D_GNU_SOURCE -O1 -shared -fPIC -o "$tmp/crash-at.so" "$top/t/tools/crash-at.c" || diag "the crash points cannot be built"
export CRASH_FLAG=$tmp/flag CRASH_COUNT=$tmp/count
crash() { # N BEFORE... -- STEP...: kill at the Nth trace of STEP...
	local n=$1 before=()
	shift
	while [ "$1" != -- ]; do before+=("$1") && shift; done
	shift
	rm -f "$CRASH_FLAG"
	{
		CRASH_AT=$n LD_PRELOAD=$tmp/crash-at.so timeout 60 "$build/t/tools/drive-volume" "$state" "${before[@]}" \
			shell "touch $CRASH_FLAG" "$@" shell "rm $CRASH_FLAG" >"$tmp/crash" 2>&1
	} 2>/dev/null # the shell says "Killed"
}
kernel_ids() { # of the tenant's pool: the thin ids that exist
	dmsetup message "$(inner_pool)" 0 reserve_metadata_snap
	thin_ls -m --no-headers -o DEV "/dev/mapper/$(inner_pool | sed 's/-pool-0/-meta-0/')" | tr -d ' ' | sort -n | paste -sd' '
	dmsetup message "$(inner_pool)" 0 release_metadata_snap
}
sane() { # after recovery: rows, leases and the kernel agree
	drive open b1 reap >/dev/null
	is "$(sql 'SELECT count(*) FROM intents'):$(sql "SELECT count(*) FROM devices WHERE kind='vm' AND name NOT IN (SELECT id FROM leases)")" 0:0 \
		"$1: no intent, no clone without a lease"
	is "$(kernel_ids)" "$(sql "SELECT id FROM devices WHERE pool=(SELECT id FROM pools WHERE tenant='acme') ORDER BY id" | paste -sd' ')" \
		"$1: the pool has what the rows say"
}
crash 0 open b1 reap -- lease b1 cow vm5 vm5/root
read -r ioctls steps <"$CRASH_COUNT"
for _ in 1 2 3 4 5; do # threads that look at the pools every few seconds may have been counted, too
	[ "$ioctls" -gt 4 ] || break
	crash 0 release vm5 reap -- lease b1 cow vm5 vm5/root
	read -r ioctls steps <"$CRASH_COUNT"
done
ok "a COW lease is at most four ioctls of device-mapper: $ioctls" test "$ioctls" -le 4
bad=0
for n in $(seq 1 "$steps"); do
	crash "$n" release vm5 -- lease b1 cow vm5 vm5/root
	drive lease b1 cow vm5 vm5/root >"$tmp/again" || { bad=$((bad + 1)); diag "crash at $n: $(cat "$tmp/again")"; }
	[ "$(sql "SELECT count(*) FROM leases WHERE holder='vm5'")" = 1 ] || { bad=$((bad + 1)); diag "crash at $n: leases"; }
	[ -b "$JAIL_DIR/vm5/root/rootfs.ext4" ] && [ -f "$JAIL_DIR/vm5/root/metadata.json" ] || { bad=$((bad + 1)); diag "crash at $n: names"; }
done
is "$bad" 0 "$steps crashes in a lease: the same request gives one lease each time"
rm -f "$JAIL_DIR"/vm5/root/.builderd-* # a name that was not given yet: two of the crashes leave one
sane "crashes in acquire"
crash 0 -- release vm5
read -r _ steps <"$CRASH_COUNT"
bad=0
for n in $(seq 1 2 "$steps"); do
	crash "$n" lease b1 cow vm5 vm5/root -- release vm5
	[ -z "$(lease_of vm5)" ] || drive release vm5 >"$tmp/again" || { bad=$((bad + 1)); diag "crash at $n: $(cat "$tmp/again")"; }
	[ ! -e "$JAIL_DIR/vm5/root/rootfs.ext4" ] || { bad=$((bad + 1)); diag "crash at $n: the node is still there"; }
done
is "$bad" 0 "$(((steps + 1) / 2)) crashes in a release: it is finished, or can be asked for again"
sane "crashes in release"

# --- what the pool lost shows itself
drive lease b1 cow vm6 vm6/root >/dev/null
lost=$(lease_of vm6)
dmsetup remove "$(path_of vm6)"
dmsetup message "$(inner_pool)" 0 "delete $(sql "SELECT device FROM leases WHERE id='$lost'")"
drive leases >"$tmp/out"
like "$(cat "$tmp/stderr")" "a leased rootfs is not there.*lease=$lost" "a clone that the pool has lost is named at the start"
like "$(drive open b1)" "opened" "and the tenant is open all the same"
like "$(drive lease b1 cow vm6 vm6/root)" "lease failed: " "its holder is told"
ok "and may release it" drive release "$lost"
is "$(sql "SELECT count(*) FROM leases WHERE holder='vm6'")" 0 "which is then over"
sane "after it"

node vm1/root >"$mnt/node"
echo "$sum" >"$mnt/sum"
is "$(read_file "$(path_of vm1)")" one "in the end the first VM has its own"
sync
done_testing
