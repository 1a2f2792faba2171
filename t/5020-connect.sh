#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The Connect protocol over both HTTP versions: unary, GET, streams, errors, time-outs, compression, limits.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/echo.sh"

echo_start body=1000
json='content-type: application/json'
envelope() { # FLAGS TEXT
	local n=${#2}
	printf "\\x$1\\0\\0\\x$(printf %02x $((n / 256)))\\x$(printf %02x $((n % 256)))"
	printf %s "$2"
}
stream() { # CURL_ARGS, envelopes on stdin; envelope headers as [flags]
	call -H 'content-type: application/connect+json' --data-binary @- "$@" |
		python3 -c 'import sys
b = sys.stdin.buffer.read()
while len(b) >= 5:
    n = int.from_bytes(b[1:5], "big")
    sys.stdout.write("[%d]%s" % (b[0], b[5:5 + n].decode()))
    b = b[5 + n:]
sys.stdout.write(b.decode())'
}
status='%{http_code} %{content_type}'

for h in --http1.1 --http2-prior-knowledge; do
	is "$(call $h -H "$json" -d '{"when_it_was":"2024-01-01T00:00:00Z","large":7}' "$rpc/Echo")" \
		'{"large":"7","whenItWas":"2024-01-01T00:00:00Z"}' "$h: JSON"
	is "$(printf '\x0a\x02hi\x50\x01' | call $h -H 'content-type: application/proto' --data-binary @- "$rpc/Echo" | od -An -tx1)" \
		' 0a 02 68 69 50 01' "$h: binary"
	is "$(call $h -H "$json" -X POST "$rpc/Echo")" '{}' "$h: no body is an empty message"
	is "$(call $h -H "$json" -H 'x-extra: 1' -d '{"flag":true}' "$rpc/Echo")" '{"flag":true,"extra_member":1}' "$h: members of the method's own"
	is "$(call $h -H "$json" -H 'x-extra: 1' -d '{}' "$rpc/Echo")" '{"extra_member":1}' "$h: ... also alone"
	like "$(call $h -i -H "$json" -H 'X-Echo: ping' -d '{}' "$rpc/Echo" | tr -d '\r')" 'x-echo: ping' "$h: headers in and out"
	is "$(envelope 00 '{"count":2}' | stream $h "$rpc/Count")" '[0]{"number":1}[0]{"number":2}[2]{}' "$h: a stream"
	is "$(envelope 00 '{"count":1,"fail":5}' | stream $h "$rpc/Count")" \
		'[0]{"number":1}[2]{"error":{"code":"not_found","message":"failed as asked after 1"}}' "$h: a stream that fails"
	is "$(envelope 00 '{"count":500,"size":10000}' | stream $h "$rpc/Count" | wc -c)" 5014897 "$h: 5 MB with back-pressure"
done

is "$(call "$rpc/Echo?connect=v1&encoding=json&message=%7B%22small%22%3A5%7D")" '{"small":5}' 'GET'
is "$(call "$rpc/Echo?connect=v1&encoding=json&base64=1&message=eyJzbWFsbCI6NX0")" '{"small":5}' 'GET, base64'
is "$(call -w ' %{http_code}' "$rpc/Echo?connect=v2&encoding=json&message=%7B%7D")" \
	'{"code":"invalid_argument","message":"Connect protocol version \"v2\" is not v1"} 400' 'GET, unknown version'
is "$(call -o /dev/null -w "%{http_code}" "$rpc/Fail?connect=v1&encoding=json&message=%7B%7D")" 405 'GET of a method with side effects'
like "$(call -i "$rpc/Fail" | tr -d '\r')" '405.*allow: POST' '405 with Allow'

is "$(call -w " $status" -H 'content-type: text/plain' -d '{}' "$rpc/Echo" | tail -c 20)" '415 application/json' '415'
like "$(call -i -H 'content-type: text/plain' -d '{}' "$rpc/Echo")" 'accept-post: application/json, application/proto' '... with Accept-Post'
is "$(call -o /dev/null -w '%{http_code}' -H "$json" -d '{}' "$rpc/Count")" 415 'a unary type for a stream'
is "$(call -o /dev/null -w '%{http_code}' -H 'content-type: application/connect+json' -d '{}' "$rpc/Echo")" 415 'a stream type for a unary method'
is "$(call -o /dev/null -w '%{http_code}' -H 'Content-Type: Application/JSON; charset=utf-8' -d '{}' "$rpc/Echo")" 200 'case and parameters of the type do not count'
is "$(call -w " $status" -H "$json" -d '{}' "$rpc/Nothing")" \
	'{"code":"unimplemented","message":"there is no POST /echo.v1.EchoService/Nothing"} 404 application/json' 'unknown method'

codes='1:499:canceled 2:500:unknown 3:400:invalid_argument 4:504:deadline_exceeded 5:404:not_found 6:409:already_exists
7:403:permission_denied 8:429:resource_exhausted 9:400:failed_precondition 10:409:aborted 11:400:out_of_range
12:501:unimplemented 13:500:internal 14:503:unavailable 15:500:data_loss 16:401:unauthenticated'
for c in $codes; do
	IFS=: read -r number http name <<<"$c"
	is "$(call -w " $status" -H "$json" -d "{\"fail\":$number}" "$rpc/Fail")" \
		"{\"code\":\"$name\",\"message\":\"failed \\\"as asked\\\" with $number\"} $http application/json" "$name is $http"
done
is "$(call -H "$json" -d '{"fail":8,"count":3}' "$rpc/Fail")" \
	'{"code":"resource_exhausted","message":"failed \"as asked\" with 8","details":[{"type":"echo.v1.CountRequest","value":"CAMQCA","debug":{"count":3,"fail":8}}]}' 'details'
is "$(printf '\x10\x05' | call -w " $status" -H 'content-type: application/proto' --data-binary @- "$rpc/Fail")" \
	'{"code":"not_found","message":"failed \"as asked\" with 5"} 404 application/json' 'errors of a binary call are JSON'
like "$(call -H "$json" -d '{"small":"x"}' "$rpc/Echo")" '"invalid_argument","message":"echo.v1.Everything: small: ' 'a wrong value'
like "$(printf '\x0a\x01\xff' | call -H 'content-type: application/proto' --data-binary @- "$rpc/Echo")" 'not valid UTF-8' 'UTF-8 in the binary form'

is "$(stream "$rpc/Count" </dev/null)" \
	'[2]{"error":{"code":"unimplemented","message":"echo.v1.EchoService/Count takes exactly one request message, the request has none"}}' 'a stream without a message'
like "$( (envelope 00 '{}'; envelope 00 '{}') | stream "$rpc/Count")" '"unimplemented".*the request has more' 'a stream with two'
like "$(envelope 00 '{"count":1}' | head -c 9 | stream "$rpc/Count")" 'ends inside an envelope' 'a cut envelope'
like "$(envelope 04 '{}' | stream "$rpc/Count")" 'unknown flags 0x04' 'unknown flags'
like "$(envelope 01 '{}' | stream "$rpc/Count")" '"internal".*marked compressed' 'compressed without saying how'

is "$(printf '{"small":5}' | gzip | call -H "$json" -H 'content-encoding: gzip' --data-binary @- "$rpc/Echo")" '{"small":5}' 'gzip'
is "$(call -w ' %{http_code}' -H "$json" -H 'content-encoding: br' -d '{}' "$rpc/Echo")" \
	'{"code":"unimplemented","message":"unknown compression \"br\": supported encodings are identity, gzip"} 501' 'another compression'
like "$(printf junk | call -H "$json" -H 'content-encoding: gzip' --data-binary @- "$rpc/Echo")" 'invalid_argument.*gzip' 'broken gzip'
like "$(printf '{"text":"%02000d"}' 0 | gzip | call -H "$json" -H 'content-encoding: gzip' --data-binary @- "$rpc/Echo")" \
	'resource_exhausted.*limit of 1000 bytes' 'gzip that grows over the limit'
is "$(printf '{"text":"%0989d"}' 0 | call -o /dev/null -w '%{http_code}' -H "$json" --data-binary @- "$rpc/Echo")" 200 'a message of the limit'
is "$(printf '{"text":"%0990d"}' 0 | call -o /dev/null -w '%{http_code}' -H "$json" --data-binary @- "$rpc/Echo")" 429 'one byte more'
like "$(printf '{"text":"%09900d"}' 0 | call -H "$json" --data-binary @- "$rpc/Echo")" 'resource_exhausted' 'far more'

is "$(call -w ' %{http_code}' -H "$json" -H 'Connect-Timeout-Ms: 100' -d '{"delayMs":5000}' "$rpc/Sleep")" \
	'{"code":"deadline_exceeded","message":"the deadline that the request set has passed"} 504' 'the deadline of a request'
ok '... is told to the method' grep -q 'cancelled echo.v1.EchoService/Sleep' "$tmp/echo.err"
like "$(envelope 00 '{"count":-1}' | stream -H 'Connect-Timeout-Ms: 100' "$rpc/Count")" '"deadline_exceeded"' 'of a stream'
is "$(call -o /dev/null -w '%{http_code}' -H "$json" -H 'Connect-Timeout-Ms: 12345678901' -d '{}' "$rpc/Echo")" 400 'eleven digits'
is "$(call -H "$json" -H 'Connect-Protocol-Version: 1' -H 'Connect-Timeout-Ms: 9999999999' -d '{"delayMs":100}' "$rpc/Sleep")" '{"number":1}' 'answered later'
: >"$tmp/echo.err"
timeout 0.3 curl -sS -H "$json" -d '{"delayMs":5000}' "$rpc/Sleep" >/dev/null 2>&1
ok 'a caller that goes away is told to the method' wait_for 2 sh -c "[ \$(grep -c cancelled $tmp/echo.err) = 1 ]"

(envelope 00 '{"count":-1}' | stream "$rpc/Count" >"$tmp/drained") &
client=$!
(call --http2-prior-knowledge -H "$json" -d '{"delayMs":500}' "$rpc/Sleep" >"$tmp/slept") &
client2=$!
sleep 0.3
kill $pid
wait $client $client2
is "$(cat "$tmp/drained")" '[0]{}[2]{"error":{"code":"unavailable","message":"the server is shutting down"}}' 'drain: streams end with unavailable'
is "$(cat "$tmp/slept")" '{"number":1}' 'drain: unary calls are finished'
wait $pid
is $? 0 'and the server ends by itself'
done_testing
