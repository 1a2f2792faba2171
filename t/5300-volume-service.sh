#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builder.v1.VolumeService on the file backend: who may call it, in which protocols, what it answers.
# check: limit=300
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
leaks_begin
sock=$tmp/api.sock
jails=$tmp/jails
metald=54321 other=54322
token=correct-horse-battery-staple
mkdir -p "$jails"/vm{1,2,3}/root
chown 54400:54400 "$jails"/vm*/root

volume() { # METHOD JSON [CURL OPTIONS...]: as the VM manager, on the socket
	local method=$1 body=$2
	shift 2
	setpriv --reuid "$metald" --regid "$metald" --clear-groups curl -sS --max-time 60 --unix-socket "$sock" \
		-H 'content-type: application/json' "$@" -d "$body" "http://builderd/builder.v1.VolumeService/$method"
}
over_tcp() { # METHOD JSON [CURL OPTIONS...]
	local method=$1 body=$2
	shift 2
	curl -sS --max-time 60 -H 'content-type: application/json' "$@" -d "$body" "$url/builder.v1.VolumeService/$method"
}
acquire() { # HOLDER MODE [JAIL [BUILD [TENANT]]]
	volume AcquireRootfs "{\"tenantId\":\"${5:-test}\",\"buildId\":\"${4:-$build_id}\",\"mode\":\"LEASE_MODE_$2\",\"holder\":\"$1\",\"jail\":\"${3:-}\"}"
}

image_make hello --cmd /hello layer d:etc f:etc/hello=world >/dev/null
ok "builderd starts" builderd_start API_SOCKET="$sock" METALD_UID="$metald" JAIL_DIR="$jails" \
	METALD_TOKEN_SHA256="$(printf %s "$token" | sha256sum | cut -d' ' -f1)"
ok "a build" build_run oci:layout:hello
rootfs=$(build_get .rootfsPath)
sum=$(build_get .rootfsChecksum)

# --- who
ask="{\"tenantId\":\"test\",\"buildId\":\"$build_id\",\"mode\":\"LEASE_MODE_COW\",\"holder\":\"vm1\"}"
real=$(over_tcp AcquireRootfs "$ask" -w '%{http_code}')
like "$real" '"code":"permission_denied".*403' "over TCP nobody is the VM manager"
is "$(over_tcp AcquireRootfs "${ask/$build_id/build_01ARZ3NDEKTSV4RRFFQ69G5FAV}" -w '%{http_code}')" "$real" "the same for a build that is not there"
is "$(over_tcp AcquireRootfs "$ask" -H 'X-Tenant-ID: test' -w '%{http_code}')" "$real" "nor is the tenant itself"
is "$(over_tcp AcquireRootfs "$ask" -H "Authorization: Bearer bld_$(printf %064d 0)" -w '%{http_code}')" "$real" "nor a token that is another one's"
is "$(over_tcp AcquireRootfs "$ask" -H "Authorization: Bearer ${token}x" -w '%{http_code}')" "$real" "or nearly right"
for method in ReleaseRootfs ListLeases; do
	like "$(over_tcp "$method" '{}')" permission_denied "$method is for the VM manager, too"
done
like "$(curl -sS "$url/builder.v1.VolumeService/ListLeases?encoding=json&message=%7B%7D&connect=v1")" permission_denied "by GET as well"
like "$(over_tcp ListLeases '{}' -H "Authorization: Bearer $token")" '^\{\}$' "with its token it is served"
like "$(volume ListLeases '{}')" '^\{\}$' "METALD_UID is, on the socket"
like "$(curl -sS --unix-socket "$sock" -H 'content-type: application/json' -d '{}' http://x/builder.v1.VolumeService/ListLeases)" '^\{\}$' "root is"
like "$(curl -sS --unix-socket "$sock" -H 'content-type: application/json' -d '{}' http://x/builder.v1.VolumeService/ListLeases -H 'X-Tenant-ID: test')" '^\{\}$' \
	"a tenant header changes nothing"

# --- what is asked for
bad() { # JSON WANT
	like "$(volume AcquireRootfs "$1")" "\"invalid_argument\".*$2" "refused: $2"
}
bad '{}' 'tenant_id: \\"\\" is not'
bad '{"tenantId":"../x"}' 'tenant_id'
bad '{"tenantId":"test","buildId":"a/b"}' 'build_id'
bad '{"tenantId":"test","buildId":"b","holder":""}' 'holder'
bad "{\"tenantId\":\"test\",\"buildId\":\"b\",\"holder\":\"$(printf 'x%.0s' {1..65})\"}" 'holder'
for jail in .. /etc a/../b a//b ./a a/ "a b" "$(printf 'x%.0s' {1..192})"; do
	bad "{\"tenantId\":\"test\",\"buildId\":\"b\",\"holder\":\"h\",\"jail\":\"$jail\"}" 'jail'
done
bad '{"tenantId":"test","buildId":"b","holder":"h"}' 'mode: LEASE_MODE_READ_ONLY or LEASE_MODE_COW'
like "$(acquire vm1 COW "" build_01ARZ3NDEKTSV4RRFFQ69G5FAV)" '"not_found".*build build_01ARZ3NDEKTSV4RRFFQ69G5FAV has no rootfs' "a build that is not there"
like "$(acquire vm1 COW "" "$build_id" other)" '"not_found"' "another tenant's build is not there"
like "$(volume ReleaseRootfs '{"leaseId":"lease_01ARZ3NDEKTSV4RRFFQ69G5FAV"}')" '"not_found".*there is no lease' "a lease that is not there"
like "$(volume ReleaseRootfs '{}')" invalid_argument "or not named"
like "$(volume ListLeases '{"pageToken":"x"}')" 'invalid_argument.*page_token' "a page token that is none"

# --- leases
acquire vm1 COW >"$tmp/vm1"
acquire vm2 COW vm2/root >"$tmp/vm2"
acquire vm3 READ_ONLY >"$tmp/vm3"
lease() { # FILE JQ
	jq -r "$2 // empty" "$tmp/$1"
}
like "$(lease vm1 .lease.leaseId)" '^lease_[0-9A-Z]{26}$' "a lease"
is "$(lease vm1 '"\(.lease.tenantId) \(.lease.buildId) \(.lease.mode) \(.lease.holder) \(.lease.checksum)"')" \
	"test $build_id LEASE_MODE_COW vm1 $sum" "says what it is of, and the checksum"
is "$(lease vm1 .initPath)" /usr/bin/metald-init "what init is"
is "$(lease vm1 '.imageMetadata.command[0]')" /hello "how the image is run"
p1=$(lease vm1 .lease.devicePath) p2=$(lease vm2 .lease.devicePath) p3=$(lease vm3 .lease.devicePath)
like "$(dumpe2fs -h "$p1" 2>/dev/null)" "has_journal" "a clone can be written through a power cut: it has a journal"
is "$(lease vm1 .lease.sizeBytes)" "$(stat -c %s "$p1")" "how big it is"
is "$(lease vm1 .lease.filesystemUuid)" "$(blkid -o value -s UUID "$p1")" "and its file system's uuid"
is "$p3" "$rootfs" "a read-only lease is of the rootfs itself"
ok "the clones have its bytes" eval "cmp '$p1' '$rootfs' && cmp '$p2' '$rootfs'"
is "$(stat -c '%a %h %u' "$jails/vm2/root/rootfs.ext4"; stat -c '%a %u' "$jails/vm2/root/metadata.json")" "600 2 54400
444 0" "the jail has the clone, for its owner, and metadata.json"
is "$(stat -c %i "$jails/vm2/root/rootfs.ext4")" "$(stat -c %i "$p2")" "the clone and no other file"
printf one | dd of="$p1" bs=1 seek=4096 conv=notrunc status=none
fails "one VM's writes are not the other's" cmp -s "$p1" "$p2"
is "sha256:$(sha256sum "$rootfs" | cut -d' ' -f1)" "$sum" "nor the rootfs's"
is "$(acquire vm1 COW | jq -r .lease.leaseId)" "$(lease vm1 .lease.leaseId)" "the same request gives the same lease"
like "$(acquire vm2 COW vm1/root)" '"already_exists"' "not with another jail"
like "$(acquire vm4 COW vm9/root)" '"failed_precondition".*there is no jail' "a jail that is not there"
echo mine >"$jails/vm3/root/rootfs.ext4"
like "$(acquire vm4 COW vm3/root)" '"failed_precondition".*rootfs.ext4 exists in the jail' "a jail that is taken"
is "$(cat "$jails/vm3/root/rootfs.ext4")" mine "which is left alone"
is "$(find "$state/tenants/test/vm" -type f | wc -l)" 2 "no attempt leaves a clone"

# --- lists
is "$(volume ListLeases '{}' | jq -r '[.leases[].holder] | join(" ")')" "vm1 vm2 vm3" "all leases, oldest first"
is "$(volume ListLeases '{"tenantId":"other"}')" '{}' "none of a tenant that has none"
volume ListLeases '{"pageSize":2}' >"$tmp/page"
next=$(jq -r .nextPageToken "$tmp/page")
is "$(jq -r '[.leases[].holder] | join(" ")' "$tmp/page")" "vm1 vm2" "page by page"
is "$(volume ListLeases "{\"pageSize\":2,\"pageToken\":\"$next\"}" | jq -r '([.leases[].holder] | join(" ")) + .nextPageToken')" vm3 "to the last one"
like "$(volume ListLeases "{\"tenantId\":\"test\",\"pageToken\":\"$next\"}")" invalid_argument "a token is good for its own list only"

# --- protocols
like "$(setpriv --reuid "$metald" --regid "$metald" --clear-groups curl -sS --unix-socket "$sock" --http2-prior-knowledge -H 'content-type: application/json' \
	-d '{}' http://x/builder.v1.VolumeService/ListLeases)" '"holder":"vm1"' "Connect over HTTP/2"
printf '\0\0\0\0\0' >"$tmp/empty"
curl -sS --unix-socket "$sock" --http2-prior-knowledge -H 'content-type: application/grpc' -H 'te: trailers' --data-binary "@$tmp/empty" \
	-D "$tmp/headers" http://x/builder.v1.VolumeService/ListLeases >"$tmp/answer"
like "$(cat "$tmp/headers")" 'grpc-status: 0' "gRPC"
ok "with its message" grep -qa vm3 "$tmp/answer"
curl -sS --unix-socket "$sock" -H 'content-type: application/grpc-web+proto' --data-binary "@$tmp/empty" http://x/builder.v1.VolumeService/ListLeases >"$tmp/answer"
ok "gRPC-Web" grep -qa 'grpc-status: 0' "$tmp/answer"
curl -sS -H 'content-type: application/grpc-web+proto' --data-binary "@$tmp/empty" "$url/builder.v1.VolumeService/ListLeases" >"$tmp/answer"
ok "which is refused over TCP" grep -qa 'grpc-status: 7' "$tmp/answer"
curl -sS --unix-socket "$sock" -H 'content-type: application/proto' --data-binary '' http://x/builder.v1.VolumeService/ListLeases >"$tmp/answer"
ok "Connect with protobuf" grep -qa vm3 "$tmp/answer"

# --- what is leased is kept
delete="{\"buildId\":\"$build_id\"}"
like "$(api DeleteBuild "$delete")" "\"failed_precondition\".*build $build_id is leased 3 times: lease_[^ ]* \\(vm1\\)" "DeleteBuild is refused"
like "$(api DeleteBuild "{\"buildId\":\"$build_id\",\"force\":true}")" failed_precondition "with force, too"
is "$(api GetBuild "$delete" | jq -r .build.state)" BUILD_STATE_COMPLETED "the build is what it was"
builderd_kill
ok "builderd is killed and starts again" builderd_start API_SOCKET="$sock" METALD_UID="$metald" JAIL_DIR="$jails"
is "$(volume ListLeases '{}' | jq -r '[.leases[].devicePath] | join(" ")')" "$p1 $p2 $p3" "the leases are there"
is "$(dd if="$p1" bs=1 skip=4096 count=3 status=none)" one "with what was written"
is "$(api GetBuild "$delete" | jq -r .build.state)" BUILD_STATE_COMPLETED "and the build"

# --- by hand
ctl() {
	timeout 60 "$build/builderctl" --socket "$sock" lease "$@"
}
like "$(ctl ls)" "vm2 +cow +$p2" "builderctl shows them"
out=$(ctl acquire "$build_id" by-hand --tenant test)
like "$out" "lease +lease_[0-9A-Z]{26}.*device +$state/tenants/test/vm/lease_.*init +/usr/bin/metald-init" "and acquires"
is "$(ctl release "$(sed -n 's/^lease *//p' <<<"$out")")" done "and releases"
fails "what is not there it does not" ctl release lease_01ARZ3NDEKTSV4RRFFQ69G5FAV
fails "nor does it know another mode" ctl acquire "$build_id" x --mode rw
fails "or action" ctl steal

# --- release
exec 7<>"$p2"
like "$(volume ReleaseRootfs "{\"leaseId\":\"$(lease vm2 .lease.leaseId)\"}")" "\"failed_precondition\".*is open in .*\\(pid $$\\)" "not while it is open: who is named"
ok "the jail keeps its file" test -e "$jails/vm2/root/rootfs.ext4"
exec 7>&-
for vm in vm1 vm2 vm3; do
	is "$(volume ReleaseRootfs "{\"leaseId\":\"$(lease $vm .lease.leaseId)\"}")" '{}' "$vm gives it back"
done
is "$(find "$state/tenants/test/vm" "$jails/vm2/root" -type f)" "" "its clones are gone, in the jail as well"
like "$(volume ReleaseRootfs "{\"leaseId\":\"$(lease vm1 .lease.leaseId)\"}")" not_found "a second time there is nothing to give back"
like "$(api DeleteBuild "$delete")" '"success":true' "now the build can be deleted"
is "$(cat "$state"/audit/* | jq -r 'select(.event == "storage_access" and (.reason | IN("leased", "released"))) | .reason + " " + .outcome' | sort -u | tr '\n' ',')" \
	"leased allowed,released allowed," "leases are in the audit log"
ok "which verifies" "$build/builderctl" audit verify "$state"/audit/*
builderd_stop
leaks_end
done_testing
