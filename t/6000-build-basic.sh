#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An image in, a rootfs out: what the file system holds, what the job and the client say.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
leaks_begin

image_make basic --cmd "/bin/run it" --entrypoint "/bin/sh -c" --env A=1 --env A=2 --env 'B=x y' --workdir /srv/app --user nobody \
	--label one=1 --expose 80/tcp --volume /data --stop-signal SIGINT \
	layer d:etc f:etc/passwd='root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' f:etc/gone=x \
	d:opaque f:opaque/old=x d:var f:var/kept=1 d:bin f:bin/su,mode=4755=su l:sbin=bin d:lib,mtime=1600000000 \
	layer=zstd w:etc/gone o:opaque f:opaque/new=y f:var/owner,uid=70000,gid=3000000000=z h:var/hard=var/owner l:var/link=/etc/passwd p:var/fifo \
	c:var/null=1:3 f:var/x,x.user.note=hello,mtime=1234567890=x \
	layer=none f:late=1 n:noise=300000 >"$tmp/digest" || exit
ok "builderd starts" builderd_start
ok "and is healthy" curl -fsS "$url/health"

ok "builderctl builds an image" builder build --tenant test oci:layout:basic
cp "$tmp/.out" "$tmp/ctl.out"
build_id=$(grep -oE -m1 'build_[0-9A-Z]{26}' "$tmp/ctl.out" | head -n 1)
like "$build_id" '^build_' "and names the build"
ok "the job can be read" build_wait
is "$(build_get .state)" BUILD_STATE_COMPLETED "the job is COMPLETED"
is "$(build_get .progressPercent)" 100 "at 100 %"
is "$(build_layers)" "3 0" "three layers, none cached"
is "$(build_get .imageMetadata.imageDigest)" "$(cat "$tmp/digest")" "the digest of the manifest is in the metadata"
is "$(build_get '.imageMetadata | [.entrypoint, .command, .workingDir, .user, .labels.one, .exposedPorts, .volumes, .env.A, .env.B] | tojson')" \
	'[["/bin/sh","-c"],["/bin/run","it"],"/srv/app","nobody","1",["80/tcp"],["/data"],"2","x y"]' "and what the config says"

rootfs=$(build_get .rootfsPath)
ok "the rootfs is a file" test -f "$rootfs"
is "$(stat -c %s "$rootfs")" "$(build_get .rootfsSizeBytes)" "of the size that the job states"
is "$(sha256sum <"$rootfs" | cut -d' ' -f1)" "$(build_get .rootfsChecksum | sed s/sha256://)" "with the checksum that the job states"
ok "e2fsck finds nothing" e2fsck -fn "$rootfs"
ok "it mounts" rootfs_mount "$rootfs"
cd "$tmp/mnt" || exit
is "$(cat etc/passwd | wc -l)" 2 "content"
ok "a whiteout removes" test ! -e etc/gone
is "$(ls -A opaque)" new "an opaque directory hides what was below"
is "$(stat -c '%a %F %s' bin/su)" "4755 regular file 2" "set-uid survives the owner"
is "$(readlink sbin) $(readlink var/link)" "bin /etc/passwd" "symbolic links are kept as they are"
is "$(stat -c '%u %g %h' var/owner)" "70000 3000000000 2" "owner and link count"
is "$(stat -c %i var/owner)" "$(stat -c %i var/hard)" "a hard link is one inode"
is "$(stat -c '%F' var/fifo)" fifo "a fifo"
is "$(stat -c '%F %t:%T' var/null)" "character special file 1:3" "a device node"
is "$(getfattr --only-values -n user.note var/x)" hello "an extended attribute"
is "$(stat -c %Y var/x lib | xargs)" "1234567890 1600000000" "times of a file and a directory"
is "$(sha256sum <noise)" "$(/usr/bin/python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random("noise").randbytes(300000))' | sha256sum)" \
	"a file that does not compress"
is "$(find . -name '.wh.*' | wc -l)" 0 "no marker is left"
is "$(jq -c . container.cmd)" '["/bin/sh","-c","/bin/run","it"]' "/container.cmd"
is "$(jq -c '[.working_dir, .env.A, .env.B, .env.PATH, .exposed_ports, .user]' container.env)" \
	'["/srv/app","2","x y","/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",["80"],"nobody"]' "/container.env"
is "$(stat -c '%a %u:%g %F' container.cmd container.env usr/bin/metald-init | tr '\n' ,)" \
	"644 0:0 regular file,644 0:0 regular file,755 0:0 regular file," "modes of the files that builderd adds"
ok "the init is ours" cmp usr/bin/metald-init "$build/metald-init"
ok "and /sbin/init too, as the image has none" cmp bin/init "$build/metald-init"
ok "the working directory exists" test -d srv/app
cd "$top" || exit
ok "it unmounts" rootfs_umount
metadata=${rootfs%.ext4}.metadata.json
ok "metadata.json lies beside it" test -f "$metadata"
is "$(jq -c '[.image_digest, .layers | length] | length' "$metadata")" 2 "and is JSON"

ok "the artifact downloads" builder artifact --tenant test "$build_id" -o "$tmp/copy.ext4"
ok "and is the rootfs" cmp "$tmp/copy.ext4" "$rootfs"
like "$(builder status --tenant test "$build_id" 2>&1)" COMPLETED "builderctl status"
like "$(builder logs --tenant test "$build_id" 2>&1)" "layer 1/3 unpacked" "builderctl logs"
like "$(builder ls --tenant test 2>&1)" "$build_id" "builderctl ls"
like "$(builder ls --tenant other 2>&1)" '^[^_]*$' "another tenant sees nothing"
fails "nor can read the job" builder status --tenant other "$build_id"

ok "the build is deleted" api DeleteBuild "{\"buildId\":\"$build_id\"}"
wait_for 5 test ! -e "$rootfs"
ok "and its rootfs gone" test ! -e "$rootfs"
ok "builderd stops" builderd_stop
leaks_end
done_testing
