#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Many tenants on one pool, in the guest: what each costs on the disk, in memory and in time.
#   t/bench/dm-tenants.sh [COUNT...]          (100 300 1000)
# For each COUNT: tenants are made up to it; the backend is started anew and opens them one after the other, each with its key, its pool
# and its mounted cache; memory and pool are read while all are open. Sizes are of one tenant, "make" and "open" milliseconds of one.
# Needs root, user-mode-linux, a build in $PWD or $BUILDERD_BUILD.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/bench/in-guest.sh"
tap_planned=1 # no test: no plan
counts=("$@")
[ $# -gt 0 ] || counts=(100 300 1000)

drive() {
	DM_DATA_DEVICE=$disk DM_TENANT_MIB=65536 timeout 7000 "$build/t/tools/drive-volume" /tmp/state times "$@"
}

in_guest() {
	read -r disk _ <<<"$VM_DISKS"
	local made=0 count out make_ms
	mkdir /tmp/state
	cat >"$tmp/look" <<'SHELL'
#!/bin/bash
sync
echo 3 >/proc/sys/vm/drop_caches
awk '{ v[$1] = $2 } END { print "'$1'", v["MemTotal:"] - v["MemFree:"] - v["Buffers:"] - v["Cached:"], v["Slab:"] }' /proc/meminfo
host=$(dmsetup ls | sed -n 's/^\(builderd-[0-9a-f]*\)-tenant-.*/\1/p' | head -n 1)
[ -z "$host" ] || dmsetup status --noflush "$host-pool-0" | awk '{ print "pool", $5, $6 }'
echo "devices $(dmsetup ls | wc -l)"
SHELL
	chmod +x "$tmp/look"
	drive >/dev/null 2>&1
	printf '%8s %8s %8s %14s %14s %18s %18s %12s %8s\n' tenants make open 'KiB of memory' 'KiB of slab' 'MiB of the pool' 'KiB of metadata' volumes.db devices
	for count in "${counts[@]}"; do
		out=$(drive tenants $made $((count - made)) 2>&1) || { tail -n 3 <<<"$out"; exit 1; }
		make_ms=$(sed -n 's/^tenants: \([0-9]*\) ms.*/\1/p' <<<"$out")
		out=$(drive shell "$tmp/look before" tenants 0 "$count" shell "$tmp/look after" 2>&1) || { tail -n 3 <<<"$out"; exit 1; }
		awk -v count="$count" -v made="$((count - made))" -v make_ms="$make_ms" -v db="$(stat -c %s /tmp/state/dm/volumes.db)" '
			$1 == "before" { used = $2; slab = $3 }
			$1 == "after" { used = $2 - used; slab = $3 - slab }
			$1 == "tenants:" { open_ms = $2 }
			$1 == "pool" { split($2, meta, "/"); split($3, data, "/") }
			$1 == "devices" { devices = $2 }
			END { printf "%8d %8.0f %8.0f %14.0f %14.0f %18.1f %18.1f %8d KiB %8d\n", count, make_ms / made, open_ms / count, used / count, slab / count,
				data[1] / count, meta[1] * 4 / count, db / 1024, devices }' <<<"$out"
		made=$count
	done
}

if [ -n "${VM_GUEST:-}" ]; then in_guest; else run_in_guest --scratch 128G --mem 12G -- "${counts[@]}"; fi
