#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builder-volume on the file backend, with builderd running and without; its table, JSON, exit codes; a hostile program at its
# socket. On the dm backend: t/4710-builder-volume-dm.sh.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
. "$top/t/lib/admin.sh"

[ "$(id -u)" = 0 ] || skip "needs root"
leaks_begin
export UNKEY_BUILDERD_STATE_DIR=$state
drive() {
	timeout 60 "$build/t/tools/drive-volume" "$state" "$@" 2>&1
}

# --- before there is anything
exits 5 "without storage there is nothing to show" ls
like "$(cat "$tmp/said")" "no builderd runs.*no builderd has kept its storage" "it says so"
ok "and makes none" test ! -e "$state"
exits 2 "no command" --json
exits 2 "a command that is none" explode
exits 2 "an option that is none" ls --fast
exits 2 "a word too many" ls a b
exits 2 "a word too few" inspect
exits 2 "a configuration that is none" ls --config /nonexistent
exits 0 "help" --help
like "$(cat "$tmp/said")" "inspect +ID" "it lists the commands"

# --- on a stopped store
ok "volumes are made" drive create b1 - 64 100 mount fill a 10 unmount check snapshot k1 seal p1 share b2 p1 create b3 - 64 100 mount \
	fill c 5 unmount seal p3
ok "of another tenant, too" env DRIVE_TENANT=other "$build/t/tools/drive-volume" "$state" create o1 - 64 100 discard
(cd "$state" && find . | sort) >"$tmp/before"
exits 0 "ls" ls
cp "$tmp/said" "$tmp/table"
is "$(head -n 1 "$tmp/table" | tr -s ' ')" "TENANT VOLUME KIND STATE SIZE EXCLUSIVE SHARED LEASES" "the table has a heading"
is "$(aligned "$tmp/table")" "" "cells stand under their titles"
is "$(awk '$1 == "acme" {print $2, $3, $4}' "$tmp/table" | grep -v chain | sort | paste -sd,)" "b1 rootfs ready,b2 rootfs ready,b3 rootfs ready" "products"
is "$(awk '$3 == "chain"' "$tmp/table" | wc -l)" 1 "a chain"
unlike "$(cat "$tmp/table")" $'\033' "no decoration in a pipe"
is "$(volume_json '.tenants[0].volumes | map(select(.id == "b1" or .id == "b2")) | map(.exclusive_bytes == 0 and .shared_bytes > 10000000) | all' ls acme)" true \
	"what two products share is shared"
is "$(volume_json '.tenants[0].volumes[] | select(.id == "b3") | .exclusive_bytes > 5000000 and .shared_bytes == 0' ls)" true "what one has alone is not"
is "$(volume_json '.tenants | map(.tenant) | join(",")' ls --tenant acme)" acme "one tenant only"
exits 3 "a tenant that is none" ls nobody
like "$(cat "$tmp/said")" "there is no tenant nobody" "it says so"
exits 2 "an id that cannot be one" ls ../x
is "$(script -qec "stty cols 80; $build/builder-volume ls" /dev/null | tr -d '\r' | awk 'length > 80' | wc -l)" 0 "80 columns are enough on a terminal"

exits 0 "df" df
is "$(aligned "$tmp/said")" "" "its table"
is "$(volume_json '(.host.size_bytes > .host.free_bytes) and (.tenants | map(.used_bytes) | add) == .host.used_bytes' df)" true "tenants add up"
exits 0 "inspect" inspect b1
like "$(cat "$tmp/said")" "kind: rootfs.*size: 67.1 MB.*checksum: " "for a person"
is "$(volume_json '.volume.id + " " + .volume.path' inspect b1)" "b1 $state/tenants/acme/rootfs/b1.ext4" "as JSON"
chain=$(volume_json '.tenants[0].volumes[] | select(.kind == "chain") | .id' ls acme)
is "$(volume_json .volume.id inspect "${chain:0:8}")" "$chain" "a chain by its first digits"
exits 3 "a volume that is none" inspect b9
exits 3 "of another tenant" inspect b1 --tenant other
rootfs=$state/tenants/acme/rootfs/b1.ext4
exits 0 "export" export b1 "$tmp/b1.ext4"
ok "the file is the rootfs" cmp "$rootfs" "$tmp/b1.ext4"
fails "and has its holes" test "$(stat -c %b "$tmp/b1.ext4")" -gt $((20 << 11))
exits 1 "a file that is there is left alone" export b1 "$tmp/b1.ext4"
ok "whole" cmp "$rootfs" "$tmp/b1.ext4"
exits 3 "no volume" export b9 "$tmp/b9.ext4"
ok "no file" test ! -e "$tmp/b9.ext4"
exits 1 "a difference cannot be had here" export b1 "$tmp/delta" --delta b3
is "$(cd "$state" && find . | sort | diff - "$tmp/before")" "" "nothing was changed by looking"
mount_umount() { # WHEN
	exits 0 "mount ($1)" mount b1 "$tmp/mnt"
	is "$(stat -c %s "$tmp/mnt/a")" 10485760 "what is in it"
	like "$(grep " $tmp/mnt " /proc/self/mounts)" " ext4 ro,nosuid,nodev,noexec,noatime" "read-only, no device, no program"
	exec 7<"$tmp/mnt/a"
	exits 4 "in use" umount "$tmp/mnt"
	exec 7<&-
	exits 0 "umount" umount "$tmp/mnt"
	fails "it is gone" mountpoint -q "$tmp/mnt"
}
mkdir "$tmp/mnt"
mount_umount "stopped"
exits 2 "what is not ours is not unmounted" umount /proc
exits 2 "nor what is no mount" umount "$tmp/mnt"
exits 1 "no directory" mount b1 "$tmp/nowhere"
for what in "why-full acme"; do
	exits 1 "$what: not with this backend" $what
	like "$(cat "$tmp/said")" "the file backend keeps image files: it has no pools, no keys" "it says why"
done

# --- what belongs to nobody, and what is to go
is "$(volume_json .problems orphans)" 0 "no orphans"
: >"$state/tenants/acme/builds/left.ext4"
: >"$state/tenants/acme/rootfs/left.ext4"
exits 6 "orphans" orphans
is "$(awk 'NR > 1 {print $2}' "$tmp/said" | sort | paste -sd' ')" "tenants/acme/builds/left.ext4 tenants/acme/rootfs/left.ext4" "are found"
is "$(aligned "$tmp/said")" "" "its table"
ok "and left alone" test -e "$state/tenants/acme/rootfs/left.ext4"
exits 0 "orphans --remove" orphans --remove
fails "removes them" test -e "$state/tenants/acme/rootfs/left.ext4" -o -e "$state/tenants/acme/builds/left.ext4"
is "$(cd "$state" && find . | sort | diff - "$tmp/before")" "" "and nothing else"
ok "a tenant to be destroyed" env DRIVE_TENANT=doomed "$build/t/tools/drive-volume" "$state" create d1 - 64 100 snapshot kd seal pd
exits 1 "destroy asks" destroy doomed </dev/null
like "$(cat "$tmp/said")" "not confirmed: nothing was done" "no answer is no"
rc=0
echo doome | volume destroy doomed >/dev/null 2>&1 || rc=$?
is "$rc:$(ls "$state/tenants" | paste -sd' ')" "1:acme doomed other" "so is another name"
rc=0
echo doomed | volume destroy doomed >/dev/null 2>&1 || rc=$?
is "$rc:$(ls "$state/tenants" | paste -sd' ')" "0:acme other" "its name is yes"
is "$(sqlite3 "$state/volumes.db" "SELECT count(*) FROM chains WHERE tenant='doomed'; SELECT count(*) FROM rootfs WHERE tenant='doomed'" | paste -sd' ')" "0 0" \
	"no row is left"
exits 3 "once" destroy doomed --yes

# --- leases
ok "a lease" env DRIVE_TENANT=lessee "$build/t/tools/drive-volume" "$state" create l1 - 64 100 seal pl lease l1 cow vm-1 -
is "$(volume_json '.tenants[0].volumes | map("\(.kind) \(.state) \(.leases | map(.holder) | join(","))") | sort | join("; ")' ls lessee)" \
	"rootfs ready vm-1; vm leased " "a clone, and who has it"
exits 4 "a tenant with a lease is not destroyed" destroy lessee --yes
like "$(cat "$tmp/said")" "vm-1 holds build l1" "it says why"
ok "it is released" env DRIVE_TENANT=lessee "$build/t/tools/drive-volume" "$state" release "$(volume_json '.tenants[0].volumes[] | .leases[] | .lease' ls lessee)"
exits 0 "then it is" destroy lessee --yes

# --- beside builderd
socket=$tmp/volume.sock
export UNKEY_BUILDERD_VOLUME_SOCKET=$socket
ok "builderd starts" builderd_start VOLUME_SOCKET="$socket"
is "$(stat -c %a "$socket")" 600 "its socket is root's"
is "$(volume_json '.tenants | map(.tenant) | sort | join(",")' ls)" acme,other "ls, through it"
exits 0 "df" df
exits 0 "inspect" inspect b1
exits 3 "errors come through" inspect b9
like "$(cat "$tmp/said")" "there is no volume b9" "with their sentences"
rc=0
setpriv --reuid 65534 --regid 65534 --clear-groups "$build/builder-volume" ls >"$tmp/said" 2>&1 || rc=$?
is "$rc" 5 "not for others"
like "$(cat "$tmp/said")" "only root" "it says so"
rc=0
setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 -c '
import socket, sys
socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(sys.argv[1])' "$socket" 2>"$tmp/said" || rc=$?
like "$(cat "$tmp/said")" "PermissionError" "the socket itself is closed to them"
chmod 666 "$socket"
answer=$(setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
print(s.recv(65536))' "$socket")
like "$answer" "only root may administer" "and if it were not, builderd looks who it is"

ok "export" volume export b3 "$tmp/b3.ext4"
ok "the file is the rootfs" cmp "$state/tenants/acme/rootfs/b3.ext4" "$tmp/b3.ext4"
mount_umount "running"
is "$(volume_json .problems orphans)" 0 "no orphans"
exits 0 "destroy" destroy other --yes
is "$(volume_json '.tenants | map(.tenant) | join(",")' ls)" acme "a tenant is gone"
exits 0 "trim" trim
is "$(volume_json .freed_bytes trim)" 0 "nothing is above the limit"

image_make hello --cmd /hello layer d:etc f:etc/hello=world >/dev/null
is "$(socket_attack "$socket" >"$tmp/attack" & attack=$!; build_run oci:layout:hello; echo $?; wait $attack)" 0 "a build runs on beside a hostile program"
like "$(cat "$tmp/attack")" "^[23][0-9]+ [0-9]+$" "connections and answers: $(cat "$tmp/attack")"
answers() {
	volume ls
}
ok "others are still served" wait_for 30 answers
ok "builderd stops" builderd_stop
ok "its socket is gone" test ! -e "$socket"

# --- a builderd that has no socket
unset UNKEY_BUILDERD_VOLUME_SOCKET
ok "builderd starts without one" builderd_start VOLUME_SOCKET=
exits 5 "the store is locked" ls
like "$(cat "$tmp/said")" "a builderd has the storage in .* open" "it says by whom"
ok "builderd stops" builderd_stop
exits 0 "now it is not" ls
leaks_end
done_testing
