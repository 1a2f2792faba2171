#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# check: alone
# Memory of all processes together: idle, and at the peak of a build. Bounds on memory only: it does not depend on the load.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
if grep -q '^#define WITH_SANITIZE' "$build/config.h"; then
	is 1 1 "a sanitizer build has no bounds"
	done_testing
fi
leaks_begin

image_make big --cmd /x layer d:a $(for i in $(seq 20); do echo "n:a/noise$i=2000000"; done) layer n:more=30000000 \
	layer d:many $(seq -f f:many/%g=text 5000) >/dev/null
ok "builderd starts" builderd_start
ok "a registry" registry_start
ok "push" image_push big t/big:1
sleep 1
processes() {
	echo "$builderd_pid"
	pgrep -P "$builderd_pid"
}
rss() { # PID: KiB
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"
}
pss_all() { # shared pages are counted once, by their shares
	for pid in $(processes); do
		sed -n 's/^Pss:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/smaps_rollup" 2>/dev/null
	done | awk '{s += $1} END {print s + 0}'
}
below() { # WHAT VALUE-KIB LIMIT-KIB
	ok "$1: $2 KiB, below $3" test "$2" -gt 0 -a "$2" -lt "$3"
}
below "builderd idle" "$(rss "$builderd_pid")" 16384
below "builderd-api idle" "$(rss "$(pgrep -P "$builderd_pid" -x builderd-api)")" 16384
peak=0
ok "a build starts" build_create "$registry/t/big:1"
until build_ended; do
	now=$(pss_all)
	[ "$now" -le "$peak" ] || peak=$now
done
is "$(build_get .state)" BUILD_STATE_COMPLETED "and completes"
below "all processes during a build" "$peak" 98304
below "builderd after it" "$(rss "$builderd_pid")" 16384
below "builderd-api after it" "$(rss "$(pgrep -P "$builderd_pid" -x builderd-api)")" 16384
builderd_stop
leaks_end
done_testing
