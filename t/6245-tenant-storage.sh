#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds of one tenant that run at once share its storage: to the byte, while they run, and a higher limit counts at once.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
leaks_begin

MB=1048576
for i in 1 2 3 4; do
	image_make "m$i" --cmd /x layer=none "n:data$i=$((10 * MB))" layer=none "n:more$i=$((5 * MB))" >/dev/null
done
image_make big --cmd /x layer=none "n:big=$((40 * MB))" >/dev/null
admin() { timeout 60 "$build/builderctl" --socket "$tmp/state/api.sock" "$@"; }
ok "builderd starts" builderd_start
ok "a tenant with 35 MiB" admin tenant add test --tier pro --limit max_storage_bytes=$((35 * MB)) --limit max_concurrent_builds=4

together() { # TAG...: start all, wait for all; their outcomes, sorted
	local ids=() id tag
	for tag; do
		build_create "oci:layout:$tag" >&2 || return
		ids+=("$build_id")
	done
	for id in "${ids[@]}"; do
		build_id=$id
		build_wait >&2 || return
		jq -r '"\(.state) \(.errorMessage // "" | split(":") | .[0] // "")"' "$tmp/build.json"
		jq -r '.errorMessage // empty' "$tmp/build.json" >>"$tmp/errors"
	done | sort
}
# 16 MiB each with what every rootfs has: two fit, though each is granted 16 MiB ahead of what it uses.
is "$(together m1 m2)" "$(printf 'BUILD_STATE_COMPLETED %s\n' '' '')" "two builds at once that fit together" ||
	diag "$(cat "$tmp/errors")"
stored=$(api GetTenantQuotas '{}' | jq -r .currentUsage.storageBytesUsed)
like "$stored" '^3[0-9]{7}$' "stored: $stored"
is "$(together m3 m4)" "$(printf 'BUILD_STATE_FAILED %s\n' quota-bytes quota-bytes)" "two that do not"
like "$(sort -u "$tmp/errors")" "the tenant's storage is used up" "met while they were unpacked"

ok "room for one more" admin tenant set test --limit max_storage_bytes=$((52 * MB))
like "$(together m3 m4 | xargs)" '^BUILD_STATE_(COMPLETED|FAILED quota-bytes) BUILD_STATE_FAILED quota-bytes$' "not for both of two at once"
stored=$(api GetTenantQuotas '{}' | jq -r .currentUsage.storageBytesUsed)
like "$((stored <= 52 * MB))" 1 "no more is stored than the limit: $stored"

ok "a lot of room" admin tenant set test --limit max_storage_bytes=$((200 * MB))
is "$(together big m4)" "$(printf 'BUILD_STATE_COMPLETED %s\n' '' '')" "and now the others build"
builderd_stop
leaks_end
done_testing
