#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4535-dm-repair.sh): pools whose metadata is damaged, and what becomes of their volumes. Disks: the pool's, one
# for the state directory.
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
export DM_DATA_DEVICE=$pool_disk DM_TENANT_MIB=1024
leaks_begin

drive() {
	timeout 170 "$build/t/tools/drive-volume" "$state" "$@" 2>"$tmp/stderr"
}
sql() {
	sqlite3 -cmd '.timeout 5000' "$db" "$1"
}
acme_state() {
	sql "SELECT state FROM pools WHERE tenant='acme'"
}
node_of() { # BUILD
	sql "SELECT printf('/dev/mapper/builderd-%.8s-rootfs-%x', p.uuid, d.id) FROM devices d JOIN pools p ON p.id=d.pool WHERE d.kind='rootfs' AND d.name='$1'"
}
# Everything stays up; of acme's pool then only its two linear devices.
crash_below_pool() {
	drive open b1 shell 'kill -9 $PPID' >/dev/null 2>&1
	meta=builderd-$(sql "SELECT substr(uuid,1,8) FROM pools WHERE tenant='acme'")-meta-0
	local name
	for name in $(dmsetup ls | awk '{print $1}' | grep "^${meta%-meta-0}-" | grep -v -e -pool- -e -meta- -e -data-) "${meta%-meta-0}-pool-0"; do
		dmsetup remove --retry "$name" || diag "$name stays"
	done
}
# The pool's flag as the kernel sets it after a failed write: bit 0 at 4 of the superblock, whose checksum is at 0.
needs_check_set() {
	python3 - "/dev/mapper/$meta" <<'EOF'
import struct, sys
with open(sys.argv[1], "r+b", buffering=0) as f:
    block = bytearray(f.read(4096))
    block[4] |= 1
    crc = 0xffffffff
    for byte in block[4:]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    struct.pack_into("<I", block, 0, crc ^ 160774)
    f.seek(0)
    f.write(block)
EOF
}

out=$(drive create b1 - 64 1000 mount fill a 20 unmount check snapshot k1 mount fill b 4 unmount check seal p1 open b1 shell "sha256sum /dev/mapper/*-rootfs-*" \
	create b2 k1 64 1000 mount fill c 3 unmount check seal p2 open b2)
is $? 0 "two products, a chain" || diag "$out"
sum=$(grep -o '^[0-9a-f]\{64\}' <<<"$out")
ok "another tenant's" env DRIVE_TENANT=other timeout 100 "$build/t/tools/drive-volume" "$state" create o1 - 64 100 seal po

# --- needs_check, nothing broken
crash_below_pool
ok "the kernel's flag is set" needs_check_set
like "$(drive open b1)" "opened" "a pool that needs a check is checked, and gives out its products" || diag "$(cat "$tmp/stderr")"
like "$(acme_state)" "^DEGRADED: 0 of 5 volumes are damaged, 0 are lost; thin_check found nothing; .*needs a check" "the tenant is DEGRADED, and why: $(acme_state)"
is "$(sql "SELECT meta_region FROM pools WHERE tenant='acme'")" 0 "the metadata is where it was"
ok "it can be written to" drive create b3 k1 64 100 mount fill d 1 unmount check seal p3
is "$(drive find k1 | cut -d' ' -f1)" found "the chain is there"

# --- the superblock is gone
crash_below_pool
dd if=/dev/urandom of="/dev/mapper/$meta" bs=4096 count=1 conv=notrunc oflag=direct status=none
damaged=$(dd if="/dev/mapper/$meta" bs=4096 count=1 iflag=direct status=none | sha256sum)
out=$(DRIVE_TENANT=other drive open o1 shell 'dmsetup ls >/dev/null')
like "$out" "opened" "the start does not wait for a repair, others go on"
out=$(drive open b1 shell "sha256sum $(node_of b1)" open b2)
diag "$(grep "a volume is damaged" "$tmp/stderr")"
lost=$(sql "SELECT count(*) FROM devices WHERE damage<>''")
like "$out" "$sum" "thin_repair: the product is the same, byte for byte" || diag "$out $(cat "$tmp/stderr")"
like "$(acme_state)" "^DEGRADED: 0 of [0-9]+ volumes are damaged, [01] are lost; thin_repair wrote its metadata anew; " "DEGRADED: $(acme_state)"
is "$(sql "SELECT meta_region FROM pools WHERE tenant='acme'")" 1 "the other region counts from now on"
is "$(drive open b1 shell "dd if=\$(ls /dev/mapper/*-crypt-1) bs=4096 count=1 iflag=direct status=none | sha256sum" | tail -n 1)" "$damaged" "the damaged copy is kept"
is "$(drive create b4 k1 64 100 mount fill d 1 unmount check seal p4 open b4 | tail -n 1 | cut -d' ' -f1)" opened "builds go on"
like "$(DRIVE_TENANT=other drive open o1)" "opened" "the other tenant is as it was"
is "$(sql "SELECT state FROM pools WHERE tenant='other'")" "" "and not DEGRADED"

# --- a crash between the repair and the check of the volumes; one of those is damaged, one is lost
drive open b1 open b2 shell 'kill -9 $PPID' >/dev/null 2>&1
pool=$(basename "$meta" -meta-0)-pool-0
id2=$(sql "SELECT id FROM devices WHERE kind='rootfs' AND name='b2'") id4=$(sql "SELECT id FROM devices WHERE kind='rootfs' AND name='b4'")
dmsetup remove "$(basename "$(node_of b2)")"
dmsetup create scribble --table "0 131072 thin /dev/mapper/$pool $id2"
dd if=/dev/urandom of=/dev/mapper/scribble bs=4096 seek=1 count=600 conv=notrunc oflag=direct status=none
dmsetup remove --retry scribble
ok "one goes behind our back" dmsetup message "$pool" 0 "delete $id4"
sql "UPDATE pools SET state='CHECK: for the test' WHERE tenant='acme'"
like "$(drive open b1)" "opened" "the check goes on at the next start"
like "$(acme_state)" "^DEGRADED: 1 of [0-9]+ volumes are damaged, $((1 + lost)) are lost; for the test" "$(acme_state)"
like "$(drive open b2)" "open failed: internal: the rootfs of build b2 is not usable: e2fsck finds errors" "a damaged product says so"
like "$(drive open b4)" "open failed: internal: the rootfs of build b4 is not usable: LOST" "a lost one, too"
is "$(sql "SELECT count(*) FROM rootfs WHERE tenant='acme'")" 4 "neither was deleted"
like "$(drive share b5 p2)" "not shared" "a damaged product is not given to others"
ok "they can be deleted" drive delete b2 delete b3 delete b4 reap
is "$(sql "SELECT count(*) FROM devices WHERE kind='dead' OR damage<>''; SELECT count(*) FROM intents")" "0
0" "and leave nothing"

# --- one of the two is older than the other
inner=$(sql "SELECT id FROM pools WHERE tenant='acme'")
ok "a product and a chain more" drive create b6 k1 64 100 mount fill e 2 unmount check snapshot k6 seal p6 open b6
cp "$db" "$tmp/old.db" # closed: the write-ahead log is in it
ok "and more" drive create b7 k6 64 100 mount fill f 2 unmount check seal p7 delete b6 reap
cp "$db" "$tmp/new.db"
cp "$tmp/old.db" "$db"
rm -f "$db-wal" "$db-shm"
out=$(drive open b1 create b8 - 64 100)
like "$out" "create failed: .*volumes.db was restored from an older state" "K > D: products can be had, nothing is written"
out=$(drive reconcile look)
like "$out" "volumes.db does not know it.*rootfs b6 .* is not in the pool.*orphans 1 missing 1 " "what differs is listed" || diag "$out"
like "$(drive create b8 - 64 100)" "is not written to" "and nothing is changed by that"
out=$(drive reconcile repair create b8 - 64 100 discard reap)
is $? 0 "after a repair it is written to again" || diag "$out"
is "$(sql "SELECT count(*) FROM devices WHERE kind='orphan' AND pool=$inner")" 1 "what the database did not know is kept"
like "$(drive open b6)" "not usable: LOST" "what it promised and the pool lost is marked"
ok "and can be deleted" drive delete b6 reap
id7=$(sql "SELECT id FROM devices WHERE kind='orphan' AND pool=$inner")
sql "DELETE FROM devices WHERE kind='orphan'; UPDATE pools SET tid=tid+2 WHERE id=$inner"
sql "INSERT INTO devices (pool, id, kind, name, size_bytes, own_bytes, is_ready) VALUES ($inner, 9000, 'chain', 'abcd', 1048576, 0, 1)"
out=$(drive open b1 create b8 - 64 100)
like "$out" "create failed: .*the pool was restored from an older state" "K < D: the same"
out=$(drive reconcile repair create b8 - 64 100 discard reap)
like "$out" "chain abcd .* is not in the pool.*orphans 1 missing 1 damaged 0" "a repair accepts what the pool has" || diag "$out"
is "$(acme_state)" "" "a tenant whose survivors are whole is not DEGRADED any more"
is "$(sql "SELECT count(*) FROM devices WHERE id=9000; SELECT count(*) FROM devices WHERE kind='orphan' AND id=$id7")" "0
1" "no row without a device, no device without a row"

# --- a tree of the metadata is gone: it shows only in use
crash_below_pool
root=$(od -An -tu8 -j320 -N8 "/dev/mapper/$meta" | tr -d ' ')
dd if=/dev/urandom of="/dev/mapper/$meta" bs=4096 seek="$root" count=1 conv=notrunc oflag=direct status=none
out=$(drive open b1; cat "$tmp/stderr")
like "$out" "is being repaired.*|opened" "damage inside the metadata is met when it is used, and repaired as far as it goes: $(acme_state)"
like "$(acme_state)" "^DEGRADED: " "the tenant is DEGRADED"
like "$(DRIVE_TENANT=other drive open o1)" "opened" "the other tenant is as it was"

# --- all metadata is gone: nothing to repair
crash_below_pool
dd if=/dev/zero of="/dev/mapper/$meta" bs=1M count=16 conv=notrunc oflag=direct status=none
out=$(DRIVE_TENANT=other drive open o1 shell true)
like "$out" "opened" "builderd starts, the other tenant is as it was"
like "$(drive open b1)" "open failed: .*its repair failed: .*thin_repair" "the tenant says why it is closed: $(drive open b1 | cut -c 1-200)"
like "$(acme_state)" "^DEGRADED: " "and is DEGRADED: $(acme_state)"
leaks_end
done_testing
