#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Many tenants on one pool, in the guest: what each costs on the disk, in memory and in time.
#   t/bench/dm-tenants.sh [COUNT...]          (100 300 1000)
# For each COUNT: tenants are made up to it; builderd's backend is started anew and opens them one after the other, each with its key,
# its pool and its mounted cache; memory is read while all are open. Needs root, user-mode-linux, a build in $PWD or $BUILDERD_BUILD.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/bench/in-guest.sh"
tap_planned=1 # no test: no plan
counts=("$@")
[ $# -gt 0 ] || counts=(100 300 1000)

drive() {
	DM_DATA_DEVICE=$disk DM_TENANT_MIB=8192 timeout 3600 "$build/t/tools/drive-volume" /tmp/state times "$@"
}

memory() { # KiB: all that is not free or page cache; the kernel's slab; what vmalloc holds
	awk '/^(MemFree|Buffers|Cached|Slab|VmallocUsed|KernelStack|Percpu):/ { v[$1] = $2 } /^MemTotal:/ { all = $2 }
		END { print all - v["MemFree:"] - v["Buffers:"] - v["Cached:"], v["Slab:"], v["VmallocUsed:"] }' /proc/meminfo
}
export -f memory

in_guest() {
	read -r disk _ <<<"$VM_DISKS"
	local made=0 count out pool
	mkdir /tmp/state
	drive >/dev/null 2>&1
	printf '%8s %12s %12s %14s %14s %14s %12s %12s\n' tenants 'ms to make' 'ms to open' 'KiB of memory' 'of it slab' 'MiB of pool' 'metadata KiB' 'volumes.db'
	for count in "${counts[@]}"; do
		out=$(drive tenants $made $((count - made)) 2>&1) || { tail -n 3 <<<"$out"; exit 1; }
		make_ms=$(sed -n 's/^tenants: \([0-9]*\) ms.*/\1/p' <<<"$out")
		echo 3 >/proc/sys/vm/drop_caches
		out=$(drive shell 'echo 3 >/proc/sys/vm/drop_caches; echo before $(memory)' tenants 0 "$count" \
			shell 'sync; echo 3 >/proc/sys/vm/drop_caches; echo after $(memory); dmsetup status --target thin-pool | grep " 2048 \| rw " | sort -t/ -k3 -n | tail -n 1
				dmsetup ls | wc -l | sed "s/^/devices /"') || exit 1
		awk -v count="$count" -v made="$((count - made))" -v make_ms="$make_ms" -v db="$(stat -c %s /tmp/state/dm/volumes.db)" '
			$1 == "before" { used = $2; slab = $3 }
			$1 == "after" { used = ($2 - used) / count; slab = ($3 - slab) / count }
			$1 == "tenants:" { open_ms = $2 / count }
			END { printf "%8d %12.1f %12.1f %14.0f %14.0f %14s %12s %9d KiB\n", count, make_ms / made, open_ms, used, slab, "", "", db / 1024 }' <<<"$out"
		grep '^devices\|thin-pool' <<<"$out" | sed 's/^/    /' | cut -c 1-160
		made=$count
	done
}

if [ -n "${VM_GUEST:-}" ]; then in_guest; else run_in_guest --scratch 64G --mem 8G -- "${counts[@]}"; fi
