#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# grpc.health.v1 and the health routes of the service, while it serves and when it stops.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/service.sh"

service_start || exit
envelope() { # TEXT
	printf "\\0\\0\\0\\0\\x$(printf %02x ${#1})%s" "$1"
}
health() { # METHOD TEXT CURL_ARGS...: by gRPC in JSON, control characters as '.'
	envelope "$2" | curl -sS -m 10 --http2-prior-knowledge -i -H 'content-type: application/grpc+json' --data-binary @- "${@:3}" \
		"$base/grpc.health.v1.Health/$1" | tr -d '\r' | LC_ALL=C tr '\0-\11\13-\37\200-\377' .
}
serving() {
	health Check '{}' | grep -qaF '{"status":"SERVING"}'
}
ok 'Check of the server' wait_for 5 serving
like "$(health Check '{"service":"builder.v1.BuilderService"}')" 'SERVING.*grpc-status: 0' 'Check of the service'
like "$(health Check '{"service":"nothing.v1.Nothing"}')" 'grpc-status: 5' 'Check of a service that is not here'
is "$(curl -sS -m 10 -H 'content-type: application/json' -d '{}' "$base/grpc.health.v1.Health/Check")" '{"status":"SERVING"}' 'Check by Connect'
like "$(health Watch '{"service":"nothing.v1.Nothing"}' -H 'grpc-timeout: 300m')" 'SERVICE_UNKNOWN.*grpc-status: 4' 'Watch of a service that is not here stays'
is "$(curl -sS -m 10 "$base/health/storage" | grep -o '"status":"[a-z]*","backend":"[a-z]*"')" '"status":"healthy","backend":"fake"' '/health/storage'
is "$(curl -sS -m 10 "$base/livez")$(curl -sS -m 10 "$base/readyz")" okok '/livez, /readyz'

timeout 20 /usr/bin/python3 - "${base##*/}" >"$tmp/watch" 2>&1 <<'P' &
import sys
import grpc
call = grpc.insecure_channel(sys.argv[1]).unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=10)
try:
    for message in call:
        print(message.hex(), flush=True)
except grpc.RpcError as e:
    print(e.code().name)
P
watch=$!
if /usr/bin/python3 -c 'import grpc' 2>/dev/null; then
	ok 'Watch: SERVING' wait_for 5 grep -qx 0801 "$tmp/watch"
	service_stop
	wait $watch
	is "$(cat "$tmp/watch")" $'0801\n0802\nUNAVAILABLE' 'Watch: a stopping server says NOT_SERVING, then ends the stream as unavailable'
else
	service_stop
fi
is "$service_status" 0 'and ends'
done_testing
