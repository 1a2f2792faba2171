#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# TLS: versions, ALPN, client certificates, clear text on the same port, big bodies both ways, reload, bad files.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
leaks_begin
pki=$tmp/pki
mkdir -p "$pki"
cd "$pki" || exit

key_make() { # NAME
	openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null
}
ca_make() { # NAME
	key_make "$1"
	openssl req -x509 -new -key "$1.key" -subj "/CN=$1" -days 30 -out "$1.pem" 2>/dev/null
}
cert_make() { # NAME CA EXTENSION
	key_make "$1"
	openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr" 2>/dev/null
	openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 30 -out "$1.pem" \
		-extfile <(echo "subjectAltName=$3") 2>/dev/null
}
ca_make ca
ca_make stranger
cert_make server ca DNS:localhost,IP:127.0.0.1
cert_make second ca DNS:localhost,IP:127.0.0.1
cert_make client ca URI:spiffe://test/metald
cert_make forged stranger URI:spiffe://test/metald
cp server.pem use.pem
cp server.key use.key

tls_start() { # KEY=VALUE...
	builderd_start TLS_CERT_FILE="$pki/use.pem" TLS_KEY_FILE="$pki/use.key" "$@" || return 1
	port=$(builderd_port)
	url=https://localhost:$port
}
get() { # PATH CURL-OPTIONS...: body, then "version code"
	local path=$1
	shift
	curl -sS --max-time 20 --cacert "$pki/ca.pem" -w '%{http_version} %{http_code}\n' "$@" "$url$path" 2>&1
}
serial() {
	openssl s_client -connect "127.0.0.1:$port" -CAfile "$pki/ca.pem" </dev/null 2>/dev/null | openssl x509 -noout -serial
}

# --- versions, ALPN
ok "builderd starts with a certificate" tls_start
like "$(builderd_lines 'TLS ')" 'CN=server, until 20' "the log names the certificate and its end"
is "$(get /livez | tail -n 1)" "2 200" "ALPN: HTTP/2"
is "$(get /livez --http1.1 | tail -n 1)" "1.1 200" "ALPN: HTTP/1.1"
is "$(get /livez --tls-max 1.2 | tail -n 1)" "2 200" "TLS 1.2 with HTTP/2"
is "$(get /livez --no-alpn --http1.1 | tail -n 1)" "1.1 200" "without ALPN"
handshake() { # OPTIONS...
	timeout 20 openssl s_client -connect "127.0.0.1:$port" -CAfile ca.pem "$@" </dev/null 2>&1
}
like "$(handshake -alpn spdy/3)" 'no application protocol' "a protocol that is not spoken is refused (RFC 7301 3.2)"
unlike "$(handshake -tls1_1 -cipher ALL:@SECLEVEL=0)" 'Cipher is ECDHE|Cipher    : ECDHE' "TLS 1.1 is refused"
unlike "$(handshake -tls1_2 -cipher AES128-SHA:AES256-GCM-SHA384)" 'Verify return code: 0 .*New, TLSv1.2, Cipher is AES' "a cipher without forward secrecy is refused"
like "$(handshake -tls1_2)" 'Secure Renegotiation IS supported' "renegotiation is safe"

# --- clear text on that port
is "$(curl -sS --max-time 20 -w ' %{http_code}' "http://127.0.0.1:$port/livez" | tr -d '\n')" "this port speaks TLS: use https://. 400" "clear text is refused with a reason"
fails "HTTP/2 in clear text is refused" curl -sS --max-time 20 --http2-prior-knowledge "http://127.0.0.1:$port/livez"

# --- silent and broken clients hurt nobody
exec 7<>"/dev/tcp/127.0.0.1/$port"
printf '\x16\x03\x01\x02' >&7
is "$(get /livez | tail -n 1)" "2 200" "one that stops in its handshake keeps nobody waiting"
exec 7>&-
printf '\x16\x03\x01\xff\xff garbage that is no handshake' | timeout 10 cat >"/dev/tcp/127.0.0.1/$port"
is "$(get /livez | tail -n 1)" "2 200" "garbage behind the first byte ends that connection only"

# --- big things both ways, a whole build
image_make app --cmd /x layer d:etc f:etc/hello=world r:blob=6000000
body=$(jq -cn '{config: {source: {dockerImage: {imageUri: "oci:layout:app"}}, target: {microvmRootfs: {runtimeConfig:
	{environment: ([range(200) | {key: "VARIABLE_\(.)", value: ("v" * 700)}] | from_entries)}}}}}')
for version in --http1.1 --http2; do
	build_id=$(curl -sS --max-time 60 "$version" --cacert ca.pem -H 'content-type: application/json' -H 'x-tenant-id: test' \
		-d @- "$url/builder.v1.BuilderService/CreateBuild" <<<"$body" | jq -r .buildId)
	like "$build_id" '^build_' "$version: a request of ${#body} bytes is taken"
	timeout 60 curl -sSN "$version" --cacert ca.pem -H 'x-tenant-id: test' "$url/builder.v1.BuilderService/GetBuildLogs/$build_id?follow=true" >log
	ok "$version: the log is followed to its end" test -s log
	curl -sS "$version" --cacert ca.pem -H 'content-type: application/json' -H 'x-tenant-id: test' -d "{\"buildId\":\"$build_id\"}" \
		"$url/builder.v1.BuilderService/GetBuild" | jq .build >job
	is "$(jq -r .state job)" BUILD_STATE_COMPLETED "$version: the build completes" || tap_show job
	timeout 100 curl -sS "$version" --cacert ca.pem -H 'x-tenant-id: test' -o rootfs "$url/builder.v1.BuilderService/GetBuildArtifact/$build_id"
	is "sha256:$(sha256sum rootfs | cut -d' ' -f1)" "$(jq -r .rootfsChecksum job | sed 's/^\(sha256:\)*/sha256:/')" "$version: $(stat -c %s rootfs) bytes of the rootfs arrive"
	rm rootfs
done

# --- clients that go in the middle of an answer
api_pid=$(pgrep -P "$builderd_pid" -x builderd-api)
build_id=$(jq -r .buildId job)
for i in 1 2 3 4 5 6; do
	timeout 20 openssl s_client -quiet -connect "127.0.0.1:$port" -CAfile ca.pem 2>/dev/null < <(
		printf 'GET /builder.v1.BuilderService/GetBuildArtifact/%s HTTP/1.1\r\nhost: x\r\nx-tenant-id: test\r\n\r\n' "$build_id"
		sleep 2
	) | head -c 100000 >/dev/null
done
is "$(get /livez | tail -n 1)" "2 200" "six that go while they are answered hurt nobody"
is "$(pgrep -P "$builderd_pid" -x builderd-api)" "$api_pid" "builderd-api is the one it was"

# --- reload
exec 7> >(timeout 60 openssl s_client -quiet -connect "127.0.0.1:$port" -CAfile ca.pem -alpn http/1.1 >old 2>/dev/null)
printf 'GET /livez HTTP/1.1\r\nhost: x\r\n\r\n' >&7
wait_for 10 grep -q '200 OK' old
before=$(serial)
cp second.pem use.pem
kill -HUP "$builderd_pid"
sleep 0.3
is "$(serial)" "$before" "a certificate without its key changes nothing"
wait_for 10 builderd_lines 'stays the old one'
like "$(builderd_lines 'stays the old one')" 'does not belong to the certificate' "the log says why"
cp second.key use.key
kill -HUP "$builderd_pid"
second_serves() { [ "$(serial)" = "$(openssl x509 -in second.pem -noout -serial)" ]; }
ok "SIGHUP: new connections get the new certificate" wait_for 10 second_serves
printf 'GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n' >&7
ok "an open connection lives on" wait_for 10 grep -q 'connection: close' old
exec 7>&-
rm use.key
kill -HUP "$builderd_pid"
ok "a missing file is said" wait_for 10 builderd_lines 'stays the old one.*use.key'
is "$(get /livez | tail -n 1)" "2 200" "and changes nothing"
cp second.key use.key
ok "builderd stops" builderd_stop

# --- client certificates
ok "builderd starts with a client CA" tls_start TLS_CLIENT_CA_FILE="$pki/ca.pem"
is "$(get /livez --cert client.pem --key client.key | tail -n 1)" "2 200" "a client with a certificate is served"
like "$(get /livez)" 'certificate required|alert|reset' "one without is refused"
like "$(get /livez --cert forged.pem --key forged.key)" 'unknown ca|alert|reset' "one of another CA is refused"
like "$(get /livez --tls-max 1.2)" 'handshake failure|alert|reset' "TLS 1.2: one without is refused"
builderd_stop
ok "builderd starts with an optional client CA" tls_start TLS_CLIENT_CA_FILE="$pki/ca.pem" TLS_CLIENT_AUTH=optional
is "$(get /livez | tail -n 1)" "2 200" "a client without a certificate is served"
like "$(get /livez --cert forged.pem --key forged.key)" 'unknown ca|alert|reset' "one of another CA is refused"
builderd_stop

# --- clear text beside it
ok "builderd starts with both" tls_start TLS_ALLOW_CLEAR_TEXT=true
is "$(get /livez | tail -n 1)" "2 200" "TLS is served"
is "$(curl -sS --max-time 20 -w ' %{http_code}' "http://127.0.0.1:$port/livez" | tr -d '\n')" "ok 200" "clear text is served"
is "$(curl -sS --max-time 20 --http2-prior-knowledge -w '%{http_version} %{http_code}' -o /dev/null "http://127.0.0.1:$port/livez")" "2 200" "HTTP/2 in clear text is served"
builderd_stop

# --- what cannot be used stops the start, with its name
refused() { # PATTERN NAME KEY=VALUE...
	local pattern=$1 name=$2
	shift 2
	builderd_start "$@" >/dev/null 2>&1 9>/dev/null
	builderd_kill
	like "$(tail -c "+$((builderd_log_start + 1))" "$builderd_log")" "$pattern" "$name"
}
refused 'TLS_KEY_FILE="": expected both or none' "a certificate without a key" TLS_CERT_FILE="$pki/server.pem"
refused 'TLS_CERT_FILE=.*No such file' "a missing certificate" TLS_CERT_FILE="$pki/none.pem" TLS_KEY_FILE="$pki/server.key"
refused 'the private key does not belong to the certificate' "another certificate's key" TLS_CERT_FILE="$pki/server.pem" TLS_KEY_FILE="$pki/second.key"
refused 'the certificate is not one in PEM form' "a certificate that is none" TLS_CERT_FILE="$pki/server.key" TLS_KEY_FILE="$pki/server.key"
openssl pkey -in server.key -aes256 -passout pass:x -out locked.key
refused 'without a passphrase' "a key with a passphrase" TLS_CERT_FILE="$pki/server.pem" TLS_KEY_FILE="$pki/locked.key"
refused 'the client CA has no certificate' "a client CA that is none" TLS_CERT_FILE="$pki/server.pem" TLS_KEY_FILE="$pki/server.key" TLS_CLIENT_CA_FILE="$pki/server.key"
leaks_end
done_testing
