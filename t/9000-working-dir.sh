#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A working directory named by an image removes no file of it, PID 1 included.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
ip link set lo up || exit
leaks_begin
ok "builderd starts" builderd_start
for dir in /usr/bin/metald-init /container.cmd /etc/passwd /dangling /new/deep; do
	image_make "w${dir//\//-}" --cmd /x --workdir "$dir" layer d:usr d:usr/bin d:etc f:etc/passwd=root l:dangling=/nowhere >/dev/null
	ok "$dir: builds" build_run "oci:layout:w${dir//\//-}"
	ok "$dir: the rootfs mounts" rootfs_mount "$(build_get .rootfsPath)"
	ok "$dir: PID 1 is a program" test -f "$tmp/mnt/usr/bin/metald-init"
	ok "$dir: the command is there" test -f "$tmp/mnt/container.cmd"
	is "$(cat "$tmp/mnt/etc/passwd")" root "$dir: the image's file is as it was"
	is "$(readlink "$tmp/mnt/dangling")" /nowhere "$dir: so is its link"
	[ "$dir" != /new/deep ] || ok "a missing one is made" test -d "$tmp/mnt/new/deep"
	ok "$dir: it unmounts" rootfs_umount
done
builderd_stop
leaks_end
done_testing
