#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4510-dm-build.sh): builderd on the dm backend, with a text in an image that must not reach the disk as it is.
# Disks: the pool's, one for the state directory.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/lib/builderd.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r pool_disk state_disk _ <<<"$VM_DISKS"
needle=no-disk-may-ever-show-this-sentence-as-it-is
mkdir -p /tmp/state
mke2fs -q -t ext4 "$state_disk"
mount "$state_disk" /tmp/state
cleanup "umount /tmp/state"
state=/tmp/state/b
leaks_begin

out=$(env UNKEY_BUILDERD_STATE_DIR="$state" "$build/builderd" --check-host)
like "$out" "dm +no pool is configured.*backend that would be used: file" "--check-host: without a pool, file"
out=$(env UNKEY_BUILDERD_STATE_DIR="$state" UNKEY_BUILDERD_DM_DATA_DEVICE="$pool_disk" "$build/builderd" --check-host)
like "$out" "dm +can be used.*backend that would be used: dm" "with one, dm"
like "$out" "target thin-pool +[0-9]+[.][0-9]+[.][0-9]+.*target crypt +[0-9]+[.]" "it lists the kernel's targets with their versions"
like "$out" "/usr/sbin/thin_check +found.*CAP_SYS_RESOURCE +yes.*type logon can be used.*/dev/fuse +can be opened" "programs, rights, the keyring, FUSE"
like "$out" "pool +$pool_disk has no pool: it would be set up if it is blank.*master key +$state/dm/master.key: missing, made at the first start" \
	"the pool's device and the master key"

for i in $(seq 300); do echo "$needle $i"; done >"$tmp/secret"
image_make one --cmd "/bin/run" --env "SECRET=$needle" layer d:etc f:etc/passwd='root:x:0:0::/:/bin/sh\n' n:noise=3000000 \
	layer d:srv x:srv/secret="$tmp/secret" >/dev/null
image_make two --cmd "/bin/other" layer d:etc f:etc/passwd='root:x:0:0::/:/bin/sh\n' n:noise=3000000 \
	layer d:srv x:srv/secret="$tmp/secret" layer f:late=1 >/dev/null
ok "builderd starts" builderd_start DM_DATA_DEVICE="$pool_disk" DM_TENANT_SIZE_GB=4
like "$(builderd_lines ready)" "backend=dm" "on the dm backend, without being told"

ok "an image is built" build_run oci:layout:one || diag "$(build_error)"
is "$(build_layers)" "2 0" "two layers, none cached"
rootfs=$(build_get .rootfsPath)
like "$rootfs" "^/dev/mapper/builderd-[0-9a-f]{8}-rootfs-" "its rootfs is a device"
ok "a block device" test -b "$rootfs"
is "$(blockdev --getro "$rootfs")" 1 "read-only"
is "$(blockdev --getsize64 "$rootfs")" "$(build_get .rootfsSizeBytes)" "of the size that the job states"
is "$(sha256sum <"$rootfs" | cut -d' ' -f1)" "$(build_get .rootfsChecksum | sed s/sha256://)" "with the checksum that the job states"
ok "e2fsck finds nothing" e2fsck -fn "$rootfs"
mkdir -p /tmp/mnt
ok "it mounts" mount -o ro "$rootfs" /tmp/mnt
is "$(sha256sum </tmp/mnt/srv/secret)" "$(sha256sum <"$tmp/secret")" "content"
ok "the init is ours" cmp /tmp/mnt/usr/bin/metald-init "$build/metald-init"
umount /tmp/mnt
first=$build_id

ok "a second image on its layers" build_run oci:layout:two || diag "$(build_error)"
is "$(build_layers)" "3 2" "two of three layers were unpacked before"
ok "the first again" build_run oci:layout:one || diag "$(build_error)"
is "$(build_layers)" "2 2" "costs nothing"
fails "its device is another" test "$(build_get .rootfsPath)" = "$rootfs"
again=$(build_get .rootfsPath)
ok "the rootfs can be downloaded" builder --tenant test artifact "$build_id" -o "$tmp/copy.ext4"
is "$(sha256sum <"$tmp/copy.ext4")" "$(sha256sum <"$rootfs")" "whole"
rm -f "$tmp/copy.ext4"

builderd_kill
ok "after a kill -9" builderd_start DM_DATA_DEVICE="$pool_disk" DM_TENANT_SIZE_GB=4
ok "the products are where they were" cmp "$rootfs" "$again"
is "$(api DeleteBuild "{\"buildId\":\"$first\"}")" '{"success":true}' "a build is deleted"
fails "its device is gone" test -e "$rootfs"
ok "the copy is still whole" e2fsck -fn "$again"
ok "builderd stops" builderd_stop
like "$(env UNKEY_BUILDERD_STATE_DIR="$state" UNKEY_BUILDERD_DM_DATA_DEVICE="$pool_disk" "$build/builderd" --check-host)" \
	"pool +$pool_disk holds pool [0-9a-f]{32}, [0-9]+ MiB, not up.*master key +$state/dm/master.key" "--check-host: the pool and its key are found"
is "$(dmsetup ls)" "No devices found" "and takes everything down"
leaks_end
done_testing
