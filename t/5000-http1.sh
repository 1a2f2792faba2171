#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# HTTP/1.1 on a real connection: what is refused, pipelining, keep-alive, files, limits and timers.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/echo.sh"

head -c 3000000 /dev/urandom >"$tmp/file"
echo_start header_ms=800 body_ms=800 idle_ms=1500 stall_ms=1000 body=1000 "$tmp/file"
health='GET /health HTTP/1.1\r\nHost: h\r\n'

like "$(printf "$health\r\n" | raw 0.3)" 'HTTP/1.1 200 OK.*content-length: 5.*fine.*<open>' 'the connection stays open'
like "$(printf "${health}Connection: close\r\n\r\n" | raw 3)" 'connection: close.*fine.*<end>' 'Connection: close is honoured'
like "$(printf 'GET /health HTTP/1.0\r\n\r\n' | raw 3)" 'fine.*<end>' 'HTTP/1.0 ends with its answer'
is "$(printf "$health\r\n$health\r\n$health\r\n" | raw 0.3 | grep -c fine)" 3 'three pipelined requests'
is "$(printf "$health\r\n$health\r\n" | raw 3 half | grep -c -e fine -e '<end>')" 3 'half-closed: both answered, then the end'
like "$(printf "${health}Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" | raw 0.3)" \
	'HTTP/1.1 200 OK' 'Upgrade: h2c is ignored'
like "$(printf 'HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n'"$health\r\n" | raw 0.3)" \
	'content-length: 5[^f]*HTTP/1.1 200 OK.*fine' 'HEAD has the length and no body'

smuggle() { # STATUS NAME BYTES: refused, closed, and the request behind it is not answered
	local answer
	answer=$(printf "$3$health\r\n" | raw 3)
	like "$answer" "^HTTP/1.1 $1 .*connection: close.*<end>" "$2: $1 and closed"
	unlike "$answer" fine "$2: nothing behind it is answered"
}
post='POST /length HTTP/1.1\r\nHost: h\r\n'
smuggle 400 'CL.TE' "${post}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"
smuggle 400 'CL.CL' "${post}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"
smuggle 400 'two equal lengths' "${post}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"
smuggle 501 'TE.TE' "${post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"
smuggle 400 'space before the colon' "${post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"
smuggle 400 'folded line' "${post}X: a\r\n Content-Length: 5\r\n\r\nhello"
smuggle 400 'bare LF' "${post}X: a\nContent-Length: 5\r\n\r\nhello"
smuggle 400 'chunk longer than its size' "${post}Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n"
smuggle 400 'chunk size with 0x' "${post}Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"
smuggle 404 'unread body' "POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"

like "$(printf "${post}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0002\r\nde\r\n0\r\nT: x\r\n\r\n" | raw 0.3)" '5.<open>' 'chunked body'
like "$(printf "${post}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n" | raw 0.3)" '^HTTP/1.1 100 Continue.*<open>' 'Expect: 100-continue'
like "$(printf 'POST /nowhere HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n' | raw 3)" \
	'^HTTP/1.1 404.*<end>' 'no 100 before an error'
like "$(printf 'PUT /health HTTP/1.1\r\nHost: h\r\n\r\n' | raw 0.3)" '405.*allow: GET' '405 with Allow'
like "$(printf 'CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n' | raw 3)" '^HTTP/1.1 400' 'CONNECT is refused'
like "$(printf 'GET /health HTTP/1.1\r\nHost: h\r\nX: %040000d\r\n\r\n' 1 | raw 3)" '^HTTP/1.1 431.*<end>' 'headers over the limit'
like "$(printf "${post}Content-Length: 2000\r\n\r\n" | raw 3)" '^HTTP/1.1 413.*limit of 1000 bytes.*<end>' 'body over the limit, from its length'
like "$(printf "${post}Transfer-Encoding: chunked\r\n\r\n800\r\n%02048d\r\n0\r\n\r\n" 1 | raw 3)" '^HTTP/1.1 413' 'body over the limit, chunked'
like "$(printf '\026\003\001\001' | raw 3)" '<end>|<reset>|400' 'TLS bytes are refused'

like "$(printf "$health" | raw 4)" '^HTTP/1.1 408.*<end>' 'slow headers: 408'
like "$(printf "${post}Content-Length: 5\r\n\r\nhel" | raw 4)" '^HTTP/1.1 408.*<end>' 'slow body: 408'
like "$(printf '' | raw 4)" '^<end>' 'a silent connection is closed'
like "$(printf "$health\r\n" | raw 4)" 'fine.*<end>' 'an idle connection is closed'

ok 'a file' sh -c "timeout 20 curl -sS $url/file | cmp - $tmp/file"
is "$(call "$url/file?from=2999000" | md5sum)" "$(tail -c 1000 "$tmp/file" | md5sum)" 'a part of a file'
is "$(call -I "$url/file" | tr -d '\r' | grep -i content-length)" 'content-length: 3000000' 'HEAD of a file'
is "$(call "$url/lines/200000" | md5sum)" "$(seq 1 200000 | sed 's/.*/{"line":&}/' | md5sum)" '200000 lines with back-pressure'
python3 - "$port" <<'P' &
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
s.sendall(b"GET /lines/100000000 HTTP/1.1\r\nHost: h\r\n\r\n")
time.sleep(8)
P
ok 'a client that does not read is cut off' wait_for 7 grep -q 'cancelled lines' "$tmp/echo.err"
ok 'and the memory stayed small' sh -c "[ \$(awk '/VmHWM/{print \$2}' /proc/$pid/status) -lt 20000 ]"
timeout 0.5 curl -sS "$url/lines/-1" >/dev/null 2>&1
ok 'a client that goes away cancels once' wait_for 2 sh -c "[ \$(grep -c 'cancelled lines' $tmp/echo.err) = 2 ]"
wait_for 3 sh -c "! kill -0 $! 2>/dev/null"

timeout 10 curl -sSN "$url/lines/-1" >/dev/null 2>"$tmp/cut" &
curl_pid=$!
sleep 0.3
kill $pid
wait $curl_pid
is $? 18 'drain cuts a followed stream (curl: transfer closed with data outstanding)'
wait $pid
is $? 0 'and the server ends by itself'
done_testing
