#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# /metrics and /stats: well-formed before the first build and behind it, and right.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/service.sh"

service_start || exit
metrics() {
	curl -sS -m 10 "$base/metrics"
}
strict() {
	metrics | python3 "$top/t/lib/promcheck.py"
}
value() { # SERIES: its value in $tmp/now
	awk -v s="$1" '$1 == s {print $2}' "$tmp/now"
}

ok 'well-formed when nothing has happened' strict
is "$(metrics | grep -c '^builderd_builds_total{')" 0 'no build, no series of it'
good=$(create r/x:1)
ok 'a build' wait_state "$good" COMPLETED
bad=$(create r.example/fail:1)
ok 'one that fails' wait_state "$bad" FAILED
hang=$(create r.example/hang:1)
ok 'one that hangs' wait_state "$hang" BUILDING
create r.example/hang:2 >/dev/null
metrics >"$tmp/now"
is "$(value builderd_active_builds) $(value builderd_queued_builds)" '1 1' 'gauges: one active, one waits'
is "$(call CancelBuild "{\"buildId\":\"$hang\"}" | grep -c success)" 1 'cancel it'
ok '... it ends' wait_state "$hang" CANCELLED
call GetBuild '{"buildId":"build_00000000000000000000000000"}' >/dev/null
curl -sS -m 10 -o /dev/null --http2-prior-knowledge -H 'content-type: application/grpc' -d x "$base/a.B/$RANDOM"

is "$(metrics | tee "$tmp/now" | python3 "$top/t/lib/promcheck.py" | sed 's/[0-9]*//g')" ' families,  samples' 'well-formed afterwards'
like "$(curl -sS -m 10 -I "$base/metrics" | tr -d '\r')" 'content-type: text/plain; version=0.0.4; charset=utf-8' 'the type says so'
builds() {
	value "builderd_builds_total{status=\"$1\",source_type=\"docker_image\",tier=\"free\"}"
}
is "$(builds completed) $(builds failed) $(builds cancelled)" '1 1 1' 'builds by their end'
is "$(value builderd_rootfs_size_bytes_sum) $(value builderd_rootfs_size_bytes_count)" '100000 1' 'size of the product'
is "$(value builderd_build_duration_seconds_count)" 1 'only what completed has a duration'
rpc() { # METHOD CODE
	value "rpc_server_requests_total{method=\"$1\",code=\"$2\"}"
}
is "$(rpc builder.v1.BuilderService/CreateBuild ok)" 4 'calls of CreateBuild'
is "$(rpc builder.v1.BuilderService/GetBuild not_found)" 1 'one that was not found'
is "$(rpc unknown unimplemented)" 1 'unknown methods are one series'
is "$(value 'rpc_server_duration_seconds_count{method="builder.v1.BuilderService/CreateBuild"}')" 4 'each has a duration'
unlike "$(cat "$tmp/now")" 'r/x|r.example|default|acme' 'nothing of tenants or images'
like "$(curl -sS -m 10 "$base/stats")" '"builds":\{"running":1,"queued":0,"slots":5,"completed":1,"failed":1,"cancelled":1,"average_seconds":[0-9.]+\}' '/stats'
ok '... is JSON' sh -c "curl -sS -m 10 $base/stats | jq -e .storage.total_bytes"
service_stop
is "$service_status" 0 'and ends'
done_testing
