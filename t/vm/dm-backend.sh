#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4500-dm-backend.sh): the dm backend on real thin pools. Disks: the pool's, one for the state directory.
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
devices() { # KIND: how many thin devices the database knows
	sqlite3 "$db" "SELECT count(*) FROM devices WHERE kind='$1'"
}
inner_pool() { # its device's name, while it is up
	dmsetup ls | awk '{print $1}' | grep -- '-pool-0$' | grep -v "^builderd-$(sqlite3 "$db" "SELECT substr(uuid,1,8) FROM pools WHERE tenant=''")-"
}
status_id() { # POOL: its transaction id
	dmsetup status "$1" | awk '{print $4}'
}
# Builderd dies, the kernel does not: everything stays up.
crash() { # STEP...
	drive "$@" shell 'kill -9 $PPID' >/dev/null 2>&1
	pool=$(inner_pool)
}
sql() {
	sqlite3 "$db" "$1"
}

# --- a device that is somebody else's
mke2fs -q -t ext4 "$pool_disk" 2>/dev/null
like "$(drive probe)" "neither empty nor a pool" "a device with a file system on it is not taken"
dd if=/dev/zero of="$pool_disk" bs=1M count=1 conv=notrunc status=none
wipefs -aq "$pool_disk"
dd if=/dev/zero of="$pool_disk" bs=64k seek=$(($(blockdev --getsize64 "$pool_disk") / 65536 - 1)) count=1 conv=notrunc status=none
rm -rf "$state"

# --- a volume's life
ok "a blank device is set up" drive probe
is "$(stat -c %a "$state/dm/master.key" "$state/dm" "$state/dm/keys" | paste -sd' ')" "400 700 700" "a master key of mode 0400, closed directories"
out=$(drive create b1 - 256 1000 mount fill a 20 sum a unmount check snapshot k1 mount fill b 5 unmount check seal p1 \
	shell 'dmsetup table --target thin-pool; dmsetup table --target crypt; cryptsetup luksDump /dev/mapper/*-tenant-1')
is $? 0 "create, mount, write, unmount, check, snapshot, write on, seal" || diag "$out"
sum=$(grep -m1 '^sha256:' <<<"$out")
like "$out" "/dev/mapper/builderd-[0-9a-f]{8}-rootfs-[0-9a-f]+" "the product has a path"
like "$out" "thin-pool [0-9:]+ [0-9:]+ 2048 0 1 skip_block_zeroing" "outer pool: blocks of 1 MiB, not zeroed"
like "$out" "thin-pool [0-9:]+ [0-9:]+ 128 0 1 error_if_no_space" "inner pool: blocks of 64 KiB, zeroed, errors when full"
like "$out" "crypt aes-xts-plain64 :64:logon:" "aes-xts, 512 bits, the volume key in the kernel's keyring"
like "$out" "sector_size:4096" "sectors of 4096 bytes"
like "$out" "offset: 16777216 \[bytes\].*pbkdf2.*Iterations: *1000" "data at 16 MiB, the least PBKDF2"
is "$(devices build)" 0 "no volume of a build is left"
leaks_end "all devices are down after a clean end"

# --- chains
is "$(drive find k1)" "found 1234 56 268435456" "a chain is found with its ledger, after a restart"
is "$(drive find nothing)" "not found" "another is not"
out=$(drive create b2 k1 256 1000 mount sum a fill c 3 unmount check seal p2)
like "$out" "$sum" "a volume made from a chain holds what the chain held"
ok "a chain grows when more is asked for" drive create b3 k1 1024 1000 check mount fill big 400 unmount check discard
ok "inodes, too" drive create b3 k1 256 200000 check mount unmount check discard
fails "a build id is used once" drive create b1x - 64 10 create b1x - 64 10
ok "a mounted volume grows while it is written" drive create g1 - 256 1000 mount fill a 100 grow 2048 fill b 500 unmount check \
	mount fill c 100 unmount check discard
ok "an unmounted volume grows" drive create g2 - 64 1000 grow 512 check mount fill a 300 unmount check discard
is "$(drive find k1)" "found 1234 56 268435456" "the chain is as it was"

# --- products
out=$(drive share b5 p1 share b6 other open b1 open b2 open b5 \
	shell 'for d in /dev/mapper/*-rootfs-*; do e2fsck -fn $d || exit 1; blockdev --getro $d; done')
is $? 0 "products are clean" || diag "$out"
like "$out" 'shared /dev/mapper/.* \{"key":"p1"\}' "the same product key shares the product"
like "$out" "not shared" "another key does not"
is "$(grep -c '^1$' <<<"$out")" 3 "the three devices are read-only"
like "$(drive open b1 shell 'exec 7<$(ls /dev/mapper/*-rootfs-* | head -n 1); sleep 100 <&7 >/dev/null 2>&1 & echo $! >'"$tmp/holder" delete b1)" \
	"delete failed: .*in use" "a product that somebody has open is not deleted"
kill "$(cat "$tmp/holder")"
ok "later it is, and its copy stays whole" drive delete b1 open b5 shell 'for d in /dev/mapper/*-rootfs-*; do e2fsck -fn $d || exit 1; done'
ok "delete the others" drive delete b5 delete b2
fails "deleting it again says so" drive delete b5
is "$(devices rootfs)" 0 "no product is left"

# --- caches
old=sha256-$(printf %064d 1) new=sha256-$(printf %064d 2)
drive blob "$old" 10 blob "$new" 10 shell 'sleep 1' find k1 >/dev/null
is "$(sql "SELECT own_bytes>>20 FROM devices WHERE kind='cache'")" 20 "what a closed tenant's blobs take is remembered"
like "$(CACHE_MAX=$((14 << 20)) drive trim)" "trimmed [0-9]+ MiB" "trim opens it to make room"
is "$(sql "SELECT own_bytes>>20 FROM devices WHERE kind='cache'")" 10 "the older blob is gone"
is "$(drive blob junk 1 blob sha256-short 1 trim blob "$new" 10; sql "SELECT own_bytes>>20 FROM devices WHERE kind='cache'")" "trimmed 0 MiB
10" "what is no blob is removed, and not counted"
is "$(CACHE_MAX=1 drive trim find k1 reap | tail -n 1)" "not found" "trim takes everything if it must"
is "$(devices chain)" 0 "and deletes the chains' devices"
like "$(drive usage)" "used [0-9][0-9]? MiB" "space is back in the outer pool"

# --- many at once
is "$(drive threads 4 | tail -n 1)" "bad 0" "four threads build at the same time"

# --- crashes, the kernel lives on
crash create c1 - 256 1000 mount fill a 50
like "$(dmsetup ls)" "-build-" "a crash leaves the devices up"
ok "they are adopted" drive probe
is "$(devices build)" 0 "and the unfinished volume is gone"

# Step 1 only: an intent, no message.
crash create c2 - 256 1000 mount fill a 4 unmount seal p5
k=$(status_id "$pool")
inner=$(sql "SELECT id FROM pools WHERE tenant='acme'")
is "$(sql "SELECT tid FROM pools WHERE id=$inner")" "$k" "kernel and database agree: $k"
sql "INSERT INTO devices (pool, id, kind, name, size_bytes, own_bytes, is_ready) VALUES ($inner, 5000, 'build', 'x', 1048576, 0, 0); INSERT INTO intents VALUES ($inner, $k+1, 1, 5000)"
ok "K = D, intent, no message: undone" drive open c2
is "$(sql "SELECT count(*) FROM intents"):$(devices build)" "0:0" "no intent, no device"

# Steps 1 and 2.
crash open c2 reap
sql "INSERT INTO devices (pool, id, kind, name, size_bytes, own_bytes, is_ready) VALUES ($inner, 5001, 'build', 'x', 1048576, 0, 0); INSERT INTO intents VALUES ($inner, $(status_id "$pool")+1, 1, 5001)"
ok "a thin device behind the back of the database" dmsetup message "$pool" 0 "create_thin 5001"
ok "K = D, intent, message sent: undone" drive open c2 shell "! dmsetup message $pool 0 'delete 5001' 2>/dev/null"
is "$(sql "SELECT count(*) FROM intents"):$(devices build)" "0:0" "no intent, no device, no thin id"

# Steps 1 to 3.
crash open c2 reap
k=$(status_id "$pool")
sql "INSERT INTO devices (pool, id, kind, name, size_bytes, own_bytes, is_ready) VALUES ($inner, 5002, 'build', 'x', 1048576, 0, 0); INSERT INTO intents VALUES ($inner, $k+1, 1, 5002)"
ok "a thin device behind the back of the database" dmsetup message "$pool" 0 "create_thin 5002"
ok "and its transaction id" dmsetup message "$pool" 0 "set_transaction_id $k $((k + 1))"
ok "K = D + 1: finished, and then collected" drive open c2 reap shell "! dmsetup message $pool 0 'delete 5002' 2>/dev/null"
is "$(sql "SELECT count(*) FROM intents"):$(devices build)" "0:0" "no intent, no device, no thin id"

# A deletion, before and after its message.
for sent in no yes; do
	crash open c2 reap
	k=$(status_id "$pool")
	ok "a thin device behind the back of the database" dmsetup message "$pool" 0 "create_thin 501$k"
	sql "INSERT INTO devices (pool, id, kind, name, size_bytes, own_bytes, is_ready) VALUES ($inner, 501$k, 'golden', 'g$sent', 1048576, 0, 1); INSERT INTO intents VALUES ($inner, $k+1, 2, 501$k)"
	[ "$sent" = no ] || dmsetup message "$pool" 0 "delete 501$k"
	ok "an interrupted deletion is finished (message sent: $sent)" drive open c2 shell "! dmsetup message $pool 0 'delete 501$k' 2>/dev/null"
	is "$(sql "SELECT count(*) FROM intents; SELECT count(*) FROM devices WHERE id=501$k")" "0
0" "no intent, no device"
done

# One of the two is older than the other.
sql "UPDATE pools SET tid=tid+3 WHERE id=$inner"
out=$(drive open c2 create c3 - 64 10)
like "$out" "opened .*" "K < D: products can still be read"
like "$out" "create failed: .*is not written to: .*the pool was restored from an older state" "but nothing is written"
sql "UPDATE pools SET tid=tid-5 WHERE id=$inner"
out=$(drive open c2 create c3 - 64 10)
like "$out" "create failed: .*volumes.db was restored from an older state" "K > D: nothing is written either"
sql "UPDATE pools SET tid=tid+2 WHERE id=$inner"
ok "in agreement again, it is" drive create c3 - 64 10 discard

# A tenant that was half made.
sql "UPDATE devices SET is_ready=0 WHERE kind='tenant'"
is "$(drive open c2 >/dev/null; drive create d1 - 64 10 seal p9 open d1 | tail -n 1 | cut -d' ' -f1)" opened "half of a tenant is made anew"
is "$(sql "SELECT count(*) FROM pools"):$(devices tenant)" "2:1" "and only once"

# --- what must be there
mv "$state/dm/master.key" "$tmp/master.key"
like "$(drive probe)" "master key .*master.key is missing" "without the master key nothing is opened, and no new one is made"
head -c 32 /dev/urandom >"$state/dm/master.key"
chmod 400 "$state/dm/master.key"
like "$(drive create d2 - 64 10; cat "$tmp/stderr")" "sealed under another master key" "another master key opens no tenant"
chmod 440 "$state/dm/master.key"
like "$(drive probe)" "mode 0400, it has mode 0440" "a master key that others may read is refused"
mv -f "$tmp/master.key" "$state/dm/master.key"
ok "the right one opens it" drive open d1

# --- a tenant that has no room left
state=$mnt/small
dd if=/dev/zero of="$pool_disk" bs=1M count=1 conv=notrunc status=none
export DM_TENANT_MIB=512
out=$(drive create b1 - 1024 1000 mount fill a 600 unmount)
like "$out" "disk-full: " "a tenant's storage fills up: $(tail -n 1 <<<"$out" | cut -c 1-100)"
ok "the next build has room again" drive create b2 - 256 1000 mount fill a 100 unmount check seal p1 open b2
ok "and deletion works" drive delete b2
unset DM_TENANT_MIB

# --- a loop file, for trials
unset DM_DATA_DEVICE
state=$mnt/loop
export DM_LOOP_FILE=/tmp/pool.img DM_LOOP_MIB=600
ok "a pool in a loop file" drive create b1 - 64 100 mount fill a 10 unmount check seal p1
ok "is found again" drive open b1 delete b1
like "$(losetup -a)" "^$" "and its loop device is gone when nobody uses it"
rm -f "$DM_LOOP_FILE"
leaks_end
done_testing
