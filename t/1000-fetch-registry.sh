#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd-fetch against docker-registry: anonymous, htpasswd, tokens; what is kept, and what it says when it is refused.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/builderd.sh"

[ "$(id -u)" = 0 ] || skip "needs root: builderd-fetch enters its sandbox"
leaks_begin
drive() { # ARG...; sets $out and $rc
	rc=0
	out=$(timeout 60 "$build/t/tools/drive-fetch" --blobs "$tmp/blobs" "$@" 2>"$tmp/drive.err") || rc=$?
}
last() { tail -n 1 <<<"$out"; }
spec() { # REF USER PASSWORD TOKEN [REGISTRY]
	jq -cn --arg r "$1" --arg u "$2" --arg p "$3" --arg t "$4" --arg g "${5:-}" \
		'{reference: $r, auth: {username: $u, password: $p, token: $t, registry: $g}}'
}

image_make one layer f:a=one layer=zstd f:b=two layer=none n:big=3000000 >/dev/null
image_make two layer f:a=one >/dev/null
image_make other --arch s390x layer f:a=one >/dev/null
image_make index --index other layer f:x=index >/dev/null

registry_start || diag "no registry"
for tag in one two other; do image_push $tag test/$tag:1; done
skopeo copy -q --all --dest-tls-verify=false "oci:$images:index" "docker://$registry/test/index:1" >/dev/null 2>&1

drive "$registry/test/one:1"
is "$rc" 0 "an image is fetched" || diag "$out"
is "$(grep -c '^blob . fresh' <<<"$out")" 3 "three blobs are fresh"
is "$(awk '/^layer/ { print $3 }' <<<"$out" | xargs)" "gzip zstd gzip" "compression goes by the media type (skopeo pushes plain tars as gzip)"
sums=0
for f in "$tmp"/blobs/sha256-*; do [ "$(sha256sum <"$f" | cut -d' ' -f1)" = "${f##*sha256-}" ] || sums=1; done
is "$sums" 0 "each stored blob has the hash of its name"
is "$(ls -A "$tmp/blobs" | grep -c tmp)" 0 "no temporary file is left"
digest=$(awk '/^image/ { print $2 }' <<<"$out")
is "sha256:$(curl -s -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$registry/v2/test/one/manifests/1" | sha256sum | cut -d' ' -f1)" \
	"$digest" "the image's digest is that of its manifest"

drive "$registry/test/one:1"
is "$(grep -c '^blob . cached' <<<"$out")" 3 "the second time nothing is downloaded"
drive --first 2 "$registry/test/one:1"
is "$(grep '^blob' <<<"$out")" "blob 2 cached $(awk '/^layer 2/ { print $4 }' <<<"$out")" "only what is wanted is handed out"
drive --first -1 "$registry/test/one@$digest"
is "$rc" 0 "by digest"
drive "$registry/test/one:nonsense@$digest"
is "$rc" 0 "with tag and digest the digest decides"
printf x | dd of="$tmp/blobs/sha256-$(awk '/^layer 2/ { print $5 }' <<<"$out" | cut -d: -f2)" bs=1 seek=100 conv=notrunc status=none
for f in "$tmp"/blobs/*; do setfattr -x user.builderd.boot "$f" 2>/dev/null; done
drive "$registry/test/one:1"
is "$rc $(grep -c '^blob . fresh' <<<"$out")" "0 1" "without this boot's mark a blob is hashed again, a damaged one downloaded again"
truncate -s 5 "$tmp/blobs/sha256-$(awk '/^layer 2/ { print $5 }' <<<"$out" | cut -d: -f2)"
drive "$registry/test/one:1"
is "$rc $(grep -c '^blob . fresh' <<<"$out")" "0 1" "a blob of the wrong size is not taken on trust, mark or not"
drive "$registry/test/index:1"
is "$rc" 0 "an index leads to this host's platform" || diag "$out"

drive "$registry/test/other:1"
like "$(last)" "^fail platform-mismatch .*s390x" "an image for another machine"
drive "$registry/test/one:none"
like "$(last)" "^fail not-found registry $registry: manifest test/one:none: not found: HTTP status 404" "an unknown tag"
drive "$registry/test/nothing:1"
like "$(last)" "^fail not-found " "an unknown repository"
drive "$registry/test/one@sha256:$(printf '0%.0s' {1..64})"
like "$(last)" "^fail not-found " "an unknown digest"
drive "Test/UPPER"
like "$(last)" "^fail bad-reference .*lower case" "upper case"
drive "127.0.0.1:1/a:1"
like "$(last)" "^fail network registry 127.0.0.1:1: .*connection refused" "nobody listens"
drive "no-such-host.invalid/a:1"
like "$(last)" "^fail network .*no such host" "a host that does not exist"
drive "10.255.255.1/a:1"
like "$(last)" "^fail denied .*10.255.255.1 is a private address" "a private address"
drive "169.254.169.254/a:1"
like "$(last)" "^fail denied .*link-local or metadata" "the metadata service"
export UNKEY_BUILDERD_DOCKER_ALLOWED_REGISTRIES='docker.io,*.example.com'
drive "$registry/test/one:1"
like "$(last)" "^fail denied registry $registry is not among" "the allow-list decides"
unset UNKEY_BUILDERD_DOCKER_ALLOWED_REGISTRIES
kill "$registry_pid"

# --- htpasswd
registry_start htpasswd
REGISTRY_CREDS=tester:secret image_push one test/one:1
rm -rf "$tmp/blobs"
drive "$registry/test/one:1"
like "$(last)" "^fail unauthorized .*none were given" "htpasswd: without credentials"
drive --spec "$(spec "$registry/test/one:1" tester wrong '')"
like "$(last)" "^fail unauthorized .*refuses the credentials" "htpasswd: wrong password"
drive --spec "$(spec "$registry/test/one:1" tester secret '')"
is "$rc" 0 "htpasswd: right password" || diag "$out"
drive --spec "$(spec "$registry/test/one:1" tester secret '' other.example.com)"
like "$out" "log warn the credentials given are for other.example.com.*fail unauthorized" "credentials for another registry are not sent"
unlike "$out" "secret" "no output holds the password"
printf '{"auths":{"%s":{"auth":"%s"}}}' "$registry" "$(printf tester:secret | base64)" >"$tmp/auth.json"
chmod 0600 "$tmp/auth.json"
export UNKEY_BUILDERD_DOCKER_AUTH_FILE=$tmp/auth.json
drive "$registry/test/one:1"
is "$rc" 0 "the operator's docker config.json is used" || diag "$out"
unset UNKEY_BUILDERD_DOCKER_AUTH_FILE
kill "$registry_pid"

# --- tokens
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/key.pem" -out "$tmp/cert.pem" -days 2 -subj /CN=fakereg >/dev/null 2>&1
"$top/t/lib/fakereg.py" "$tmp/token.log" "$tmp/key.pem" "$tmp/cert.pem" >"$tmp/token.port" 2>"$tmp/token.err" 9>&- &
token_pid=$!
cleanup "kill $token_pid; wait $token_pid"
wait_for 10 test -s "$tmp/token.port"
port=$(port_free)
mkdir "$tmp/registry-token"
for user in push pull; do
	cat >"$tmp/token-$user.yml" <<-E
		version: 0.1
		log: {level: error, accesslog: {disabled: true}}
		storage: {filesystem: {rootdirectory: $tmp/registry-token}}
		http: {addr: "127.0.0.1:$port"}
	E
done
cat >>"$tmp/token-pull.yml" <<-E
	auth: {token: {realm: "http://127.0.0.1:$(cat "$tmp/token.port")/token", service: fake, issuer: fakereg, rootcertbundle: $tmp/cert.pem}}
E
registry=127.0.0.1:$port
docker-registry serve "$tmp/token-push.yml" >/dev/null 2>&1 9>&- &
push_pid=$!
cleanup "kill $push_pid; wait $push_pid"
wait_for 20 registry_answers
image_push one public/one:1
image_push one private/one:1
kill $push_pid
wait $push_pid 2>/dev/null
docker-registry serve "$tmp/token-pull.yml" >"$tmp/token-registry.log" 2>&1 9>&- &
pull_pid=$!
cleanup "kill $pull_pid; wait $pull_pid"
wait_for 20 registry_answers
rm -rf "$tmp/blobs"
drive "$registry/public/one:1"
is "$rc" 0 "token: anonymous" || diag "$out" "$(cat "$tmp/token.log")"
is "$(grep -c 'GET /token' "$tmp/token.log")" 1 "one token serves the whole pull"
like "$(cat "$tmp/token.log")" 'service=fake&scope=repository%3Apublic%2Fone%3Apull auth=-' "we ask for pull of this repository"
rm -rf "$tmp/blobs"
drive "$registry/private/one:1"
like "$(last)" "^fail unauthorized .*token server" "token: private without credentials"
drive --spec "$(spec "$registry/private/one:1" tester secret '')"
is "$rc" 0 "token: user and password" || diag "$out"
rm -rf "$tmp/blobs"
drive --spec "$(spec "$registry/private/one:1" '' '' identity)"
is "$rc" 0 "token: an identity token is traded by POST" || diag "$out" "$(tail -n 3 "$tmp/token.log")"
like "$(tail -n 1 "$tmp/token.log")" "POST /token" "it was POST"
drive --spec "$(spec "$registry/private/one:1" '' '' wrong)"
like "$(last)" "^fail unauthorized " "token: a wrong identity token"
kill $pull_pid
leaks_end
done_testing
