# SPDX-License-Identifier: GPL-2.0-or-later
# Starts t/tools/echo-server: echo_start ARGS... sets $port and $pid; its stderr is in $tmp/echo.err.
# Source it behind tap.sh.

echo_start() {
	"$build/t/tools/echo-server" "$@" >"$tmp/echo.out" 2>"$tmp/echo.err" &
	pid=$!
	cleanup "kill $pid 2>/dev/null; wait $pid 2>/dev/null"
	wait_for 5 grep -q '^port' "$tmp/echo.out" || diag "echo-server did not start"
	port=$(cut -d' ' -f2 "$tmp/echo.out")
	url=http://127.0.0.1:$port
	rpc=$url/echo.v1.EchoService
}

raw() { # [SECONDS] [half], bytes on stdin
	timeout 20 python3 "$top/t/lib/raw.py" "$port" "$@" | tr -d '\r'
}

call() { # CURL_ARGS...: bounded, quiet
	timeout 20 curl -sS "$@"
}
