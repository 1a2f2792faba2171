# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest: what the operations of the dm backend cost. Source it after t/lib/tap.sh; $disk is the pool's, $state the directory.
#   operations_prepare        a blank pool, a tenant, a chain k1
#   operations_counted STEP...   the steps under strace. Prints per step: NAME OWN OTHERS CALLS, and which ioctls entered the kernel: OWN
#                             of the step's thread, OTHERS of those in the background; CALLS is what builderd's counter says. "open" is what came before the first step:
#                             the host's pool. The first step that needs the tenant opens its storage.
#   operations_timed STEP...  NAME MILLISECONDS per step, without strace
# OPERATIONS_ALL: find opens the tenant, create begins a build on a cached chain; the first lease is READ_ONLY, the second COW.
export DM_DATA_DEVICE=$disk
OPERATIONS_ALL=(find k1 create b2 k1 256 1000 mount fill f 4 unmount check seal p2 share b3 p2 lease b2 ro vm1 - lease b2 cow vm2 -
	release vm1 release vm2 reap delete b3 reap delete b2 reap)

operations_drive() {
	timeout 200 "$build/t/tools/drive-volume" "$state" times "$@"
}

operations_prepare() {
	rm -rf "$state"
	blkdiscard -f "$disk" 2>/dev/null
	operations_drive create b1 - 256 1000 mount fill a 20 unmount check snapshot k1 seal p1 >/dev/null 2>&1
}

operations_timed() {
	local began=$EPOCHREALTIME
	operations_drive "$@" 2>/dev/null | while IFS= read -r line; do
		[[ $line =~ ^([a-z-]+):\ ([0-9]+)\ ms, ]] || continue
		if [ "${BASH_REMATCH[1]}" = times ]; then
			awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "open %d\n", (b - a) * 1000 }'
		else
			echo "${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"
		fi
	done
}

operations_counted() {
	local rc=0
	strace -f -qq -s 300 -e trace=ioctl,write -o "$tmp/trace" "$build/t/tools/drive-volume" "$state" times "$@" >"$tmp/said" 2>&1 || rc=$?
	[ "$rc" = 0 ] || cat "$tmp/said" >&2
	# What the step's own thread did and, behind a plus, the threads in the background. What stdout says ends a step.
	awk '
	NR == 1 { own = $1 }
	match($0, /ioctl\([0-9]+, DM_[A-Z_]+/) {
		kind = substr($0, RSTART, RLENGTH)
		sub(/.*DM_/, "", kind)
		n[$1 == own]++
		kinds[($1 == own ? "" : "+") kind]++
	}
	match($0, /write\(1, "[a-z-]+: [0-9]+ ms, [0-9]+ /) {
		split(substr($0, RSTART + 10, RLENGTH), word, /[: ,]+/)
		printf "%s %d %d %d", word[1] == "times" ? "open" : word[1], n[1], n[0], word[4]
		for (kind in kinds)
			printf " %s=%d", kind, kinds[kind]
		print ""
		delete n
		delete kinds
	}' "$tmp/trace"
	return "$rc"
}
