#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# check: limit=900
# The tree in a rootfs is the one that umoci unpacks. By hand with other images:  t/6060-tree-equals-umoci.sh LAYOUT:TAG...
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
leaks_begin

if [ $# = 0 ]; then
	# Where image builders and unpackers differ: whiteouts against siblings, directories replaced by links and back, odd owners,
	# long names, attributes that a later layer changes, a merged /usr.
	long=$(printf 'l%.0s' $(seq 150))
	image_make odd --cmd /x \
		layer d:usr d:usr/bin d:usr/lib l:bin=usr/bin l:lib=/usr/lib d:etc f:etc/a=1 f:etc/b=2 d:was-dir f:was-dir/f=1 f:was-file=1 \
		d:keep,mode=0700,uid=5,gid=6,mtime=1500000000 f:keep/f,mode=2755=set-gid d:opq d:opq/sub f:opq/sub/f=1 f:opq/g=1 \
		f:multi=1 h:multi2=multi h:keep/multi3=multi n:random=200000 f:empty= f:bin/tool,mode=0755=tool \
		layer w:etc/a f:etc/c=3 w:was-dir f:was-dir=now-a-file w:was-file d:was-file f:was-file/f=1 d:keep,mode=0711,mtime=1500000001 \
		o:opq f:opq/new=1 f:multi=changed l:lib/link=../../etc/c f:lib/new=1 p:fifo c:null=1:3 \
		layer d:"$long" d:"$long/$long" f:"$long/$long/$long"=long f:x,x.user.a=1,x.user.b=2=x f:etc/b,mode=0600,uid=4000000000=again \
		w:empty d:deep d:deep/1 d:deep/1/2 d:deep/1/2/3 f:deep/1/2/3/f,mtime=1=old l:dangling=/nowhere/at/all \
		>/dev/null
	set -- "$images:odd"
fi
ok "a registry" registry_start
ok "builderd starts" builderd_start
n=0
for image; do
	n=$((n + 1))
	ok "$image is pushed" timeout 300 skopeo copy -q --dest-tls-verify=false "oci:$image" "docker://$registry/t/image:$n"
	ok "it builds" build_run "$registry/t/image:$n" '{"skipFinishing":true}'
	ok "umoci unpacks it" timeout 600 umoci unpack --image "$image" "$tmp/bundle"
	ok "the rootfs mounts" rootfs_mount "$(build_get .rootfsPath)"
	ok "the trees are equal" "$top/t/lib/treecmp.py" --image "$image" "$tmp/mnt" "$tmp/bundle/rootfs"
	diag "$(tail -n 1 "$tmp/.out")"
	ok "it unmounts" rootfs_umount
	ok "it builds with the finishing pass" build_run "$registry/t/image:$n"
	ok "the rootfs mounts" rootfs_mount "$(build_get .rootfsPath)"
	ok "the trees are equal but for our files" "$top/t/lib/treecmp.py" --ours --image "$image" "$tmp/mnt" "$tmp/bundle/rootfs"
	ok "it unmounts" rootfs_umount
	rm -rf "$tmp/bundle"
done
builderd_stop
leaks_end
done_testing
