#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd against what one would put together instead: registry -> ext4 rootfs file with skopeo, umoci and mke2fs.
#   t/bench/side-by-side.sh [-n RUNS] HOST:PORT/NAME:TAG [SECOND-ON-THE-SAME-BASE]      (registry on loopback, plain HTTP)
# Prints medians in seconds: the peer; builderd cold (fresh state); a second image on a cached base (when given); the identical
# image again. Runs alternate, so that a noisy machine disturbs all of them. Needs root, a build in $PWD or $BUILDERD_BUILD, skopeo, umoci.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/lib/builderd.sh"
tap_planned=1 # no test: no plan
runs=5
while getopts n: option; do
	case $option in n) runs=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
image=${1:?usage: side-by-side.sh [-n RUNS] IMAGE [SECOND]}
second=${2:-}

since() { # EPOCHREALTIME
	awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f\n", b - a }'
}
note() { # NAME SECONDS
	echo "$2" >>"$tmp/$1.times"
	printf '  %-10s %8.3f s\n' "$1" "$2"
}
median() { # NAME
	sort -n "$tmp/$1.times" | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'
}

peer() {
	local dir=$tmp/peer began size_mib inodes
	rm -rf "$dir" && mkdir "$dir"
	began=$EPOCHREALTIME
	skopeo copy -q --src-tls-verify=false "docker://$image" "oci:$dir/layout:it" || exit 1
	umoci unpack --image "$dir/layout:it" "$dir/bundle" >/dev/null 2>&1 || exit 1
	size_mib=$(($(du -sm "$dir/bundle/rootfs" | cut -f1) * 3 / 2 + 64))
	inodes=$(($(find "$dir/bundle/rootfs" | wc -l) + 1024))
	mke2fs -q -t ext4 -N "$inodes" -d "$dir/bundle/rootfs" "$dir/rootfs.ext4" "${size_mib}M" >/dev/null || exit 1
	note peer "$(since "$began")"
	rm -rf "$dir"
}

ours() { # NAME REF: from the request to COMPLETED as a client sees it
	local out
	out=$("$top/t/bench/build-time.py" "$url" "$2") || exit 1
	note "$1" "${out%% *}"
	echo "             ${out#* }"
}

for ((run = 1; run <= runs; run++)); do
	echo "run $run of $runs"
	peer
	rm -rf "${state:?}"
	builderd_start || exit 1
	ours cold "$image"
	[ -z "$second" ] || ours second "$second"
	ours identical "$image"
	builderd_stop
done
echo
echo "$image${second:+, second image $second}: medians of $runs"
for name in peer cold ${second:+second} identical; do
	awk -v n="$name" -v v="$(median "$name")" -v p="$(median peer)" 'BEGIN { printf "  %-10s %8.3f s  %6.3f x peer\n", n, v, v / p }'
done
