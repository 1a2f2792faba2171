#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4620-dm-fail-torn.sh): every write of a build, a seal, a share and two deletions is logged (dm-log-writes), those of the
# pool and those of the state directory as one disk. Then that disk is made again as a power cut would leave it right after each flush:
# the storage must open, e2fsck find nothing, what was acknowledged until then be there, and nothing else.
# $TORN_STRIDE: after every flush (1), or each so many. Disks: the disk, the log, changes, changes while looking.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/lib/thin.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r base log changes look_changes _ <<<"$VM_DISKS"
modprobe -a dm-log-writes dm-snapshot
state_sectors=$((96 * 2048)) sectors=$(blockdev --getsz "$base")
state=/tmp/disk/b
export db=$state/dm/volumes.db LOOK_DIR=$tmp CACHE_MAX=1 DM_TENANT_MIB=256 DM_DATA_DEVICE=/dev/mapper/pool
mkdir -p /tmp/disk
leaks_begin

drive() {
	timeout 120 "$build/t/tools/drive-volume" "$state" "$@" 2>"$tmp/stderr"
}
split() { # DEVICE: the state directory's part and the pool's
	dmsetup create state --table "0 $state_sectors linear $1 0" &&
		dmsetup create pool --table "0 $((sectors - state_sectors)) linear $1 $state_sectors"
}
joined() {
	dmsetup remove --retry pool && dmsetup remove --retry state
}

# The pool, the tenant, an empty file system: before the log begins.
split "$base"
mke2fs -q -t ext4 -J size=4 /dev/mapper/state
mount /dev/mapper/state /tmp/disk
LOOK_SUM=$(drive create x - 64 100 mount fill a 3 sum a unmount discard | sed -n 's/^sha256://p')
export LOOK_SUM
like "$LOOK_SUM" "^[0-9a-f]{64}$" "a build, for the sum of its file"
umount /tmp/disk
joined

# A life, logged. The disk itself stays as it is: what changes goes elsewhere.
dmsetup create changed --table "0 $sectors snapshot $base $changes N 8"
dmsetup create logged --table "0 $sectors log-writes /dev/mapper/changed $log"
split /dev/mapper/logged
mount /dev/mapper/state /tmp/disk
m='dmsetup message logged 0 mark'
ok "a build, a product, another that shares it, deletions" drive usage find x create b - 64 100 mount fill a 2 unmount check snapshot k \
	shell "$m chained" mount fill a 3 unmount check seal p shell "$m /dev/mapper" share s p shell "$m shared" open s shell "$m opened" \
	delete b shell "$m freed" delete s shell "$m freed" trim
umount /tmp/disk
joined
dmsetup remove --retry logged
dmsetup remove --retry changed

look() { # on a copy: looking changes things, too
	dd if=/dev/zero of="$look_changes" bs=64k count=1 conv=notrunc status=none
	dmsetup create copy --table "0 $sectors snapshot $base $look_changes N 8" && split /dev/mapper/copy && mount /dev/mapper/state /tmp/disk ||
		{ echo "cannot be mounted"; return; }
	drive usage find k reap shell "LOOK_PID=\$PPID $top/t/lib/storage-look.sh" >"$tmp/again" || sed 's/^/next start: /' "$tmp/again" "$tmp/stderr"
	grep -v '^used\|^found\|^not found' "$tmp/again"
	! grep -q '^chained' "$tmp/before" || grep -q 'freed.*freed' <(paste -sd' ' "$tmp/before") || grep -q '^found' "$tmp/again" || echo "the chain is lost"
	umount /tmp/disk
	joined
	dmsetup remove --retry copy
}

entry=0 flushes=0 looked=0 wrong=0
: >"$tmp/before"
while :; do
	"$build/t/tools/replay-log" "$log" "$base" "$entry" >"$tmp/replayed" || break
	sed '$d' "$tmp/replayed" >>"$tmp/before" # the marks
	entry=$(tail -n 1 "$tmp/replayed")
	[ "$entry" != end ] || break
	flushes=$((flushes + 1))
	[ $((flushes % ${TORN_STRIDE:-1})) = 0 ] || continue
	looked=$((looked + 1))
	look >"$tmp/wrong" 2>&1
	[ -s "$tmp/wrong" ] || continue
	wrong=$((wrong + 1))
	diag "after entry $entry, flush $flushes ($(tail -n 1 "$tmp/before")): $(head -n 10 "$tmp/wrong" | cut -c 1-400)"
done
is "$entry" end "the log is read to its end"
is "$(paste -sd' ' "$tmp/before")" "chained /dev/mapper shared opened freed freed dm-log-writes-end" "all marks are in it"
is "$wrong" 0 "after $looked of $flushes flushes: the storage opens, everything is clean and as acknowledged"
ok "there were so many" test "$looked" -gt 10
leaks_end
done_testing
