#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the second pool costs: our stack (pool, LUKS, pool) against LUKS above the thin volumes of one pool, in one guest.
#   t/bench/dm-crypt-layout.sh [-n ROUNDS] [-m MIB] [-w WRITES]
# Each round makes a new ext4 on a new thin volume, for each layout in turn: a file of MIB (256) with fsync onto blocks that the pool has
# yet to give out, the same over blocks that are there, and WRITES (3000) of 4 KiB at random places of it with fdatasync after each.
# The other layout is as fast as it can be made: one pool with blocks of 64 KiB that does not zero. Needs root, user-mode-linux,
# a build in $PWD or $BUILDERD_BUILD. Seconds; a busy machine disturbs both alike.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/bench/in-guest.sh"
tap_planned=1 # no test: no plan
rounds=5 mib=256 writes=3000
while getopts n:m:w: option; do
	case $option in n) rounds=$OPTARG ;; m) mib=$OPTARG ;; w) writes=$OPTARG ;; *) exit 2 ;; esac
done

ours_up() { # the device is made by builderd's own code, and stays up after it
	rm -rf /tmp/state
	(
		DM_DATA_DEVICE=$disk "$build/t/tools/drive-volume" /tmp/state create b - $((mib * 2)) 1000 shell 'kill -9 $PPID'
		true
	) >/dev/null 2>&1
	device=$(ls /dev/mapper/builderd-*-build-*)
}

# Two linear devices, a pool, a thin volume, LUKS with builderd's parameters, ext4 with builderd's options.
other_up() {
	local sectors data
	sectors=$(blockdev --getsz "$disk") data=$(((sectors - 131072) / 128 * 128))
	dmsetup create other-meta --table "0 131072 linear $disk 0"
	dmsetup create other-data --table "0 $data linear $disk 131072"
	dmsetup create other-pool --table "0 $data thin-pool /dev/mapper/other-meta /dev/mapper/other-data 128 0 2 skip_block_zeroing error_if_no_space"
	dmsetup message other-pool 0 "create_thin 1"
	dmsetup create other-thin --table "0 $(((mib * 2 + 16) * 2048)) thin /dev/mapper/other-pool 1"
	head -c 64 /dev/urandom >/tmp/key
	cryptsetup luksFormat -q --type luks2 -c aes-xts-plain64 -s 512 --sector-size 4096 --offset 32768 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
		/dev/mapper/other-thin /tmp/key
	cryptsetup open --allow-discards --key-file /tmp/key /dev/mapper/other-thin other-crypt
	device=/dev/mapper/other-crypt
	mke2fs -q -F -O none,ext_attr,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,64bit,metadata_csum,metadata_csum_seed,resize_inode \
		-b 4096 -I 256 -m 0 "$device"
}

down() {
	local tries=20
	while [ "$(dmsetup ls)" != "No devices found" ] && ((tries-- > 0)); do
		dmsetup ls | cut -f1 | sort -r | xargs -n 1 dmsetup remove >/dev/null 2>&1
	done
}

cat >"$tmp/random.py" <<'EOF2'
import os, random, sys, time
path, mib, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(1)
block, fd = random.randbytes(4096), os.open(path, os.O_WRONLY)
began = time.monotonic()
for _ in range(count):
    os.pwrite(fd, block, random.randrange(mib << 8) << 12)
    os.fdatasync(fd)
print("%.3f" % (time.monotonic() - began))
EOF2

bulk() {
	local began=$EPOCHREALTIME
	dd if=/dev/zero of=/tmp/mnt/file bs=1M count=$mib conv=fsync,notrunc status=none || exit 1
	awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f\n", b - a }'
}

measure() { # NAME
	mkdir -p /tmp/mnt
	mount -t ext4 "$device" /tmp/mnt || exit 1
	note "bulk-new-$1" "$(bulk)"
	note "bulk-again-$1" "$(bulk)"
	note "random-4k-$1" "$(python3 "$tmp/random.py" /tmp/mnt/file $mib $writes)"
	umount /tmp/mnt
}

in_guest() {
	read -r disk _ <<<"$VM_DISKS"
	for ((round = 1; round <= rounds; round++)); do
		if ((round % 2)); then order="ours other"; else order="other ours"; fi
		for one in $order; do
			blank "$disk"
			"${one}_up" || exit 1
			measure "$one"
			down
		done
	done
	echo "$mib MiB, $writes writes of 4 KiB"
	table seconds {bulk-new,bulk-again,random-4k}-{other,ours}
	for what in bulk-new bulk-again random-4k; do
		ratio $what-ours $what-other
	done
}

if [ -n "${VM_GUEST:-}" ]; then in_guest; else run_in_guest --scratch 6G --mem 1G -- -n "$rounds" -m "$mib" -w "$writes"; fi
