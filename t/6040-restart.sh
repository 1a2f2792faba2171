#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd is killed in the middle of a build: nothing is lost, nothing stays behind.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
leaks_begin

image_make slow --cmd /x layer=none d:a n:a/noise=150000000 >/dev/null
image_make good --cmd /x layer d:a f:a/b=1 >/dev/null
ok "builderd starts" builderd_start
ok "a build completes" build_run oci:layout:good
good=$build_id
rootfs=$(build_get .rootfsPath)
sum=$(sha256sum <"$rootfs")
at() { # STATE
	build_ended
	[ "$(jq -r .build.state "$tmp/answer.json")" = "BUILD_STATE_$1" ] || [ -e "$tmp/build.json" ]
}

for state_wanted in PULLING EXTRACTING; do
	files=$(find "$state" -name '*.ext4*' | sort)
	rm -f "$tmp/build.json"
	ok "a build starts" build_create oci:layout:slow
	ok "and reaches $state_wanted" wait_for 30 at $state_wanted
	builderd_kill
	leaks_wait() { [ -z "$(leaks_list | grep '^process')" ]; }
	ok "with builderd killed its children end" wait_for 10 leaks_wait
	ok "builderd starts again" builderd_start
	is "$(find "$state" -name '*.ext4*' | sort)" "$files" "the unfinished volume is gone"
	ok "the build has an end" build_wait 60
	is "$(build_get .state)" BUILD_STATE_FAILED "the build that was running is FAILED"
	like "$(build_error)" "^restarted: " "and says why"
	build_id=$good
	ok "the finished one" build_wait
	is "$(build_get .state) $(sha256sum <"$rootfs")" "BUILD_STATE_COMPLETED $sum" "is what it was"
	ok "the next build works" build_run oci:layout:good "{\"runtimeConfig\":{\"command\":[\"after $state_wanted\"]}}"
done

# A stop by request ends a running build in good order.
rm -f "$tmp/build.json"
ok "a build starts" build_create oci:layout:slow
slow=$build_id
ok "builderd is asked to stop" builderd_stop
ok "builderd starts again" builderd_start
build_id=$slow
ok "the build has an end" build_wait 60
like "$(build_get .state) $(build_error)" "COMPLETED|FAILED restarted: " "finished within the deadline, or FAILED as restarted"
ok "a second builderd on the same state is refused" bash -c "
	! env UNKEY_BUILDERD_PORT=0 UNKEY_BUILDERD_STATE_DIR='$state' timeout 10 '$build/builderd' >'$tmp/second' 2>&1"
like "$(cat "$tmp/second")" "is in use by another builderd" "with the reason"
ok "builderd stops" builderd_stop
leaks_end
done_testing
