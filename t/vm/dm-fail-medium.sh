#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4600-dm-failures.sh): a full host's pool, a bad sector, a disk that gives errors, a holder of a node, a host with udev.
# Disks: the pool's, one for the state directory.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/lib/thin.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r pool_disk state_disk _ <<<"$VM_DISKS"
modprobe -a dm-dust dm-flakey
mkdir -p /tmp/disk
mke2fs -q -t ext4 "$state_disk"
mount "$state_disk" /tmp/disk || exit
cleanup "umount /tmp/disk"
leaks_begin
sectors=$(blockdev --getsz "$pool_disk")

drive() {
	timeout 120 "$build/t/tools/drive-volume" "$state" "$@" 2>"$tmp/stderr"
}
fresh() { # NAME: another state directory, a blank disk
	state=/tmp/disk/$1
	db=$state/dm/volumes.db
	dd if=/dev/zero of="$pool_disk" bs=1M count=1 conv=notrunc,fsync status=none
}
small=(64 100 mount fill a 2 unmount check)

# --- 8. udev is said to run and answers nobody: builderd waits for no cookie and leaves no semaphore
fresh udev
mkdir -p /run/udev
touch /run/udev/control
unset DM_DISABLE_UDEV
timeout 3 dmsetup create waits --table "0 8 error"
is $? 124 "dmsetup waits for ever"
ok "with a semaphore" test "$(semaphores)" -gt 0
dmsetup udevcomplete_all -y >/dev/null
DM_DISABLE_UDEV=1 dmsetup remove waits
export DM_DATA_DEVICE=$pool_disk DM_TENANT_MIB=512
ok "a whole build does not" drive create b1 - "${small[@]}" snapshot k seal p share s p delete b1 delete s reap
drive create b2 - "${small[@]}" shell 'kill -9 $PPID' >/dev/null 2>&1
is "$(semaphores)" 0 "and leaves no semaphore, not after a kill either"
ok "what it left is taken away" drive usage find k reap
export DM_DISABLE_UDEV=1
rm -r /run/udev

# --- 6. somebody holds the node of a build that is thrown away
ok "a build whose node is held by somebody is thrown away" drive create b3 - 64 100 \
	shell 'exec 7<$(ls /dev/mapper/*-build-*); sleep 300 <&7 >/dev/null 2>&1 & echo $! >'"$tmp/holder" discard \
	create b4 - "${small[@]}" seal p4 shell "kill \$(cat $tmp/holder)" usage
ok "the device goes with its holder, the thin id with the next round" drive find k reap shell \
	"bash -c 'db=$db; . $top/t/lib/thin.sh; storage_settles; storage_differs; [ -z \"\$(storage_differs)\" ]'"
ok "nothing else went" drive open b4 delete b4 reap

# --- 1. a tenant's storage is full
fresh full
out=$(drive create b1 - 1024 1000 mount fill a 300 unmount check seal p1 create b2 - 512 1000 mount fill c 300 unmount)
like "$out" "disk-full: " "a tenant's storage fills up: $(tail -n 1 <<<"$out" | cut -c 1-120)"
ok "another tenant goes on" env DRIVE_TENANT=other timeout 120 "$build/t/tools/drive-volume" "$state" create o1 - "${small[@]}" seal p open o1 delete o1 reap
ok "after a restart its product is there, and can be deleted" drive open b1 delete b1 reap
ok "then there is room" drive create b3 - 512 1000 mount fill a 200 unmount check seal p3 delete b3 reap

# --- 10. what is deleted goes back to the host
fresh loop
unset DM_DATA_DEVICE
export DM_LOOP_FILE=/tmp/disk/pool.img DM_LOOP_MIB=600
drive create b1 - 256 100 mount fill a 100 unmount check seal p1 >/dev/null
sync
before=$(stat -c %b "$DM_LOOP_FILE")
ok "a product is deleted" drive delete b1 reap
sync
after=$(stat -c %b "$DM_LOOP_FILE")
ok "the file behind the pool had $((before / 2048)) MiB and has $((after / 2048)) MiB" test $((before - after)) -ge $((90 * 2048))
rm "$DM_LOOP_FILE"
unset DM_LOOP_FILE

# --- 14. a bad sector below a product
fresh dust
unset DM_DATA_DEVICE
dmsetup create medium --table "0 $sectors dust $pool_disk 0 65536"
cleanup "dmsetup remove medium"
export DM_DATA_DEVICE=/dev/mapper/medium
mapped() { # outer blocks that hold something, in the host's pool
	local p
	p=builderd-$(sql "SELECT substr(uuid, 1, 8) FROM pools WHERE tenant=''")
	drive usage shell "dmsetup message $p-pool-0 0 reserve_metadata_snap; thin_dump -m /dev/mapper/$p-meta-0; dmsetup message $p-pool-0 0 release_metadata_snap" |
		sed -n 's/.*single_mapping.* data_block="\([0-9]*\)".*/\1 1/p; s/.*range_mapping.* data_begin="\([0-9]*\)" length="\([0-9]*\)".*/\1 \2/p' |
		while read -r from n; do seq "$from" $((from + n - 1)); done | sort -n
}
drive create x - 64 100 discard reap >/dev/null
mapped >"$tmp/before"
ok "a base is made" drive create b1 - 64 100 mount fill a 24 unmount check snapshot base seal p1
mapped >"$tmp/after"
comm -13 <(sort "$tmp/before") <(sort "$tmp/after") | sort -n >"$tmp/new"
ok "it lies in blocks of its own: $(wc -l <"$tmp/new")" test "$(wc -l <"$tmp/new")" -ge 20
block=$(sed -n 12p "$tmp/new")
p=builderd-$(sql "SELECT substr(uuid, 1, 8) FROM pools WHERE tenant=''")
offset=$(drive usage shell "dmsetup table $p-data-0" | awk '/linear/ { print $5 }')
bad=$(((offset + block * 2048) / 128)) # in units of dust's 64 KiB
for i in 3 7 11; do dmsetup message medium 0 addbadblock $((bad + i)); done
dmsetup message medium 0 enable
like "$(drive create b2 base "${small[@]:0:2}" mount sum a)" "sum failed: .*Input/output error" "who reads it gets an error"
out=$(drive create b3 - "${small[@]}" seal p3 open b3 usage)
is $? 0 "another build goes on" || diag "$out"
like "$out" "used [0-9]+ MiB$" "and the pools are well"
ok "another tenant's, too" env DRIVE_TENANT=other timeout 120 "$build/t/tools/drive-volume" "$state" create o1 - "${small[@]}" seal p open o1 delete o1
dmsetup message medium 0 disable
ok "the sector reads again: the base is whole" drive create b4 base 64 100 mount sum a unmount check discard delete b1 delete b3 reap
dmsetup remove --retry medium

# --- a disk that gives errors for a while
for how in error_writes drop_writes; do
	fresh "$how"
	dmsetup create medium --table "0 $sectors linear $pool_disk 0"
	drive create b0 - "${small[@]}" seal p0 >/dev/null
	cat >"$tmp/medium" <<-EOF2
		#!/bin/bash
		dmsetup suspend --noflush medium && dmsetup load medium --table "\$*" && dmsetup resume medium
	EOF2
	chmod +x "$tmp/medium"
	out=$(drive create b1 - 64 100 mount fill a 20 shell "$tmp/medium 0 $sectors flakey $pool_disk 0 0 3600 1 $how" unmount check seal p1)
	unlike "$out" "/dev/mapper/" "$how: the build fails"
	like "$out" "(unmount|check|seal) failed: .*([Ii]nput/output error|inconsisten|e2fsck)" "and says that the device did: $(tail -n 1 <<<"$out" | cut -c 1-140)"
	"$tmp/medium" "0 $sectors linear $pool_disk 0" || diag "the medium is not well again"
	out=$(drive usage open b0 create b2 - "${small[@]}" seal p2 open b2)
	is $? 0 "$how: once the disk is well, the products are there and the next build works" || diag "$out $(tail -n 5 "$tmp/stderr")"
	drive delete b0 delete b2 reap >/dev/null
	dmsetup remove --retry medium
done
is "$(dmsetup ls)" "No devices found" "everything is down"
leaks_end
done_testing
