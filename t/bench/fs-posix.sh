#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Stock tar through the mount of builderd-fs against the same tar straight to ext4, both pinned to one CPU.
#   t/bench/fs-posix.sh [-n RUNS] [-c CPU] [LAYER.tar]         (needs root and a build in $PWD or $BUILDERD_BUILD)
# Without a layer: 12,000 files in 600 directories, sizes as in an interpreter's installation. Runs alternate, so that a noisy
# machine disturbs both; printed are medians and best runs in seconds, their ratio, and requests per entry of the archive.
. "$(dirname "$0")/../lib/tap.sh"
tap_planned=1 # no test: no plan
runs=5 cpu=0
while getopts n:c: option; do
	case $option in n) runs=$OPTARG ;; c) cpu=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
layer=${1:-$tmp/layer.tar}

# Sizes from a fixed seed: half of them below 4 KiB, one in a hundred above 200 KiB.
[[ -n ${1:-} ]] || python3 - "$layer" <<'PYTHON' || exit 1
import io, random, sys, tarfile
random.seed(1)
block = random.randbytes(1 << 21)
with tarfile.open(sys.argv[1], 'w', format=tarfile.GNU_FORMAT) as tar:
    for d in range(600):
        entry = tarfile.TarInfo(f'usr/lib/part{d % 20:02}/module{d}')
        entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, 1700000000
        tar.addfile(entry)
        for f in range(20):
            entry = tarfile.TarInfo(f'usr/lib/part{d % 20:02}/module{d}/file{f}.py')
            entry.size = min(int(random.lognormvariate(8.2, 1.7)), len(block))
            entry.mode, entry.mtime = 0o644, 1700000000 + f
            tar.addfile(entry, io.BytesIO(block[:entry.size]))
PYTHON
entries=$(tar -tf "$layer" | wc -l)
image_mb=$(($(stat -c %s "$layer") * 2 >> 20))
((image_mb >= 512)) || image_mb=512

# Wall-clock time, and what tar and builderd-fs took of the CPU: that says something on a busy machine, too.
cat >"$tmp/timed.sh" <<'BASH'
ticks() { # of this shell's children and of builderd-fs
	{ awk '{ print $16 + $17 }' /proc/$$/stat; awk '{ print $14 + $15 }' "/proc/$fs/stat"; } | awk '{ n += $1 } END { print n }'
}
fs=$(pgrep -P "$PPID" -x builderd-fs) began=$EPOCHREALTIME before=$(ticks)
tar -xf "$1" -C "$2" && echo "took $began $EPOCHREALTIME $before $(ticks) $(getconf CLK_TCK)"
BASH
once() { # NAME TARGET STEP...
	local out name=$1 target=$2
	shift 2
	out=$(taskset -c "$cpu" "$build/t/tools/drive-fs" -p "$build/builderd-fs" -d "$tmp" -s "$image_mb" \
		"run:exec bash '$tmp/timed.sh' '$layer' \"$target\"" "$@" 2>&1)
	awk '/^took/ { printf "%.3f %.3f\n", $3 - $2, ($5 - $4) / $6; found = 1 } END { exit !found }' <<<"$out" \
		>>"$tmp/$name.times" || { echo "$out" >&2; exit 1; }
	[[ $name != mount ]] || requests=$(sed -n 's/.*requests=\([0-9]*\).*/\1/p' <<<"$out")
}
median() { # NAME COLUMN
	cut -d' ' -f"$2" "$tmp/$1.times" | sort -n |
		awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

cat "$layer" >/dev/null
for ((i = 0; i < runs; i++)); do
	once ext4 "\$BACK"
	once mount "\$MNT" stop
done
for column in 1 2; do
	awk -v what="$( ((column == 1)) && echo wall || echo CPU)" -v ext4="$(median ext4 $column)" -v mount="$(median mount $column)" 'BEGIN {
		printf "  %-4s  ext4 %7.3f s   mount %7.3f s   ratio %5.2f\n", what, ext4, mount, mount / ext4 }'
done
awk -v entries="$entries" -v requests="$requests" 'BEGIN { printf "  %d entries, %.1f requests each\n", entries, requests / entries }'
