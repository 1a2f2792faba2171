#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4530-dm-devices.sh): devices that somebody suspends, holds, or leaves half made, and how deleted ones go away.
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
export DM_DATA_DEVICE=$pool_disk
leaks_begin

drive() {
	timeout 120 "$build/t/tools/drive-volume" "$state" "$@" 2>"$tmp/stderr"
}
sql() {
	sqlite3 -cmd '.timeout 5000' "$db" "$1"
}
rootfs='/dev/mapper/*-rootfs-*'
has() { # DEVICE: its node may be stale
	dmsetup info "$1" >/dev/null 2>&1
}
lacks() {
	! has "$1"
}

ok "a product" drive create b1 - 256 1000 mount fill a 40 unmount check seal p1

# --- ioctls: what we count is what the kernel sees
strace -f -e trace=ioctl -o "$tmp/ioctls" "$build/t/tools/drive-volume" "$state" open b1 calls >"$tmp/out" 2>/dev/null
seen=$(grep -c 'DM_\|_IOC([^)]*0xfd' "$tmp/ioctls")
crypt=$(sed -n '/DM_TABLE_LOAD.*crypt/=' "$tmp/ioctls" | wc -l)
counted=$(sed -n 's/^\([0-9]*\) calls$/\1/p' "$tmp/out")
diag "$counted counted at the end of the start, $seen ioctls seen in all"
ok "calls are counted" test "${counted:-0}" -gt 15
ok "each is an ioctl" test "${counted:-999}" -le "$seen"

# --- the watchdog
drive open b1 shell "dmsetup suspend --noflush \$(ls $rootfs); sleep 5; dmsetup info -c --noheadings -o attr \$(ls $rootfs)" >"$tmp/out"
like "$(tail -n 1 "$tmp/out")" "^L--r" "a device that somebody suspended is resumed" || diag "$(cat "$tmp/out")"
like "$(cat "$tmp/stderr")" "was left suspended, it has been resumed.*rootfs.*ms=[2-4][0-9]{3}" "and that is said"
drive open b1 shell 'dmsetup suspend --noflush $(ls /dev/mapper/*-crypt-*); sleep 5; dd if=$(ls /dev/mapper/*-rootfs-*) of=/dev/null bs=1M count=8 iflag=direct' >/dev/null
is "$?" 0 "the encrypted device, too: who reads above it goes on"
like "$(cat "$tmp/stderr")" "left suspended.*crypt" "and that is said"
dmsetup create foreign --table "0 2048 zero"
dmsetup suspend foreign
drive open b1 shell 'sleep 4' >/dev/null
like "$(dmsetup info foreign)" "SUSPENDED" "what is not ours is not touched"
dmsetup remove foreign

# --- half made
drive open b1 shell 'kill -9 $PPID' >/dev/null 2>&1
name=$(basename "$(ls $rootfs)")
uuid=$(dmsetup info -c --noheadings -o uuid "$name")
dmsetup remove "$name"
dmsetup create "$name" --uuid "$uuid" --notable
like "$(drive open b1)" "opened $(ls $rootfs)" "a device that has no table yet gets it"
dmsetup create "$name" --uuid other --table "0 2048 zero"
like "$(drive open b1; cat "$tmp/stderr")" "exists and is not ours: its uuid is .{1,2}other" "a device with our name that is not ours is left alone"
dmsetup remove "$name"
ok "and when it is gone all is well" drive open b1

# --- in use: it goes when its last user closes it
out=$(drive create b2 - 64 100 mount fill a 4 unmount \
	shell "exec 7<\$(ls /dev/mapper/*-build-*); sleep 100 <&7 >/dev/null 2>&1 & echo \$! >$tmp/holder" discard \
	shell "dmsetup info \$(dmsetup ls | sed -n 's/^\(.*-build-[^\t ]*\).*/\1/p')" \
	shell "kill \$(cat $tmp/holder)" reap shell "! dmsetup ls | grep -e -build- -e -dead-")
is $? 0 "a discarded volume that somebody has open goes later" || diag "$out"
like "$out" "ACTIVE \(DEFERRED REMOVE\)" "by deferred removal, not suspended"
is "$(sql "SELECT count(*) FROM devices WHERE kind IN ('build','dead')")" 0 "and nothing is left of it"

# --- the reaper
ok "a device that is mapped" drive create b3 - 512 1000 mount fill a 300 unmount check seal p3
before=$(drive usage reap usage | tail -n 1)
out=$(drive delete b3)
like "$out" "freed (29[0-9]|30[0-9]|31[0-9]) MiB" "a deletion tells at once what it will free: $out"
is "$(sql "SELECT count(*) FROM devices WHERE kind='rootfs' AND name='b3'")" 0 "the product is gone"
after=$(drive reap usage)
like "$after" "used [0-9]{1,2} MiB|used 1[0-9]{2} MiB" "its space is back in the host's pool: $before, then $after"
is "$(sql "SELECT count(*) FROM devices WHERE kind='dead'")" 0 "no dead device is left"
# A crash with a dead device, half discarded: the next start goes on.
ok "another" drive create b4 - 512 1000 mount fill a 200 unmount check seal p4
drive delete b4 shell 'kill -9 $PPID' >/dev/null 2>&1
is "$(sql "SELECT count(*) FROM devices WHERE kind='dead'")" 1 "a crash leaves a dead device"
like "$(drive reap usage)" "used ([0-9]{1,2}|1[0-4][0-9]) MiB" "the next start takes it away"
is "$(sql "SELECT count(*) FROM devices WHERE kind='dead'; SELECT count(*) FROM intents")" "0
0" "wholly"
ok "an end does not wait for what is being deleted" drive create b5 - 512 1000 mount fill a 200 unmount check seal p5 delete b5
ok "what is left of it goes at the next start" drive reap delete b1 reap
leaks_end
done_testing
