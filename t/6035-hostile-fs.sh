#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A builderd-fs that was taken over leads builderd to no file of the host, and harms its own build only.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
ip link set lo up || exit
leaks_begin

real=$build
build=$tmp/bin
mkdir "$build"
cp "$real"/builderd "$real"/builderd-api "$real"/builderd-fetch "$real"/builderd-unpack "$real"/metald-init "$build"
cp "$real/t/tools/hostile-fs" "$build/builderd-fs"
chmod 0711 "$tmp"
image_make good --cmd /x layer d:a f:a/b=1 >/dev/null
echo "do not touch" >"$tmp/victim"
ok "builderd starts" builderd_start

hostile() { # PLAN DESC REGEX
	printf '%s\n' "$1" >"$build/.hostile"
	build_run oci:layout:good >/dev/null
	is "$(build_get .state)" BUILD_STATE_FAILED "$2: FAILED"
	like "$(build_error)" "$3" "$2: says why"
	is "$(cat "$tmp/victim")" "do not touch" "$2: the host's file is as it was"
}
hostile "l$tmp/victim" "an absolute link" "ingest file"
hostile "l../../../../../../../../../../../..$tmp/victim" "a relative link" "ingest file"
hostile "l/proc/self/fd/3" "a magic link" "ingest file"
hostile "d" "a directory" "ingest file"
hostile "f" "a fifo" "ingest file"

printf 's\n' >"$build/.hostile"
ok "a build with a silent one starts" build_create oci:layout:good
sleep 1
before=$EPOCHREALTIME
api CancelBuild "{\"buildId\":\"$build_id\"}" >"$tmp/cancel.json"
ok "it ends when cancelled" build_wait 20
is "$(build_get .state)" BUILD_STATE_CANCELLED "as CANCELLED"
ok "within two seconds" awk -v a="$before" -v b="$EPOCHREALTIME" 'BEGIN { exit !(b - a < 2) }'

cp -f "$real/builderd-fs" "$build/builderd-fs.new" && mv "$build/builderd-fs.new" "$build/builderd-fs"
ok "with the real one the next build works" build_run oci:layout:good
is "$(build_get .state)" BUILD_STATE_COMPLETED "and completes"
builderd_stop
leaks_end
done_testing
