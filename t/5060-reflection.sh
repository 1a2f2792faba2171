#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# gRPC reflection, v1 and v1alpha, by a stream that goes both ways at once: t/lib/reflect.py asks one thing, waits for the answer,
# asks the next; over the played builderd.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/service.sh"
leaks_begin
ok "the service starts" service_start
/usr/bin/python3 "$top/t/lib/reflect.py" "${base#http://}" v1 >"$tmp/v1" 2>&1
is "$?" 0 "v1: a conversation of several questions" || tap_show "$tmp/v1"
/usr/bin/python3 "$top/t/lib/reflect.py" "${base#http://}" v1alpha >"$tmp/v1alpha" 2>&1
is "$?" 0 "v1alpha: the same" || tap_show "$tmp/v1alpha"
for service in builder.v1.BuilderService grpc.health.v1.Health grpc.reflection.v1.ServerReflection grpc.reflection.v1alpha.ServerReflection; do
	ok "$service is listed and described" grep -qx "service $service" "$tmp/v1"
done
is "$(grep '^method builder.v1.BuilderService/' "$tmp/v1" | sort -u | wc -l)" 8 "all methods are described"
ok "what a file imports comes with it" grep -qx 'file google/protobuf/timestamp.proto' "$tmp/v1"
is "$(grep -c '^error' "$tmp/v1")" 3 "every service that is listed is described: only what is asked for in vain is an error" || tap_show "$tmp/v1"
for symbol in builder.v1.BuildJob builder.v1.BuildJob.build_id builder.v1.BuildState builder.v1.BuilderService.GetBuild google.protobuf.Timestamp; do
	ok "$symbol is found" grep -qx "symbol $symbol" "$tmp/v1"
done
ok "a symbol that is not there is an answer, not the end" grep -qx 'error 5 there is no symbol builder.v1.Nothing' "$tmp/v1"
ok "a prefix of a name is not the name" grep -qx 'error 5 there is no symbol builder.v1.BuildJo' "$tmp/v1"
ok "an empty question is an error" grep -qx 'error 3 the request asks for nothing' "$tmp/v1"
ok "a hundred questions at once, none read meanwhile, are all answered" grep -qx 'flood 100' "$tmp/v1"
is "$(grep -c '^end OK' "$tmp/v1")" 2 "the streams end well"
service_stop
is "$service_status" 0 "the service ends"
export UNKEY_BUILDERD_REFLECTION=false
ok "the service starts without it" service_start
/usr/bin/python3 "$top/t/lib/reflect.py" "${base#http://}" v1 >"$tmp/off" 2>&1
is "$?" 1 "it can be switched off"
like "$(cat "$tmp/off")" 'UNIMPLEMENTED.*REFLECTION=true' "and says so"
service_stop
leaks_end
done_testing
