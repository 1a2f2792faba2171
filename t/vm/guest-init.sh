#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# PID 1 of the guest of "t/vm/run tests": the root file system is the host's, through hostfs. Runs the programs listed in
# $VM_DIR/tests; each leaves NAME.tap and NAME.rc there, on the host.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sfn /proc/self/fd /dev/fd
ip link set lo up
hostname vm
modprobe -a dm-mod dm-thin-pool dm-crypt xts aes_generic fuse loop overlay
export DM_DISABLE_UDEV=1 # nobody here answers to udev cookies
export VM_GUEST=1

. "$VM_DIR/env"
while IFS= read -r test; do
	name=${test##*/} name=${name%.sh}
	timeout -k 10 "$each_s" "$test" </dev/null >"$dir/$name.tap" 2>&1
	echo $? >"$dir/$name.rc"
done <"$dir/tests"
sync
echo o >/proc/sysrq-trigger
sleep 60
