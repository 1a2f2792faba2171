#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# preserve_layers: each layer stays a directory of the rootfs, and the kernel's overlayfs makes of them the tree that a flat build has.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
leaks_begin

image_make odd --cmd /x \
	layer d:usr d:usr/bin d:usr/lib l:bin=usr/bin l:lib=/usr/lib d:etc f:etc/a=1 f:etc/b=2 d:was-dir f:was-dir/f=1 f:was-file=1 \
	d:keep,mode=0700,uid=5,gid=6,mtime=1500000000 f:keep/f,mode=2755=set-gid d:opq d:opq/sub f:opq/sub/f=1 f:opq/g=1 \
	f:multi=1 h:multi2=multi h:keep/multi3=multi n:random=200000 f:empty= f:bin/tool,mode=0755=tool \
	layer w:etc/a f:etc/c=3 w:was-dir f:was-dir=now-a-file w:was-file d:was-file f:was-file/f=1 d:keep,mode=0711,mtime=1500000001 \
	o:opq f:opq/new=1 h:added=keep/multi3 l:lib/link=../../etc/c f:lib/new=1 p:fifo c:null=1:3 \
	layer f:x,x.user.a=1,x.user.b=2=x f:etc/b,mode=0600,uid=4000000000=again w:empty d:deep d:deep/1 f:deep/1/f,mtime=1=old \
	w:multi l:dangling=/nowhere/at/all >/dev/null
image_make device --cmd /x layer c:null=0:0 >/dev/null
image_make more --cmd /x layer f:a=1 layer f:b=2 >/dev/null
ok "builderd starts" builderd_start

apart='{"dockerExtract":{"preserveLayers":true}}'
ok "a flat build" build_run oci:layout:odd
flat=$(build_get .rootfsPath)
ok "the same image with its layers apart" build_run oci:layout:odd '{}' '{}' "$apart"
rootfs=$(build_get .rootfsPath)
is "$(build_layers)" "3 0" "no chain of flat layers is used for it"
ok "e2fsck finds nothing" e2fsck -fn "$rootfs"
ok "the rootfs mounts" rootfs_mount "$rootfs"
is "$(cd "$tmp/mnt/layers" && echo *)" "000 001 002 003" "three layers and that of the finishing pass"
ok "the kernel will find our init" cmp "$tmp/mnt/usr/bin/metald-init" "$build/metald-init"
is "$(stat -c '%F %t:%T' "$tmp/mnt/layers/001/etc/a")" "character special file 0:0" "a whiteout is the kernel's"
is "$(getfattr --only-values -n user.overlay.opaque "$tmp/mnt/layers/001/opq")" y "and so is an opaque directory"
is "$(cat "$tmp/mnt/layers/000/etc/b")" 2 "what a later layer changed is as the earlier one had it"
mkdir "$tmp/merged" "$tmp/flat"
layers=$tmp/mnt/layers
cat >"$tmp/compare.sh" <<BASH
set -e
mount -t overlay overlay -o ro,userxattr,lowerdir=$layers/003:$layers/002:$layers/001:$layers/000 $tmp/merged
mount -o ro,loop $flat $tmp/flat
$top/t/lib/treecmp.py --layers $tmp/flat $tmp/merged
BASH
ok "the kernel's overlayfs shows the tree of the flat build" unshare -m bash "$tmp/compare.sh"
diag "$(tail -n 3 "$tmp/.out")"
ok "it unmounts" rootfs_umount

ok "the documented form of the strategy" build_run oci:layout:odd '{}' '{}' '{"dockerStrategy":{"preserveLayers":true}}'
is "$(build_layers)" "3 3" "is the same product"
ok "an image of two layers" build_run oci:layout:more '{}' '{}' "$apart"
fails "a device 0:0 cannot be told from a whiteout" build_run oci:layout:device '{}' '{}' "$apart"
like "$(build_error)" 'null: a character device 0:0 is a whiteout where layers are preserved' "and the error says so"
fails "with the image's own init it cannot boot" build_run oci:layout:more '{"initStrategy":"INIT_STRATEGY_CUSTOM"}' '{}' "$apart"
like "$(build_error)" 'preserve_layers needs an init_strategy of TINI or DIRECT' "and the error says so"
fails "both at once" build_run oci:layout:more '{}' '{}' '{"dockerExtract":{"preserveLayers":true,"flattenFilesystem":true}}'
like "$(build_error)" 'exclude each other' "and the error says so"
builderd_stop
leaks_end
done_testing
