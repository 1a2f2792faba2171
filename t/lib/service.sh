# SPDX-License-Identifier: GPL-2.0-or-later
# builderd-api with a played builderd behind it (t/tools/fake-builderd). Source behind tap.sh.
#   service_start        starts both on a free port; $url is the service's methods' address, $base the server's; $service_tier_free: TIER_FREE
#                        (wide by default: these tests name registries that do not exist, and ask a lot)
#   admin ARG...         builderctl on the service's own socket
#   not_at_midnight      waits for the next day, if it is near
#   service_stop         SIGTERM to the played builderd: the channel closes, the service drains; $service_status its exit code
#   service_kill         SIGKILL to both, as a crash would
#   call METHOD JSON [CURL OPTIONS...]    one unary call, prints the answer
#   image REF            a CreateBuild body
#   field NAME           first value of a JSON member on stdin, strings and numbers
#   create REF [...]     CreateBuild, prints the id
#   wait_state ID STATE [TENANT]  until the build is in STATE; at most 10 s
state=$tmp/state
out=$tmp/out
service_pid=
uid_base=1795162112

service_start() {
	mkdir -p "$state/jobs" "$out"
	chown $((uid_base + 1)):$((uid_base + 1)) "$state/jobs"
	rm -f "$out/port"
	UNKEY_BUILDERD_TIER_FREE="${service_tier_free:-allowed_registries=* max_daily_builds=100000 requests_per_minute=1000000 request_burst=10000}" \
	UNKEY_BUILDERD_STATE_DIR=$state UNKEY_BUILDERD_ADDRESS=${service_address:-127.0.0.1} UNKEY_BUILDERD_PORT=0 \
		UNKEY_BUILDERD_UID_BASE=$uid_base BUILDERD_API=$build/builderd-api \
		timeout -k 5 120 "$build/t/tools/fake-builderd" "$out" >>"$tmp/service.log" 2>&1 &
	service_pid=$!
	cleanup "kill -TERM $service_pid; wait $service_pid"
	wait_for 10 test -s "$out/port" || { diag "$(tail -n 5 "$tmp/service.log")"; return 1; }
	base=http://127.0.0.1:$(cat "$out/port")
	url=$base/builder.v1.BuilderService
}

# Days are UTC days: what counts by the day must not begin in the last moments of one.
not_at_midnight() {
	local left=$((86400 - $(date +%s) % 86400))
	[ "$left" -gt 100 ] || sleep $((left + 1))
}

admin() {
	timeout 60 "$build/builderctl" --socket "$out/api.sock" "$@"
}

service_stop() {
	kill -TERM "$service_pid"
	wait "$service_pid"
	service_status=$?
}

service_kill() {
	local fake
	fake=$(pgrep -P "$service_pid")
	pkill -KILL -P "$fake"
	kill -KILL "$fake" 2>/dev/null
	wait "$service_pid"
}

call() {
	local method=$1 body=$2
	shift 2
	curl -sS -m 10 -H 'content-type: application/json' "$@" -d "$body" "$url/$method"
}

image() {
	printf '{"config":{"source":{"dockerImage":{"imageUri":"%s"}}}}' "$1"
}

field() {
	sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" | head -n 1
}

create() {
	local ref=$1
	shift
	call CreateBuild "$(image "$ref")" "$@" | grep -o '"buildId":"[^"]*"' | cut -d '"' -f 4
}

in_state() {
	curl -sS -m 5 ${3:+-H "x-tenant-id: $3"} "$url/GetBuildStatus/$1" | grep -q "\"state\":\"BUILD_STATE_$2\""
}

wait_state() {
	wait_for 10 in_state "$@"
}
