#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What was unpacked once is not unpacked again: chains of layers by chainID, whole images by manifest and configuration.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
leaks_begin

base=(layer d:etc f:etc/base=1 n:blob=2000000 layer f:etc/second=2 d:dir f:dir/a=a)
image_make one --cmd /one "${base[@]}" layer f:one=1 w:dir/a >/dev/null
image_make two --cmd /two "${base[@]}" layer f:two=2 >/dev/null
image_make base --cmd /base "${base[@]}" >/dev/null
image_make again --cmd /other --env X=1 "${base[@]}" layer f:two=2 >/dev/null
image_make plain --cmd /two layer=none d:etc f:etc/base=1 n:blob=2000000 layer=none f:etc/second=2 d:dir f:dir/a=a layer=none f:two=2 >/dev/null
ok "builderd starts" builderd_start
unpacked() { # how many layers the log of $build_id says were unpacked
	curl -fsS -H 'X-Tenant-ID: test' "$url/builder.v1.BuilderService/GetBuildLogs/$build_id" | grep -c ' unpacked: '
}
tree() {
	rootfs_mount "$(build_get .rootfsPath)" && (cd "$tmp/mnt" && find . -path ./lost+found -prune -o -printf '%P %y %m %s\n' | sort)
	rootfs_umount
}

ok "first image" build_run oci:layout:one
is "$(build_layers) $(unpacked)" "3 0 3" "all three layers are unpacked"
tree >"$tmp/one"
ok "second image on the same base" build_run oci:layout:two
is "$(build_layers) $(unpacked)" "3 2 1" "only its own layer is unpacked"
tree >"$tmp/two"
like "$(cat "$tmp/two")" "dir/a f" "the first image's whiteout did not touch the shared chain"
unlike "$(cat "$tmp/one")" "dir/a f" "and holds in the first"
ok "the base itself" build_run oci:layout:base
is "$(build_layers) $(unpacked)" "2 2 0" "nothing is unpacked"
ok "the same layers with another config" build_run oci:layout:again
is "$(build_layers) $(unpacked)" "3 3 0" "nothing is unpacked, only finished anew"
ok "the same content in other compression" build_run oci:layout:plain
is "$(build_layers) $(unpacked)" "3 3 0" "chainIDs count, not blobs: nothing is unpacked"

ok "the first image again" build_run oci:layout:one
is "$(unpacked)" 0 "nothing is unpacked"
first=$(build_get .rootfsChecksum)
rootfs=$(build_get .rootfsPath)
tree >"$tmp/one-again"
ok "and the tree is the same" cmp "$tmp/one" "$tmp/one-again"
id=$build_id
ok "and once more" build_run oci:layout:one
is "$(build_get .rootfsChecksum)" "$first" "it is the same product"
ok "deleting one" api DeleteBuild "{\"buildId\":\"$id\"}"
wait_for 5 test ! -e "$rootfs"
ok "leaves the other whole" e2fsck -fn "$(build_get .rootfsPath)"

ok "another tenant" builder build --tenant stranger oci:layout:two
build_id=$(grep -oE -m1 'build_[0-9A-Z]{26}' "$tmp/.out" | head -n 1)
is "$(build_layers)" "3 0" "shares nothing with the first"

ok "a restart" builderd_stop
ok "keeps the cache" builderd_start
ok "an image after it" build_run oci:layout:two '{"runtimeConfig":{"command":["/new"]}}'
is "$(build_layers)" "3 3" "is built from the chain"
ok "a chain's file that is gone" find "$state" -type f -name '*.ext4' -path '*chain*' -delete
ok "is unpacked anew" build_run oci:layout:again '{"runtimeConfig":{"command":["/newer"]}}'
builderd_stop
leaks_end
done_testing
