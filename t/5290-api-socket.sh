#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# API_SOCKET: the API on a Unix socket, for root and the VM manager's user only.
# check: limit=200
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
leaks_begin
chmod 711 "$tmp"
sock=$tmp/api.sock
metald=54321 other=54322

ask() { # UID PATH [CURL OPTIONS...]: status code; the answer is in $tmp/answer, which that user may not write
	local uid=$1 path=$2
	shift 2
	setpriv --reuid "$uid" --regid "$uid" --clear-groups curl -sS --max-time 30 --unix-socket "$sock" -w '\n%{http_code}' "$@" \
		"http://builderd$path" >"$tmp/raw" 2>&1
	sed '$d' "$tmp/raw" >"$tmp/answer"
	tail -n 1 "$tmp/raw"
}

create='{"config":{"source":{"dockerImage":{"imageUri":"oci:layout:none"}}}}'
rpc=/builder.v1.BuilderService

ok "builderd starts with a socket" builderd_start API_SOCKET="$sock" METALD_UID="$metald"
is "$(stat -c '%F %a %u' "$sock")" "socket 666 0" "the socket is there, its guard is the uid behind a connection"
is "$(ask 0 /health)" 200 "root is served"
is "$(ask "$metald" /health)" 200 "so is the VM manager's user"
is "$(ask "$metald" "$rpc/CreateBuild" -H 'content-type: application/json' -d "$create")" 200 "remote procedures work as over TCP"
like "$(cat "$tmp/answer")" '"buildId":"build_' "with their answers"
is "$(ask "$metald" /health --http2-prior-knowledge)" 200 "HTTP/2 works, too"
is "$(ask "$other" /health)" 403 "another user is refused"
like "$(cat "$tmp/answer")" '"code":"permission_denied".*user 54322 may not use this socket' "in words"
ask "$other" /health --http2-prior-knowledge >/dev/null
unlike "$(cat "$tmp/answer")" 'healthy' "also with HTTP/2"
is "$(head -c 3000000 /dev/zero | ask "$other" "$rpc/CreateBuild" -H 'content-type: application/json' --data-binary @-)" 403 \
	"the refusal reaches one who is still sending"
setpriv --reuid "$other" --regid "$other" --clear-groups /usr/bin/python3 - "$sock" <<-'P'
	import socket, sys
	held = []
	for i in range(200):
	    s = socket.socket(socket.AF_UNIX)
	    s.connect(sys.argv[1])
	    held.append(s)
	for s in held:
	    assert s.recv(20).startswith(b"HTTP/1.1 403"), "not refused"
P
is "$?" 0 "two hundred connections of another user get their refusal"
is "$(ask 0 /health)" 200 "and root is served behind them"

api_pid=$(pgrep -P "$builderd_pid" builderd-api)
kill -KILL "$api_pid"
served_again() { [ "$(ask 0 /health)" = 200 ]; }
ok "a builderd-api that was killed is replaced behind the same socket" wait_for 60 served_again

env -i PATH="$PATH" UNKEY_BUILDERD_STATE_DIR="$tmp/second" UNKEY_BUILDERD_PORT=0 UNKEY_BUILDERD_API_SOCKET="$sock" \
	timeout 60 "$build/builderd" >"$tmp/second.log" 2>&1 </dev/null
is "$?" 1 "a second builderd does not take the socket away"
like "$(cat "$tmp/second.log")" "API_SOCKET: $sock is used by another program" "and says why it does not start"
is "$(ask 0 /health)" 200 "the first one goes on"

builderd_kill
ok "the socket is left behind by a kill" test -S "$sock"
ok "it is replaced at the next start" builderd_start API_SOCKET="$sock"
is "$(ask "$metald" /health)" 403 "without METALD_UID only root is served"
is "$(ask 0 /health)" 200 "root is"
ok "builderd stops" builderd_stop
fails "and the socket is gone" test -e "$sock"

echo precious >"$sock"
fails "what is no socket is not replaced" builderd_start API_SOCKET="$sock"
is "$(cat "$sock")" precious "nor touched"
builderd_kill
rm "$sock"

ok "an empty API_SOCKET" builderd_start API_SOCKET=
fails "means none" test -e "$state/api.sock"
builderd_stop
ok "the default" builderd_start
sock=$state/api.sock
is "$(ask 0 /health)" 200 "is STATE_DIR/api.sock"
builderd_stop
UNKEY_BUILDERD_API_SOCKET=relative "$build/builderd" --validate-config >"$tmp/out" 2>&1
is "$?" 2 "a relative path is refused"
like "$(cat "$tmp/out")" 'API_SOCKET="relative": expected an absolute path' "with its name and value"
leaks_end
done_testing
