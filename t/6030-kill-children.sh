#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A child that dies takes its build along and nothing else.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
leaks_begin

# One big layer that does not compress: time enough to catch each child at work.
image_make slow --cmd /x layer=none d:a n:a/noise=150000000 n:a/more=150000000 >/dev/null
image_make good --cmd /x layer d:a f:a/b=1 >/dev/null
ok "builderd starts" builderd_start
builderd_children() {
	pgrep -P "$builderd_pid" -x "$1"
}
builderd_has() { # prints its pids
	builderd_children "$1" || build_ended
}

n=0
for kind in fetch fs unpack; do
	n=$((n + 1))
	rm -rf "${state:?}"/tenants/*/chains # so that the layer is unpacked each time
	begun=$SECONDS
	ok "a build starts" build_create oci:layout:slow '{"runtimeConfig":{"command":["'"$n"'"]}}'
	# Stopped in the moment it is seen, it does not end by itself before it is killed.
	until builderd_has "builderd-$kind" >"$tmp/pid" || [ $((SECONDS - begun)) -gt 30 ]; do :; done
	pid=$(head -n 1 "$tmp/pid")
	kill -STOP "$pid"
	ok "builderd-$kind ($pid) is killed" kill -KILL "$pid"
	ok "its build ends" build_wait 30
	is "$(build_get .state)" BUILD_STATE_FAILED "as FAILED"
	like "$(build_error)" "^killed: .*builderd-$kind .*killed by signal 9" "and the reason names the child"
	ok "builderd lives" kill -0 "$builderd_pid"
	ok "the next build works" build_run oci:layout:good '{"runtimeConfig":{"command":["after '"$kind"'"]}}'
done

ok "a build starts" build_create oci:layout:slow
pid=$(builderd_children builderd-api)
ok "builderd-api ($pid) is killed" kill -KILL "$pid"
is_back() {
	[ "http://127.0.0.1:$(builderd_port)" != "$url" ]
}
ok "and comes back" wait_for 20 is_back
url=http://127.0.0.1:$(builderd_port)
ok "the build has an end" build_wait 60
like "$(build_get .state)" 'COMPLETED|FAILED' "that can be read: $(build_get .state) $(build_error)"
ok "the next build works" build_run oci:layout:good '{"runtimeConfig":{"command":["after api"]}}'
ok "the killed builds are still listed" test "$(api ListBuilds '{}' | jq '.builds | length')" -ge 8
ok "builderd stops" builderd_stop
leaks_end
done_testing
