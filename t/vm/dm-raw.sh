#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4591-dm-raw.sh): what can be read below and beside a tenant's volumes.   dm-raw.sh SECRET-FILE WORD
# Disks: builderd's pool, the state directory's, a small pool.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/lib/builderd.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r pool_disk state_disk small_disk _ <<<"$VM_DISKS"
secret=$1 word=$2
mkdir -p /tmp/state
mke2fs -q -t ext4 "$state_disk"
mount "$state_disk" /tmp/state
cleanup "umount /tmp/state"
leaks_begin

# --- the same tenant's next volume: blocks that were another's are zeros
# 80 MiB of data; two volumes write to 48 MiB of it each, so at least a third of the second's blocks were the first's.
cat >"$tmp/stale.py" <<'EOF2'
import mmap, os, sys
what, device = sys.argv[1:]
STEP, COUNT = 65536, 768
stale = b"an earlier build left this here. " * 200
fd = os.open(device, os.O_RDWR)
size = os.lseek(fd, 0, os.SEEK_END)
first = 8 << 20 # behind the file system's own first blocks
if what == "fill":
    for i in range(COUNT):
        os.pwrite(fd, (stale * 12)[:STEP], first + i * STEP)
elif what == "touch":
    for i in range(COUNT): # 4 KiB of each block of the pool: the rest of it is what the pool makes of it
        os.pwrite(fd, b"\xa5" * 4096, first + i * STEP + 4096 * (i % 16))
os.fsync(fd)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
zero = found = 0
for at in range(first, first + COUNT * STEP, STEP):
    block = os.pread(fd, STEP, at)
    found += stale[:33] in block
    zero += block.count(0) == STEP - 4096
print("%d blocks with stale bytes, %d blocks of zeros but for what was written" % (found, zero))
EOF2
drive() {
	DM_DATA_DEVICE=$small_disk DM_TENANT_MIB=128 timeout 250 "$build/t/tools/drive-volume" /tmp/state/small "$@"
}
device='/dev/mapper/builderd-*-build-*'
out=$(drive create v1 - 256 1000 shell "python3 $tmp/stale.py fill $device" discard create v2 - 256 1000 shell "python3 $tmp/stale.py touch $device" 2>&1)
like "$out" "768 blocks with stale bytes" "a volume is filled" || diag "$out"
like "$(tail -n 1 <<<"$out")" "^0 blocks with stale bytes, 76[0-9] blocks of zeros but for what was written" "the tenant's next volume, on its blocks, reads zeros"
# The same on a pool that does not zero, where the test has to find something.
(
	blkdiscard -f "$small_disk"
	dmsetup create raw-meta --table "0 32768 linear $small_disk 0"
	dmsetup create raw-data --table "0 163840 linear $small_disk 32768"
	dmsetup create raw-pool --table "0 163840 thin-pool /dev/mapper/raw-meta /dev/mapper/raw-data 128 0 2 skip_block_zeroing error_if_no_space"
	for id in 1 2; do
		dmsetup message raw-pool 0 "create_thin $id"
		dmsetup create raw-thin --table "0 524288 thin /dev/mapper/raw-pool $id"
		python3 "$tmp/stale.py" "$( ((id == 1)) && echo fill || echo touch)" /dev/mapper/raw-thin
		dmsetup remove raw-thin
		((id == 2)) || dmsetup message raw-pool 0 "delete $id"
	done
	for device in raw-pool raw-data raw-meta; do dmsetup remove $device; done
) >"$tmp/unzeroed" 2>&1
like "$(tail -n 1 "$tmp/unzeroed")" "^[1-9][0-9]{2,} blocks with stale bytes" "on a pool that does not zero the same test finds stale bytes" || tap_show "$tmp/unzeroed"
leaks_end "no device is left"

blkdiscard -f "$small_disk" 2>/dev/null

# --- what is written is nowhere below the key
state=/tmp/state/b
image_make one --cmd /bin/run layer d:etc f:etc/passwd='root:x:0:0::/:/bin/sh\n' layer d:srv x:"srv/$word"="$secret" >/dev/null
ok "builderd starts" builderd_start DM_DATA_DEVICE="$pool_disk" DM_TENANT_SIZE_GB=4
ok "an image is built" build_run oci:layout:one || diag "$(build_error)"
sync
look() {
	"$top/t/lib/needles.py" "$1" "$secret" "$word" 96
}
outer=builderd-$(sqlite3 "$state/dm/volumes.db" "SELECT substr(uuid, 1, 8) FROM pools WHERE tenant=''")
like "$(look "/dev/mapper/$outer-crypt-1")" "^32 of 32 pieces, [1-9]" "the plaintext is on the decrypted device"
for device in "/dev/mapper/$outer-tenant-1" "/dev/mapper/$outer-data-0" "$pool_disk" "$state_disk"; do
	like "$(look "$device")" "^0 of 32 pieces, 0 times the word, in [1-9][0-9]+ MiB" "but not on $device"
done

# --- nobody but root opens a device
# A volume of another tenant is being written meanwhile.
DM_DATA_DEVICE=$small_disk DM_TENANT_MIB=128 "$build/t/tools/drive-volume" /tmp/state/other create v3 - 64 10 mount pause >"$tmp/paused" 2>&1 &
holder=$!
cleanup "kill -9 $holder"
ok "a volume is mounted by a build" wait_for 60 grep -q paused "$tmp/paused" || tap_show "$tmp/paused"
devices=()
for device in /dev/mapper/builderd-* /dev/dm-* "$pool_disk" "$state_disk" "$small_disk"; do
	devices+=("$device")
done
kinds=$(printf '%s\n' "${devices[@]}" | sed -n 's/.*-\([a-z]*\)-[0-9a-f]*$/\1/p' | sort -u | paste -sd' ')
is "$kinds" "build cache crypt data meta pool rootfs tenant" "there is one of each kind to try"
cat >"$tmp/ids.py" <<'EOF2'
import os, sys
for path in sys.argv[1:]: # root can
    os.close(os.open(path, os.O_RDONLY))
for uid in [*range(64000, 64013), 65534]: # builderd's ids, and nobody, as e2fsprogs runs
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        for path in sys.argv[1:]:
            try:
                os.open(path, os.O_RDONLY)
                print("uid %d opens %s" % (uid, path), flush=True)
            except PermissionError:
                print("closed", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
EOF2
out=$(python3 "$tmp/ids.py" "${devices[@]}")
is "$(sort <<<"$out" | uniq -c | sed 's/^ *//')" "$((14 * ${#devices[@]})) closed" "none of ${#devices[@]} devices opens for any of builderd's unprivileged ids"
is "$(find /dev/builderd -mindepth 1 | wc -l) $(stat -c %a /dev/builderd)" "0 700" "the directory of builderd's own nodes is closed, and none is left in it"
# From inside the sandboxes. builderd-fs may make nodes in its tree, which is mounted as builderd mounts it: there they do not open.
tree=/tmp/state/tree
mkdir "$tree"
mount --bind "$tree" "$tree"
cleanup "umount $tree"
chown 64123 "$tree"
few=("/dev/mapper/$outer-crypt-1" /dev/mapper/builderd-*-build-* "$pool_disk")
like "$("$build/t/tools/sandbox-probe" fs "$tree" "$pool_disk")" "device by a node: worked" "(the probe of builderd-fs opens a node where nodes do open)"
mount -o remount,bind,nodev,nosuid,noexec "$tree"
for role in api fetch unpack fs; do
	out=$("$build/t/tools/sandbox-probe" "$role" "$tree" "${few[@]}" 2>&1)
	is "$(grep -c 'device by a node: \(killed by signal 31\|exited with code 159\|Operation not permitted\|Permission denied\)' <<<"$out") $(
		grep -c 'device by path: \(No such file\|Operation not permitted\|Permission denied\)' <<<"$out")" "${#few[@]} ${#few[@]}" \
		"$role: no device opens from inside its sandbox" || diag "$out"
done
kill -9 "$holder"
wait "$holder" 2>/dev/null
umount "$tree"
DM_DATA_DEVICE=$small_disk "$build/t/tools/drive-volume" /tmp/state/other usage >/dev/null # takes down what the killed one left
ok "builderd stops" builderd_stop
leaks_end
done_testing
