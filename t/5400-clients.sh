#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Clients that others wrote, each through a real build: create, follow the log, get, list, fetch the artifact, delete. connect-node,
# grpc-js and buf come from npm (t/clients/package-lock.json), python3-grpcio and curl from Debian. In clear text, by TLS, with
# client certificates; then buf lint, and buf breaking against the contract in t/data/contract.
# check: limit=400
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"

clients=$tmp/clients
cp -r "$top/t/clients" "$clients"
(cd "$clients" && timeout 200 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >"$tmp/npm.log" 2>&1
is "$?" 0 "the clients install" || { tap_show "$tmp/npm.log"; done_testing; }
buf=$clients/node_modules/@bufbuild/buf-linux-x64/bin/buf
leaks_begin

export HOME=$tmp # buf keeps a cache there

# --- certificates
pki=$tmp/pki
mkdir -p "$pki"
cert_make() { # NAME ALTNAME
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$pki/$1.key" -out "$pki/$1.pem" -days 30 \
		-subj "/CN=$1" -addext "subjectAltName=$2" 2>/dev/null
}
cert_make server DNS:localhost,IP:127.0.0.1
cert_make client URI:spiffe://test/client
protoc-c -I "$top/proto" --include_imports --descriptor_set_out="$tmp/set.binpb" builder.proto || exit
protoc -I "$top/proto" --python_out="$tmp" builder.proto || exit

# --- one client through its six steps
artifact_check() { # the client's line "artifact ID SUM"
	local id sum
	read -r _ id sum <"$tmp/artifact"
	timeout 60 curl -sS "${curl_tls[@]}" -H 'x-tenant-id: test' -o "$tmp/rootfs" "$url/builder.v1.BuilderService/GetBuildArtifact/$id" || return 1
	[ "${sum#sha256:}" = "$(sha256sum "$tmp/rootfs" | cut -d' ' -f1)" ]
}
walk() { # NAME STRANGER COMMAND...: what it prints, in order; its standard input gets a line when the artifact was fetched
	local name=$1 stranger=$2 line
	shift 2
	rm -f "$tmp/in" "$tmp/said" "$tmp/artifact"
	mkfifo "$tmp/in"
	timeout 90 "$@" <"$tmp/in" >>"$tmp/said" 2>"$tmp/stderr" &
	local pid=$!
	exec 8<>"$tmp/in" # for both ways: a client that died closes no pipe under us
	artifact_named() { grep '^artifact ' "$tmp/said" >"$tmp/artifact" || ! kill -0 "$pid" 2>/dev/null; }
	wait_for 80 artifact_named
	artifact_check && echo "fetched" >>"$tmp/said"
	echo go >&8
	exec 8>&-
	wait "$pid"
	line=$(sed 's/^artifact .*/artifact/' "$tmp/said" | paste -sd, | tr -s ' ')
	is "$line" "created true,followed true,got BUILD_STATE_COMPLETED true $client ,listed true,stranger $stranger,artifact,fetched,deleted true" "$name" ||
		tap_show "$tmp/stderr"
}
connect_walk() { # PROTOCOL VERSION CODEC [CA CERT KEY]
	client=connect-node walk "connect-node: $1, HTTP/$2, $3${4:+, TLS}${5:+ with a client certificate}" NotFound \
		node "$clients/connect.mjs" "$tmp/set.binpb" "$url" "$1" "$2" "$3" oci:layout:app "${@:4}"
}
grpc_walk() { # [CA CERT KEY]
	client=grpc-js walk "grpc-js${1:+, TLS}${2:+ with a client certificate}" NOT_FOUND \
		node "$clients/grpc.mjs" "$top/proto" "${url#*://}" oci:layout:app "$@"
}
python_walk() { # [CA CERT KEY]
	client=grpcio walk "python3-grpcio${1:+, TLS}${2:+ with a client certificate}" NOT_FOUND \
		env PYTHONPATH="$tmp" /usr/bin/python3 "$clients/grpcio.py" "${url#*://}" oci:layout:app "$@"
}

# --- buf curl and curl, step by step
request='{"config":{"source":{"dockerImage":{"imageUri":"oci:layout:app"}},"labels":{"from":"curl"}}}'
steps_walk() { # NAME CALL: CALL METHOD JSON prints the answer's JSON
	local name=$1 id
	shift
	id=$("$@" CreateBuild "$request" | jq -r .buildId)
	"$@" StreamBuildLogs "{\"buildId\":\"$id\",\"follow\":true}" >"$tmp/log"
	"$@" GetBuild "{\"buildId\":\"$id\"}" | jq .build >"$tmp/job"
	jq -r '"artifact \(.buildId) \(.rootfsChecksum)"' "$tmp/job" >"$tmp/artifact"
	is "$(jq -r '"\(.state) \(.config.labels.from)"' "$tmp/job"),$(grep -c message "$tmp/log" | sed 's/.*[1-9].*/log/'),$(
		"$@" ListBuilds '{"pageSize":1}' | jq -r '.builds[0].buildId'),$(artifact_check && echo fetched),$(
		"$@" DeleteBuild "{\"buildId\":\"$id\"}" | jq -r .success)" "BUILD_STATE_COMPLETED curl,log,$id,fetched,true" "$name" ||
		tap_show "$tmp/stderr"
}
buf_call() { # BUF-OPTIONS... METHOD JSON
	timeout 60 "$buf" curl -H 'X-Tenant-ID: test' "${@:1:$#-2}" -d "${*: -1}" "$url/builder.v1.BuilderService/${*: -2:1}" 2>>"$tmp/stderr"
}
curl_call() { # CURL-OPTIONS... METHOD JSON
	local method=${*: -2:1} type=application/json
	[ "$method" != StreamBuildLogs ] || type=application/connect+json
	if [ "$method" = StreamBuildLogs ]; then
		/usr/bin/python3 -c 'import sys; d = sys.argv[1].encode(); sys.stdout.buffer.write(b"\0" + len(d).to_bytes(4, "big") + d)' "${*: -1}"
	else
		printf %s "${*: -1}"
	fi | timeout 60 curl -sS "${@:1:$#-2}" -H 'x-tenant-id: test' -H "content-type: $type" --data-binary @- "$url/builder.v1.BuilderService/$method" 2>>"$tmp/stderr"
}
get_call() { # as curl_call; the methods without side effects by GET
	local method=${*: -2:1}
	case $method in
	GetBuild | ListBuilds)
		timeout 60 curl -sS -G "${@:1:$#-2}" -H 'x-tenant-id: test' -d connect=v1 -d encoding=json --data-urlencode "message=${*: -1}" \
			"$url/builder.v1.BuilderService/$method" 2>>"$tmp/stderr"
		;;
	*) curl_call "$@" ;;
	esac
}

# --- clear text
image_make app --cmd /x layer d:etc f:etc/hello=world
curl_tls=(--no-keepalive)
ok "builderd starts" builderd_start
for protocol in connect grpcweb; do
	connect_walk "$protocol" 1.1 json
	connect_walk "$protocol" 2 proto
done
connect_walk grpc 2 proto
grpc_walk
python_walk
steps_walk "buf curl: connect, HTTP/1.1" buf_call --protocol connect --schema "$tmp/set.binpb"
for protocol in connect grpc grpcweb; do
	steps_walk "buf curl: $protocol, h2c, by reflection" buf_call --protocol "$protocol" --http2-prior-knowledge
done
steps_walk "curl: HTTP/1.1" curl_call --http1.1
steps_walk "curl: h2c" curl_call --http2-prior-knowledge
steps_walk "curl: GET where there are no side effects" get_call --http1.1
ok "builderd stops" builderd_stop

# --- TLS
curl_tls=(--cacert "$pki/server.pem")
ok "builderd starts with TLS" builderd_start TLS_CERT_FILE="$pki/server.pem" TLS_KEY_FILE="$pki/server.key"
url=https://localhost:${url##*:}
connect_walk connect 1.1 json "$pki/server.pem"
grpc_walk "$pki/server.pem"
python_walk "$pki/server.pem"
for protocol in connect grpc grpcweb; do
	steps_walk "buf curl: $protocol, TLS" buf_call --protocol "$protocol" --cacert "$pki/server.pem"
done
steps_walk "curl: TLS, HTTP/2" curl_call --http2 "${curl_tls[@]}"
builderd_stop

# --- client certificates
curl_tls=(--cacert "$pki/server.pem" --cert "$pki/client.pem" --key "$pki/client.key")
ok "builderd starts with a client CA" builderd_start TLS_CERT_FILE="$pki/server.pem" TLS_KEY_FILE="$pki/server.key" TLS_CLIENT_CA_FILE="$pki/client.pem"
url=https://localhost:${url##*:}
mtls=("$pki/server.pem" "$pki/client.pem" "$pki/client.key")
connect_walk connect 2 proto "${mtls[@]}"
connect_walk grpc 2 proto "${mtls[@]}"
grpc_walk "${mtls[@]}"
python_walk "${mtls[@]}"
for protocol in connect grpc grpcweb; do
	steps_walk "buf curl: $protocol, client certificate" buf_call --protocol "$protocol" --cacert "$pki/server.pem" --cert "$pki/client.pem" --key "$pki/client.key"
done
fails "buf curl without a certificate is refused" buf_call --protocol grpc --cacert "$pki/server.pem" ListBuilds '{}'
builderd_stop

# --- the contract
mkdir "$tmp/proto"
(cd "$top/proto" && cp -r buf.yaml ./*.proto google "$tmp/proto")
"$buf" lint "$tmp/proto" >"$tmp/lint" 2>&1
is "$?" 0 "buf lint" || tap_show "$tmp/lint"
"$buf" breaking "$tmp/proto" --against "$top/t/data/contract" --against-config "$top/proto/buf.yaml" >"$tmp/breaking" 2>&1
is "$?" 0 "buf breaking: nothing that clients in the field use has changed" || tap_show "$tmp/breaking"
sed -i 's/string rootfs_checksum = 9;/int64 rootfs_checksum = 9;/' "$tmp/proto/builder.proto"
fails "buf breaking finds a field that has another type" "$buf" breaking "$tmp/proto" --against "$top/t/data/contract" --against-config "$top/proto/buf.yaml"
leaks_end
done_testing
