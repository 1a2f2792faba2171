#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# HTTP/2 with prior knowledge: streams, flow control, resets, limits, timers, GOAWAY.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/echo.sh"

head -c 3000000 /dev/urandom >"$tmp/file"
echo_start header_ms=800 body_ms=800 idle_ms=4000 stall_ms=1200 body=100000 streams=50 "$tmp/file"
h2() {
	call --http2-prior-knowledge "$@"
}

is "$(h2 -w '%{http_version} %{http_code}' "$url/health" | tr '\n' ' ')" 'fine 2 200' 'a GET'
is "$(h2 "$url/file" | md5sum)" "$(md5sum <"$tmp/file")" 'a file'
is "$(h2 -I "$url/file" | tr -d '\r' | grep -i content-length)" 'content-length: 3000000' 'HEAD of a file'
is "$(h2 "$url/lines/200000" | md5sum)" "$(seq 1 200000 | sed 's/.*/{"line":&}/' | md5sum)" '200000 lines with back-pressure'
is "$(head -c 100000 /dev/zero | h2 --data-binary @- "$url/length")" 100000 'a body of the limit'
is "$(head -c 100065 /dev/zero | h2 -o /dev/null -w '%{http_code}' --data-binary @- "$url/length")" 413 'a body over the limit'
is "$(h2 -o /dev/null -w '%{http_code}' -X PUT "$url/health")" 405 'wrong method'
is "$(h2 -o /dev/null -w '%{http_code}' -H "X: $(printf '%020000d' 1)" -H "Y: $(printf '%020000d' 1)" "$url/health")" 431 'headers over the limit'
like "$(timeout 10 nghttp -nv "$url/health" "$url/lines/10" "$url/file" 2>&1 | grep -c ':status: 200')" 3 'nghttp: three streams'
like "$(timeout 20 h2load -n 2000 -c 4 -m 20 "$url/health" 2>&1)" '2000 succeeded, 0 failed' 'h2load: 2000 requests, 4 connections'
like "$(timeout 20 h2load --h1 -n 2000 -c 4 "$url/health" 2>&1)" '2000 succeeded, 0 failed' 'h2load: the same over HTTP/1.1'

script() { # PYTHON on stdin
	PYTHONPATH=$top/t/lib timeout 20 python3 - "$port" 2>&1
}

is "$(script <<'P'
from h2 import *
import sys
c = Client(sys.argv[1])
c.request(1, "GET", "/lines/-1")
c.wait(HEADERS, 1)
c.send(RST, 0, 1, b"\0\0\0\x08")
c.send(PING, 0, 0, b"12345678")
print(c.wait(PING)[3].decode())
P
)" 12345678 'RST_STREAM: the connection goes on'
ok '... and the handler is told once' wait_for 2 sh -c "[ \$(grep -c 'cancelled lines' $tmp/echo.err) = 1 ]"

refused=$(for _ in 1 2 3 4 5 6 7 8; do h2 -o /dev/null -w '%{http_code} ' -d '{}' "$url/nowhere" 2>&1; done)
is "$refused" '404 404 404 404 404 404 404 404 ' 'a refusal by the headers reaches a client that is about to send its body'

is "$(script <<'P'
from h2 import *
import sys
c = Client(sys.argv[1])
c.request(1, "POST", "/nowhere", end=False)
c.send(DATA, 0, 1, b"x" * 16384)
c.send(PING, 0, 0, b"12345678")
print(NAMES[c.wait(PING)[0]])
for _ in range(4):
    c.send(DATA, 0, 1, b"x" * 16384)
print(c.wait(HEADERS, 1)[1] & END_STREAM, int.from_bytes(c.wait(RST, 1)[3], "big"))
P
)" $'PING\n0 0' '... one that sends much is told to stop'

is "$(script <<'P'
from h2 import *
import sys
c = Client(sys.argv[1])
c.request(1, "POST", "/nowhere", end=False)
print(c.wait(HEADERS, 1)[1] & END_STREAM, NAMES[c.recv()[0]], int.from_bytes(c.wait(RST, 1)[3], "big"))
P
)" '0 DATA 0' 'an answer before the body: then RST_STREAM(NO_ERROR)'

is "$(script <<'P'
from h2 import *
import sys, time
# A window of nothing: the answer waits, then the stream is reset; another stream is served meanwhile.
c = Client(sys.argv[1], struct.pack(">HI", 4, 0), timeout=5)
start = time.time()
c.request(1, "GET", "/file")
c.wait(HEADERS, 1)
frame = c.wait(RST, 1)
print(int.from_bytes(frame[3], "big"), 1 < time.time() - start < 4)
P
)" '8 True' 'a reader that opens no window is reset after the stall time'

is "$(script <<'P'
from h2 import *
import sys
c = Client(sys.argv[1])
c.request(1, "POST", "/length", end=False)
c.send(DATA, 0, 1, b"abc")
print(NAMES[c.wait(RST, 1)[0]])
P
)" RST 'a slow body is reset'

is "$(script <<'P'
from h2 import *
import sys
c = Client(sys.argv[1])
c.send(HEADERS, 0, 1, block("GET", "/health"))
while c.recv():
    pass
try:
    c.s.settimeout(0.1)
    print("closed" if c.s.recv(1) == b"" else "open")
except ConnectionResetError:
    print("closed")
except socket.timeout:
    print("open")
P
)" closed 'headers that never end close the connection'

is "$(script <<'P'
from h2 import *
import sys
c = Client(sys.argv[1])
for i in range(1500):
    c.request(2 * i + 1, "GET", "/lines/-1")
    c.send(RST, 0, 2 * i + 1, b"\0\0\0\x08")
print(int.from_bytes(c.wait(GOAWAY)[3][4:8], "big"))
P
)" 11 'a flood of resets: GOAWAY(ENHANCE_YOUR_CALM)'

is "$(script <<'P'
from h2 import *
import sys
c = Client(sys.argv[1])
for i in range(200):
    c.request(2 * i + 1, "GET", "/lines/-1")
n = 0
while frame := c.recv():
    n += frame[0] == RST
print(n)
P
)" 150 'streams over the limit are refused'
is "$(printf 'PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n' | raw 2 | head -c 12)" 'HTTP/1.1 505' 'a broken preface is no HTTP/2'
like "$(printf 'PRI * HTTP/2.0\r\n' | raw 3)" '<end>' 'half a preface is closed in time'

PYTHONPATH=$top/t/lib timeout 20 python3 - "$port" "$tmp/ready" >"$tmp/goaway" 2>&1 <<'P' &
from h2 import *
import sys
c = Client(sys.argv[1], timeout=6)
c.request(1, "GET", "/lines/-1")
c.wait(HEADERS, 1)
open(sys.argv[2], "w").close()
frames = []
while frame := c.recv():
    if frame[0] == GOAWAY:
        frames.append("GOAWAY(%d)" % int.from_bytes(frame[3][:4], "big"))
    elif frame[0] == RST:
        frames.append("RST")
print(*sorted(frames))
P
client=$!
wait_for 5 test -e "$tmp/ready"
kill $pid
wait $client
is "$(cat "$tmp/goaway")" 'GOAWAY(1) GOAWAY(2147483647) RST' 'drain: GOAWAY(2^31-1), GOAWAY(1), streams without an end are reset'
wait $pid
is $? 0 'and the server ends by itself'
done_testing
