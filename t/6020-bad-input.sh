#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a person reads when an image cannot be built: each refusal names what failed, with which value.
# Runs in a network namespace of its own: no name can be resolved and nothing leaves this host.
if [ -z "${IN_NETNS:-}" ] && [ "$(id -u)" = 0 ]; then
	IN_NETNS=1 exec unshare -n -- bash "$0" "$@"
fi
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
ip link set lo up || exit
leaks_begin
H64=[0-9a-f]{64}

refused() { # DESC REGEX REF [DOCKER-JSON]: the build FAILS with exactly this sentence
	local desc=$1 regex=$2
	build_run "$3" '{}' "${4:-"{}"}" >/dev/null
	is "$(build_get .state)" BUILD_STATE_FAILED "$desc: FAILED" || { diag "$(cat "$tmp/build.json")"; return; }
	like "$(build_error)" "^$regex\$" "$desc: says why"
	diag "$(build_error)"
	is "$(build_get .errorKind)" "$(build_error | cut -d: -f1)" "$desc: the kind opens the sentence"
}

image_make good --cmd /x layer d:a f:a/b=1 n:noise=500000 >/dev/null
image_make arm --arch arm64 layer d:a >/dev/null
image_make arm-index --arch s390x --index arm layer d:a >/dev/null
image_make odd-type --layer-type application/vnd.example.layer.v1 layer d:a >/dev/null
image_make wrong-diff --wrong-diff-id layer f:unlike=1 >/dev/null
image_make wrong-blob --wrong-blob layer f:flipped=1 n:x=1000 >/dev/null
image_make cut --truncate layer f:cut=1 n:y=100000 >/dev/null
image_make lost --drop-blob layer f:lost=1 >/dev/null
image_make escape layer f:../escape=1 >/dev/null
image_make big layer n:big=6000000 >/dev/null
image_make many layer=none $(seq -f f:f%g=x 300) >/dev/null
image_make huge layer=none n:huge=200000000 >/dev/null
image_make swelling layer $(for i in $(seq 10); do echo "r:text$i=20000000"; done) >/dev/null
ok "a registry" registry_start
open=$registry
for name in good wrong cut; do
	image_make "$name-r" --cmd "/$name" layer f:"$name"=1 n:"n$name"=200000 >/dev/null
	ok "push $name" image_push "$name-r" "t/$name:1"
done
blob() { # NAME: the file of the image's only layer in the registry
	local digest
	digest=$(skopeo inspect --tls-verify=false "docker://$open/t/$1:1" | jq -r '.Layers[0]')
	digest=${digest#sha256:}
	echo "$tmp/registry-${open##*:}/docker/registry/v2/blobs/sha256/${digest:0:2}/$digest/data"
}
printf X | dd of="$(blob wrong)" bs=1 seek=1000 conv=notrunc 2>/dev/null
truncate -s 1000 "$(blob cut)"
ok "a registry with passwords" registry_start htpasswd
REGISTRY_CREDS=tester:secret
ok "push" image_push good t/good:1
closed=$registry
nobody=127.0.0.1:$(port_free)

ok "builderd starts" builderd_start
refused "unknown host" "network: .*registry\.invalid.*" "registry.invalid/t/good:1"
refused "nobody listens" "network: .*$nobody.*" "$nobody/t/good:1"
refused "401" "unauthorized: .*$closed.*" "$closed/t/good:1"
refused "a wrong password" "unauthorized: .*$closed.*" "$closed/t/good:1" '{"auth":{"username":"tester","password":"wrong"}}'
unlike "$(build_error)" "wrong" "the password is not told"
ok "the right password" build_run "$closed/t/good:1" '{}' '{"auth":{"username":"tester","password":"secret"}}'
unlike "$(cat "$builderd_log")" "secret" "and is in no log"
refused "404, no such image" "not-found: registry $open: manifest t/none:1: .*HTTP status 404.*" "$open/t/none:1"
refused "404, no such tag" "not-found: registry $open: manifest t/good:2: .*HTTP status 404.*" "$open/t/good:2"
refused "404, no such digest" "not-found: .*sha256:0{64}.*" "$open/t/good@sha256:$(printf '0%.0s' $(seq 64))"
refused "wrong digest" "digest-mismatch: .*sha256:$H64.*" "$open/t/wrong:1"
refused "truncated blob" "(truncated|size-mismatch): .*sha256:$H64.*" "$open/t/cut:1"
refused "unsupported media type" "unsupported-mediatype: .*application/vnd\.example\.layer\.v1.*" oci:layout:odd-type
refused "another architecture" "platform-mismatch: .*arm64.*" oci:layout:arm
refused "no architecture of ours in the index" "no-platform: .*linux/.*" oci:layout:arm-index
refused "wrong diffID" "digest-mismatch: layer 1/1 .*sha256:5{64}.*" oci:layout:wrong-diff
refused "wrong digest in a layout" "digest-mismatch: .*sha256:$H64.*" oci:layout:wrong-blob
refused "truncated blob in a layout" "(size-mismatch|truncated): .*" oci:layout:cut
refused "missing blob in a layout" "blob-missing: .*sha256:$H64.*" oci:layout:lost
refused "a name that leaves the tree" "path-escape: layer 1/1 .*\.\./escape.*" oci:layout:escape
refused "no such tag in a layout" "not-found: .*nothing.*" oci:layout:nothing
refused "no such layout" "(not-found|bad-layout|not-an-image): .*nowhere.*" oci:nowhere
refused "an impossible reference" "bad-reference: .*UPPER/case:1.*" UPPER/case:1
fails "a layout outside the operator's directory is refused at once" build_create oci:../../etc
like "$(jq -r '.code + ": " + .message' "$tmp/create.json")" \
	'^invalid_argument: config\.source\.docker_image\.image_uri: "oci:\.\./\.\./etc" must not contain "\.\."$' "with the reason"

ok "after all that a good image builds" build_run "$open/t/good:1"
builderd_stop

ok "builderd with small quotas starts" builderd_start BUILD_MAX_DISK_BYTES=4194304 BUILD_MAX_INODES=200
refused "quota of bytes" "quota-bytes: .*4194304.*" oci:layout:big
refused "quota of inodes" "quota-inodes: .*200.*" oci:layout:many
ok "a smaller image builds" build_run "$open/t/good:1" '{"runtimeConfig":{"command":["/again"]}}'
builderd_stop

mkdir "$tmp/small"
mount -t tmpfs -o size=160m,mode=0711 none "$tmp/small"
cleanup umount "$tmp/small"
ok "builderd on a small disk starts" builderd_start STATE_DIR="$tmp/small"
refused "disk full by a download" "disk-full: .*" oci:layout:huge
refused "disk full by what a layer holds" "disk-full: .*" oci:layout:swelling
ok "a smaller image builds there" build_run oci:layout:good
builderd_stop

builderd_start LOCAL_IMAGES_DIR=
build_run oci:layout:good >/dev/null
like "$(build_error)" 'LOCAL_IMAGES_DIR' "local images are the operator's: switched off, the message names the option"
builderd_stop
umount "$tmp/small"
leaks_end
done_testing
