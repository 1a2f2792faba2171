#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4610-dm-fail-steps.sh): storage is stopped before one of the calls by which it changes anything
# (t/tools/fail-at.c), then opened again: what was acknowledged must be whole, nothing may be left over, work must go on.
#   $STEPS_HOW     kill (kill -9; the kernel lives on), or an error that the call then gives: EIO, ENOSPC, ENOMEM
#   $STEPS_PART    make: a blank device becomes a pool, a tenant and a first product
#                  use: products and a chain come and go   open: the storage is opened and closed
#   $STEPS_FIRST, $STEPS_STRIDE: at which calls; 1 and 1: at every one
# Disks: the pool's, the state directory's.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/lib/thin.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r pool_disk state_disk _ <<<"$VM_DISKS"
mkdir -p /tmp/disk
mke2fs -q -t ext4 "$state_disk"
mount "$state_disk" /tmp/disk || exit
cleanup "umount /tmp/disk"
state=/tmp/disk/b
export db=$state/dm/volumes.db
export CACHE_MAX=1 DM_TENANT_MIB=512
leaks_begin
unset DM_DISABLE_UDEV # builderd needs nobody to say it
if [ "$STEPS_HOW" = kill ]; then
	export DM_DATA_DEVICE=$pool_disk
else
	export DM_LOOP_FILE=/tmp/disk/pool.img DM_LOOP_MIB=400
fi

blank() {
	rm -rf "$state" "${DM_LOOP_FILE:-}"
	dd if=/dev/zero of="$pool_disk" bs=1M count=1 conv=notrunc status=none
}
drive() {
	timeout 120 "$build/t/tools/drive-volume" "$state" "$@" 2>"$tmp/stderr"
}
stopped() { # N STEP...: stopped before its N-th change; what it said until then: $tmp/said, where that was: $tmp/point
	local n=$1
	shift
	rm -f "$tmp/point"
	timeout 120 env LD_PRELOAD="$build/t/tools/fail-at.so" FAIL_AT="$n" FAIL_HOW="$STEPS_HOW" FAIL_LOG="$tmp/point" FAIL_ARM="$tmp/armed" \
		"$build/t/tools/drive-volume" "$state" "$@" >"$tmp/said" 2>"$tmp/stopped"
}
first=(mount fill a 2 unmount check snapshot k shell 'echo chained' mount fill a 3 unmount check seal p)
second=(share s p open s delete b delete s trim)

blank
sum=$(drive create x - 64 100 mount fill a 3 sum a unmount discard | sed -n 's/^sha256://p')
like "$sum" "^[0-9a-f]{64}$" "a build, for the sum of its file"
export LOOK_DIR=$tmp LOOK_SUM=$sum
look="LOOK_PID=\$PPID $top/t/lib/storage-look.sh"

left_over() {
	leaks_none || wait_for 3 leaks_none || leaks_list
	[ "$(semaphores)" = 0 ] || ipcs -s
}
restart() { # [kill | STEP...]: start again, look, go on
	cp "$tmp/said" "$tmp/before"
	if [ "${1:-}" = kill ]; then
		drive usage find k reap shell "$look" shell 'echo looked; kill -9 $PPID' >"$tmp/again"
		grep -qx looked "$tmp/again"
	else
		drive usage find k reap shell "$look" "$@" >"$tmp/again"
	fi || sed 's/^/next start: /' "$tmp/again" "$tmp/stderr"
	grep -v '^used\|^looked\|^found\|^not found\|^chained\|^shared\|^opened\|^freed\|^trimmed\|^/dev/mapper' "$tmp/again"
	! grep -q '^chained' "$tmp/before" || grep -q 'freed.*freed' <(paste -sd' ' "$tmp/before") || grep -q '^found' "$tmp/again" || echo "the chain is lost"
}
is_over() { # the program ended before it came so far
	[ "$(cut -d' ' -f1 "$tmp/point")" = - ]
}
products_delete() { # as steps
	cut -d' ' -f1 "$tmp/products" | sed 's/^/delete /'
}

# Each prints what is wrong after a stop before change N; 1: there are not that many.
try_make() {
	blank
	touch "$tmp/armed"
	stopped "$1" create b - 64 100 "${first[@]}"
	! is_over || return 1
	[ "$STEPS_HOW" = kill ] || left_over
	restart create n - 64 100 "${first[@]}" # with leftovers of a half made tenant under it
	left_over
}
try_use() {
	rm -f "$tmp/armed"
	read -rd '' -a deletions < <(products_delete)
	# What the one before left is looked at, then taken away; then it is counted.
	stopped "$1" usage "${deletions[@]}" trim shell "touch $tmp/armed" create b - 64 100 "${first[@]}" "${second[@]}" shell "rm $tmp/armed"
	! is_over || return 1
	sed -i '1,/^trimmed/d' "$tmp/said"
	[ "$STEPS_HOW" = kill ] || left_over
	restart kill
}
try_open() {
	touch "$tmp/armed"
	stopped "$1" usage find k open b
	! is_over || return 1
	printf 'chained\n/dev/mapper\n' >"$tmp/said"
	restart
	left_over
}

case $STEPS_PART in
open)
	drive create b - 64 100 "${first[@]}" >"$tmp/said"
	;;
use)
	drive create b - 64 100 discard
	: >"$tmp/said" >"$tmp/products"
	;;
esac
n=$STEPS_FIRST wrong=0 tried=0
while "try_$STEPS_PART" "$n" >"$tmp/wrong"; do
	tried=$((tried + 1))
	if [ -s "$tmp/wrong" ]; then
		wrong=$((wrong + 1))
		diag "$STEPS_HOW before change $(cat "$tmp/point"): $(head -n 12 "$tmp/wrong" | cut -c 1-400)"
	fi
	n=$((n + STEPS_STRIDE))
done
drive usage >/dev/null
is "$wrong" 0 "$STEPS_PART, $STEPS_HOW before each of $tried changes (from $STEPS_FIRST, every $STEPS_STRIDE.): all is whole, nothing is left over"
ok "there were so many" test "$((tried * STEPS_STRIDE))" -gt 30
leaks_end
done_testing
