#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4540-dm-full.sh): pools that are full, and pools that grow. One disk, for the state directory and the pool's
# loop file.
. "$(dirname "$0")/../lib/tap.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r disk _ <<<"$VM_DISKS"
mnt=/tmp/state
mkdir -p "$mnt"
mke2fs -q -t ext4 "$disk"
mount "$disk" "$mnt"
cleanup "umount $mnt"
state=$mnt/b
db=$state/dm/volumes.db
export DM_LOOP_FILE=$mnt/pool.img DM_LOOP_MIB=400 DM_TENANT_MIB=1024
leaks_begin

drive() {
	timeout 170 "$build/t/tools/drive-volume" "$state" "$@" 2>"$tmp/stderr"
}
other() {
	DRIVE_TENANT=other drive "$@"
}
sql() {
	sqlite3 -cmd '.timeout 5000' "$db" "$1"
}
# From within a run: the loop file becomes bigger.
larger="truncate -s +400M $DM_LOOP_FILE"

# --- the host's pool is full
ok "two tenants" drive create b1 - 64 100 mount fill a 30 unmount check seal p1
ok "the other" other create o1 - 64 100 mount fill a 10 unmount check seal po
diag "$(cat /sys/module/dm_thin_pool/parameters/no_space_timeout) s is how long the kernel lets writers wait for room; here for ever"
echo 0 >/sys/module/dm_thin_pool/parameters/no_space_timeout
# A writer that finds no room waits; then there is room, and it goes on.
out=$(drive create b2 - 512 100 mount shell "(sleep 15; $larger) >/dev/null 2>&1 &" fill big 420 unmount check seal p2 usage)
is $? 0 "a writer waits for room, the loop file grows, the writer ends without an error" || diag "$out $(cat "$tmp/stderr")"
like "$(cat "$tmp/stderr")" "a pool needs attention.*reason=\"it is (full|9[0-9] % full)" "that the pool is full is said"
like "$(cat "$tmp/stderr")" "the pool grows.*from=384827392|the pool grows" "and that it grows"
like "$out" "/dev/mapper/.*used [45][0-9]{2} MiB$" "the product is there" || diag "$out"
out=$(drive create b3 - 512 100 mount fill big 230 unmount check seal p3 usage)
like "$out" "used 7[0-9]{2} MiB; it is 9[0-9] % full" "nearly full again: $(tail -n 1 <<<"$out")"
like "$(other create o2 - 64 100)" "create failed: disk-full: the host's pool has [0-9]+ MiB free, this needs at least" "the next build is refused: $(other create o2 - 64 100 | cut -c 1-140)"
like "$(other open o1)" "opened" "products can be had"
ok "deletion works" drive delete b2
ok "and makes room, which the next build finds" other create o2 - 64 100 mount fill a 30 unmount check seal po2 open o2 delete o2 reap
ok "a restart works" drive open b1 open b3 delete b3 reap

# --- the pool grows at a start, too, also when only the label was written before a crash
truncate -s +100M "$DM_LOOP_FILE"
drive open b1 >/dev/null
like "$(cat "$tmp/stderr")" "the pool grows" "at the next start"
pool=builderd-$(sql "SELECT substr(uuid,1,8) FROM pools WHERE tenant=''")-pool-0
is "$(drive shell "dmsetup table $pool" | awk '{print $2 / 2048}')" "867" "the pool has what the file has, without label and metadata"
drive open b1 shell 'kill -9 $PPID' >/dev/null 2>&1
truncate -s +100M "$DM_LOOP_FILE"
is "$(drive shell "dmsetup table $pool" | awk '{print $2 / 2048}')" "967" "a pool that a crash has left up grows when it is adopted"

# --- a tenant grows
crypt() { # MiB of the encrypted device, and of the pool in it
	echo "shell" "dmsetup table --target crypt | awk '{print \"crypt\", \$3 / 2048}'; dmsetup table --target thin-pool | awk '/ 128 0 /{print \"inner\", \$3 / 2048}'"
}
out=$(drive grow-tenant 1536 "shell" "dmsetup table --target crypt; dmsetup table --target thin-pool")
is $? 0 "a tenant grows at work" || diag "$out $(cat "$tmp/stderr")"
like "$out" "crypt: 0 $(((1536 - 16) * 2048)) crypt|: 0 $(((1536 - 16) * 2048)) crypt" "the encrypted device has grown"
like "$out" ": 0 $(((1536 - 16 - 32) * 2048)) thin-pool .* 128 0 " "and the pool in it"
is "$(sql "SELECT size_bytes / 1048576 FROM devices WHERE kind='tenant' AND name='acme'")" 1536 "volumes.db has it"
ok "its products are there, it can be written to" drive open b1 create b5 - 128 100 mount fill a 60 unmount check seal p5 open b5 delete b5 reap
like "$(drive grow-tenant 1000)" "it can only become bigger" "it does not become smaller"
like "$(drive grow-tenant 2000000)" "can grow to [0-9]+ MiB: its pool's metadata of 16 MiB maps no more" "nor bigger than its metadata can map"
# A crash once the database has the new size, with everything up.
drive open b1 shell 'kill -9 $PPID' >/dev/null 2>&1
sql "UPDATE devices SET size_bytes=2048*1048576 WHERE kind='tenant' AND name='acme'"
out=$(drive open b1 "shell" "dmsetup table --target crypt; dmsetup table --target thin-pool")
like "$out" ": 0 $(((2048 - 16) * 2048)) crypt" "a growth that a crash stopped is finished by the next start"
like "$out" ": 0 $(((2048 - 16 - 32) * 2048)) thin-pool .* 128 0 " "wholly" || diag "$out"

# --- the host's metadata
like "$(drive outer-check)" "thin_check finds nothing" "the host's pool is well"
dd if=/dev/urandom of="$DM_LOOP_FILE" bs=4096 seek=256 count=1 conv=notrunc status=none
like "$(drive probe)" "open failed: .*builder-volume fsck --repair" "damaged: builderd does not start, and says what to do"
like "$(drive outer-check)" "damaged: " "what a look finds"
ok "nothing is changed by it" test -z "$(ls "$state/dm" | grep -e damaged -e repaired)"
like "$(drive outer-repair)" "repaired: " "a repair" || diag "$(cat "$tmp/stderr")"
like "$(drive open b1; cat "$tmp/stderr")" "opened" "then builderd starts and has its products"
is "$(ls "$state/dm" | grep -c '^damaged-.*\.meta$'):$(ls "$state/dm" | grep -c repaired)" "1:0" "a copy of what was damaged is kept"
cp "$state/dm/"damaged-*.meta "$state/dm/repaired.meta"
like "$(drive probe)" "a repair was stopped half-way" "a repair that was stopped half-way must be finished first"
rm "$state/dm/repaired.meta"

# --- the same by the tool
volume() {
	env "UNKEY_BUILDERD_STATE_DIR=$state" "UNKEY_BUILDERD_DM_LOOP_FILE=$DM_LOOP_FILE" timeout 170 "$build/builder-volume" "$@" 2>&1
}
dd if=/dev/urandom of="$DM_LOOP_FILE" bs=4096 seek=256 count=1 conv=notrunc status=none
out=$(volume fsck)
is $? 5 "fsck: damaged, the storage cannot be opened" || diag "$out"
like "$out" "the host's pool is damaged: " "and it says so"
out=$(volume fsck --repair)
is $? 0 "fsck --repair" || diag "$out"
like "$out" "the host's pool was damaged and has been repaired" "repairs it"
out=$(volume fsck)
is $? 0 "after it all is well" || diag "$out"
like "$(volume grow acme 3G)" "size.bytes *3221225472|3\.2 GB" "grow" || diag "$(volume grow acme 3G)"
like "$(volume grow acme 1G)" "it can only become bigger" "not smaller"
like "$(volume grow nobody 4G)" "there is no tenant nobody" "nobody's"
truncate -s +64M "$DM_LOOP_FILE"
ok "enlarge" volume enlarge
is "$(drive shell "dmsetup table $pool" | awk '{print $2 / 2048}')" "1031" "the pool has what the file has"
ok "all is well" drive open b1 delete b1 reap
leaks_end
done_testing
