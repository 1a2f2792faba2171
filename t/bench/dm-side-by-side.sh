#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd on the dm backend, encrypted, against containerd's devmapper snapshotter, which is not: one image, cold, from a registry on
# loopback, both in one guest.
#   t/bench/dm-side-by-side.sh [-n ROUNDS] [-i IMAGE] [-d] SHARED OUTDIR
# SHARED holds bench/peer-guest.sh and bench/registry.sh, OUTDIR what bench/make-images.sh made there. IMAGE is python, base or many.
# Rounds alternate, each on a blank pool; ours includes the making of the tenant: pool, key, LUKS header, cache. -d prints builderd's
# own times of its steps. Needs root, containerd, docker-registry, user-mode-linux, a build in $PWD or $BUILDERD_BUILD.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/lib/builderd.sh"
. "$top/t/bench/in-guest.sh"
tap_planned=1 # no test: no plan
rounds=3 image=python debug=
while getopts n:i:d option; do
	case $option in n) rounds=$OPTARG ;; i) image=$OPTARG ;; d) debug=1 ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
shared=$(realpath -e -- "${1:-}") && outdir=$(realpath -e -- "${2:-}") || {
	sed -n '5p' "$0" >&2
	exit 2
}

on_host() {
	for program in containerd docker-registry linux.uml; do
		command -v $program >/dev/null || { echo "$program is missing" >&2; exit 1; }
	done
	[ -d "$outdir/registry" ] || { echo "no $outdir/registry: run $shared/bench/registry.sh once" >&2; exit 1; }
	run_in_guest --scratch 8G --scratch 4G --mem 3G -- -n "$rounds" -i "$image" ${debug:+-d} "$shared" "$outdir"
}

# NAME LESS COMMAND: notes the seconds that are the first word COMMAND prints, and the CPU's, without LESS of them.
timed() {
	local name=$1 less=$2 cpu out
	shift 2
	cpu=$(cpu_now)
	out=$("$@") || exit 1
	cpu=$(awk -v a="$cpu" -v b="$(cpu_now)" -v less="$less" 'BEGIN { printf "%.2f", b - a - less }')
	note "$name" "${out%% *}"
	note "$name-cpu" "$cpu"
	printf '  %-12s %8.2f s, %8.2f s of CPU  %s\n' "$name" "${out%% *}" "$cpu" "${out#"${out%% *}"}"
}

peer_end() {
	local pid device
	for pid in $(pgrep -x containerd); do
		kill "$pid"
		tail --pid="$pid" -f /dev/null
	done
	grep -o ' /run/peer/[^ ]*' /proc/mounts | sort -r | xargs -r umount
	umount /run/peer
	for device in $(dmsetup ls | grep -o '^peer-pool-snap[^[:space:]]*') peer-pool peer-data peer-meta; do
		dmsetup remove --retry "$device"
	done
	rm -rf /run/peer-state /run/peer.sock
}

peer_pull() { # the script prints what pull and unpack took, without the making of its pool
	local out
	out=$("$shared/bench/peer-guest.sh" "$pool_disk" "$state_disk" "$registry/bench/$image:1") || { cat /run/peer.log >&2; return 1; }
	echo "${out##* }"
}

peer() {
	timed containerd "$setup" peer_pull
	peer_end >/dev/null
}

ours() {
	mke2fs -q -F -t ext4 "$state_disk"
	mkdir -p /tmp/state
	mount "$state_disk" /tmp/state
	state=/tmp/state/b
	builderd_start DM_DATA_DEVICE="$pool_disk" ${debug:+LOG_LEVEL=debug} || exit 1
	timed builderd 0 "$top/t/bench/build-time.py" "$url" "$registry/bench/$image:1"
	timed identical 0 "$top/t/bench/build-time.py" "$url" "$registry/bench/$image:1"
	[ -z "$debug" ] || builderd_lines 'debug|info' | sed 's/^/    /'
	builderd_stop
	umount /tmp/state
}

in_guest() {
	read -r pool_disk state_disk _ <<<"$VM_DISKS"
	registry=127.0.0.1:$(port_free)
	"$shared/bench/registry.sh" "$outdir" "${registry#*:}" >"$tmp/registry.log" 2>&1 &
	wait_for 60 registry_answers || { cat "$tmp/registry.log"; exit 1; }
	local manifest digest
	manifest=$(curl -s -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$registry/v2/bench/$image/manifests/1")
	for digest in $(jq -r '.config.digest, .layers[].digest' <<<"$manifest"); do # nobody is the first to read them from the host's disk
		curl -s -o /dev/null "http://$registry/v2/bench/$image/blobs/$digest"
	done
	blank "$pool_disk" "$state_disk"
	setup=$(cpu_now) # its pool and its start are not the peer's pull: the CPU for them is what an image that is not there takes
	"$shared/bench/peer-guest.sh" "$pool_disk" "$state_disk" "$registry/bench/none:1" >/dev/null 2>&1
	setup=$(awk -v a="$setup" -v b="$(cpu_now)" 'BEGIN { printf "%.2f", b - a }')
	peer_end >/dev/null
	for ((round = 1; round <= rounds; round++)); do
		echo "round $round of $rounds, load of the guest $(cut -d' ' -f1 /proc/loadavg)"
		if ((round % 2)); then order="peer ours"; else order="ours peer"; fi
		for one in $order; do
			blank "$pool_disk" "$state_disk"
			"$one"
		done
	done
	echo
	echo "$image, $(jq '[.layers[].size] | add / 1048576 | floor' <<<"$manifest") MiB compressed: median, best, worst of $rounds in seconds"
	table seconds {containerd,builderd,identical}{,-cpu}
	ratio builderd containerd
	ratio builderd-cpu containerd-cpu
	kill %1
}

if [ -n "${VM_GUEST:-}" ]; then in_guest; else on_host; fi
