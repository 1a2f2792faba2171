#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd-fetch against a registry that misbehaves (t/lib/fakereg.py): the right kind of error, in time, and nothing leaks.
. "$(dirname "$0")/lib/tap.sh"

[ "$(id -u)" = 0 ] || skip "needs root: builderd-fetch enters its sandbox"
leaks_begin
"$top/t/lib/fakereg.py" "$tmp/requests" >"$tmp/port" 2>"$tmp/fake.err" 9>&- &
fake_pid=$!
cleanup "kill $fake_pid; wait $fake_pid"
wait_for 10 test -s "$tmp/port" || diag "$(cat "$tmp/fake.err")"
host=127.0.0.1:$(cat "$tmp/port")

fetch() { # NAME [ARG...]: the last line is left in $last
	local name=$1
	shift
	rm -rf "$tmp/blobs"
	: >"$tmp/requests"
	out=$(timeout 60 "$build/t/tools/drive-fetch" --blobs "$tmp/blobs" "$@" "$host/$name:1" 2>/dev/null)
	last=$(tail -n 1 <<<"$out")
	[ "$(ls -A "$tmp/blobs" | grep -c '^\.tmp')" = 0 ] || diag "$name left a temporary file"
}
good() { # NAME DESC
	fetch "$1"
	like "$last" "^done 300000 " "$2"
}
bad() { # NAME KIND REGEX DESC [ARG...]
	local name=$1 kind=$2 text=$3 desc=$4
	shift 4
	fetch "$name" "$@"
	like "$last" "^fail $kind .*$text" "$desc"
	is "$(ls -A "$tmp/blobs" | grep -c tmp)" 0 "... and no temporary file stays"
}

good fine "a plain image"
good cut "a connection that breaks is taken up again"
is "$(grep -c 'range=bytes=100000-$' "$tmp/requests")" 1 "... with a range, from where it broke"
good no-range "... and from the start when the server knows no ranges"
bad wrong-range network "Content-Range" "an answer to another range than asked for"
bad always-cut network "" "a connection that always breaks"
is "$(grep -c /blobs/ "$tmp/requests")" 4 "... after three tries (and the config)"
bad wrong digest-mismatch "has the digest sha256:" "a wrong byte"
bad short size-mismatch "sends 1000 bytes" "a Content-Length that is not the descriptor's"
bad chunked-short size-mismatch "has 5000 bytes" "a short body without a length"
bad long size-mismatch "is longer than the 300000 bytes" "a body that does not end"
bad gone blob-missing "404" "a layer that is not there"
bad missing not-found "manifest unknown" "no such manifest: the registry's words are passed on"
bad forbidden denied "not for you\?\[31m" "403, and no control bytes from the message"
bad broken network "status 500" "500"
is "$(grep -c manifests "$tmp/requests")" 3 "... is tried three times"
good busy "429 with Retry-After is honoured"
bad busy-long network "too many requests" "an hour is too long to wait"
is "$(grep -c manifests "$tmp/requests")" 1 "... and is not tried again"
bad html unsupported-mediatype "text/html" "a web page"
bad huge bad-manifest "4194304" "a manifest of 5 MiB"
bad huge-header network "headers" "endless headers"
bad hang timeout "" "a server that does not answer" --timeout 1000
bad loop network "more than 10 redirects" "a redirect loop"
bad inward denied "metadata address" "a redirect to the metadata service"
bad private-hop denied "10.1.2.3 is a private address" "a redirect to a private address"
bad file network "no usable http" "a redirect to a file"
bad user network "no usable http" "a redirect with credentials in it"
bad empty-hop network "no usable http" "a redirect to nowhere"

# --- who sees credentials
spec=$(jq -cn --arg r "$host/redirect:1" '{reference: $r, auth: {username: "tester", password: "secret"}}')
python3 - "$host" >"$tmp/hop.port" 2>/dev/null 9>&- <<'P' &
import http.server, sys, threading
target = sys.argv[1].split(":")
class H(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def do_GET(self):
        import http.client
        c = http.client.HTTPConnection(*target)
        c.request("GET", "/blob", headers={"Authorization": self.headers["Authorization"]} if "Authorization" in self.headers else {})
        r = c.getresponse(); body = r.read()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
s = http.server.HTTPServer(("127.0.0.2", int(target[1])), H)
print("up", flush=True)
s.serve_forever()
P
hop_pid=$!
cleanup "kill $hop_pid; wait $hop_pid"
wait_for 10 test -s "$tmp/hop.port"
fetch redirect --spec "$spec"
like "$last" "^done 300000 " "a redirect to another host is followed" || diag "$out"
is "$(grep manifests "$tmp/requests" | sed 's/.*auth=\([^ ]*\).*/\1/' | xargs)" "- Basic" "credentials only after the registry asked"
is "$(grep ' /blob ' "$tmp/requests" | sed 's/.*auth=\([^ ]*\).*/\1/')" "-" "the other host gets no Authorization"

good bearer "a token, anonymously"
bad private unauthorized "token server" "a token that is refused"
bad badtoken unauthorized "characters that no token has" "a token that would inject a header"
bad realm-metadata denied "metadata address" "a realm at the metadata service"
bad realm-junk unauthorized "no usable URL" "a realm that is a file"
bad challenge-junk unauthorized "malformed" "a malformed challenge"

# --- TLS
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/key.pem" -out "$tmp/cert.pem" -days 2 -subj /CN=localhost >/dev/null 2>&1
/usr/bin/python3 - "$tmp/cert.pem" "$tmp/key.pem" >"$tmp/tls.port" 2>/dev/null 9>&- <<'P' &
import http.server, ssl, sys
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.load_cert_chain(sys.argv[1], sys.argv[2])
s.socket = c.wrap_socket(s.socket, server_side=True)
print(s.server_port, flush=True)
s.serve_forever()
P
tls_pid=$!
cleanup "kill $tls_pid; wait $tls_pid"
wait_for 10 test -s "$tmp/tls.port"
host=127.0.0.1:$(cat "$tmp/tls.port")
bad any network "self.signed certificate" "a certificate that nobody vouches for"

leaks_end
done_testing
