#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4520-dm-powercut.sh), once for each power cut: start builderd on what the cut left, look whether everything that
# was acknowledged is there and nothing else, then build and delete over the API until the power goes. Disks: the pool's, the
# state directory's. $CUT_REPORT is on the host: look (TAP), looked (when it is done). With CUT_LAST it ends in good order.
. "$(dirname "$0")/../lib/tap.sh"
. "$top/t/lib/builderd.sh"
. "$top/t/lib/thin.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r pool_disk state_disk _ <<<"$VM_DISKS"
[ -n "${CUT_LAST:-}" ] || exec 9>"$CUT_REPORT/look"
mkdir -p /tmp/disk
mount "$state_disk" /tmp/disk || exit
cleanup "umount /tmp/disk"
state=/tmp/disk/b
db=$state/dm/volumes.db
# "+build checksum": acknowledged as COMPLETED; "?build": may be deleted; "-build": acknowledged as deleted; "*build": created
journal=/tmp/disk/journal
touch "$journal" "$CUT_REPORT/up"
mounts=$(wc -l </proc/self/mountinfo)

start() {
	builderd_start LOCAL_IMAGES_DIR="$CUT_IMAGES" DM_DATA_DEVICE="$pool_disk" DM_TENANT_SIZE_GB=1 \
		STORAGE_CACHE_MAX_SIZE_GB=$((RANDOM % 2)) MAX_CONCURRENT_BUILDS=3
}
note() {
	echo "$*" >>"$journal" && sync "$journal" && echo >>"$CUT_REPORT/events"
}
noted() { # KIND
	sed -n "s/^[$1]//p" "$journal"
}
products() { # acknowledged, and nobody asked for their deletion: "build checksum", oldest first
	awk '/^[?-]/ { gone[substr($1, 2)] } /^\+/ { sum[substr($1, 2)] = $2; order[++n] = substr($1, 2) }
		END { for (i = 1; i <= n; i++) if (!(order[i] in gone)) print order[i], sum[order[i]] }' "$journal"
}
# The newest builds, one a line: id, state, path, checksum.
builds_list() {
	api ListBuilds '{"pageSize":50}' >"$tmp/answer.json"
	jq -r '.builds[]? | [.buildId, .state, .rootfsPath, .rootfsChecksum] | @tsv' "$tmp/answer.json" >"$tmp/builds"
}

# --- look
all_ended() {
	builds_list && ! grep -Ev 'BUILD_STATE_(COMPLETED|FAILED|CANCELLED)' "$tmp/builds"
}
product_check() { # BUILD CHECKSUM: it is COMPLETED, and its device holds what was acknowledged
	local state path sum
	read -r state path sum < <(sed -n "s/^$1\t//p" "$tmp/builds")
	[ "$state $sum" = "BUILD_STATE_COMPLETED $2" ] || { echo "$1 is \"$state $sum\""; return; }
	curl -sSf -r 0-0 -o "$tmp/byte" -H 'X-Tenant-ID: test' "$url/builder.v1.BuilderService/GetBuildArtifact/$1" 2>&1 # a product comes up when somebody asks for it
	[ "sha256:$(openssl sha256 -r "$path" | cut -d' ' -f1)" = "$2" ] || echo "$1: other bytes"
	e2fsck -fn "$path" >"$tmp/fsck" 2>&1 || echo "$1: $(tail -n 1 "$tmp/fsck")"
}
products_check() {
	local id sum
	while read -r id sum; do
		product_check "$id" "$sum"
	done < <(products)
	for id in $(noted - | tail -n 8); do
		[ -z "$(sql "SELECT 1 FROM rootfs WHERE build='$id'; SELECT 1 FROM devices WHERE name='$id'")" ] || echo "$id is still there"
	done
	for id in $(noted '*' | tail -n 8); do # an id that was handed out is never forgotten, unless it was deleted
		grep -q "^$id" "$tmp/builds" || grep -qx -- "[?-]$id" "$journal" || echo "$id is unknown"
	done
}
look() {
	ok "builderd starts" start || { cp "$builderd_log" "$CUT_REPORT/"; return 1; }
	ok "every build that was created has ended" wait_for 60 all_ended
	is "$(products_check)" "" "what was acknowledged is there, byte by byte, clean under e2fsck; what was deleted is gone"
	[ -e "$db" ] || return 0
	storage_settles
	is "$(storage_differs)" "" "no device and no thin id is lost or leaked, nothing is unfinished"
	is "$(losetup -a; ls "/tmp/disk" | grep -vx 'b\|journal\|lost+found')" "" "no loop, no file left over"
	is "$(semaphores)" 0 "no semaphore"
	is "$(wc -l </proc/self/mountinfo)" "$mounts" "no mount"
}
look
[ "$tap_failed" = 0 ] || cp "$builderd_log" "$db" "$journal" "$CUT_REPORT/"
echo "$(grep -c '^+' "$journal") acknowledged, $(grep -c '^-' "$journal") deleted, $tap_count checks in $SECONDS s" >"$CUT_REPORT/looked.new"
mv "$CUT_REPORT/looked.new" "$CUT_REPORT/looked"

# --- work
has_ended() { # BUILD
	[[ $(api GetBuild "{\"buildId\":\"$1\"}") =~ BUILD_STATE_(COMPLETED|FAILED|CANCELLED) ]]
}
build_begin() { # one of 24 products: unpacked, made from a chain, or shared with one that is there
	build_create "oci:layout:image$((RANDOM % 6 + 1))" "{\"runtimeConfig\":{\"environment\":{\"N\":\"$((RANDOM % 4))\"}}}" &&
		note "*$build_id"
}
build_end() { # BUILD
	local n
	for n in $(seq 200); do
		! has_ended "$1" || break
		sleep 0.3 # asking costs more than the build
	done
	builds_list
	read -r _ state _ sum < <(grep "^$1" "$tmp/builds")
	[ "$state" = BUILD_STATE_COMPLETED ] && note "+$1 $sum"
}
delete_oldest() { # but two stay
	local id
	id=$(products | head -n -2 | sed -n '1s/ .*//p')
	[ -n "$id" ] || return 0
	note "?$id"
	[ "$(api DeleteBuild "{\"buildId\":\"$id\"}")" = '{"success":true}' ] && note "-$id"
}
work() {
	local ids=() i
	for i in 1 2; do
		build_begin || return
		ids+=("$build_id")
	done
	delete_oldest || return
	for i in "${ids[@]}"; do
		build_end "$i" || return
	done
	delete_oldest
}
if [ -n "${CUT_LAST:-}" ]; then
	ok "it builds and deletes" work
	ok "builderd stops" builderd_stop
	is "$(dmsetup ls)" "No devices found" "and takes everything down"
	done_testing
fi
while work; do :; done
cp "$builderd_log" "$tmp/answer.json" "$tmp/build.json" "$CUT_REPORT/"
echo "not ok - work goes on until the power goes" >&9
