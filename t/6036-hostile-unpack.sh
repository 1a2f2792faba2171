#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A builderd-unpack that was taken over: what breaks the message table ends it and fails its build, and nothing else.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
ip link set lo up || exit
leaks_begin

real=$build
build=$tmp/bin
mkdir "$build"
cp "$real"/builderd "$real"/builderd-api "$real"/builderd-fetch "$real"/builderd-fs "$real"/metald-init "$build"
unpacker() { # FILE: rename, so that a running one is left alone
	cp "$1" "$build/unpack.new" && mv "$build/unpack.new" "$build/builderd-unpack"
}
unpacker "$real/t/tools/hostile-unpack"
chmod 0711 "$tmp"
image_make good --cmd /x layer d:a f:a/b=1 >/dev/null
ok "builderd starts" builderd_start MAX_CONCURRENT_BUILDS=1

hostile() { # PLAN DESC REGEX
	echo "$1" >"$build/.hostile"
	build_run oci:layout:good >/dev/null
	is "$(build_get .state)" BUILD_STATE_FAILED "$2: FAILED"
	like "$(build_error)" "$3" "$2: says why"
}
hostile m "half a message" "builderd-unpack broke the protocol: malformed packet"
hostile u "an unlisted message" "builderd-unpack broke the protocol: unlisted message"
hostile o "another role's message" "builderd-unpack broke the protocol: not its message"
hostile w "a message of the wrong size" "builderd-unpack broke the protocol: wrong size"
hostile f "log lines without end" "does not stop talking"
hostile x "it exits" "killed: .*builderd-unpack exited with code 3"
ok "builderd stays small" test "$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$builderd_pid/status")" -lt 65536

echo h >"$build/.hostile"
ok "a build whose unpacker hangs starts" build_create oci:layout:good
sleep 1
before=$EPOCHREALTIME
api CancelBuild "{\"buildId\":\"$build_id\"}" >"$tmp/cancel.json"
ok "it ends when cancelled" build_wait 20
is "$(build_get .state)" BUILD_STATE_CANCELLED "as CANCELLED"
ok "within two seconds" awk -v a="$before" -v b="$EPOCHREALTIME" 'BEGIN { exit !(b - a < 2) }'

# One slot only: every build above gave it back.
unpacker "$real/builderd-unpack"
ok "with the real one the next build works" build_run oci:layout:good
is "$(build_get .state)" BUILD_STATE_COMPLETED "and completes"

# A build that ends while the API is away: the new API finds a free slot, and a waiting build runs.
build_create oci:layout:good >/dev/null
kill -KILL "$(pgrep -P "$builderd_pid" -x builderd-api)"
is "$(wait_for 20 builderd_up && echo up)" up "the API is started again"
builderd_stop
leaks_end
done_testing
