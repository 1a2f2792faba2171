#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# gRPC by a client of gRPC's own (grpcio) and by raw frames; gRPC-Web over both HTTP versions.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/echo.sh"

/usr/bin/python3 -c 'import grpc, google.protobuf' 2>/dev/null || skip 'python3-grpcio is not installed'
protoc -I "$top" -I "$top/proto" --python_out="$tmp" t/tools/echo.proto || exit
echo_start body=1000 origins=https://a.example,http://b.example:81
grpc() { # METHOD JSON [OPTION...]: what grpcio says
	PYTHONPATH=$tmp timeout 20 /usr/bin/python3 "$top/t/lib/grpcall.py" "$port" "$@" 2>&1
}

is "$(grpc Echo '{"small":5}' meta=x-echo:ping)" $'{"small": 5}\nping OK' 'a unary call, headers in and out'
is "$(grpc Echo '{"small":5}' gzip)" $'{"small": 5}\nnone OK' 'a compressed request'
is "$(grpc Count '{"count":2}' stream)" $'{"number": 1}\n{"number": 2}\nOK' 'a stream'
is "$(grpc Count '{}' stream)" OK 'a stream without messages'
is "$(grpc Count '{"count":1,"fail":5}' stream)" $'{"number": 1}\nNOT_FOUND failed as asked after 1' 'a stream that fails'
is "$(grpc Count '{"count":500,"size":10000}' stream | tail -n 1)" OK '5 MB with back-pressure'
n=0
for c in CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED \
	FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED; do
	n=$((n + 1))
	is "$(grpc Fail "{\"fail\":$n}")" "$c failed \"as asked\" with $n" "code $n is $c"
done
like "$(grpc Fail '{"fail":8,"count":3}' | tail -n 1)" \
	"^08081218.*$(printf 'type.googleapis.com/echo.v1.CountRequest' | od -An -v -tx1 | tr -d ' \n')120408031008\$" 'details are a google.rpc.Status'
is "$(grpc Nothing '{}')" 'UNIMPLEMENTED there is no method /echo.v1.EchoService/Nothing' 'an unknown method'
is "$(grpc Echo "{\"text\":\"$(printf %0996d 1)\"}" | tail -n 1)" 'none OK' 'a message near the limit'
is "$(grpc Echo "{\"text\":\"$(printf %01100d 1)\"}")" 'RESOURCE_EXHAUSTED the message is over the limit of 1000 bytes' 'a message over it'
is "$(grpc Echo "{\"text\":\"$(printf %02000d 1)\"}" gzip)" 'RESOURCE_EXHAUSTED the message is over the limit of 1000 bytes' '... or that grows over it'
like "$(grpc Sleep '{"delayMs":5000}' timeout=0.3)" ^DEADLINE_EXCEEDED 'a deadline'
ok '... is told to the method' wait_for 2 grep -q 'cancelled echo.v1.EchoService/Sleep' "$tmp/echo.err"
like "$(grpc Count '{"count":-1}' stream cancel=1)" $'^\\{\\}\nCANCELLED' 'a stream that its client cancels'
ok '... is told to the method' wait_for 2 grep -q 'cancelled echo.v1.EchoService/Count' "$tmp/echo.err"

envelope() { # FLAGS TEXT
	local n=${#2}
	printf "\\x$1\\0\\0\\x$(printf %02x $((n / 256)))\\x$(printf %02x $((n % 256)))"
	printf %s "$2"
}
post() { # TYPE METHOD CURL_ARGS..., the body on stdin; control characters become '.'
	local type=$1 method=$2
	shift 2
	call -i -H "content-type: $type" --data-binary @- "$@" "$rpc/$method" | tr -d '\r' | grep -av ^date: | LC_ALL=C tr '\0-\11\13-\37\200-\377' .
}
h2=--http2-prior-knowledge
j=application/grpc+json
want='HTTP/2 200 
grpc-accept-encoding: identity,gzip
x-echo: none
content-type: application/grpc+json

.....{"small":5}grpc-status: 0'
is "$(envelope 00 '{"small":5}' | post $j Echo $h2)" "$want" 'JSON in envelopes, the status behind them'
like "$(envelope 00 '{"fail":5}' | post $j Fail $h2)" $'^HTTP/2 200 \n.*grpc-status: 5\ngrpc-message: failed "as asked" with 5\ncontent-type: application/grpc\\+json$' \
	'an error has no body, the status is in the headers'
like "$(envelope 01 '{}' | post $j Echo $h2)" 'grpc-status: 13' 'compressed without saying how: INTERNAL'
like "$(envelope 01 '{}' | post $j Echo $h2 -H 'grpc-encoding: gzip')" 'grpc-status: 3' 'broken gzip'
like "$(envelope 00 '{}' | post $j Echo $h2 -H 'grpc-encoding: br')" 'grpc-accept-encoding: identity,gzip.*grpc-status: 12.*unknown compression' 'another compression'
like "$(post $j Echo $h2 </dev/null)" 'grpc-status: 12.*the request has none' 'no message'
like "$( (envelope 00 '{}'; envelope 00 '{}') | post $j Echo $h2)" 'grpc-status: 12.*the request has more' 'two messages'
like "$(envelope 00 '{"count":1}' | head -c 9 | post $j Count $h2)" 'grpc-status: 3.*ends inside an envelope' 'a cut envelope'
like "$(envelope 00 '{"ä%":1,"small":"ä%\n"}' | post $j Echo $h2)" 'grpc-message: [ -~]*%C3%A4%25' 'grpc-message is percent-encoded'
for bad in 123456789S 1 S 1x 1mm -1S; do
	like "$(envelope 00 '{}' | post $j Echo $h2 -H "grpc-timeout: $bad")" 'grpc-status: 3' "grpc-timeout '$bad'"
done
for good in 99999999H 1M 5S 5000m 5000000u 99999999n; do
	like "$(envelope 00 '{}' | post $j Echo $h2 -H "grpc-timeout: $good")" 'grpc-status: 0' "grpc-timeout $good"
done
like "$(envelope 00 '{"delayMs":5000}' | post $j Sleep $h2 -H 'grpc-timeout: 100000u')" 'grpc-status: 4' 'a deadline of 100000 microseconds'
like "$(envelope 00 '{}' | post application/grpc Echo --http1.1)" '^HTTP/1.1 505.*needs HTTP/2' 'gRPC over HTTP/1.1 is refused'
like "$(envelope 00 '{}' | post application/grpc+thrift Echo)" '^HTTP/1.1 415.*accept-post: .*application/grpc\+json' 'another codec: 415'

for h in --http1.1 $h2; do
	for type in application/grpc-web application/grpc-web+proto; do
		is "$(printf '\0\0\0\0\2\x10\5' | call $h -H "content-type: $type" --data-binary @- "$rpc/Echo" | od -An -v -tx1 | tr -d ' \n')" \
			"0000000002""1005""8000000010$(printf 'grpc-status: 0\r\n' | od -An -v -tx1 | tr -d ' \n')" "$h: $type"
	done
	j=application/grpc-web+json
	like "$(envelope 00 '{"count":2}' | post $j Count $h)" 'content-type: application/grpc-web\+json.*number.:1\}.*number.:2\}.*grpc-status: 0.?$' "$h: a stream"
	like "$(envelope 00 '{"count":1,"fail":5}' | post $j Count $h)" $'number.:1\\}.*grpc-status: 5\ngrpc-message: failed as asked after 1$' "$h: a stream that fails"
	like "$(envelope 00 '{"fail":5}' | post $j Fail $h)" $'HTTP/[0-9.]* 200 .*\n\n.*grpc-status: 5\ngrpc-message: failed "as asked" with 5$' "$h: an error"
	like "$(envelope 00 '{}' | post $j Nothing $h)" 'grpc-status: 12' "$h: an unknown method"
done

preflight() { # ORIGIN CURL_ARGS...
	call -i -X OPTIONS -H "Origin: $1" -H 'Access-Control-Request-Method: POST' -H 'Access-Control-Request-Headers: content-type,x-grpc-web' \
		"${@:2}" "$rpc/Echo" | tr -d '\r'
}
for h in --http1.1 $h2; do
	like "$(preflight http://b.example:81 $h)" '^HTTP/[0-9.]* 204.*access-control-allow-methods: GET, POST.*allow-headers: content-type,x-grpc-web.*allow-origin: http://b.example:81' \
		"$h: a preflight from a page that may"
	answer=$(preflight http://c.example $h)
	like "$answer" '^HTTP/[0-9.]* 403.*http://c.example' "$h: from one that may not"
	unlike "$answer" allow-origin "$h: ... which is not told that it may"
done
like "$(envelope 00 '{}' | post application/grpc-web+json Echo -H 'Origin: https://a.example')" $'vary: Origin\naccess-control-allow-origin: https://a.example\naccess-control-expose-headers' \
	'it may read the answer'
unlike "$(envelope 00 '{}' | post application/grpc-web+json Echo -H 'Origin: https://a.example.org')" allow-origin 'another may not'

script() { # PYTHON on stdin
	PYTHONPATH=$top/t/lib timeout 20 python3 - "$port" 2>&1
}
is "$(script <<'P'
from h2 import *
import sys
c = Client(sys.argv[1])
# A client that has said all gets trailers and no reset.
c.request(3, "POST", "/echo.v1.EchoService/Echo", ("content-type", "application/grpc"), ("te", "trailers"), end=False)
c.send(DATA, END_STREAM, 3, b"\0\0\0\0\2\x10\5")
print(c.wait(HEADERS, 3)[1] & END_STREAM, c.wait(DATA, 3)[3].hex(), c.wait(HEADERS, 3)[1] & END_STREAM)
c.send(PING, 0, 0, b"12345678")
print(NAMES[c.recv()[0]])
# One that goes on sending when its call has failed is told so, politely.
c.request(5, "POST", "/echo.v1.EchoService/Echo", ("content-type", "application/grpc"), end=False)
c.send(DATA, 0, 5, b"\0\0\0\x20\0" + b"x" * 5000)
print(c.wait(HEADERS, 5)[1] & END_STREAM, int.from_bytes(c.wait(RST, 5)[3], "big"))
P
)" $'0 00000000021005 1\nPING\n1 0' 'trailers end the stream; RST_STREAM(NO_ERROR) if the client has not'

(grpc Count '{"count":-1}' stream >"$tmp/drained") &
client=$!
(grpc Sleep '{"delayMs":500}' >"$tmp/slept") &
client2=$!
sleep 1.5
kill $pid
wait $client $client2
is "$(cat "$tmp/drained")" $'{}\nUNAVAILABLE the server is shutting down' 'drain: streams end with UNAVAILABLE'
is "$(cat "$tmp/slept")" $'{"number": 1}\nOK' 'unary calls are finished'
wait $pid
is $? 0 'and the server ends by itself'
done_testing
